package model

// This file runs a model: its network, and the calibration behind it.

import (
	"errors"
	"fmt"
	"math"

	"github.com/iotsense/iotsense/pkg/flows"
)

// Engine gives the class probabilities of a model for rows of streams without
// allocating. It keeps buffers: one goroutine each, [Engine.Clone] makes another over
// the same weights.
type Engine struct {
	runner      Runner
	classes     int
	temperature float64
	gauge       *gauge // nil: the model has no centres
	logits      [][]float32
	alone       struct { // a batch of one
		memories [1]Memory
		rows     [1]flows.Row
		probs    [1][]float32
	}
}

// NewEngine prepares a model for inference.
func NewEngine(m *Model) (*Engine, error) {
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	r, err := m.Net.Runner(m.Record, m.Scaling)
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	return m.EngineOn(r), nil
}

// EngineOn is an engine of the model on a runner of its network.
func (m *Model) EngineOn(r Runner) *Engine {
	return &Engine{runner: r, classes: len(m.Labels), temperature: m.Temperature(), gauge: m.gauge(r)}
}

// Clone is another engine over the same weights, for another goroutine.
func (e *Engine) Clone() *Engine {
	c := &Engine{runner: e.runner.Clone(), classes: e.classes, temperature: e.temperature}
	if e.gauge != nil {
		c.gauge = e.gauge.on(c.runner.(UnitsRunner))
	}
	return c
}

// Path names the implementation of the loops that the engine runs, see [Runner.Path].
func (e *Engine) Path() string { return e.runner.Path() }

// Classes is the number of probabilities that a prediction has.
func (e *Engine) Classes() int { return e.classes }

// Memory is that of a device not seen yet.
func (e *Engine) Memory() Memory { return e.runner.Memory() }

// Skip moves a memory on by a row that is not judged.
func (e *Engine) Skip(m Memory, row flows.Row) error {
	if err := e.runner.Skip(m, row); err != nil {
		return fmt.Errorf("predict: %w", err)
	}
	return nil
}

// Next writes the class probabilities of a device's stream after its next row to
// probs, which holds [Engine.Classes] values. A row that cannot be read leaves the
// memory as it was.
func (e *Engine) Next(m Memory, row flows.Row, probs []float32) error {
	a := &e.alone
	a.memories[0], a.rows[0], a.probs[0] = m, row, probs
	err := e.batch(a.memories[:], a.rows[:], a.probs[:])
	if err == nil {
		return nil
	}
	if refused := (*RowError)(nil); errors.As(err, &refused) {
		err = refused.Err
	}
	return fmt.Errorf("predict: %w", err)
}

// Predict is [Engine.Next] for the last of a new device's rows, the oldest first and
// at least one.
func (e *Engine) Predict(rows []flows.Row, probs []float32) error {
	m := e.Memory()
	for _, r := range rows[:len(rows)-1] {
		if err := e.Skip(m, r); err != nil {
			return err
		}
	}
	return e.Next(m, rows[len(rows)-1], probs)
}

// NextBatch is [Engine.Next] for many devices: the next row of memories[i] is rows[i],
// and probs[i] takes its probabilities, with the same bits. A device can be there
// several times, its rows in order. The error joins a [RowError] for each row that is
// refused; its probs are not to be used, all others are computed.
func (e *Engine) NextBatch(memories []Memory, rows []flows.Row, probs [][]float32) error {
	if len(memories) != len(rows) || len(probs) != len(rows) {
		return fmt.Errorf("predict: %d memories and room for %d probabilities of %d rows", len(memories), len(probs), len(rows))
	}
	if err := e.batch(memories, rows, probs); err != nil {
		return fmt.Errorf("predict: %w", err)
	}
	return nil
}

func (e *Engine) batch(memories []Memory, rows []flows.Row, probs [][]float32) error {
	for i, p := range probs {
		if len(p) != e.classes {
			return &RowError{i, fmt.Errorf("room for %d probabilities, want %d", len(p), e.classes)}
		}
	}
	for len(e.logits) < len(rows) {
		e.logits = append(e.logits, make([]float32, e.classes))
	}
	err := e.runner.Steps(memories, rows, e.logits[:len(rows)])
	for i, p := range probs {
		softmax(p, e.logits[i], e.temperature)
	}
	return err
}

// Logits are the network's outputs, before calibration, for the row that Next took
// last. The next call overwrites them.
func (e *Engine) Logits() []float32 { return e.logits[0] }

// Units are the values of the last layer before the outputs for the row that Next took last;
// nil if the network shows none. The next call overwrites them.
func (e *Engine) Units() []float32 {
	if r, ok := e.runner.(UnitsRunner); ok {
		return r.Units()
	}
	return nil
}

// Distance is how far the row that Next took last is from all that the model's classes were
// learned from, 1 at its threshold; ok is false if the model cannot tell.
func (e *Engine) Distance() (distance float64, ok bool) {
	if e.gauge == nil {
		return 0, false
	}
	return e.gauge.distance(), true
}

// softmax writes the probabilities of logits divided by the temperature.
func softmax(probs, logits []float32, temperature float64) {
	top := logits[0]
	for _, l := range logits {
		top = max(top, l)
	}
	sum := 0.0
	for i, l := range logits {
		p := math.Exp(float64(l-top) / temperature)
		probs[i] = float32(p)
		sum += p
	}
	for i, p := range probs[:len(logits)] {
		probs[i] = float32(float64(p) / sum)
	}
}
