// Package stream is a network for a device's stream of flows, behind the interfaces
// of package model: each flow is made a vector once, by what it holds and not by where
// it stands, and an output rests on the last flows' vectors. In go rows of a device's
// stream, out come logits. Training it is package learn's.
package stream

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/conv"
)

// Kind is the network's name in model files.
const Kind = "stream"

func init() { model.Register(model.Kind{Name: Kind, Read: read}) }

// Sizes of the convolution over a row's payload symbols.
const (
	Symbols   = conv.Symbols - 1 // bytes, and a packet's start and end; behind the last symbol stands 0
	Embedding = 8                // values of a symbol
	Taps      = conv.ByteTaps    // width of the kernel
	Stride    = conv.ByteStride  // symbols from one position to the next
	Filters   = conv.ByteFilters
)

// Architecture is the shape of the network:
//
//	payload symbols -> embedding -> convolution, maximum over all positions and 0,
//	  bias, ReLU: Filters values -+
//	Numbers -> dense, ReLU:       +-> a flow's vector -> dropout -> of the last Flows
//	  Units values ---------------+     vectors the last, the mean, the maximum ->
//	tokens -> sum of their rows,  |     dense Hidden ReLU -> dense classes softmax
//	  bias, ReLU: Width values ---+
type Architecture struct {
	Units   int     `json:"units"`   // that the numbers of a flow become
	Buckets int     `json:"buckets"` // that tokens are hashed to
	Width   int     `json:"width"`   // values of a token
	Flows   int     `json:"flows"`   // that an output rests on, the newest included
	Hidden  int     `json:"hidden"`  // units of the first dense layer behind the memory
	Dropout float64 `json:"dropout"` // share of the vectors' values zeroed in training

	OwnPorts    []int32 `json:"own_ports"`    // device ports with a number of their own, ascending
	RemotePorts []int32 `json:"remote_ports"` // the same of remote ports
}

// DefaultArchitecture is the network that was measured. Its ports are those of the
// flows it is trained on, see [Architecture.Survey].
func DefaultArchitecture() Architecture {
	return Architecture{
		Units: 64, Buckets: 2048, Width: 32, Flows: 20, Hidden: 100, Dropout: 0.3,
		OwnPorts: []int32{}, RemotePorts: []int32{},
	}
}

// Sizes above these are refused: they bound what a hostile file can ask for.
const (
	maxUnits   = 1 << 10
	maxBuckets = 1 << 17
	maxFlows   = 1 << 10
	maxMemory  = 24 << 10 // bytes that are kept of a device
)

// Flow is the length of a flow's vector.
func (a *Architecture) Flow() int { return Filters + a.Units + a.Width }

// MemoryBytes is how much is kept of a device, once it had as many flows.
func (a *Architecture) MemoryBytes() int { return a.Flows * a.Flow() * 4 }

// Strict is how many flows a strict judgement needs.
func (a *Architecture) Strict() int { return min(a.Flows, model.StrictRows) }

// Joined is how many values of the memory an output is computed of: the last vector,
// the mean, the maximum.
func (a *Architecture) Joined() int { return 3 * a.Flow() }

// Validate names the first size that no network can have.
func (a *Architecture) Validate() error {
	for _, c := range []struct {
		name      string
		got, high int
	}{
		{"units", a.Units, maxUnits},
		{"buckets", a.Buckets, maxBuckets},
		{"width", a.Width, maxUnits},
		{"flows", a.Flows, maxFlows},
		{"hidden", a.Hidden, maxUnits},
	} {
		if c.got < 1 || c.got > c.high {
			return fmt.Errorf("architecture: %s is %d, want 1 to %d", c.name, c.got, c.high)
		}
	}
	if n := a.MemoryBytes(); n > maxMemory {
		return fmt.Errorf("architecture: %d flows of %d values are %d bytes a device, want at most %d", a.Flows, a.Flow(), n, maxMemory)
	}
	if !(a.Dropout >= 0 && a.Dropout < 1) {
		return fmt.Errorf("architecture: dropout %v, want at least 0 and below 1", a.Dropout)
	}
	if err := checkPorts("own_ports", a.OwnPorts, OwnPortLimit); err != nil {
		return err
	}
	return checkPorts("remote_ports", a.RemotePorts, RemotePortLimit)
}

func checkPorts(name string, ports []int32, limit int32) error {
	if len(ports) > PortNumbers {
		return fmt.Errorf("architecture: %d %s, want at most %d", len(ports), name, PortNumbers)
	}
	for i, p := range ports {
		if p < 0 || p >= limit || i > 0 && p <= ports[i-1] {
			return fmt.Errorf("architecture: %s %v: want ascending ports below %d", name, ports, limit)
		}
	}
	return nil
}

// Weights are the trained values, row-major, in the shapes of the file format.
type Weights struct {
	Embedding            []float32 // [Symbols, Embedding]
	Kernel, KernelBias   []float32 // [Taps, Embedding, Filters], [Filters]
	Numbers, NumbersBias []float32 // [Numbers, units], [units]
	Tokens, TokensBias   []float32 // [buckets, width], [width]
	Dense1, Dense1Bias   []float32 // [joined, hidden], [hidden]
	Dense2, Dense2Bias   []float32 // [hidden, classes], [classes]: an output for each class
}

// Slots are the weight tensors in file order.
func (w *Weights) Slots() [11]*[]float32 {
	return [11]*[]float32{
		&w.Embedding, &w.Kernel, &w.KernelBias, &w.Numbers, &w.NumbersBias, &w.Tokens, &w.TokensBias,
		&w.Dense1, &w.Dense1Bias, &w.Dense2, &w.Dense2Bias,
	}
}

// Clone is a deep copy.
func (w *Weights) Clone() Weights {
	c := *w
	for _, s := range c.Slots() {
		*s = slices.Clone(*s)
	}
	return c
}

// Tensors are the network's tensors in file order, without their values.
func (a *Architecture) Tensors(classes int) [11]model.Tensor {
	return [11]model.Tensor{
		{Name: "embedding", Shape: []int{Symbols, Embedding}},
		{Name: "conv.weight", Shape: []int{Taps, Embedding, Filters}},
		{Name: "conv.bias", Shape: []int{Filters}},
		{Name: "numbers.weight", Shape: []int{Numbers, a.Units}},
		{Name: "numbers.bias", Shape: []int{a.Units}},
		{Name: "tokens.weight", Shape: []int{a.Buckets, a.Width}},
		{Name: "tokens.bias", Shape: []int{a.Width}},
		{Name: "dense1.weight", Shape: []int{a.Joined(), a.Hidden}},
		{Name: "dense1.bias", Shape: []int{a.Hidden}},
		{Name: "dense2.weight", Shape: []int{a.Hidden, classes}},
		{Name: "dense2.bias", Shape: []int{classes}},
	}
}

// Net is the network: a [model.Net].
type Net struct {
	Arch    Architecture
	Weights Weights
}

// Kind implements model.Net.
func (n *Net) Kind() string { return Kind }

// Shape implements model.Net.
func (n *Net) Shape() any {
	return struct {
		Kind string `json:"kind"`
		Architecture
	}{Kind, n.Arch}
}

// Span implements model.Net.
func (n *Net) Span() int { return n.Arch.Flows }

// Strict implements model.Net.
func (n *Net) Strict() int { return n.Arch.Strict() }

// Units implements model.Units.
func (n *Net) Units() int { return n.Arch.Hidden }

// Ports implements model.Net: those that have a number of their own.
func (n *Net) Ports(own, remote int32) (int32, int32) {
	return among(own, n.Arch.OwnPorts), among(remote, n.Arch.RemotePorts)
}

// among is the port if it is one of the known ones, or missing.
func among(port int32, known []int32) int32 {
	if _, found := slices.BinarySearch(known, port); !found && port != flows.Missing {
		return otherPort
	}
	return port
}

// otherPort is no port.
const otherPort = 1 << 16

// Input implements model.Net: the values of the memory that an output is computed of.
func (n *Net) Input(model.RecordSpec) []int { return []int{n.Arch.Joined()} }

// Tensors implements model.Net.
func (n *Net) Tensors() []model.Tensor {
	tensors := n.Arch.Tensors(len(n.Weights.Dense2Bias))
	for i, values := range n.Weights.Slots() {
		tensors[i].Data = *values
	}
	return tensors[:]
}

// Fits implements model.Net.
func (n *Net) Fits(_ model.RecordSpec, classes int) error {
	if err := n.Arch.Validate(); err != nil {
		return err
	}
	slots := n.Weights.Slots()
	for i, t := range n.Arch.Tensors(classes) {
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

// read makes a network out of a model file.
func read(shape json.RawMessage, _ model.RecordSpec, classes int, take func(name string, shape ...int) ([]float32, error)) (model.Net, error) {
	n := &Net{}
	if err := json.Unmarshal(shape, &n.Arch); err != nil {
		return nil, fmt.Errorf("architecture: %w", err)
	}
	if err := n.Arch.Validate(); err != nil {
		return nil, err
	}
	slots := n.Weights.Slots()
	for i, t := range n.Arch.Tensors(classes) {
		var err error
		if *slots[i], err = take(t.Name, t.Shape...); err != nil {
			return nil, err
		}
	}
	return n, nil
}
