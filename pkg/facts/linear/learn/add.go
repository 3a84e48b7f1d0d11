package learn

// This file adds classes to a model without the captures that it was trained on.

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/pkg/facts/linear"
)

const (
	// saidWeight and more of a token for a class is of what devices of the class say: what
	// says nothing of a class has a weight of zero, or below.
	saidWeight = 0.1
	// retold are the examples drawn of each class that the model knows.
	retold = 24
	// addStream keeps these random numbers apart from others of the same seed.
	addStream = 5 << 32
)

// Add is old with classes more, at the places added among c's classes, ascending, learned
// from what devices of them say, and from what those of the others say as far as old's
// weights tell it. Weights of the others stay: they can only lose what the new ones take.
func Add(old *linear.Model, added []int, training []Example, c Config) (*linear.Model, error) {
	abroad := c.abroad(training)
	heard := slices.Concat(training, abroad)
	m, place := widened(old, added, heard, c)
	known := make([]bool, c.Classes)
	for _, class := range place {
		known[class] = true
	}
	examples := slices.Concat(training, c.retell(m, known, training))
	d := &data{classes: c.Classes, none: c.None, tokens: len(m.Tokens), fixed: known}
	d.take(m, c.with(examples, 0))
	d.take(m, c.masked(training))
	d.take(m, abroad)
	if err := d.fit(m); err != nil {
		return nil, fmt.Errorf("fit: %w", err)
	}
	var before [][]int
	for _, group := range old.Groups {
		var of []int
		for _, class := range group {
			of = append(of, place[class])
		}
		before = append(before, of)
	}
	m.Groups = groups(m, examples, c, before, known)
	m.Telling = retelling(m, old, place, heard)
	return m, m.Validate(c.Classes, c.None)
}

// widened is old with room for added classes, and for tokens that their captures have.
// place is where the classes of old are.
func widened(old *linear.Model, added []int, training []Example, c Config) (m *linear.Model, place []int) {
	for class := range c.Classes {
		if !slices.Contains(added, class) {
			place = append(place, class)
		}
	}
	tokens := slices.Concat(old.Tokens, vocabulary(training, c.None))
	slices.Sort(tokens)
	tokens = slices.Compact(tokens)
	m = &linear.Model{Tokens: tokens, Temperature: old.Temperature, Captures: old.Captures, Weights: make([]float32, len(tokens)*c.Classes), Bias: make([]float32, c.Classes)}
	for i, class := range place {
		m.Bias[class] = old.Bias[i]
		for at, t := range old.Tokens {
			row, _ := slices.BinarySearch(tokens, t)
			m.Weights[row*c.Classes+class] = old.Weights[at*len(place)+i]
		}
	}
	return m, place
}

// retell draws examples of the classes that a model knows, together of each as many streams
// as of one that is added: a maker, and some, any or all of the tokens that its devices say.
func (c Config) retell(m *linear.Model, known []bool, training []Example) (list []Example) {
	streams, added := 0.0, 0
	for _, e := range training {
		streams += e.Weight
	}
	for _, k := range known {
		if !k {
			added++
		}
	}
	rng := rand.New(rand.NewPCG(uint64(c.Seed), addStream))
	for class, k := range known {
		if !k || class == c.None {
			continue
		}
		for range retold {
			share := rng.Float64()
			e := Example{Class: class, From: -1, Weight: streams / float64(added*retold)}
			for i, t := range m.Tokens {
				if m.Weights[i*c.Classes+class] >= saidWeight && (rng.Float64() < share || strings.HasPrefix(t, makerPrefix)) {
					e.Tokens = append(e.Tokens, t)
				}
			}
			list = append(list, e)
		}
	}
	return list
}

// retelling is, of each token, the group that it tells. What captures of added classes have
// too tells that of others no more.
func retelling(m, old *linear.Model, place []int, training []Example) []int {
	group := make([]int, len(m.Bias))
	for g, classes := range m.Groups {
		for _, class := range classes {
			group[class] = g
		}
	}
	said, tells := captures(training), telling(m, training)
	for i, t := range m.Tokens {
		at, had := slices.BinarySearch(old.Tokens, t)
		if !had {
			continue
		}
		before := -1
		if g := old.Telling[at]; g >= 0 {
			before = group[place[old.Groups[g][0]]]
		}
		if len(said[t]) > 0 && tells[i] != before {
			before = -1
		}
		tells[i] = before
	}
	return tells
}
