// Package train trains the network of package model on labelled windows (paper
// IV-A).
//
// In go windows with class numbers, out comes a [model.Model]. gorgonia carries
// the graph: automatic differentiation, the loss and the dense layers, with a
// matrix product of our own. The trunk - conv1, ReLU, conv2, ReLU, dropout, max
// pool - is one operation of our own (trunk.go), because most of a window is
// padding whose outputs are constants. Adam is ours too (adam.go), because a
// checkpoint holds its state. The same graph of gorgonia's stock operations with
// its Adam is the oracle of the tests.
//
// It is the only package that imports gorgonia; nothing on the packet path
// imports it.
package train

import (
	// gorgonia relies on a garbage collector that moves nothing and refuses to
	// start on a Go release that this module has not vouched for.
	_ "go4.org/unsafe/assume-no-moving-gc"
)
