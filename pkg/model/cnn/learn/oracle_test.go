package learn

// This file is the oracle: the whole network of gorgonia's stock operations, on
// inputs that hold every value of every row.

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
	"github.com/iotsense/iotsense/pkg/model/train"
)

// oracle is the stock graph; its parameters are in gorgonia's layouts.
type oracle struct {
	s      shape
	size   int
	vm     gorgonia.VM
	solver gorgonia.Solver
	params gorgonia.Nodes
	input  []float32
	target []float32
	loss   gorgonia.Value
	probs  gorgonia.Value
}

// product is x w + b.
func product(x, w, b *gorgonia.Node) (*gorgonia.Node, error) {
	xw, err := gorgonia.Mul(x, w)
	if err != nil {
		return nil, err
	}
	return gorgonia.BroadcastAdd(xw, b, nil, []byte{0})
}

// toStock permutes model weights to gorgonia's layouts; fromStock undoes it.
func toStock(s shape, w cnn.Weights) [8][]float32 { return permute(s, w, false) }

func fromStock(s shape, p [8][]float32) cnn.Weights {
	w := cnn.Weights{Conv1: p[0], Conv1Bias: p[1], Conv2: p[2], Conv2Bias: p[3], Dense1: p[4], Dense1Bias: p[5], Dense2: p[6], Dense2Bias: p[7]}
	q := permute(s, w, true)
	return cnn.Weights{Conv1: q[0], Conv1Bias: q[1], Conv2: q[2], Conv2Bias: q[3], Dense1: q[4], Dense1Bias: q[5], Dense2: q[6], Dense2Bias: q[7]}
}

func permute(s shape, w cnn.Weights, back bool) [8][]float32 {
	move := func(src []float32, place func(visit func(ours, stock int))) []float32 {
		dst := make([]float32, len(src))
		place(func(ours, stock int) {
			if back {
				dst[ours] = src[stock]
			} else {
				dst[stock] = src[ours]
			}
		})
		return dst
	}
	f1, f2, kh, kw := s.Filters[0], s.Filters[1], s.Kernel2[0], s.Kernel2[1]
	conv1 := move(w.Conv1, func(visit func(int, int)) {
		for t := range s.Kernel1 {
			for f := range f1 {
				visit(t*f1+f, f*s.Kernel1+t)
			}
		}
	})
	conv2 := move(w.Conv2, func(visit func(int, int)) {
		for y := range kh {
			for x := range kw {
				for c := range f1 {
					for f := range f2 {
						visit(((y*kw+x)*f1+c)*f2+f, ((f*f1+c)*kh+y)*kw+x)
					}
				}
			}
		}
	})
	dense1 := move(w.Dense1, func(visit func(int, int)) {
		places := s.PoolRows * s.PoolCols
		for p := range places {
			for f := range f2 {
				for h := range s.Hidden {
					visit((p*f2+f)*s.Hidden+h, (f*places+p)*s.Hidden+h)
				}
			}
		}
	})
	return [8][]float32{conv1, w.Conv1Bias, conv2, w.Conv2Bias, dense1, w.Dense1Bias, w.Dense2, w.Dense2Bias}
}

func newOracle(t testing.TB, s shape, w cnn.Weights, size int) *oracle {
	t.Helper()
	o := &oracle{s: s, size: size}
	g := gorgonia.NewGraph()
	must := func(n *gorgonia.Node, err error) *gorgonia.Node {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	f1, f2 := s.Filters[0], s.Filters[1]
	shapes := [8][]int{
		{f1, 1, 1, s.Kernel1}, {1, f1, 1, 1}, {f2, f1, s.Kernel2[0], s.Kernel2[1]}, {1, f2, 1, 1},
		{s.Flat, s.Hidden}, {1, s.Hidden}, {s.Hidden, s.Classes}, {1, s.Classes},
	}
	names := [8]string{"conv1", "bias1", "conv2", "bias2", "dense1", "bias3", "dense2", "bias4"}
	for i, p := range toStock(s, w) {
		v := tensor.New(tensor.WithShape(shapes[i]...), tensor.WithBacking(append([]float32(nil), p...)))
		o.params = append(o.params, gorgonia.NodeFromAny(g, v, gorgonia.WithName(names[i])))
	}
	o.input = make([]float32, size*s.K*s.Width)
	o.target = make([]float32, size*s.Classes)
	x := gorgonia.NodeFromAny(g, tensor.New(tensor.WithShape(size, 1, s.K, s.Width), tensor.WithBacking(o.input)), gorgonia.WithName("x"))
	y := gorgonia.NodeFromAny(g, tensor.New(tensor.WithShape(size, s.Classes), tensor.WithBacking(o.target)), gorgonia.WithName("y"))
	conv := func(x, w, b *gorgonia.Node, kernel tensor.Shape) *gorgonia.Node {
		c := must(gorgonia.Conv2d(x, w, kernel, []int{0, 0}, []int{1, 1}, []int{1, 1}))
		return must(gorgonia.Rectify(must(gorgonia.BroadcastAdd(c, b, nil, []byte{0, 2, 3}))))
	}
	c1 := conv(x, o.params[0], o.params[1], tensor.Shape{1, s.Kernel1})
	c2 := conv(c1, o.params[2], o.params[3], tensor.Shape{s.Kernel2[0], s.Kernel2[1]})
	pooled := must(gorgonia.MaxPool2D(c2, tensor.Shape{s.Pool[0], s.Pool[1]}, []int{0, 0}, []int{s.Pool[0], s.Pool[1]}))
	flat := must(gorgonia.Reshape(pooled, tensor.Shape{size, s.Flat}))
	hidden := must(gorgonia.Rectify(must(product(flat, o.params[4], o.params[5]))))
	logits := must(product(hidden, o.params[6], o.params[7]))
	loss := must(crossEntropy(logits, y))
	gorgonia.Read(loss, &o.loss)
	gorgonia.Read(must(gorgonia.Exp(must(gorgonia.LogSoftMax(logits)))), &o.probs)
	if _, err := gorgonia.Grad(loss, o.params...); err != nil {
		t.Fatal(err)
	}
	o.vm = gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(o.params...))
	o.solver = gorgonia.NewAdamSolver(gorgonia.WithLearnRate(1e-3))
	return o
}

// run computes loss, probabilities and gradients for full windows.
func (o *oracle) run(t testing.TB, spec model.RecordSpec, scaling model.Scaling, windows [][]flows.Row, labels []int) float64 {
	t.Helper()
	scaler := cnn.NewScaler(spec, scaling)
	clear(o.target)
	for i, w := range windows {
		part := o.s.K * o.s.Width
		if err := scaler.Window(o.input[i*part:][:part], o.s.K, w); err != nil {
			t.Fatal(err)
		}
		o.target[i*o.s.Classes+labels[i]] = 1 / float32(len(windows))
	}
	if err := o.vm.RunAll(); err != nil {
		t.Fatal(err)
	}
	o.vm.Reset()
	return float64(o.loss.Data().(float32))
}

func (o *oracle) gradients(t testing.TB) cnn.Weights {
	t.Helper()
	var p [8][]float32
	for i, n := range o.params {
		g, err := n.Grad()
		if err != nil {
			t.Fatal(err)
		}
		p[i] = append([]float32(nil), g.Data().([]float32)...)
	}
	return fromStock(o.s, p)
}

func (o *oracle) weights() cnn.Weights {
	var p [8][]float32
	for i, n := range o.params {
		p[i] = append([]float32(nil), n.Value().Data().([]float32)...)
	}
	return fromStock(o.s, p)
}

func gradientsOf(t testing.TB, n *network) cnn.Weights {
	t.Helper()
	var p [5][]float32
	slopes, err := n.Slopes()
	if err != nil {
		t.Fatal(err)
	}
	for i, g := range slopes {
		p[i] = slices.Clone(g)
	}
	var w cnn.Weights
	w.Conv1, w.Conv1Bias, w.Conv2, w.Conv2Bias = n.split(p[0])
	w.Dense1, w.Dense1Bias, w.Dense2, w.Dense2Bias = p[1], p[2], p[3], p[4]
	return w
}

// step moves the network's values against the gradients that lie with them.
func step(t testing.TB, n *network, adam *train.Adam) {
	t.Helper()
	g, err := n.slopes()
	if err != nil {
		t.Fatal(err)
	}
	adam.Step(n.Values(), g, 1)
	n.Settle()
}

// weightsOf are the network's values.
func weightsOf(n *network) cnn.Weights { return n.Net(n.Values()).(*cnn.Net).Weights }

// each visits the eight tensors of two sets of weights.
func each(a, b cnn.Weights, visit func(name string, a, b []float32)) {
	for _, p := range []struct {
		name string
		a, b []float32
	}{
		{"conv1.weight", a.Conv1, b.Conv1}, {"conv1.bias", a.Conv1Bias, b.Conv1Bias},
		{"conv2.weight", a.Conv2, b.Conv2}, {"conv2.bias", a.Conv2Bias, b.Conv2Bias},
		{"dense1.weight", a.Dense1, b.Dense1}, {"dense1.bias", a.Dense1Bias, b.Dense1Bias},
		{"dense2.weight", a.Dense2, b.Dense2}, {"dense2.bias", a.Dense2Bias, b.Dense2Bias},
	} {
		visit(p.name, p.a, p.b)
	}
}

func farthest(a, b []float32) float64 {
	worst := 0.0
	for i := range a {
		worst = max(worst, math.Abs(float64(a[i])-float64(b[i])))
	}
	return worst
}

// fixture is a small batch for a network of the architecture.
func fixture(t testing.TB, arch cnn.Architecture, size, threads int) (*model.Model, *batch, [][]flows.Row, []int) {
	t.Helper()
	r := rand.New(rand.NewPCG(31, 32))
	m := modeltest.Model(r, arch, 4)
	d := modeltest.Dims(m)
	s := shape{arch, d}
	windows := modeltest.Windows(modeltest.Stream(r, size), arch.K)
	labels := make([]int, size)
	for i := range labels {
		labels[i] = r.IntN(4)
	}
	return m, newBatch(s, m.Record, m.Scaling, size, threads, 5), windows, labels
}

func noDropout(a cnn.Architecture) cnn.Architecture {
	a.Dropout = 0
	return a
}

// The trunk of our own and gorgonia's operations agree: loss, every gradient,
// the probabilities of the live engine, and the weights after Adam steps.
func TestNetworkEqualsStockOperations(t *testing.T) {
	for name, arch := range map[string]cnn.Architecture{
		"paper": noDropout(cnn.DefaultArchitecture(5)),
		"K=2":   noDropout(cnn.DefaultArchitecture(2)),
		"K=8":   noDropout(cnn.DefaultArchitecture(8)),
	} {
		t.Run(name, func(t *testing.T) {
			const size, steps = 6, 8
			m, b, windows, labels := fixture(t, arch, size, 2)
			n, err := newNetwork(b, modeltest.Net(m).Weights)
			if err != nil {
				t.Fatal(err)
			}
			adam := train.NewAdam(1e-3, 0, n.Values())
			o := newOracle(t, b.shape, modeltest.Net(m).Weights, size)
			for at := range steps {
				got, err := n.gradients(windows, labels, 1)
				if err != nil {
					t.Fatal(err)
				}
				want := o.run(t, m.Record, m.Scaling, windows, labels)
				if math.Abs(got-want) > 1e-5 {
					t.Fatalf("step %d: loss %v, stock %v", at, got, want)
				}
				if at == 0 {
					checkEngine(t, m, windows, o.probs.Data().([]float32))
				}
				each(gradientsOf(t, n), o.gradients(t), func(tensor string, a, b []float32) {
					if d, size := farthest(a, b), farthest(b, make([]float32, len(b))); d > 1e-6+1e-4*size {
						t.Errorf("step %d: gradient of %s, of size %g, is %g away from stock", at, tensor, size, d)
					}
				})
				step(t, n, adam)
				if err := o.solver.Step(gorgonia.NodesToValueGrads(o.params)); err != nil {
					t.Fatal(err)
				}
			}
			each(weightsOf(n), o.weights(), func(tensor string, a, b []float32) {
				if d := farthest(a, b); d > 2e-4 {
					t.Errorf("after %d Adam steps %s is %g away from stock", steps, tensor, d)
				}
			})
			moved := 0.0
			each(weightsOf(n), modeltest.Net(m).Weights, func(_ string, a, b []float32) { moved = max(moved, farthest(a, b)) })
			if moved < 1e-3 {
				t.Errorf("the weights moved by %g: nothing was trained", moved)
			}
		})
	}
}

// checkEngine compares the live engine's probabilities with gorgonia's.
func checkEngine(t *testing.T, m *model.Model, windows [][]flows.Row, want []float32) {
	t.Helper()
	e, err := model.NewEngine(m)
	if err != nil {
		t.Fatal(err)
	}
	probs := make([]float32, e.Classes())
	for i, w := range windows {
		if err := e.Predict(w, probs); err != nil {
			t.Fatal(err)
		}
		if d := farthest(probs, want[i*len(probs):]); d > 1e-6 {
			t.Errorf("window %d: the engine is %g away from gorgonia, want 1e-6", i, d)
		}
	}
}

// crossEntropy is the sum of -y log softmax(logits). It holds for small logits:
// see the loss of pkg/model/internal/learn.
func crossEntropy(logits, y *gorgonia.Node) (*gorgonia.Node, error) {
	logp, err := gorgonia.LogSoftMax(logits)
	if err != nil {
		return nil, err
	}
	each, err := gorgonia.HadamardProd(y, logp)
	if err != nil {
		return nil, err
	}
	sum, err := gorgonia.Sum(each)
	if err != nil {
		return nil, err
	}
	return gorgonia.Neg(sum)
}
