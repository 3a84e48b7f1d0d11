package explain

// This file holds what many explanations say together.

import (
	"cmp"
	"math"
	"slices"
)

// Learnt is what a model goes by, over the windows of captures: `explain --json` without a
// device.
type Learnt struct {
	Output  string       `json:"output"`
	Windows int          `json:"windows"` // that were explained
	Right   *int         `json:"right"`   // of these, by their own best guess; null: nobody said what they are
	Types   []Importance `json:"types"`   // what speaks for a window's own label
	Rivals  []Importance `json:"rivals"`  // for it and not for the class that is nearest: of each label the one that is so in most captures
	Wrong   []Importance `json:"wrong"`   // for it and not for the one that it was given instead: what is below 0 misled
	Fields  []Weight     `json:"fields"`  // means over the types, greatest Magnitude first; Captures of all of them
}

// SumFields sets Fields by what Types say.
func (l *Learnt) SumFields() {
	all, types := weights{}, float64(len(l.Types))
	for _, t := range l.Types {
		for _, f := range t.Fields {
			all.add(Weight{f.Name, f.Mean / types, f.Magnitude / types, f.Captures})
		}
	}
	l.Fields = all.sorted()
}

// Strong is a weight with its kind: fact, value, word or field.
type Strong struct {
	Weight
	Of string
}

// Strongest are so many facts, values of metadata and words of payloads, whatever speaks
// most, for or against; 0: all.
func (x *Importance) Strongest(most int) []Strong {
	var all []Strong
	for _, list := range []struct {
		of      string
		weights []Weight
	}{{"fact", x.Facts}, {"value", x.Values}, {"word", x.Words}} {
		for _, w := range list.weights {
			all = append(all, Strong{w, list.of})
		}
	}
	slices.SortStableFunc(all, func(a, b Strong) int { return cmp.Compare(math.Abs(b.Mean), math.Abs(a.Mean)) })
	if most == 0 {
		return all
	}
	return all[:min(most, len(all))]
}

// Cut keeps so many of each list of weights; 0: all.
func (l *Learnt) Cut(top int) {
	if top <= 0 {
		return
	}
	l.Fields = l.Fields[:min(top, len(l.Fields))]
	for _, part := range [][]Importance{l.Types, l.Rivals, l.Wrong} {
		for i := range part {
			for _, list := range []*[]Weight{&part[i].Facts, &part[i].Values, &part[i].Words, &part[i].Fields} {
				*list = (*list)[:min(top, len(*list))]
			}
		}
	}
}
