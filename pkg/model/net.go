package model

// This file is the door for networks: what a network must be for a model file to hold
// it, for training to make it and for the sensor to run it.

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/pkg/flows"
)

// Net is a trained network. It is never written once built: all that run it share it.
type Net interface {
	// Kind is its name in model files, like "paper".
	Kind() string
	// Shape is what a model file keeps as its architecture, in JSON.
	Shape() any
	// Tensors are its trained values, in the order of the file.
	Tensors() []Tensor
	// Span is how many rows of a stream an output rests on, the newest included; 0:
	// the whole stream.
	Span() int
	// Strict is how many rows of a stream a strict judgement needs, the newest
	// included: [StrictRows] unless the network has windows with padding.
	Strict() int
	// Ports are those of a flow, but for one number for all that it does not tell apart.
	Ports(own, remote int32) (int32, int32)
	// Input is the shape of one input as explanations see it.
	Input(record RecordSpec) []int
	// Fits reports why it is no network for such records and so many classes.
	Fits(record RecordSpec, classes int) error
	// Runner prepares it to run. What fits has one, or weights that overflow.
	Runner(record RecordSpec, scaling Scaling) (Runner, error)
}

// Runner runs a network without allocating. It keeps buffers: one goroutine each.
type Runner interface {
	// Clone is another runner of the same network, for another goroutine.
	Clone() Runner
	// Path names the implementation of its loops: "go", or vector code like "avx2".
	Path() string
	// Memory is that of a device not seen yet.
	Memory() Memory
	// Skip moves a memory on by a row whose output nobody asks for, as cheaply as it
	// can.
	Skip(m Memory, row flows.Row) error
	// Steps moves memories[i] on by rows[i] and writes the network's outputs, before
	// calibration, to logits[i]. A device may be there several times, its rows in
	// order. A row that cannot be read leaves its memory as it was; the error joins a
	// [RowError] for each that was refused, and all others are computed. Records must not change once
	// seen.
	Steps(memories []Memory, rows []flows.Row, logits [][]float32) error
}

// Memory is what a runner keeps of one device between two rows of its stream. It
// belongs to the network that made it.
type Memory interface {
	// Reset makes it the memory of a device not seen yet.
	Reset()
	// Trim drops what can be computed again: the next output costs more, and has the
	// same bits.
	Trim()
	// Bytes is about how much memory Trim would free.
	Bytes() int
	// Clone is a memory of the same rows that goes its own way.
	Clone() Memory
}

// RowError says which row of a batch was refused.
type RowError struct {
	Row int // its place in the batch
	Err error
}

func (e *RowError) Error() string { return fmt.Sprintf("row %d of the batch: %v", e.Row, e.Err) }

// Unwrap gives the cause.
func (e *RowError) Unwrap() error { return e.Err }

// Remembering is a [Net] that can go on with what another remembers of a device.
type Remembering interface {
	// Remembers reports whether its memories after any rows are those of another network, bit
	// for bit.
	Remembers(other Net) bool
}

// Remembers reports whether m can go on with what old remembers of a device: a model that
// classes were added to can.
func (m *Model) Remembers(old *Model) bool {
	n, ok := m.Net.(Remembering)
	return ok && reflect.DeepEqual(m.Record, old.Record) && reflect.DeepEqual(m.Scaling, old.Scaling) && n.Remembers(old.Net)
}

// Tensor is one named array of a network, row-major.
type Tensor struct {
	Name  string
	Shape []int
	Data  []float32
}

// Check reports that the tensor has not as many values as its shape.
func (t Tensor) Check() error {
	if len(t.Data) != t.Size() {
		return fmt.Errorf("%s has %d values, want %d (%v)", t.Name, len(t.Data), t.Size(), t.Shape)
	}
	return nil
}

// Size is how many values the shape has.
func (t Tensor) Size() int {
	n := 1
	for _, s := range t.Shape {
		n *= s
	}
	return n
}

// Kind makes networks of one kind out of model files.
type Kind struct {
	Name string
	// Read makes the network whose [Net.Shape] is shape. take gives the tensor of that
	// name, or an error where it is missing or has another shape.
	Read func(shape json.RawMessage, record RecordSpec, classes int, take func(name string, shape ...int) ([]float32, error)) (Net, error)
}

// kinds are those that this program knows, by name.
var kinds = map[string]Kind{}

// paperKind is the kind of a file that names none.
const paperKind = "paper"

// Register makes a kind known, once and before any file is read.
func Register(k Kind) {
	if _, twice := kinds[k.Name]; twice {
		panic("model: kind " + k.Name + " is registered twice")
	}
	kinds[k.Name] = k
}

// kindOf finds the kind that a file's architecture names.
func kindOf(shape json.RawMessage) (Kind, error) {
	var named struct{ Kind string }
	if err := json.Unmarshal(shape, &named); err != nil {
		return Kind{}, fmt.Errorf("architecture: %w", err)
	}
	if named.Kind == "" {
		named.Kind = paperKind
	}
	k, ok := kinds[named.Kind]
	if !ok {
		return Kind{}, fmt.Errorf("architecture: no network of kind %.20q here, only %s", named.Kind, strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
	}
	return k, nil
}
