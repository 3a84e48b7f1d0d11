package model

// This file is how far a row is from all that a model's classes were learned from.

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/iotsense/iotsense/pkg/model/internal/conv"
)

// Centres say where the rows of a model's classes lie in the layer that its outputs are made
// of: whatever is near none of them the outputs say nothing of.
type Centres struct {
	Threshold float64 `json:"threshold"` // a device whose rows are further away, in the mean, is unlike all that is known
	Captures  int     `json:"captures"`  // of validation that it was set on

	Vectors []float32 `json:"-"` // one after the other, of length 1 or nearly
}

// Units is a [Net] that can say what its outputs are made of; its runner is a [UnitsRunner].
type Units interface {
	// Units is how many values of the last layer before the outputs there are.
	Units() int
}

// UnitsRunner is a [Runner] of a network with [Units].
type UnitsRunner interface {
	// Units are these values for the row that Steps took last, if it was given no other. The
	// next call overwrites them.
	Units() []float32
}

// maxCentres bounds what a hostile file can ask for.
const maxCentres = 1 << 12

// The metadata key and the tensor of a model with centres.
const (
	centresKey  = "distance"
	centresName = "distance_centres"
)

// units is how many values a centre has; 0: the network shows none.
func (m *Model) units() int {
	if n, ok := m.Net.(Units); ok {
		return n.Units()
	}
	return 0
}

func (m *Model) validateCentres() error {
	c, units := m.Centres, m.units()
	switch {
	case c == nil:
		return nil
	case units == 0:
		return fmt.Errorf("distance: a %s network shows no layer to measure it in", m.Net.Kind())
	case len(c.Vectors) == 0 || len(c.Vectors)%units != 0 || len(c.Vectors)/units > maxCentres:
		return fmt.Errorf("distance: %d values of centres, want 1 to %d centres of %d", len(c.Vectors), maxCentres, units)
	case !(c.Threshold > 0) || math.IsInf(c.Threshold, 0):
		return fmt.Errorf("distance: threshold %v: want above 0", c.Threshold)
	}
	if i := NotFinite(c.Vectors); i >= 0 {
		return fmt.Errorf("distance: value %d of the centres is %v: must be finite", i, c.Vectors[i])
	}
	return nil
}

// centresTensors are those of the centres, if the model has any.
func (m *Model) centresTensors(prefix string) []Tensor {
	if m.Centres == nil {
		return nil
	}
	units := m.units()
	return []Tensor{{prefix + centresName, []int{len(m.Centres.Vectors) / units, units}, m.Centres.Vectors}}
}

// readCentres reads the model's centres from a file, if it has any.
func (m *Model) readCentres(text string, tensor Tensor, take func(name string, shape ...int) ([]float32, error)) (err error) {
	if text == "" {
		return nil
	}
	m.Centres = &Centres{}
	if err := json.Unmarshal([]byte(text), m.Centres); err != nil {
		return fmt.Errorf("metadata %s: %w", centresKey, err)
	}
	if len(tensor.Shape) == 0 {
		return errors.New("tensor " + centresName + " is missing")
	}
	m.Centres.Vectors, err = take(centresName, tensor.Shape[0], m.units())
	return err
}

// gauge measures distances. A copy with sums of its own is for another goroutine.
type gauge struct {
	runner UnitsRunner
	path   conv.Path
	across []float32 // by unit, of each centre its value; padded
	n      int
	live   [1]conv.Live
	sums   [1][]float32 // by centre
	share  float64      // of the threshold
}

// gauge is ready to measure rows of a runner; nil if the model has no centres.
func (m *Model) gauge(r Runner) *gauge {
	shows, ok := r.(UnitsRunner)
	if m.Centres == nil || !ok {
		return nil
	}
	units := m.units()
	n := len(m.Centres.Vectors) / units
	across := make([]float32, units*n)
	for i, v := range m.Centres.Vectors {
		across[i%units*n+i/units] = v
	}
	g := &gauge{runner: shows, path: conv.Fastest(), across: conv.PadRows(across, n), n: n, share: 1 / m.Centres.Threshold}
	return g.on(shows)
}

// on is the gauge for another runner.
func (g *gauge) on(r UnitsRunner) *gauge {
	c := *g
	c.runner = r
	c.live[0] = conv.NewLive(len(g.across) / conv.RoundUp(g.n, conv.Lanes))
	c.sums[0] = make([]float32, conv.RoundUp(g.n, conv.Lanes))
	return &c
}

// distance is 1 less the highest cosine of the row's values and a centre, over the threshold.
func (g *gauge) distance() float64 {
	units, squares := g.runner.Units(), 0.0
	for _, v := range units {
		squares += float64(v) * float64(v) // exact, so that it is the same everywhere
	}
	if squares == 0 {
		return g.share
	}
	g.live[0].Reset()
	g.path.List(&g.live[0], [][]float32{units}, len(units), 0)
	clear(g.sums[0])
	g.path.Dense(g.sums[:], g.across, g.live[:])
	nearest := g.sums[0][0]
	for _, s := range g.sums[0][1:g.n] {
		nearest = max(nearest, s)
	}
	return max(0, 1-float64(nearest)/math.Sqrt(squares)) * g.share
}
