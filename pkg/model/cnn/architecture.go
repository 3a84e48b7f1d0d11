package cnn

// This file holds the network's shape: which layers, which sizes, how many numbers.

import (
	"fmt"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
)

// Architecture is the shape of the network of section IV-A:
//
//	input K x width -> conv1 (1 x Kernel1) ReLU -> conv2 (Kernel2) ReLU ->
//	dropout -> max pool (Pool, stride = Pool) -> flatten -> dense Hidden ReLU ->
//	dense classes softmax
//
// Convolutions have stride 1 and no padding ("valid"). The flattened index is
// (row*columns + column)*Filters[1] + channel, the order of Keras.
type Architecture struct {
	K       int     `json:"k"`       // rows of a window
	Filters [2]int  `json:"filters"` // of conv1, of conv2
	Kernel1 int     `json:"kernel1"` // columns of conv1's kernel; its height is one row
	Kernel2 [2]int  `json:"kernel2"` // rows, columns
	Pool    [2]int  `json:"pool"`    // rows, columns
	Hidden  int     `json:"hidden"`  // units of the first dense layer; 0: there is none, the pool feeds the last
	Dropout float64 `json:"dropout"` // share of conv2's outputs zeroed in training
}

// DefaultRows are the paper's K: successive rows of one window (IV).
const DefaultRows = 5

// DefaultArchitecture is the paper's network for windows of k rows. For k below
// five the heights of conv2's kernel and of the pool are what is left, at most 3.
func DefaultArchitecture(k int) Architecture {
	kernel := min(3, max(k, 1))
	return Architecture{
		K:       k,
		Filters: [2]int{2, 2},
		Kernel1: flows.MetaValues,
		Kernel2: [2]int{kernel, 5},
		Pool:    [2]int{min(3, max(k-kernel+1, 1)), 3},
		Hidden:  100,
		Dropout: 0.5,
	}
}

// Sizes above these are refused: they bound what a hostile file can ask for and
// leave room for every variant of the paper's Table VI and far beyond.
const (
	maxRows    = 64
	maxKernel  = 1024
	maxFilters = 256
	maxUnits   = 1 << 14
)

// Dims are the sizes that follow from an architecture, a row width and a number
// of classes.
type Dims struct {
	Width    int // values of a row
	Cols1    int // columns after conv1 (rows stay K)
	Rows2    int // rows after conv2
	Cols2    int // columns after conv2
	PoolRows int
	PoolCols int
	Flat     int // inputs of the first dense layer
	Classes  int
}

// Bounds reports the first size that no network of this package has, each for
// itself; whether they fit each other says [Architecture.Dims].
func (a Architecture) Bounds(classes int) error {
	for _, c := range []struct {
		name     string
		got, max int
	}{
		{"k", a.K, maxRows},
		{"filters[0]", a.Filters[0], maxFilters},
		{"filters[1]", a.Filters[1], maxFilters},
		{"kernel1", a.Kernel1, maxKernel},
		{"kernel2[0]", a.Kernel2[0], maxRows},
		{"kernel2[1]", a.Kernel2[1], maxKernel},
		{"pool[0]", a.Pool[0], maxRows},
		{"pool[1]", a.Pool[1], maxKernel},
		{"classes", classes, model.MaxClasses},
	} {
		if c.got < 1 || c.got > c.max {
			return fmt.Errorf("architecture: %s is %d, want 1 to %d", c.name, c.got, c.max)
		}
	}
	if a.Hidden < 0 || a.Hidden > maxUnits {
		return fmt.Errorf("architecture: hidden is %d, want 0 to %d", a.Hidden, maxUnits)
	}
	if !(a.Dropout >= 0 && a.Dropout < 1) {
		return fmt.Errorf("architecture: dropout is %v, want 0 <= p < 1", a.Dropout)
	}
	return nil
}

// Dims computes the sizes of every layer for rows of width values, or says
// which layer does not fit.
func (a Architecture) Dims(width, classes int) (Dims, error) {
	if err := a.Bounds(classes); err != nil {
		return Dims{}, err
	}
	d := Dims{
		Width:   width,
		Cols1:   width - a.Kernel1 + 1,
		Rows2:   a.K - a.Kernel2[0] + 1,
		Cols2:   width - a.Kernel1 - a.Kernel2[1] + 2,
		Classes: classes,
	}
	if d.Rows2 < 1 || d.Cols2 < 1 {
		return Dims{}, fmt.Errorf("architecture: kernels 1x%d and %dx%d do not fit an input of %dx%d",
			a.Kernel1, a.Kernel2[0], a.Kernel2[1], a.K, width)
	}
	d.PoolRows, d.PoolCols = d.Rows2/a.Pool[0], d.Cols2/a.Pool[1]
	if d.PoolRows < 1 || d.PoolCols < 1 {
		return Dims{}, fmt.Errorf("architecture: pool %dx%d does not fit %dx%d",
			a.Pool[0], a.Pool[1], d.Rows2, d.Cols2)
	}
	d.Flat = d.PoolRows * d.PoolCols * a.Filters[1]
	if n := a.parameters(d); n > model.MaxParameters {
		return Dims{}, fmt.Errorf("architecture: %d parameters, want at most %d", n, model.MaxParameters)
	}
	return d, nil
}

// parameters is the number of trained values.
func (a Architecture) parameters(d Dims) int {
	n := 0
	for _, t := range a.tensors(d) {
		n += t.Size()
	}
	return n
}

// tensors lists the weight tensors, without their values, in file order.
func (a Architecture) tensors(d Dims) [8]model.Tensor {
	f, last := a.Filters, a.Hidden
	if last == 0 {
		last = d.Flat
	}
	return [8]model.Tensor{
		{Name: "conv1.weight", Shape: []int{a.Kernel1, f[0]}},
		{Name: "conv1.bias", Shape: []int{f[0]}},
		{Name: "conv2.weight", Shape: []int{a.Kernel2[0], a.Kernel2[1], f[0], f[1]}},
		{Name: "conv2.bias", Shape: []int{f[1]}},
		{Name: "dense1.weight", Shape: []int{d.Flat, a.Hidden}},
		{Name: "dense1.bias", Shape: []int{a.Hidden}},
		{Name: "dense2.weight", Shape: []int{last, d.Classes}},
		{Name: "dense2.bias", Shape: []int{d.Classes}},
	}
}
