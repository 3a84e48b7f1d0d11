package model

import "github.com/iotsense/iotsense/pkg/model/internal/conv"

// NewEngineOn is [NewEngine] on one implementation of the loops.
func NewEngineOn(m *Model, path conv.Path) (*Engine, error) { return newEngine(m, path) }

// ComputePadding makes the engine compute padding like every other value, so
// that only the sliding window saves work.
func (e *Engine) ComputePadding() { e.net.whole = true }
