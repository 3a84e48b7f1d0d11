package stream_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/conv"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
	"github.com/iotsense/iotsense/pkg/model/stream"
	"github.com/iotsense/iotsense/pkg/model/stream/streamtest"
)

const classes = 5

func newEngine(t testing.TB, m *model.Model, p conv.Path) *model.Engine {
	t.Helper()
	runner, err := stream.NewRunnerOn(streamtest.Net(m), m.Record, m.Scaling, p)
	if err != nil {
		t.Fatal(err)
	}
	return m.EngineOn(runner)
}

func onEachPath(t *testing.T, test func(t *testing.T, p conv.Path)) {
	for _, p := range conv.Paths() {
		t.Run(p.String(), func(t *testing.T) { test(t, p) })
	}
}

func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

// The outputs are those of the definition, row by row, beyond the ring's length.
func TestOutputsAreTheDefinition(t *testing.T) {
	onEachPath(t, func(t *testing.T, p conv.Path) {
		r := rand.New(rand.NewPCG(1, 1))
		a := streamtest.Architecture()
		a.Units, a.Buckets, a.Width, a.Flows, a.Hidden = 13, 50, 7, 4, 11 // no multiples of a vector's lanes
		for _, a := range []stream.Architecture{a, streamtest.Architecture()} {
			m := streamtest.Model(r, a, classes)
			m.Record.Payload = 1500
			e, memory, probs := newEngine(t, m, p), newEngine(t, m, p).Memory(), make([]float32, classes)
			rows := modeltest.Stream(r, 9)
			for i, row := range rows {
				if err := e.Next(memory, row, probs); err != nil {
					t.Fatal(err)
				}
				want := streamtest.Logits(m, rows[:i+1])
				for c, got := range e.Logits() {
					if math.Abs(float64(got)-want[c]) > 1e-4 {
						t.Fatalf("row %d: logits %v, want %v", i, e.Logits(), want)
					}
				}
			}
		}
	})
}

// One by one, in batches, after Skip, from an empty memory some rows back, after
// Trim, on a clone: the same bits.
func TestEveryWayGivesTheSameBits(t *testing.T) {
	onEachPath(t, func(t *testing.T, p conv.Path) {
		r := rand.New(rand.NewPCG(2, 1))
		m := streamtest.Model(r, streamtest.Architecture(), classes)
		span := m.Net.Span()
		one := newEngine(t, m, p)
		many := one.Clone()
		const devices = 3
		streams := make([][]flows.Row, devices)
		memories := make([]model.Memory, devices)
		var want [devices][][]float32
		for d := range streams {
			streams[d], memories[d] = modeltest.Stream(r, 50), many.Memory()
			memory := one.Memory()
			for i, row := range streams[d] {
				if i%7 == 0 {
					memory.Trim()
				}
				probs := make([]float32, classes)
				if err := one.Next(memory, row, probs); err != nil {
					t.Fatal(err)
				}
				want[d] = append(want[d], probs)
				if err := many.Predict(streams[d][max(0, i+1-span):i+1], probs); err != nil {
					t.Fatal(err)
				}
				if !sameBits(probs, want[d][i]) {
					t.Fatalf("device %d, row %d: %v from the last %d rows, want the bits of %v", d, i, probs, span, want[d][i])
				}
			}
		}
		var at [devices]int
		for _, size := range []int{1, 2, 31, 32, 33, 40} { // a device is there many times
			var in []model.Memory
			var rows []flows.Row
			var probs, alone [][]float32
			for range size {
				d := r.IntN(devices)
				if at[d] == len(streams[d]) {
					memories[d].Reset()
					at[d] = 0
				}
				in, rows = append(in, memories[d]), append(rows, streams[d][at[d]])
				probs, alone = append(probs, make([]float32, classes)), append(alone, want[d][at[d]])
				at[d]++
				if at[d] == len(streams[d]) { // the next one begins in another batch
					break
				}
			}
			if err := many.NextBatch(in, rows, probs); err != nil {
				t.Fatal(err)
			}
			for i := range probs {
				if !sameBits(probs[i], alone[i]) {
					t.Fatalf("row %d of %d: %v, want the bits of %v", i, size, probs[i], alone[i])
				}
			}
		}
	})
}

// A row that is refused is named and leaves its memory as it was; others come out.
func TestRefusedRowsLeaveTheMemory(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	m := streamtest.Model(r, streamtest.Architecture(), classes)
	e := newEngine(t, m, conv.Fastest())
	rows := modeltest.Stream(r, 4)
	hurt, sound := e.Memory(), e.Memory()
	probs := [][]float32{make([]float32, classes), make([]float32, classes), make([]float32, classes), make([]float32, classes)}
	err := e.NextBatch([]model.Memory{hurt, hurt, hurt}, []flows.Row{rows[0], {}, rows[1]}, probs[:3])
	var refused *model.RowError
	if !errors.As(err, &refused) || refused.Row != 1 {
		t.Errorf("error %v, want one of row 1", err)
	}
	for i, row := range rows[:2] {
		if err := e.Next(sound, row, probs[3]); err != nil {
			t.Fatal(err)
		}
		if !sameBits(probs[3], probs[2*i]) {
			t.Errorf("row %d: %v, want %v", i, probs[2*i], probs[3])
		}
	}
	if e.Skip(nil, rows[0]) == nil {
		t.Error("no memory, and no error")
	}
}

// Finite weights whose sums are no numbers are refused, when the runner is made or
// when it runs: no verdict rests on them.
func TestOverflowIsRefused(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 1))
	rows := modeltest.Stream(r, 8)
	whole := streamtest.Model(r, streamtest.Architecture(), classes)
	for i, tensor := range whole.Net.Tensors() {
		if i == 0 { // whatever the embedding is, its products decide
			continue
		}
		m := *whole
		net := stream.Net{Arch: streamtest.Net(whole).Arch, Weights: streamtest.Net(whole).Weights.Clone()}
		m.Net = &net
		for j := range *net.Weights.Slots()[i] {
			(*net.Weights.Slots()[i])[j] = math.MaxFloat32 * float32(1-2*(j%2))
		}
		e, err := model.NewEngine(&m)
		if err != nil {
			continue
		}
		probs := make([]float32, classes)
		for n := range rows {
			if err = e.Predict(rows[:n+1], probs); err == nil && model.NotFinite(e.Logits()) >= 0 {
				t.Errorf("%s of huge values: outputs %v and no error", tensor.Name, e.Logits())
			}
		}
	}
	whole.Scaling.Bytes.Deviation = 1e-300
	e := newEngine(t, whole, conv.Fastest())
	if err := e.Predict(rows, make([]float32, classes)); err == nil {
		t.Error("scaling that overflows: no error")
	}
}

// A device costs 24 KB at most, and nothing is allocated once its ring is full.
func TestMemoryIsBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 1))
	m := streamtest.Model(r, stream.DefaultArchitecture(), classes)
	e := newEngine(t, m, conv.Fastest())
	memory, probs := &stream.Memory{}, make([]float32, classes)
	rows := modeltest.Stream(r, 40)
	round := func() {
		for _, row := range rows {
			if err := e.Next(memory, row, probs); err != nil {
				t.Fatal(err)
			}
		}
	}
	round()
	memory.Reset()
	round()
	if n := testing.AllocsPerRun(3, round); n != 0 {
		t.Errorf("%v allocations in a round of %d rows, want 0", n, len(rows))
	}
	if got := stream.Room(memory); got > 24<<10 {
		t.Errorf("%d bytes a device, want at most 24 KB", got)
	}
	if got := memory.Rows(); got != m.Net.Span()-1 {
		t.Errorf("the next output rests on %d rows beside its own, want %d", got, m.Net.Span()-1)
	}
}

// What one new flow costs on the rows of the test captures: the median, and in
// batches of 256 devices.
func BenchmarkRealRows(b *testing.B) {
	m := streamtest.Model(rand.New(rand.NewPCG(6, 1)), streamtest.Architecture(), 27)
	windows := modeltest.RealWindows(b, flows.StreamSpec{}, 1)
	const size = 256
	for _, p := range conv.Paths() {
		e := newEngine(b, m, p)
		memories, rows, probs := make([]model.Memory, size), make([]flows.Row, size), make([][]float32, size)
		for i := range size {
			memories[i], probs[i] = e.Memory(), make([]float32, 27)
		}
		b.Run(p.String()+"/alone", func(b *testing.B) {
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				begin := time.Now()
				if err := e.Next(memories[i%size], windows[i%len(windows)][0], probs[0]); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(begin))
			}
			slices.Sort(took)
			b.ReportMetric(took[len(took)/2].Seconds()*1e6, "p50-us")
		})
		b.Run(p.String()+"/batch", func(b *testing.B) {
			n := 0
			for b.Loop() {
				for i := range rows {
					rows[i] = windows[n%len(windows)][0]
					n++
				}
				if err := e.NextBatch(memories, rows, probs); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "flows/s")
		})
	}
}
