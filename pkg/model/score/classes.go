package score

// This file numbers classes: merged ones under one number, left-out ones under none.

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/pkg/join"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/taxonomy"
)

// classes gives every class a number in the order they come.
type classes struct {
	names   []string       // by number
	named   map[string]int // number by name
	number  map[string]int // of a class, under its own name
	merged  map[string]string
	leftOut map[string]bool
	seen    map[string]bool // names that the model or the data has

	taxonomy taxonomy.Taxonomy
	paths    map[int][]string // levels of a class by its number, once asked for
	levels   *join.Levels     // of outputs

	outputs    []int     // number of each class the model can give, merged
	place      []int     // in outputs, of each of the model's labels
	thresholds []float64 // of outputs
}

// newClasses numbers the model's classes.
func newClasses(cfg Config) (*classes, error) {
	c := &classes{named: map[string]int{}, number: map[string]int{}, merged: map[string]string{}, leftOut: map[string]bool{}, seen: map[string]bool{}, taxonomy: cfg.Taxonomy, paths: map[int][]string{}}
	for _, group := range cfg.Merge {
		for _, name := range group {
			if name == model.NoneLabel {
				return nil, fmt.Errorf("score: %q is no class to merge with others", name)
			}
			if other, twice := c.merged[name]; twice {
				return nil, fmt.Errorf("score: class %q is to be merged twice, into %s and %s", name, other, strings.Join(group, "+"))
			}
			c.merged[name] = strings.Join(group, "+")
		}
	}
	for _, name := range cfg.LeaveOut {
		c.leftOut[name] = true
	}
	for _, label := range cfg.Labels {
		n := c.of(label)
		place := slices.Index(c.outputs, n)
		if place < 0 {
			place = len(c.outputs)
			c.outputs, c.thresholds = append(c.outputs, n), append(c.thresholds, 0)
		}
		c.place = append(c.place, place)
		c.thresholds[place] = max(c.thresholds[place], cfg.Thresholds.For(label))
		if label == model.NoneLabel {
			c.thresholds[place] = math.Inf(1) // no device is named so
		}
	}
	c.levels = c.levelsOfOutputs(cfg.Thresholds.Default)
	return c, nil
}

// levelsOfOutputs are those of what the model can give.
func (c *classes) levelsOfOutputs(above float64) *join.Levels {
	paths, none := make([][]string, len(c.outputs)), -1
	for place, n := range c.outputs {
		paths[place] = c.parts(n)
		if c.names[n] == model.NoneLabel {
			none = place
		}
	}
	return join.NewLevels(paths, none, func(place int) float64 { return c.thresholds[place] }, above)
}

// of is the number of a class, a new one if need be.
func (c *classes) of(label string) int {
	if n, ok := c.number[label]; ok {
		return n
	}
	c.seen[label] = true
	name := label
	if m, ok := c.merged[label]; ok {
		name = m
	}
	n, ok := c.named[name]
	if !ok {
		n = len(c.names)
		c.names = append(c.names, name)
		c.named[name] = n
	}
	c.number[label] = n
	return n
}

// scored reports whether devices of the class count. It remembers the class. Strangers
// have no place in a score by class.
func (c *classes) scored(label string) bool {
	if label == model.NoneLabel {
		return false
	}
	if c.leftOut[label] {
		c.seen[label] = true
		return false
	}
	return true
}

// merge gives the probabilities of outputs: sums over the classes merged, negative
// where the model knows none of them.
func (c *classes) merge(probs []float32) []float32 {
	if len(c.outputs) == len(probs) {
		return probs
	}
	merged := slices.Repeat([]float32{join.Lacking}, len(c.outputs))
	for i, p := range probs {
		if at := c.place[i]; p >= 0 {
			merged[at] = max(0, merged[at]) + p
		}
	}
	return merged
}

// mergeNamed gives the outputs that a device may be named as: of classes merged, one is
// enough. nil is all.
func (c *classes) mergeNamed(named []bool) []bool {
	if len(c.outputs) == len(named) || named == nil {
		return named
	}
	merged := make([]bool, len(c.outputs))
	for i, yes := range named {
		merged[c.place[i]] = merged[c.place[i]] || yes
	}
	return merged
}

// mergeRevised gives what is revised of outputs: sums over the classes merged.
func (c *classes) mergeRevised(revised []float64) []float64 {
	if len(c.outputs) == len(c.place) || revised == nil {
		return revised
	}
	merged := make([]float64, len(c.outputs))
	for i, p := range revised {
		merged[c.place[i]] += p
	}
	return merged
}

// isOutput reports whether the model can give a class, by its merged name.
func (c *classes) isOutput(name string) bool {
	return slices.ContainsFunc(c.outputs, func(n int) bool { return c.names[n] == name })
}

// maxClasses bounds the confusion matrices, which have a number for each two classes.
const maxClasses = 4096

// check reports a class to merge or leave out that neither the model nor the data has,
// and more classes than can be scored.
func (c *classes) check() error {
	if len(c.names) > maxClasses {
		return fmt.Errorf("score: the data and the model have %d classes, at most %d are scored: are the labels those of kinds of devices?", len(c.names), maxClasses)
	}
	for _, part := range []struct {
		what  string
		names []string
	}{{"merge", keys(c.merged)}, {"leave out", keys(c.leftOut)}} {
		for _, name := range part.names {
			if !c.seen[name] {
				return fmt.Errorf("score: no class %q to %s: neither the model nor the data has it", name, part.what)
			}
		}
	}
	return nil
}
