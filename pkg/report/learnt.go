package report

// This file makes the page of what a model goes by.

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"slices"

	"github.com/iotsense/iotsense/pkg/model/explain"
)

//go:embed learnt.html
var learntSource string

var learntPage = parse(learntSource)

// Lines of each list in the page.
const (
	learntFor     = 12
	learntAgainst = 8
	learntFields  = 8
	learntTwins   = 8
	allFields     = 20
)

// learntView is what the template sees.
type learntView struct {
	*explain.Learnt
	Groups  []string // those that any type has, the heaviest first
	most    float64  // of all their shares' sizes
	Nearest []pairView
	Errors  []pairView
}

// pairView is a label against another.
type pairView struct {
	explain.Importance
	Margin float64 // mean of the difference, of network and facts, from what is compared with
}

// Learnt makes the page.
func Learnt(l *explain.Learnt) (*Report, error) {
	v := &learntView{Learnt: l}
	sizes := map[string]float64{}
	for _, t := range l.Types {
		for _, g := range t.Groups {
			if sizes[g.Name] == 0 {
				v.Groups = append(v.Groups, g.Name)
			}
			sizes[g.Name] += math.Abs(g.Mean)
			v.most = max(v.most, math.Abs(g.Mean))
		}
	}
	slices.SortFunc(v.Groups, func(a, b string) int {
		return cmp.Or(cmp.Compare(sizes[b], sizes[a]), cmp.Compare(a, b))
	})
	v.Nearest, v.Errors = pairs(l.Rivals), pairs(l.Wrong)
	return execute(learntPage, v, gallery{})
}

// pairs are those that are hardest to tell apart first.
func pairs(list []explain.Importance) []pairView {
	var all []pairView
	for _, x := range list {
		p := pairView{Importance: x}
		for _, g := range x.Groups {
			p.Margin += g.Mean
		}
		all = append(all, p)
	}
	slices.SortStableFunc(all, func(a, b pairView) int { return cmp.Compare(a.Margin, b.Margin) })
	return all
}

// learntKept are the weights of each list in a report's JSON.
const learntKept = 100

// WriteLearnt writes the page and its figures into a directory, and cuts them to what it wrote.
func WriteLearnt(dir string, l *explain.Learnt) error {
	r, err := Learnt(l)
	if err != nil {
		return err
	}
	if err := r.Write(dir, "learnt.html"); err != nil {
		return err
	}
	l.Cut(learntKept)
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("report %s: %w", dir, err)
	}
	return WriteFile(dir, "learnt.json", text)
}

// RightWindows are those that were right, if anybody said what they are.
func (v learntView) RightWindows() string {
	if v.Right == nil {
		return ""
	}
	return thousands(*v.Right)
}

// Group is a type's share of a group.
func (learntView) Group(x explain.Importance, name string) float64 {
	for _, g := range x.Groups {
		if g.Name == name {
			return g.Mean
		}
	}
	return 0
}

// Heat is the style of a group's cell.
func (v learntView) Heat(phi float64) template.CSS {
	back, text := levelColour(shareLevel(phi, v.most))
	return template.CSS(fmt.Sprintf("background-color:%s;color:%s", hex(back), hex(text)))
}

// Carrying and Misleading are what speaks most for a type, and against it.
func (learntView) Carrying(x explain.Importance) []explain.Strong { return signed(x, 1, learntFor) }

// Misleading is documented at Carrying.
func (learntView) Misleading(x explain.Importance) []explain.Strong {
	return signed(x, -1, learntAgainst)
}

// Telling is what tells a pair apart.
func (learntView) Telling(x pairView) []explain.Strong { return x.Strongest(learntTwins) }

// Misled is what spoke for the wrong one of a pair.
func (learntView) Misled(x pairView) []explain.Strong { return signed(x.Importance, -1, learntAgainst) }

// signed are so many of a sign.
func signed(x explain.Importance, sign float64, most int) (list []explain.Strong) {
	for _, s := range x.Strongest(0) {
		if s.Mean*sign > 0 && len(list) < most {
			list = append(list, s)
		}
	}
	return list
}

// AllFields are those of most weight in all types.
func (v learntView) AllFields() []explain.Weight {
	return v.Learnt.Fields[:min(allFields, len(v.Learnt.Fields))]
}

// Fields are those of most weight.
func (learntView) Fields(x explain.Importance) []explain.Weight {
	return x.Fields[:min(learntFields, len(x.Fields))]
}

// Bar is a line's, beside the strongest of its type.
func (v linesView) Bar(s explain.Strong) template.CSS {
	level := shadeLevels * 2 / 3
	if s.Mean < 0 {
		level = -level
	}
	colour, _ := levelColour(level)
	return template.CSS(fmt.Sprintf("width:%.0f%%;background-color:%s", 100*math.Abs(s.Mean/v.strongest), hex(colour)))
}

// linesView is a table of lines.
type linesView struct {
	X         explain.Importance
	Lines     []explain.Strong
	strongest float64 // mean of the one of all X's; 0: it has none
}

// Lines are a table of a type's.
func (learntView) Lines(x explain.Importance, lines []explain.Strong) linesView {
	v := linesView{X: x, Lines: lines}
	for _, s := range x.Strongest(1) {
		v.strongest = s.Mean
	}
	return v
}
