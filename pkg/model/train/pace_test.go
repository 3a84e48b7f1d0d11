package train

import (
	"bytes"
	"math"
	"strconv"
	"testing"

	"github.com/iotsense/iotsense/pkg/model"
)

// The learning rate stays unless it is told to rise and fall.
func TestPace(t *testing.T) {
	o := DefaultOptions()
	for _, step := range []uint64{1, 50, 1 << 40} {
		if got := o.pace(step, 10); got != 1 {
			t.Errorf("step %d: %v of the rate, want all of it", step, got)
		}
	}
	o.Epochs, o.WarmUp, o.Fall = 5, 1, 0.98
	for step, want := range map[uint64]float64{1: 0.1, 5: 0.5, 10: 1, 30: 0.51, 50: 0.02} {
		if got := o.pace(step, 10); math.Abs(got-want) > 1e-12 {
			t.Errorf("step %d: %v of the rate, want %v", step, got, want)
		}
	}
	o.Epochs = 1 // no more than the warm-up
	for step, want := range map[uint64]float64{1: 0.2, 5: 1, 10: 0.02} {
		if got := o.pace(step, 10); math.Abs(got-want) > 1e-12 {
			t.Errorf("step %d of one epoch: %v of the rate, want %v", step, got, want)
		}
	}
}

// A small set has as many epochs as the least number of steps takes, which its model says:
// the same model comes of so many.
func TestLeastSteps(t *testing.T) {
	file := func(m *model.Model) []byte {
		var b bytes.Buffer
		if err := m.Write(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for least, want := range map[int]int{0: 2, 7: 2, 50: 7} { // of 8 steps each
		o := options()
		o.Epochs, o.LeastSteps, o.Patience = 2, least, 0
		m, report := mustTrain(t, o)
		if said := m.Training.Options["epochs"]; len(report.Epochs) != want || said != strconv.Itoa(want) {
			t.Errorf("%d steps at least: %d epochs, want %d; the model says %s", least, len(report.Epochs), want, said)
		}
		o.Epochs, o.LeastSteps = want, 0
		if same, _ := mustTrain(t, o); !bytes.Equal(file(m), file(same)) {
			t.Errorf("%d steps at least, and %d epochs: two models", least, want)
		}
	}
}

// Decay takes its share of the rate off every value, whatever its gradient.
func TestWeightDecay(t *testing.T) {
	plain, decayed := [][]float32{{2, -3}}, [][]float32{{2, -3}}
	a, b := NewAdam(0.1, 0, plain), NewAdam(0.1, 0.5, decayed)
	for range 2 {
		a.Step(plain, [][]float32{{0, 0}}, 1)
		b.Step(decayed, [][]float32{{0, 0}}, 0.5)
	}
	keep := (1 - 0.1*0.5*0.5) * (1 - 0.1*0.5*0.5)
	for i, v := range decayed[0] {
		if want := float64(plain[0][i]) * keep; math.Abs(float64(v)-want) > 1e-6 {
			t.Errorf("value %d is %v, want %v", i, v, want)
		}
	}
	if plain[0][0] != 2 {
		t.Errorf("without decay and gradient a value moved to %v", plain[0][0])
	}
}
