package learn

// This file leaves layers out, for the paper's ablation (IV-D, Table VI).
//
// A pool, dropout or dense layer that is left out is an architecture like any
// other. A convolution that is left out is replaced by the identity, which is
// never trained: a kernel of 1x1 with weight 1. The engine then needs to know
// nothing of it. After an identity conv1 there is still a ReLU, and inputs are
// negative; so it adds a constant above all of them, and the bias of the layer
// behind takes it off again. That layer is trained as if the constant were not
// there: steps are taken on the bias without it and on the gradients of inputs
// without it.

import (
	"errors"
	"fmt"
	"slices"

	"github.com/iotsense/iotsense/pkg/model/cnn"
)

// Layers that [Ablated] leaves out.
const (
	LayerConv1   = "conv1"
	LayerConv2   = "conv2"
	LayerMaxPool = "maxpool"
	LayerDropout = "dropout"
	LayerDense   = "dense"
)

// Layers are all of them, in the network's order.
var Layers = []string{LayerConv1, LayerConv2, LayerDropout, LayerMaxPool, LayerDense}

// aboveInput is larger than minus any scaled input: delimiters are -8, the totals'
// z-scores seldom below -4.
const aboveInput = 16

// Ablated is the architecture a without the layers named.
func Ablated(a cnn.Architecture, layers []string) (cnn.Architecture, error) {
	for _, l := range layers {
		switch l {
		case LayerConv1:
			a.Kernel1, a.Filters[0] = 1, 1
		case LayerConv2:
			a.Kernel2 = [2]int{1, 1}
		case LayerMaxPool:
			a.Pool = [2]int{1, 1}
		case LayerDropout:
			a.Dropout = 0
		case LayerDense:
			a.Hidden = 0
		default:
			return a, fmt.Errorf("no layer %q: there are %v", l, Layers)
		}
	}
	if slices.Contains(layers, LayerConv2) {
		a.Filters[1] = a.Filters[0]
	}
	if slices.Contains(layers, LayerConv1) && slices.Contains(layers, LayerConv2) {
		if slices.Contains(layers, LayerDense) {
			return a, errors.New("without both convolutions and the dense layer there is no network left")
		}
		a.Dropout = 0 // it would zero the constant that aboveInput adds
	}
	return a, nil
}

// Fixed is the number of an ablated network's values that are not trained.
func Fixed(a cnn.Architecture, layers []string) int {
	n := 0
	if slices.Contains(layers, LayerConv1) {
		n += a.Kernel1*a.Filters[0] + a.Filters[0]
	}
	if slices.Contains(layers, LayerConv2) {
		n += a.Kernel2[0]*a.Kernel2[1]*a.Filters[0]*a.Filters[1] + a.Filters[1]
	}
	return n
}

// absent says which convolutions are replaced.
type absent struct{ conv1, conv2 bool }

func newAbsent(layers []string) (absent, error) {
	_, err := Ablated(cnn.DefaultArchitecture(5), layers)
	return absent{slices.Contains(layers, LayerConv1), slices.Contains(layers, LayerConv2)}, err
}

// initial replaces the weights of absent layers.
func (a absent) initial(w *cnn.Weights) {
	if a.conv2 {
		channels := len(w.Conv2Bias)
		clear(w.Conv2)
		for c := range channels {
			w.Conv2[c*channels+c] = 1
		}
	}
	if !a.conv1 {
		return
	}
	w.Conv1[0], w.Conv1Bias[0] = 1, aboveInput
	if a.conv2 {
		shift(w.Dense1, w.Dense1Bias, -aboveInput)
	} else {
		shift(w.Conv2, w.Conv2Bias, -aboveInput)
	}
}

// shift adds by times the sums of w's columns to b.
func shift(w, b []float32, by float64) {
	for f := range b {
		sum := 0.0
		for i := f; i < len(w); i += len(b) {
			sum += float64(w[i])
		}
		b[f] += float32(by * sum)
	}
}

// splitter cuts the trunk's parameters, see shape.split.
type splitter func(theta []float32) (w1, b1, w2, b2 []float32)

// uncentre prepares parameters and gradients for a step: no gradient where nothing
// is trained, and the layer behind an absent conv1 as if no constant were added.
func (a absent) uncentre(split splitter, values, gradients [][]float32) {
	g1, gb1, g2, gb2 := split(gradients[0])
	if a.conv2 {
		clear(g2)
		clear(gb2)
	}
	if !a.conv1 {
		return
	}
	clear(g1)
	clear(gb1)
	w, b := a.reader(split, values)
	g, gb := a.reader(split, gradients)
	shift(w, b, aboveInput)
	for i := range g {
		g[i] -= aboveInput * gb[i%len(gb)]
	}
}

// centre undoes what uncentre did to the parameters.
func (a absent) centre(split splitter, values [][]float32) {
	if a.conv1 {
		w, b := a.reader(split, values)
		shift(w, b, -aboveInput)
	}
}

// reader is the layer behind an absent conv1.
func (a absent) reader(split splitter, values [][]float32) (w, b []float32) {
	if a.conv2 {
		return values[1], values[2]
	}
	_, _, w, b = split(values[0])
	return w, b
}
