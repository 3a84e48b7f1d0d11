package learn

// This file makes what a model learns the class of no other from.

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/pkg/facts/linear"
)

const (
	// What machines of no class said, chimeras, and invented machines count together for each
	// of the classes' streams, and one that is made for at most.
	strangeShare, chimeraShare, inventedShare, madeWeight = 0.1, 0.2, 0.05, 0.2
	// A chimera has tokens of so many classes, each kept so often, and the first one's
	// maker so often.
	leastClasses, mostClasses = 3, 6
	keptToken, keptMaker      = 0.3, 0.6
	// An example of a class counts for so much once more, as if the device's MAC told no maker.
	maskedWeight = 0.2
	// drawStream keeps these random numbers apart from others of the same seed.
	drawStream, inventedStream = 4 << 32, 6 << 32
)

const makerPrefix = "oui:"

// noMaker are what a MAC says that tells no maker that a class has.
var noMaker = []string{"oui:random", "oui:none", makerPrefix}

func ofMaker(token string) bool { return strings.HasPrefix(token, makerPrefix) }

// with are the examples of a part of the data with
// a class for what is of no other: machines that are of none, together a tenth of the
// others, a fifth of chimeras and a twentieth of invented machines. Parts differ by their
// numbers.
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
	of := make([][]Example, c.Classes)
	for _, e := range named {
		of[e.Class] = append(of[e.Class], e)
	}
	classes := slices.DeleteFunc(of, func(examples []Example) bool { return len(examples) == 0 })
	made := c.made(invented, classes, captures*inventedShare, inventedStream+part)
	if len(classes) >= leastClasses {
		made = append(made, c.made(chimera, classes, captures*chimeraShare, drawStream+part)...)
	}
	return slices.Concat(named, strange, made)
}

// made are examples of machines that there are not, that count together for so many streams.
func (c Config) made(one func(classes [][]Example, rng *rand.Rand) []string, classes [][]Example, share float64, draw uint64) []Example {
	rng := rand.New(rand.NewPCG(uint64(c.Seed), draw))
	list := make([]Example, int(math.Ceil(share/madeWeight)))
	for i := range list {
		list[i] = Example{Tokens: sorted(one(classes, rng)), Class: c.None, From: -1 - i, Weight: share / float64(len(list))}
	}
	return list
}

// invented does what a device of a class did, by the same ports and DHCP client, and says
// nothing that one said: a machine on the same board, or of the same maker.
func invented(classes [][]Example, rng *rand.Rand) (tokens []string) {
	of := classes[rng.IntN(len(classes))]
	maker := rng.Float64() < keptMaker
	for _, t := range unheard(of[rng.IntN(len(of))].Tokens) {
		if maker || !ofMaker(t) {
			tokens = append(tokens, t)
		}
	}
	if other := rng.IntN(len(noMaker)); !maker {
		tokens = append(tokens, noMaker[other])
	}
	return tokens
}

// unheard are tokens, with words that nobody has said for all words; names asked of DNS are among
// them, as everything asks for some.
func unheard(tokens []string) []string {
	list := []string{linear.Unheard("dns:")}
	for _, t := range tokens {
		list = append(list, cmp.Or(linear.Unheard(t), t))
	}
	return list
}

// modelKinds are kinds of words in which a device that is asked says its model.
var modelKinds = []string{"tplink:", "upnp:"}

// abroad are the examples of classes with the name of a model, each as of a device in another
// house, of other firmware: of its words that name alone is known. With it comes one of
// none of them, which says as little, and nothing of its model or that it is another.
func (c Config) abroad(examples []Example) (list []Example) {
	for i, e := range examples {
		if e.Class >= len(c.Models) || c.Models[e.Class] == "" {
			continue
		}
		kind, tokens := modelKinds[i%len(modelKinds)], unheard(e.Tokens)
		if e.Tokens = sorted(tokens, kind+c.Models[e.Class]); c.None >= 0 {
			other := Example{Class: c.None, From: e.From, Unit: e.Unit, Weight: e.Weight / 2}
			for _, other.Tokens = range [][]string{sorted(tokens), sorted(tokens, linear.Unheard(kind))} {
				list = append(list, other)
			}
		}
		list = append(list, e)
	}
	return list
}

// sorted are tokens and some more, sorted and each once.
func sorted(tokens []string, more ...string) []string {
	tokens = slices.Concat(tokens, more)
	slices.Sort(tokens)
	return slices.Compact(tokens)
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
	return tokens
}
