package explain

// This file sums explanations of many windows up: what carries a type (paper V's global
// view).

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
)

// Importance is what carries a label, or carries it against another, over windows that
// were explained for it. Lists begin with the greatest Magnitude.
type Importance struct {
	Label       string   `json:"label"`
	WhyNot      *string  `json:"why_not"`     // that it was set against; null: nothing
	Captures    int      `json:"captures"`    // or devices: what [Global.Add] was told
	Windows     int      `json:"windows"`     //
	Probability float64  `json:"probability"` // of the label by network and facts; like all means over captures, of which each is the mean of its windows
	Groups      []Weight `json:"groups"`      // of fields, and all facts: see [Groups]
	Facts       []Weight `json:"facts"`       // in words
	Values      []Weight `json:"values"`      // of metadata that has few: "remote port 53"
	Words       []Weight `json:"words"`       // in payloads: three letters, digits, - or _ and more
	Fields      []Weight `json:"fields"`      // of all rows together, by name
}

// Weight is what a field, value, word, fact or group of them has on average.
type Weight struct {
	Name      string  `json:"name"`
	Mean      float64 `json:"mean"`      // of the shares: what it speaks for (above 0) or against
	Magnitude float64 `json:"magnitude"` // of the shares' sizes
	Captures  int     `json:"captures"`  // that had it
}

// Groups of fields.
const (
	groupPayload = "payload bytes"
	groupLength  = "ends of payloads"
	groupPadding = "padding"
	groupFacts   = "facts"
)

var metadataGroups = map[string]string{
	"since": "times", "offset": "times", "protocol": "protocol", "size": "sizes", "direction": "directions", "byte": "totals", "packet": "totals",
}

// Global sums up explanations. The zero Global has none.
type Global struct{ labels map[pair]map[string]*tally } // by capture

// pair is a label and the one that it was set against, if any.
type pair struct{ label, against string }

// tally is one capture's sums, by kind and name.
type tally struct {
	windows     int
	probability float64
	sums        [kinds]map[string]sums
}

// Kinds of sums.
const (
	ofGroups = iota
	ofFacts
	ofValues
	ofWords
	ofFields
	kinds
)

type sums struct{ mean, magnitude float64 }

func (t *tally) add(kind int, name string, phi float64) {
	if phi != 0 {
		s := t.sums[kind][name]
		t.sums[kind][name] = sums{s.mean + phi, s.magnitude + math.Abs(phi)}
	}
}

// Add takes an explanation of a window of a capture, or of a device.
func (g *Global) Add(capture string, x *v1.Explanation) {
	key := pair{label: x.Label}
	if x.WhyNot != nil {
		key.against = *x.WhyNot
	}
	if g.labels == nil {
		g.labels = map[pair]map[string]*tally{}
	}
	if g.labels[key] == nil {
		g.labels[key] = map[string]*tally{}
	}
	t := g.labels[key][capture]
	if t == nil {
		t = &tally{}
		for kind := range t.sums {
			t.sums[kind] = map[string]sums{}
		}
		g.labels[key][capture] = t
	}
	t.windows++
	t.probability += x.JoinedProbability
	groups := map[string]float64{}
	for i := range x.Fields {
		f := &x.Fields[i]
		groups[group(f)] += f.Phi
		t.add(ofFields, f.Name, f.Phi)
		if f.Part == v1.Metadata && telling(f.Name) {
			t.add(ofValues, f.What(), f.Phi)
		}
	}
	for i := range x.Facts {
		f := &x.Facts[i]
		groups[groupFacts] += f.Phi
		t.add(ofFacts, f.Words(), f.Phi)
	}
	for name, phi := range groups {
		t.add(ofGroups, name, phi)
	}
	for row := range x.Raw {
		words(x.Raw[row], x.Phi[row], func(word string, phi float64) { t.add(ofWords, word, phi) })
	}
}

// group is that of a field.
func group(f *v1.ExplainedField) string {
	switch f.Part {
	case v1.Byte:
		return groupPayload
	case v1.Begin, v1.End:
		return groupLength
	case v1.Padding:
		return groupPadding
	}
	name, rest, _ := strings.Cut(f.Name, "_")
	switch {
	case rest == "port":
		return "ports"
	case name == "remote":
		return "remote address"
	}
	return metadataGroups[name]
}

// telling reports whether a metadata field has few values, which are the same in other
// windows.
func telling(name string) bool {
	name, rest, _ := strings.Cut(name, "_")
	return name == "protocol" || rest == "port" || name == "size" || name == "direction"
}

// Bounds of words in payloads.
const (
	shortestWord = 3
	longestWord  = 40
)

// words gives the words in a row's payload, with what their bytes share.
func words(raw, phi []float64, say func(word string, phi float64)) {
	var word []byte
	sum := 0.0
	end := func() {
		if len(word) >= shortestWord {
			say(strconv.Quote(string(word)), sum)
		}
		word, sum = word[:0], 0
	}
	payload := slices.Index(raw, flows.PayloadStart) // no metadata is below -1
	if payload < 0 {
		return
	}
	for i := payload; i < len(raw); i++ {
		if b := raw[i]; len(word) == longestWord || !letter(b) {
			end()
		}
		if letter(raw[i]) {
			word, sum = append(word, byte(raw[i])), sum+phi[i]
		}
	}
	end()
}

func letter(b float64) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '-' || b == '_'
}

// Labels are what was added, by label in their order.
func (g *Global) Labels() []Importance {
	var all []Importance
	for _, key := range slices.SortedFunc(maps.Keys(g.labels), func(a, b pair) int {
		return cmp.Or(cmp.Compare(a.label, b.label), cmp.Compare(a.against, b.against))
	}) {
		all = append(all, mean(key, g.labels[key]))
	}
	return all
}

// mean is that over captures of the means over their windows.
func mean(key pair, captures map[string]*tally) Importance {
	x := Importance{Label: key.label, Captures: len(captures)}
	if key.against != "" {
		x.WhyNot = &key.against
	}
	var all [kinds]weights
	for kind := range all {
		all[kind] = weights{}
	}
	for _, capture := range slices.Sorted(maps.Keys(captures)) {
		t := captures[capture]
		share := 1 / float64(t.windows*len(captures))
		x.Windows += t.windows
		x.Probability += t.probability * share
		for kind := range t.sums {
			for name, s := range t.sums[kind] {
				all[kind].add(Weight{name, s.mean * share, s.magnitude * share, 1})
			}
		}
	}
	for kind, list := range [kinds]*[]Weight{&x.Groups, &x.Facts, &x.Values, &x.Words, &x.Fields} {
		*list = all[kind].sorted()
	}
	return x
}

// weights are sums of weights, by name.
type weights map[string]Weight

func (w weights) add(more Weight) {
	had := w[more.Name]
	w[more.Name] = Weight{more.Name, had.Mean + more.Mean, had.Magnitude + more.Magnitude, had.Captures + more.Captures}
}

// sorted are the weights, the greatest Magnitude first.
func (w weights) sorted() []Weight {
	list := slices.AppendSeq(make([]Weight, 0, len(w)), maps.Values(w))
	slices.SortFunc(list, func(a, b Weight) int {
		return cmp.Or(cmp.Compare(b.Magnitude, a.Magnitude), cmp.Compare(a.Name, b.Name))
	})
	return list
}
