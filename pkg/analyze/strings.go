package analyze

// This file counts strings of payloads, and remote addresses, by where they
// occur: one that only one class has names the class, one that only one unit has
// names the unit.

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"github.com/iotsense/iotsense/pkg/identifiers"
)

// Limits on strings.
const (
	minString  = 5
	maxString  = 64
	maxStrings = 1 << 18 // beyond it, strings of a single capture are forgotten
)

// places is where a string occurred, as long as that is in one class only.
type places struct {
	class    int // index, or several
	records  uint64
	captures []int // sorted
	units    []int // sorted
}

const several = -1

// stringIndex counts strings.
type stringIndex struct {
	strings   map[string]*places
	limit     int
	forgotten uint64
}

func newStringIndex() stringIndex {
	return stringIndex{strings: map[string]*places{}, limit: maxStrings}
}

// add counts one record in which each of found, a set, occurs.
func (x *stringIndex) add(found map[string]bool, class, unit, capture int) {
	for s := range found {
		p := x.strings[s]
		if p == nil {
			x.strings[s] = &places{class: class, records: 1, captures: []int{capture}, units: []int{unit}}
			continue
		}
		if p.class != class {
			*p = places{class: several}
			continue
		}
		p.records++
		p.captures = insert(p.captures, capture)
		p.units = insert(p.units, unit)
	}
	if len(x.strings) > x.limit {
		x.forget()
	}
}

// forget drops strings of a single capture; if too few are, those of several
// classes, and then the rarest, so that the limit holds whatever comes.
func (x *stringIndex) forget() {
	before := len(x.strings)
	maps.DeleteFunc(x.strings, func(_ string, p *places) bool { return len(p.captures) == 1 })
	if len(x.strings) > x.limit/2 {
		maps.DeleteFunc(x.strings, func(_ string, p *places) bool { return p.class == several })
	}
	for least := 2; len(x.strings) > x.limit/2; least++ {
		maps.DeleteFunc(x.strings, func(_ string, p *places) bool { return len(p.captures) <= least })
	}
	x.forgotten += uint64(before - len(x.strings))
}

func insert(sorted []int, v int) []int {
	i, found := slices.BinarySearch(sorted, v)
	if found {
		return sorted
	}
	return slices.Insert(sorted, i, v)
}

// collectStrings adds the strings of a payload to found: runs of letters, digits
// and .:_-/ in its text.
func collectStrings(found map[string]bool, payload []byte) {
	for _, text := range identifiers.Texts(payload) {
		for _, s := range identifiers.Runs(text, isStringByte) {
			s = bytes.Trim(s, ".:_-/")
			if len(s) >= minString && len(s) <= maxString {
				found[string(s)] = true
			}
		}
	}
}

func isStringByte(c byte) bool {
	return identifiers.IsAlnum(c) || c >= '-' && c <= '/' || c == ':' || c == '_'
}

// Identifier is a string that occurs in one class only.
type Identifier struct {
	Text     string `json:"text"`
	Records  Ratio  `json:"records"`  // of the class's
	Captures Ratio  `json:"captures"` // of the class's
	Units    Ratio  `json:"units"`    // of the class's: all of them name a type, one of several a unit
}

// Strings says what strings tell about a class.
type Strings struct {
	ClassOnly      int          `json:"class_only"`      // strings of two captures or more that no other class has
	UnitOnly       int          `json:"unit_only"`       // of these, strings of one unit only
	Identifiers    int          `json:"identifiers"`     // of these class-only ones, strings that hold part of a MAC, a serial-like word, a UUID or a private address
	Best           *Identifier  `json:"best"`            // the class-only string of most captures: alone it names so many
	BestIdentifier *Identifier  `json:"best_identifier"` // the same among the identifiers: it names a unit, and with it the class
	Examples       []Identifier `json:"examples"`        // the unit-only strings of most captures
}

// maxExamples is how many strings a class shows.
const maxExamples = 5

// result describes the strings of the class, whose devices have these finders.
func (x *stringIndex) result(c *leakClass, devices []*identifiers.Finder) Strings {
	type named struct {
		text string
		*places
	}
	var all []named
	for s, p := range x.strings {
		if p.class == c.index && len(p.captures) > 1 {
			all = append(all, named{s, p})
		}
	}
	slices.SortFunc(all, func(a, b named) int {
		return cmp.Or(cmp.Compare(len(b.captures), len(a.captures)), cmp.Compare(b.records, a.records), cmp.Compare(a.text, b.text))
	})
	out := Strings{ClassOnly: len(all), Examples: []Identifier{}}
	for _, n := range all {
		id := &Identifier{
			n.text, NewRatio(n.records, c.records),
			NewRatio(uint64(len(n.captures)), uint64(len(c.captures))), NewRatio(uint64(len(n.units)), uint64(len(c.units))),
		}
		if out.Best == nil {
			out.Best = id
		}
		if identifiers.NamesUnit(n.text, devices) {
			out.Identifiers++
			if out.BestIdentifier == nil {
				out.BestIdentifier = id
			}
		}
		if len(n.units) == 1 {
			out.UnitOnly++
			if len(out.Examples) < maxExamples {
				out.Examples = append(out.Examples, *id)
			}
		}
	}
	return out
}
