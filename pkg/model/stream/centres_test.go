package stream_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
	"github.com/iotsense/iotsense/pkg/model/stream/streamtest"
)

// A row is as far as its values in the last layer are from the nearest centre, whatever
// batch it came in, and outputs are the same with centres and without.
func TestDistance(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 1))
	m := streamtest.Model(r, streamtest.Architecture(), classes)
	rows := modeltest.Stream(r, 12)
	plain, err := model.NewEngine(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := plain.Distance(); ok {
		t.Error("a distance without centres")
	}
	probs, memory := make([]float32, classes), plain.Memory()
	var units, outputs [][]float32
	for _, row := range rows {
		if err := plain.Next(memory, row, probs); err != nil {
			t.Fatal(err)
		}
		units, outputs = append(units, slices.Clone(plain.Units())), append(outputs, slices.Clone(probs))
	}
	m.Centres = &model.Centres{Threshold: 0.25, Captures: 3}
	for _, at := range []int{4, 9} { // not of length 1: to the length of the row's values it does not matter
		m.Centres.Vectors = append(m.Centres.Vectors, scaled(units[at])...)
	}
	e, err := model.NewEngine(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []*model.Engine{e, e.Clone()} {
		memory := e.Memory()
		for i, row := range rows {
			if err := e.Next(memory, row, probs); err != nil {
				t.Fatal(err)
			}
			want := 4 * (1 - max(cosine(units[i], units[4]), cosine(units[i], units[9])))
			if got, ok := e.Distance(); !ok || math.Abs(got-want) > 1e-5 || got < 0 {
				t.Errorf("row %d: distance %v, want %v", i, got, want)
			}
			if !sameBits(probs, outputs[i]) {
				t.Errorf("row %d: other probabilities with centres", i)
			}
		}
		if n := testing.AllocsPerRun(10, func() { e.Distance() }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
	var text bytes.Buffer
	if err := m.Write(&text); err != nil {
		t.Fatal(err)
	}
	if got, err := model.Read(&text); err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("the model read is not the model written: %v", err)
	}
}

func scaled(v []float32) []float32 {
	var out []float32
	for _, x := range v {
		out = append(out, float32(float64(x)/math.Sqrt(dot(v, v))))
	}
	return out
}

func cosine(a, b []float32) float64 { return dot(a, b) / math.Sqrt(dot(a, a)*dot(b, b)) }

func dot(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// Centres that cannot be used are refused by name.
func TestCentresAreChecked(t *testing.T) {
	m := streamtest.Model(rand.New(rand.NewPCG(5, 1)), streamtest.Architecture(), classes)
	for _, tt := range []struct {
		centres model.Centres
		want    string
	}{
		{model.Centres{Threshold: 1}, "0 values of centres"},
		{model.Centres{Threshold: 1, Vectors: make([]float32, 101)}, "101 values of centres, want 1 to 4096 centres of 100"},
		{model.Centres{Threshold: 1, Vectors: make([]float32, 100*4097)}, "409700 values"},
		{model.Centres{Vectors: make([]float32, 100)}, "threshold 0"},
		{model.Centres{Threshold: math.NaN(), Vectors: make([]float32, 100)}, "threshold NaN"},
		{model.Centres{Threshold: 1, Vectors: slices.Repeat([]float32{float32(math.Inf(1))}, 100)}, "value 0 of the centres"},
	} {
		m.Centres = &tt.centres
		if err := m.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}

// A file that says it has centres and has none is refused.
func TestCentresAreMissing(t *testing.T) {
	m := streamtest.Model(rand.New(rand.NewPCG(5, 1)), streamtest.Architecture(), classes)
	m.Centres = &model.Centres{Threshold: 1, Vectors: make([]float32, 200)}
	var text bytes.Buffer
	if err := m.Write(&text); err != nil {
		t.Fatal(err)
	}
	lost := bytes.Replace(text.Bytes(), []byte(`"distance_centres"`), []byte(`"another_centres_"`), 1)
	if _, err := model.Read(bytes.NewReader(lost)); err == nil || !strings.Contains(err.Error(), "distance_centres is missing") {
		t.Error(err)
	}
}

func BenchmarkDistance(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 1))
	m := streamtest.Model(r, streamtest.Architecture(), 27)
	m.Centres = &model.Centres{Threshold: 1}
	for range 216 * 100 {
		m.Centres.Vectors = append(m.Centres.Vectors, r.Float32())
	}
	e, err := model.NewEngine(m)
	if err != nil {
		b.Fatal(err)
	}
	if err := e.Predict([]flows.Row{modeltest.Stream(r, 1)[0]}, make([]float32, 27)); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		e.Distance()
	}
}
