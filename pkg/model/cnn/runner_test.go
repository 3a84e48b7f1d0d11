package cnn_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/internal/conv"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
)

// architectures are the shapes that the engine is checked on.
var architectures = map[string]cnn.Architecture{
	"paper":        cnn.DefaultArchitecture(5),
	"K=1":          cnn.DefaultArchitecture(1),
	"K=2":          cnn.DefaultArchitecture(2),
	"K=3":          cnn.DefaultArchitecture(3),
	"K=4":          cnn.DefaultArchitecture(4),
	"K=8":          cnn.DefaultArchitecture(8),
	"four filters": {K: 5, Filters: [2]int{4, 3}, Kernel1: 40, Kernel2: [2]int{3, 5}, Pool: [2]int{3, 3}, Hidden: 20},
	"odd kernels":  {K: 6, Filters: [2]int{1, 2}, Kernel1: 13, Kernel2: [2]int{2, 7}, Pool: [2]int{2, 4}, Hidden: 9},
	"no pool":      {K: 3, Filters: [2]int{2, 1}, Kernel1: 1, Kernel2: [2]int{1, 1}, Pool: [2]int{1, 1}, Hidden: 5},
	"no dense":     {K: 5, Filters: [2]int{2, 2}, Kernel1: 40, Kernel2: [2]int{3, 5}, Pool: [2]int{3, 3}},
	"wide pool":    {K: 5, Filters: [2]int{2, 2}, Kernel1: 40, Kernel2: [2]int{3, 5}, Pool: [2]int{1, 100}, Hidden: 30},
}

func newEngine(t testing.TB, m *model.Model) engine {
	t.Helper()
	return newEngineOn(t, m, conv.Fastest())
}

// engine is a model's engine on a runner that tests can look into.
type engine struct {
	*model.Engine
	runner *cnn.Runner
}

func newEngineOn(t testing.TB, m *model.Model, path conv.Path) engine {
	t.Helper()
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	r, err := cnn.RunnerOn(m, path)
	if err != nil {
		t.Fatal(err)
	}
	return engine{m.EngineOn(r), r}
}

// stream is a random stream of n rows, of a sixth of them with -short, as under
// an emulator.
func stream(r *rand.Rand, n int) []flows.Row {
	if testing.Short() {
		n /= 6
	}
	return modeltest.Stream(r, n)
}

// onEach runs a test for every architecture on every implementation of the loops.
func onEach(t *testing.T, test func(t *testing.T, arch cnn.Architecture, path conv.Path)) {
	for name, arch := range architectures {
		for _, path := range conv.Paths() {
			t.Run(name+"/"+path.String(), func(t *testing.T) { test(t, arch, path) })
		}
	}
}

func TestDefaultArchitectureHasThePapersParameters(t *testing.T) {
	m := modeltest.Model(rand.New(rand.NewPCG(1, 1)), cnn.DefaultArchitecture(5), 21)
	if got, want := m.Parameters(), 202_165; got != want {
		t.Errorf("%d parameters, want %d", got, want)
	}
}

func softmax64(logits []float64, temperature float64) []float64 {
	sum, out := 0.0, make([]float64, len(logits))
	for i, l := range logits {
		out[i] = math.Exp(l / temperature)
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

func TestForwardIsTheDefinition(t *testing.T) {
	onEach(t, func(t *testing.T, arch cnn.Architecture, path conv.Path) {
		r := rand.New(rand.NewPCG(7, 8))
		m := modeltest.Model(r, arch, 6)
		e := newEngineOn(t, m, path)
		d := modeltest.Dims(m)
		input := make([]float32, arch.K*d.Width)
		for i := range input {
			input[i] = r.Float32()*3 - 1
		}
		logits := make([]float32, 6)
		if err := e.runner.Forward(input, logits); err != nil {
			t.Fatal(err)
		}
		for i, want := range modeltest.Logits(m, input) {
			if math.Abs(float64(logits[i])-want) > 2e-5 {
				t.Errorf("logit %d is %v, want %v", i, logits[i], want)
			}
		}
	})
}

// Whatever way a window is computed - all columns, from all its rows, or as the
// next of a device - its probabilities are the same.
func TestNextEqualsForward(t *testing.T) {
	onEach(t, func(t *testing.T, arch cnn.Architecture, path conv.Path) {
		r := rand.New(rand.NewPCG(11, 12))
		m := modeltest.Model(r, arch, 9)
		m.Calibration.Temperature = 1.7
		e, ref := newEngineOn(t, m, path), newEngineOn(t, m, path)
		scaler := cnn.NewScaler(m.Record, m.Scaling)
		d := modeltest.Dims(m)
		input, logits := make([]float32, arch.K*d.Width), make([]float32, 9)
		cold, next := make([]float32, 9), make([]float32, 9)
		var memory cnn.Memory
		for i, w := range modeltest.Windows(stream(r, 60), arch.K) {
			if i%17 == 13 {
				memory.Trim()
			}
			if err := scaler.Window(input, arch.K, w); err != nil {
				t.Fatal(err)
			}
			if err := ref.runner.Forward(input, logits); err != nil {
				t.Fatal(err)
			}
			l := make([]float64, len(logits))
			for j, v := range logits {
				l[j] = float64(v)
			}
			want := softmax64(l, 1.7)
			if err := e.Predict(w, cold); err != nil {
				t.Fatal(err)
			}
			if err := e.Next(&memory, w[len(w)-1], next); err != nil {
				t.Fatal(err)
			}
			for j := range want {
				if math.Abs(float64(cold[j])-want[j]) > 1e-6 || math.Abs(float64(next[j])-want[j]) > 1e-6 {
					t.Fatalf("window %d class %d: cold %v, next %v, want %v", i, j, cold[j], next[j], want[j])
				}
			}
		}
	})
}

// The sliding window alone changes not one bit.
func TestSlidingIsBitIdentical(t *testing.T) {
	onEach(t, func(t *testing.T, arch cnn.Architecture, path conv.Path) {
		r := rand.New(rand.NewPCG(21, 22))
		m := modeltest.Model(r, arch, 4)
		e, ref := newEngineOn(t, m, path), newEngineOn(t, m, path)
		e.runner.ComputePadding()
		scaler := cnn.NewScaler(m.Record, m.Scaling)
		d := modeltest.Dims(m)
		input, want, got := make([]float32, arch.K*d.Width), make([]float32, 4), make([]float32, 4)
		probs := make([]float32, 4)
		var memory cnn.Memory
		for i, w := range modeltest.Windows(stream(r, 36), arch.K) {
			if err := scaler.Window(input, arch.K, w); err != nil {
				t.Fatal(err)
			}
			if err := ref.runner.Forward(input, want); err != nil {
				t.Fatal(err)
			}
			if err := e.Next(&memory, w[len(w)-1], probs); err != nil {
				t.Fatal(err)
			}
			copy(got, e.Logits())
			for j := range want {
				if math.Float32bits(got[j]) != math.Float32bits(want[j]) {
					t.Fatalf("window %d logit %d is %v, want the bits of %v", i, j, got[j], want[j])
				}
			}
		}
	})
}

func TestEngineAllocatesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	e := newEngine(t, modeltest.Model(r, cnn.DefaultArchitecture(5), 21))
	windows := modeltest.Windows(stream(r, 42), 5)
	probs := make([]float32, 21)
	var memory cnn.Memory
	var shared batch
	for _, w := range windows {
		shared.add(&cnn.Memory{}, w[len(w)-1], 21)
	}
	round := func() {
		if err := e.NextBatch(shared.memories, shared.rows, shared.probs); err != nil {
			t.Fatal(err)
		}
		for _, w := range windows {
			if err := e.Next(&memory, w[len(w)-1], probs); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 8 { // every slot of the memory sees the longest row
		round()
	}
	if n := testing.AllocsPerRun(3, round); n != 0 {
		t.Errorf("%v allocations in a round of %d windows, want 0", n, len(windows))
	}
}

// The rows of many devices differ in length: a new one takes what others left.
func TestManyDevicesMakeNoGarbage(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	e := newEngine(t, modeltest.Model(r, cnn.DefaultArchitecture(5), 21))
	const devices = 64
	streams := make([][]flows.Row, devices)
	var b batch
	for i := range streams {
		for range 20 {
			streams[i] = append(streams[i], flows.Row{Record: modeltest.Record(r, r.IntN(1000), r.IntN(1000), r.IntN(1000))})
		}
		b.add(&cnn.Memory{}, flows.Row{}, 21)
	}
	step := 0
	round := func() {
		for i, rows := range streams { // round and round
			b.rows[i] = rows[(step+i)%len(rows)]
		}
		step++
		if err := e.NextBatch(b.memories, b.rows, b.probs); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		round()
	}
	if n := testing.AllocsPerRun(40, round); n > devices/10 {
		t.Errorf("%v allocations for a window of each of %d devices, want next to none", n, devices)
	}
}

func TestPredictRefuses(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	m := modeltest.Model(r, cnn.DefaultArchitecture(5), 3)
	rows := modeltest.Stream(r, 6)
	hot := modeltest.Model(r, cnn.DefaultArchitecture(5), 3)
	hot.Scaling.Bytes.Deviation = 1e-300
	big := modeltest.Model(r, cnn.DefaultArchitecture(5), 3)
	for i := range modeltest.Net(big).Weights.Dense2 {
		modeltest.Net(big).Weights.Dense2[i] = 3e38
	}
	for _, c := range []struct {
		name  string
		m     *model.Model
		rows  []flows.Row
		probs int
	}{
		{"row without a record", m, []flows.Row{{}}, 3},
		{"wrong room", m, rows[:5], 4},
		{"scaling that overflows", hot, rows[:5], 3},
		{"weights that overflow", big, rows[:5], 3},
	} {
		e := newEngine(t, c.m)
		if err := e.Predict(c.rows, make([]float32, c.probs)); err == nil {
			t.Errorf("%s: no error", c.name)
		}
	}
	e := newEngine(t, m)
	input := make([]float32, 5*rowValues)
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		input[7] = float32(v)
		if err := e.runner.Forward(input, make([]float32, 3)); err == nil {
			t.Errorf("input %v: no error", v)
		}
	}
}

func benchmark(b *testing.B, payload int, predict func(e engine, w []flows.Row, probs []float32) error) {
	r := rand.New(rand.NewPCG(5, 6))
	e := newEngine(b, modeltest.Model(r, cnn.DefaultArchitecture(5), 21))
	var rows []flows.Row
	for range 64 {
		rows = append(rows, flows.Row{Record: modeltest.Record(r, payload, payload, payload), Since: 1})
	}
	windows := modeltest.Windows(rows, 5)[4:]
	probs := make([]float32, 21)
	i := 0
	for b.Loop() {
		if err := predict(e, windows[i%len(windows)], probs); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkPredict440(b *testing.B) {
	benchmark(b, 131, func(e engine, w []flows.Row, probs []float32) error { return e.Predict(w, probs) })
}

func BenchmarkPredictFull(b *testing.B) {
	benchmark(b, 1000, func(e engine, w []flows.Row, probs []float32) error { return e.Predict(w, probs) })
}

func BenchmarkNext440(b *testing.B) {
	var m cnn.Memory
	benchmark(b, 131, func(e engine, w []flows.Row, probs []float32) error { return e.Next(&m, w[len(w)-1], probs) })
}

func BenchmarkNextFull(b *testing.B) {
	var m cnn.Memory
	benchmark(b, 1000, func(e engine, w []flows.Row, probs []float32) error { return e.Next(&m, w[len(w)-1], probs) })
}

func BenchmarkForward(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	e := newEngine(b, modeltest.Model(r, cnn.DefaultArchitecture(5), 21))
	input, logits := make([]float32, 5*rowValues), make([]float32, 21)
	for i := range input {
		input[i] = r.Float32()
	}
	for b.Loop() {
		if err := e.runner.Forward(input, logits); err != nil {
			b.Fatal(err)
		}
	}
}
