package learn

// This file makes what a model learns the class of no other from.

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

const (
	// What machines of no class said, and chimeras, count together for each of the
	// classes' streams, and one chimera for at most.
	strangeShare, chimeraShare, chimeraWeight = 0.1, 0.2, 0.2
	// A chimera has tokens of so many classes, each kept so often, and the first one's
	// maker so often.
	leastClasses, mostClasses = 3, 6
	keptToken, keptMaker      = 0.3, 0.6
	// An example of a class counts for so much once more, as if the device's MAC told no maker.
	maskedWeight = 0.2
	// drawStream keeps these random numbers apart from others of the same seed.
	drawStream = 4 << 32
)

const makerPrefix = "oui:"

// noMaker are what a MAC says that tells no maker that a class has.
var noMaker = []string{"oui:random", "oui:none", makerPrefix}

func ofMaker(token string) bool { return strings.HasPrefix(token, makerPrefix) }

// with are the examples of a part of the data with
// a class for what is of no other: machines that are of none, together a tenth of the
// others, and a fifth of chimeras. Parts differ by their numbers.
func (c Config) with(examples []Example, part uint64) []Example {
	if c.None < 0 {
		return examples
	}
	var named, strange []Example
	captures, strangers := 0.0, 0.0
	for _, e := range examples {
		if e.Class == c.None {
			strange = append(strange, e)
			strangers += e.Weight
		} else {
			named = append(named, e)
			captures += e.Weight
		}
	}
	for i := range strange {
		strange[i].Weight *= min(1, strangeShare*captures/strangers)
	}
	return slices.Concat(named, strange, c.chimeras(named, captures*chimeraShare, part))
}

// masked are the examples of classes as of devices whose MACs tell no maker, of any class but
// none: that all units of a class had their maker's is nothing against one that hides it, and
// what else a device says tells its class already.
func (c Config) masked(examples []Example) (list []Example) {
	for i, e := range examples {
		if e.Class == c.None || c.None < 0 {
			continue
		}
		e.Class, e.Weight = anyClass, e.Weight*maskedWeight
		e.Tokens = append(slices.DeleteFunc(slices.Clone(e.Tokens), ofMaker), noMaker[i%len(noMaker)])
		slices.Sort(e.Tokens)
		list = append(list, e)
	}
	return list
}

// chimeras are mixtures of examples of several classes, that count together for so many
// streams.
func (c Config) chimeras(named []Example, share float64, part uint64) []Example {
	var classes [][]Example
	of := make([][]Example, c.Classes)
	for _, e := range named {
		of[e.Class] = append(of[e.Class], e)
	}
	for _, examples := range of {
		if len(examples) > 0 {
			classes = append(classes, examples)
		}
	}
	if len(classes) < leastClasses {
		return nil
	}
	rng := rand.New(rand.NewPCG(uint64(c.Seed), drawStream+part))
	list := make([]Example, int(math.Ceil(share/chimeraWeight)))
	for i := range list {
		list[i] = Example{Tokens: chimera(classes, rng), Class: c.None, From: -1 - i, Weight: share / float64(len(list))}
	}
	return list
}

// chimera mixes what devices of some classes said. A device has one maker or none.
func chimera(classes [][]Example, rng *rand.Rand) (tokens []string) {
	n := min(len(classes), leastClasses+rng.IntN(mostClasses-leastClasses+1))
	maker := rng.Float64() < keptMaker
	for place, at := range rng.Perm(len(classes))[:n] {
		for _, t := range classes[at][rng.IntN(len(classes[at]))].Tokens {
			if ofMaker(t) && place == 0 && maker || !ofMaker(t) && rng.Float64() < keptToken {
				tokens = append(tokens, t)
			}
		}
	}
	if other := rng.IntN(len(noMaker)); !maker {
		tokens = append(tokens, noMaker[other])
	}
	slices.Sort(tokens)
	return slices.Compact(tokens)
}
