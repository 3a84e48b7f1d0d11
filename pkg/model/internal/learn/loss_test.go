package learn

import (
	"math"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Logits of any size give a finite loss and gradient, by the definition.
func TestLossOfFarLogits(t *testing.T) {
	logits := []float32{
		300, 0, -300, // what gorgonia's LogSoftMax takes for every row's maximum
		-5, -4, 1,
		400, 2, 1, // the maximum comes first
		0, 0, 0,
	}
	target := []float32{
		.25, 0, 0,
		0, 0, .25,
		0, .25, 0,
		0, 0, 0, // a row that is not in use
	}
	g := gorgonia.NewGraph()
	node := func(name string, data []float32) *gorgonia.Node {
		return gorgonia.NodeFromAny(g, tensor.New(tensor.WithShape(4, 3), tensor.WithBacking(data)), gorgonia.WithName(name))
	}
	x := node("logits", logits)
	loss, err := gorgonia.ApplyOp(lossOp(4, 3), x, node("target", target))
	if err != nil {
		t.Fatal(err)
	}
	var value gorgonia.Value
	gorgonia.Read(loss, &value)
	if _, err := gorgonia.Grad(loss, x); err != nil {
		t.Fatal(err)
	}
	vm := gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(x))
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		t.Fatal(err)
	}
	third := math.Log(1 + math.Exp(-5) + math.Exp(-6))
	if got, want := float64(value.Data().(float32)), .25*(third+398); math.Abs(got-want) > 1e-4 {
		t.Errorf("the loss is %v, want %v", got, want)
	}
	p := math.Exp(-third)
	want := []float64{0, 0, 0, .25 * p * math.Exp(-6), .25 * p * math.Exp(-5), .25*p - .25, .25, -.25, 0, 0, 0, 0}
	grad, err := x.Grad()
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range grad.Data().([]float32) {
		if math.Abs(float64(v)-want[i]) > 1e-7 {
			t.Errorf("gradient %d is %v, want %v", i, v, want[i])
		}
	}
}
