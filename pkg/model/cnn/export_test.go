package cnn

import (
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/conv"
)

// RunnerOn is a runner of a model's network on one implementation of the loops.
func RunnerOn(m *model.Model, path conv.Path) (*Runner, error) {
	n, err := Of(m)
	if err != nil {
		return nil, err
	}
	return n.runnerOn(m.Record, m.Scaling, path)
}

// ComputePadding makes the runner compute padding like every other value, so that
// only the sliding window saves work.
func (e *Runner) ComputePadding() { e.net.whole = true }
