package interchange

// This file recognises the network in a chain of ONNX operators. The order of
// the layers is the paper's (IV-A); what exporters do differently - weights
// transposed, biases added by nodes of their own, channels flattened first or
// last, logits instead of probabilities - is understood and undone.

import (
	"errors"
	"fmt"
	"slices"
)

// parseONNX reads the network of an ONNX file.
func parseONNX(data []byte) (*Network, error) {
	f, err := decodeONNX(data)
	if err != nil {
		return nil, err
	}
	if len(f.inputs) > 1 && f.inputs[0].name == rowsName {
		return nil, errors.New("onnx: a step of a stream network, which is not read back: keep the model file that it was exported from")
	}
	ops, in, err := f.chain()
	if err != nil {
		return nil, fmt.Errorf("onnx: %w", err)
	}
	r := &recognizer{net: &Network{Format: FormatONNX, Temperature: 1}}
	for _, op := range ops {
		if err := r.take(op); err != nil {
			return nil, fmt.Errorf("onnx: %v: %w", op, err)
		}
	}
	if err := r.finish(in); err != nil {
		return nil, fmt.Errorf("onnx: %w", err)
	}
	if f.metadata["format_version"] != "" {
		r.net.Metadata = f.metadata
	}
	return r.net, nil
}

// layer is where a recognizer is in the network.
type layer int

const (
	atInput layer = iota
	atConv1
	atConv2
	atPool
	atDense1
	atDense2
	atOutput
)

func (l layer) String() string {
	return [...]string{"the input", "conv1", "conv2", "the pool", "dense1", "dense2", "the softmax"}[l]
}

// recognizer follows the layers.
type recognizer struct {
	net    *Network
	at     layer
	active bool // the layer's ReLU was seen
	last   bool // channels are flattened last
}

var errOrder = errors.New("not at this place: want conv, conv, pool, dense, dense with a ReLU after all but the last")

// take goes one operator further.
func (r *recognizer) take(op operator) error {
	switch op.kind {
	case "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout":
		return nil
	case "Cast":
		if to := op.ints["to"]; len(to) != 1 || to[0] != elementFloat && to[0] != elementDouble {
			return errors.New("want a cast to float32 or float64")
		}
		return nil
	case "Transpose":
		return r.transpose(op)
	case "Conv":
		return r.conv(op)
	case "MatMul", "Gemm":
		return r.dense(op)
	case "Add":
		return r.bias(op)
	case "Relu":
		if r.active || r.at == atInput || r.at == atPool || r.at >= atDense2 {
			return errOrder
		}
		r.active = true
		return nil
	case "MaxPool":
		return r.pool(op)
	case "Div", "Mul":
		return r.temperature(op)
	case "Softmax":
		if r.at != atDense2 {
			return errOrder
		}
		if axis := op.ints["axis"]; len(axis) == 1 && axis[0] != 1 && axis[0] != -1 {
			return fmt.Errorf("over axis %d, want the last", axis[0])
		}
		r.at = atOutput
		return nil
	}
	return errors.New("an operator that the network does not have")
}

// enter moves on to the next layer.
func (r *recognizer) enter(l layer) error {
	if r.at != l-1 || (!r.active && r.at != atInput && r.at != atPool) {
		return fmt.Errorf("after %v: %w", r.at, errOrder)
	}
	r.at, r.active = l, false
	return nil
}

func (r *recognizer) transpose(op operator) error {
	if r.at < atConv2 {
		return nil // the kernels' shapes say whether it was the right one
	}
	if perm := op.ints["perm"]; r.at >= atDense1 || r.last || !slices.Equal(perm, []int64{0, 2, 3, 1}) {
		return fmt.Errorf("axes %v after %v: want 0 2 3 1 between pool and dense1", perm, r.at)
	}
	r.last = true
	return nil
}

// all says whether every number of an attribute is v; it may be absent.
func (o operator) all(attribute string, v int64) bool {
	return !slices.ContainsFunc(o.ints[attribute], func(got int64) bool { return got != v })
}

func (r *recognizer) conv(op operator) error {
	next := r.at + 1
	if next != atConv1 && next != atConv2 {
		return errOrder
	}
	if err := r.enter(next); err != nil {
		return err
	}
	pad := op.texts["auto_pad"]
	if !op.all("strides", 1) || !op.all("dilations", 1) || !op.all("pads", 0) || !op.all("group", 1) || (pad != "" && pad != "NOTSET" && pad != "VALID") {
		return errors.New("want stride 1 and no padding, dilation or groups")
	}
	if len(op.constants) == 0 || len(op.constants[0].shape) != 4 {
		return errors.New("no weights of four axes")
	}
	w := op.constants[0]
	out, in, rows, cols := w.shape[0], w.shape[1], w.shape[2], w.shape[3]
	n := r.net
	weights := channelsLast(w.values, rows*cols, in, out)
	if next == atConv1 {
		if in != 1 || rows != 1 {
			return fmt.Errorf("weights %v: want [filters 1 1 columns]", w.shape)
		}
		n.Arch.Filters[0], n.Arch.Kernel1, n.Weights.Conv1 = out, cols, weights
		n.Weights.Conv1Bias = make([]float32, out)
	} else {
		if in != n.Arch.Filters[0] {
			return fmt.Errorf("weights %v for %d channels", w.shape, n.Arch.Filters[0])
		}
		n.Arch.Filters[1], n.Arch.Kernel2, n.Weights.Conv2 = out, [2]int{rows, cols}, weights
		n.Weights.Conv2Bias = make([]float32, out)
	}
	if len(op.constants) > 1 {
		return r.setBias(op.constants[1].values)
	}
	return nil
}

// channelsLast undoes [channelsFirst].
func channelsLast(w []float32, places, in, out int) []float32 {
	moved := make([]float32, len(w))
	for p := range places {
		for i := range in {
			for o := range out {
				moved[(p*in+i)*out+o] = w[(o*in+i)*places+p]
			}
		}
	}
	return moved
}

// bias is a bias that a node of its own adds.
func (r *recognizer) bias(op operator) error {
	if r.active || len(op.constants) != 1 {
		return errOrder
	}
	return r.setBias(op.constants[0].values)
}

// setBias adds to the layer's bias.
func (r *recognizer) setBias(b []float32) error {
	w := &r.net.Weights
	slots := map[layer][]float32{atConv1: w.Conv1Bias, atConv2: w.Conv2Bias, atDense1: w.Dense1Bias, atDense2: w.Dense2Bias}
	slot, ok := slots[r.at]
	if !ok {
		return errOrder
	}
	if len(b) != len(slot) {
		return fmt.Errorf("a bias of %d values for %d outputs", len(b), len(slot))
	}
	for i, v := range b {
		slot[i] += v
	}
	return nil
}

func (r *recognizer) pool(op operator) error {
	if err := r.enter(atPool); err != nil {
		return err
	}
	kernel, pad := op.ints["kernel_shape"], op.texts["auto_pad"]
	if len(kernel) != 2 || !slices.Equal(kernel, op.ints["strides"]) || !op.all("pads", 0) || !op.all("dilations", 1) ||
		!op.all("ceil_mode", 0) || (pad != "" && pad != "NOTSET" && pad != "VALID") {
		return errors.New("want a pool of two axes whose strides are its size, without padding")
	}
	for i, size := range kernel {
		if size < 1 || size > maxValues {
			return fmt.Errorf("absurd size %v", kernel)
		}
		r.net.Arch.Pool[i] = int(size)
	}
	return nil
}

func (r *recognizer) dense(op operator) error {
	next := r.at + 1
	if next != atDense1 && next != atDense2 {
		return errOrder
	}
	if err := r.enter(next); err != nil {
		return err
	}
	for _, name := range []string{"alpha", "beta"} {
		if v, ok := op.floats[name]; ok && v != 1 {
			return fmt.Errorf("%s is %v, want 1", name, v)
		}
	}
	if !op.all("transA", 0) || len(op.constants) == 0 || len(op.constants[0].shape) != 2 {
		return errors.New("no weights of two axes")
	}
	w := op.constants[0]
	in, out, values := w.shape[0], w.shape[1], w.values
	if t := op.ints["transB"]; len(t) == 1 && t[0] == 1 {
		in, out, values = out, in, channelsLast(values, 1, w.shape[1], w.shape[0])
	}
	n := r.net
	if next == atDense1 {
		n.Flat, n.Arch.Hidden, n.Weights.Dense1 = in, out, values
		n.Weights.Dense1Bias = make([]float32, out)
		if err := r.flatten(); err != nil {
			return err
		}
	} else {
		if in != n.Arch.Hidden {
			return fmt.Errorf("weights %v after a layer of %d units", w.shape, n.Arch.Hidden)
		}
		n.Classes, n.Weights.Dense2 = out, values
		n.Weights.Dense2Bias = make([]float32, out)
	}
	if len(op.constants) > 1 {
		return r.setBias(op.constants[1].values)
	}
	return nil
}

// flatten brings dense1's rows into the model file's order, channels last.
func (r *recognizer) flatten() error {
	n := r.net
	channels := n.Arch.Filters[1]
	if channels == 0 || n.Flat%channels != 0 {
		return fmt.Errorf("%d inputs are not a multiple of %d channels", n.Flat, channels)
	}
	if r.last {
		return nil
	}
	places, hidden := n.Flat/channels, n.Arch.Hidden
	moved := make([]float32, len(n.Weights.Dense1))
	for c := range channels {
		for p := range places {
			copy(moved[(p*channels+c)*hidden:][:hidden], n.Weights.Dense1[(c*places+p)*hidden:])
		}
	}
	n.Weights.Dense1 = moved
	return nil
}

// temperature is a number that divides or multiplies the logits.
func (r *recognizer) temperature(op operator) error {
	if r.at != atDense2 || len(op.constants) != 1 || len(op.constants[0].values) != 1 {
		return errOrder
	}
	v := float64(op.constants[0].values[0])
	if op.kind == "Mul" {
		v = 1 / v
	}
	r.net.Temperature *= v
	return nil
}

// finish checks that the chain ended where the network does, and notes what the
// input's shape says: [N, K, width], [N, 1, K, width] or [N, K, width, 1].
func (r *recognizer) finish(in input) error {
	if r.at < atDense2 {
		return fmt.Errorf("the graph ends after %v: not the network of this project", r.at)
	}
	dims := in.dims
	if len(dims) == 4 && dims[3] == 1 {
		dims = dims[:3]
	} else if len(dims) == 4 && dims[1] == 1 {
		dims = dims[1:]
	}
	if len(dims) == 3 {
		r.net.Arch.K, r.net.Width = max(dims[1], 0), max(dims[2], 0)
	}
	return nil
}
