package explain

// This file sums explanations of many windows up: what carries a type (paper V's global
// view).

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// Importance is what carries a label, over windows that were explained for it.
type Importance struct {
	Label    string
	Captures int      // or devices: what [Global.Add] was told
	Windows  int      //
	Fields   []Weight // greatest Magnitude first
	Facts    []Weight // the same; their names are like "dhcp_host: HS110"
}

// Weight is what a field, of all rows together, or a fact has on average: over captures,
// of which each is the mean of its windows.
type Weight struct {
	Name      string
	Column    int     // a field's index into a row; 0 of facts
	Mean      float64 // of the shares: what it speaks for (above 0) or against
	Magnitude float64 // of the shares' sizes
}

// Global sums up explanations. The zero Global has none.
type Global struct {
	labels map[string]map[string]*tally // by label and capture
	names  []string                     // of columns
}

// tally is one capture's sums.
type tally struct {
	windows int
	fields  []sums // by column
	facts   map[string]*sums
}

type sums struct{ mean, magnitude float64 }

func (s *sums) add(v, size float64) { s.mean, s.magnitude = s.mean+v, s.magnitude+size }

// Add takes an explanation of a window of a capture, or of a device.
func (g *Global) Add(capture string, x *v1.Explanation) {
	if g.labels == nil {
		g.labels = map[string]map[string]*tally{}
	}
	captures := g.labels[x.Label]
	if captures == nil {
		captures = map[string]*tally{}
		g.labels[x.Label] = captures
	}
	t := captures[capture]
	if t == nil {
		t = &tally{facts: map[string]*sums{}}
		captures[capture] = t
	}
	t.windows++
	for _, f := range x.Fields {
		for len(g.names) <= f.Column {
			g.names = append(g.names, "")
		}
		for len(t.fields) <= f.Column {
			t.fields = append(t.fields, sums{})
		}
		g.names[f.Column] = f.Name
		t.fields[f.Column].add(f.Phi, math.Abs(f.Phi))
	}
	for _, f := range x.Facts {
		name := f.Kind + ": " + f.Value
		if t.facts[name] == nil {
			t.facts[name] = &sums{}
		}
		t.facts[name].add(f.Phi, math.Abs(f.Phi))
	}
}

// Labels are what was added, by label in their order.
func (g *Global) Labels() []Importance {
	var all []Importance
	for _, label := range slices.Sorted(maps.Keys(g.labels)) {
		captures := g.labels[label]
		x := Importance{Label: label, Captures: len(captures)}
		fields, facts := make([]sums, len(g.names)), map[string]*sums{}
		for _, capture := range slices.Sorted(maps.Keys(captures)) {
			t := captures[capture]
			x.Windows += t.windows
			share := 1 / float64(t.windows*len(captures))
			for i, f := range t.fields {
				fields[i].add(f.mean*share, f.magnitude*share)
			}
			for name, f := range t.facts {
				if facts[name] == nil {
					facts[name] = &sums{}
				}
				facts[name].add(f.mean*share, f.magnitude*share)
			}
		}
		for i, f := range fields {
			if f.magnitude > 0 {
				x.Fields = append(x.Fields, Weight{g.names[i], i, f.mean, f.magnitude})
			}
		}
		for name, f := range facts {
			x.Facts = append(x.Facts, Weight{name, 0, f.mean, f.magnitude})
		}
		heaviestFirst(x.Fields)
		heaviestFirst(x.Facts)
		all = append(all, x)
	}
	return all
}

func heaviestFirst(w []Weight) {
	slices.SortFunc(w, func(a, b Weight) int {
		return cmp.Or(cmp.Compare(b.Magnitude, a.Magnitude), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Name, b.Name))
	})
}
