// Package cnn is the paper's convolutional network (section IV-A) behind the
// interfaces of package model: its shape, its scaling, and the loops that run it on
// live traffic. In go rows of a device's stream, out come logits. Training it is
// package learn's.
package cnn

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/conv"
)

// Kind is the network's name in model files, where it may be left out.
const Kind = "paper"

func init() { model.Register(model.Kind{Name: Kind, Read: read}) }

// Net is the network: a [model.Net].
type Net struct {
	Arch    Architecture
	Weights Weights
}

// Weights are the trained values, row-major, in the shapes of the file format.
type Weights struct {
	Conv1, Conv1Bias   []float32 // [kernel1, f1], [f1]
	Conv2, Conv2Bias   []float32 // [kernel2 rows, kernel2 columns, f1, f2], [f2]
	Dense1, Dense1Bias []float32 // [flat, hidden], [hidden]
	Dense2, Dense2Bias []float32 // [hidden, classes], [classes]
}

// slots are the weight tensors in file order.
func (w *Weights) slots() [8]*[]float32 {
	return [8]*[]float32{
		&w.Conv1, &w.Conv1Bias, &w.Conv2, &w.Conv2Bias,
		&w.Dense1, &w.Dense1Bias, &w.Dense2, &w.Dense2Bias,
	}
}

// Clone is a deep copy.
func (w *Weights) Clone() Weights {
	c := *w
	for _, s := range c.slots() {
		*s = slices.Clone(*s)
	}
	return c
}

// Of is the model's network, or an error where it is another.
func Of(m *model.Model) (*Net, error) {
	n, ok := m.Net.(*Net)
	if !ok {
		return nil, fmt.Errorf("a %s network, want one of kind %s", m.Net.Kind(), Kind)
	}
	return n, nil
}

// Kind implements model.Net.
func (n *Net) Kind() string { return Kind }

// Shape implements model.Net.
func (n *Net) Shape() any { return n.Arch }

// Span implements model.Net.
func (n *Net) Span() int { return n.Arch.K }

// Strict implements model.Net: a whole window.
func (n *Net) Strict() int { return n.Arch.K }

// Ports implements model.Net. It sees all, which tell flows apart that are alike: here those
// of the system's range stay (RFC 6335, section 6).
func (n *Net) Ports(own, remote int32) (int32, int32) {
	return min(own, systemPorts), min(remote, systemPorts)
}

// systemPorts are the ports below.
const systemPorts = 1024

// Input implements model.Net: [K, width].
func (n *Net) Input(record model.RecordSpec) []int { return []int{n.Arch.K, record.Width()} }

// Dims are the sizes of the layers for the records.
func (n *Net) Dims(record model.RecordSpec) (Dims, error) {
	return n.Arch.Dims(record.Width(), len(n.Weights.Dense2Bias))
}

// Tensors implements model.Net.
func (n *Net) Tensors() []model.Tensor {
	d := Dims{Classes: len(n.Weights.Dense2Bias)}
	if width, values := n.Arch.Hidden, len(n.Weights.Dense1); width > 0 {
		d.Flat = values / width
	} else if d.Classes > 0 {
		d.Flat = len(n.Weights.Dense2) / d.Classes
	}
	tensors := n.Arch.tensors(d)
	for i, values := range n.Weights.slots() {
		tensors[i].Data = *values
	}
	return tensors[:]
}

// Fits implements model.Net.
func (n *Net) Fits(record model.RecordSpec, classes int) error {
	d, err := n.Arch.Dims(record.Width(), classes)
	if err != nil {
		return err
	}
	slots := n.Weights.slots()
	for i, t := range n.Arch.tensors(d) {
		t.Data = *slots[i]
		if err := t.Check(); err != nil {
			return err
		}
	}
	return nil
}

// Runner implements model.Net.
func (n *Net) Runner(record model.RecordSpec, scaling model.Scaling) (model.Runner, error) {
	return n.runnerOn(record, scaling, conv.Fastest())
}

func (n *Net) runnerOn(record model.RecordSpec, scaling model.Scaling, path conv.Path) (*Runner, error) {
	net, err := newNetwork(n, record, scaling, path)
	if err != nil {
		return nil, err
	}
	return net.runner(), nil
}

// read makes a network out of a model file.
func read(shape json.RawMessage, record model.RecordSpec, classes int, take func(name string, shape ...int) ([]float32, error)) (model.Net, error) {
	n := &Net{}
	if err := json.Unmarshal(shape, &n.Arch); err != nil {
		return nil, fmt.Errorf("architecture: %w", err)
	}
	dims, err := n.Arch.Dims(record.Width(), classes)
	if err != nil {
		return nil, err
	}
	slots := n.Weights.slots()
	for i, t := range n.Arch.tensors(dims) {
		if *slots[i], err = take(t.Name, t.Shape...); err != nil {
			return nil, err
		}
	}
	return n, nil
}
