package learn

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
	"github.com/iotsense/iotsense/pkg/model/internal/workers"
	"github.com/iotsense/iotsense/pkg/model/stream"
	"github.com/iotsense/iotsense/pkg/model/stream/streamtest"
	"github.com/iotsense/iotsense/pkg/model/train"
)

const classes = 3

// small is an architecture whose memory is shorter than a piece.
func small() stream.Architecture {
	a := streamtest.Architecture()
	a.Units, a.Buckets, a.Width, a.Flows, a.Hidden, a.Dropout = 9, 40, 5, 4, 7, 0
	return a
}

// fixture is a random model, its network under training, and pieces: the beginning of a
// stream, one from the middle, one of a single row.
func fixture(t testing.TB, a stream.Architecture, threads int) (*model.Model, *network, []train.Piece) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	m := streamtest.Model(r, a, classes)
	m.Record.Payload = 100
	n, err := newNetwork(newBatch(a, m.Record, m.Scaling, 4, threads, 5), streamtest.Net(m).Weights)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	rows := modeltest.Stream(r, 100)
	span := a.Flows - 1
	return m, n, []train.Piece{
		{Rows: rows[:9], Judged: 9, Class: 1},
		{Rows: rows[20 : 20+judged+span], Judged: judged, Class: 2},
		{Rows: rows[50 : 51+span], Judged: 1, Class: 0},
	}
}

// loss64 is the mean of the pieces' mean cross-entropy, by the network's definition.
func loss64(m *model.Model, pieces []train.Piece) float64 {
	total := 0.0
	for _, p := range pieces {
		mean := 0.0
		for j := range p.Judged {
			logits := streamtest.Logits(m, p.Rows[:len(p.Rows)-p.Judged+j+1])
			all := 0.0
			for _, l := range logits {
				all += math.Exp(l)
			}
			mean += (math.Log(all) - logits[p.Class]) / float64(p.Judged)
		}
		total += mean / float64(len(pieces))
	}
	return total
}

func gradients(t testing.TB, n *network, pieces []train.Piece, step uint64) (float64, stream.Weights) {
	t.Helper()
	loss, g, err := n.Gradients(pieces, step)
	if err != nil {
		t.Fatal(err)
	}
	w := n.Net(g).(*stream.Net).Weights
	for _, v := range g { // as the optimiser does
		clear(v)
	}
	return loss, w
}

// The loss is that of the definition in float64, and the gradients are its slopes:
// samples of every tensor, the largest among them.
func TestGradientsAreSlopes(t *testing.T) {
	m, n, pieces := fixture(t, small(), 1)
	loss, g := gradients(t, n, pieces, 1)
	if want := loss64(m, pieces); math.Abs(loss-want) > 1e-5 {
		t.Errorf("loss %v, want %v", loss, want)
	}
	const h = 1.0 / (1 << 16)
	slots := streamtest.Net(m).Weights.Slots()
	for i, tensor := range streamtest.Net(m).Arch.Tensors(classes) {
		w, grad := *slots[i], *g.Slots()[i]
		order := make([]int, len(grad))
		size := 0.0
		for j, v := range grad {
			order[j] = j
			size = max(size, math.Abs(float64(v)))
		}
		if size == 0 {
			t.Errorf("%s has no gradient", tensor.Name)
		}
		slices.SortFunc(order, func(a, b int) int {
			return int(math.Copysign(1, math.Abs(float64(grad[b]))-math.Abs(float64(grad[a]))))
		})
		for _, j := range []int{order[0], order[len(order)/8], len(w) - 1} {
			old := w[j]
			w[j] = old + h
			way, up := float64(w[j]), loss64(m, pieces)
			w[j] = old - h
			way, up = way-float64(w[j]), up-loss64(m, pieces)
			w[j] = old
			if slope := up / way; math.Abs(slope-float64(grad[j])) > 0.01*size {
				t.Errorf("%s[%d]: gradient %g, slope %g, largest %g", tensor.Name, j, grad[j], slope, size)
			}
		}
	}
}

// What the network under training says without dropout, the live engine says.
func TestTrainedIsRun(t *testing.T) {
	a := streamtest.Architecture()
	a.Dropout = 0
	m, n, pieces := fixture(t, a, 1)
	loss, _ := gradients(t, n, pieces, 1)
	m.Net = n.Net(n.Values())
	e, err := model.NewEngine(m)
	if err != nil {
		t.Fatal(err)
	}
	want := 0.0
	for _, p := range pieces {
		memory, probs := e.Memory(), make([]float32, classes)
		for i, row := range p.Rows {
			if err := e.Next(memory, row, probs); err != nil {
				t.Fatal(err)
			}
			if i >= len(p.Rows)-p.Judged {
				want -= math.Log(float64(probs[p.Class])) / float64(p.Judged*len(pieces))
			}
		}
	}
	if math.Abs(loss-want) > 1e-5 {
		t.Errorf("loss %v in training, %v live", loss, want)
	}
}

// Threads, and what the batch held before, do not change a bit; the step does, by what
// is dropped.
func TestStepsAreDetermined(t *testing.T) {
	a := small()
	a.Dropout = 0.3
	_, one, pieces := fixture(t, a, 1)
	_, many, _ := fixture(t, a, 3)
	gradients(t, many, []train.Piece{pieces[1], pieces[1], pieces[1], pieces[1]}, 9)
	loss, g := gradients(t, one, pieces, 3)
	again, h := gradients(t, many, pieces, 3)
	if loss != again {
		t.Errorf("losses %v and %v", loss, again)
	}
	for i, s := range g.Slots() {
		if !slices.Equal(*s, *h.Slots()[i]) {
			t.Errorf("gradient %d differs", i)
		}
	}
	if other, _ := gradients(t, one, pieces, 4); other == loss {
		t.Error("another step drops the same")
	}
}

// Dropout drops its share, keeps the sum, and the gradient goes where values passed.
func TestDropout(t *testing.T) {
	const share = 0.3
	f := newFlow(100_000)
	for i := range f.vector {
		f.vector[i], f.slope[i] = 2, 3
	}
	f.drop(dropper(1, 2), share)
	f.undrop(share)
	dropped, sum := 0, 0.0
	for i, v := range f.vector {
		sum += float64(v)
		want := float32(3 / (1 - share))
		if v == 0 {
			dropped++
			want = 0
		}
		if math.Abs(float64(f.slope[i]-want)) > 1e-5 {
			t.Fatalf("value %v has the slope %v, want %v", v, f.slope[i], want)
		}
	}
	n := float64(len(f.vector))
	if got := float64(dropped) / n; math.Abs(got-share) > 0.01 || math.Abs(sum/n-2) > 0.03 {
		t.Errorf("%.3f dropped, mean %.3f; want %v and 2", got, sum/n, share)
	}
}

// BenchmarkStep is one training step of 16 pieces of real streams. cpu-us/record is
// what counts where cores are shared, and what the paper's network has its own
// benchmark of the same name for.
func BenchmarkStep(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	m := streamtest.Model(r, streamtest.Architecture(), 27)
	const size = 16
	n, err := newNetwork(newBatch(streamtest.Architecture(), m.Record, m.Scaling, size, 1, 1), streamtest.Net(m).Weights)
	if err != nil {
		b.Fatal(err)
	}
	rows, bearing := Design{Arch: streamtest.Architecture()}.Cut()
	var all [][]flows.Row
	for _, w := range modeltest.RealWindows(b, flows.StreamSpec{}, rows) {
		if len(w) == rows || len(w) == bearing {
			all = append(all, w)
		}
	}
	adam := train.NewAdam(3e-3, 1e-3, n.Values())
	before, records := workers.CPUTime(), 0
	for b.Loop() {
		pieces := make([]train.Piece, size)
		for i := range pieces {
			w := all[r.IntN(len(all))]
			pieces[i] = train.Piece{Rows: w, Judged: bearing, Class: r.IntN(27)}
			records += bearing
		}
		_, g, err := n.Gradients(pieces, 1)
		if err != nil {
			b.Fatal(err)
		}
		adam.Step(n.Values(), g, 1)
	}
	b.ReportMetric((workers.CPUTime()-before).Seconds()*1e6/float64(records), "cpu-us/record")
}
