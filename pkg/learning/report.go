package learning

// This file says how what was learned does beside what judges now.

import (
	"fmt"
	"slices"
	"strings"
)

// Report says what was learned, and what it is worth.
type Report struct {
	Records    int       `json:"records"`    // held, of all devices
	Classes    []*Class  `json:"classes"`    // by label
	Left       []Left    `json:"left"`       // labelled devices that are not learned from
	Unlabelled []Renamed `json:"unlabelled"` // devices without a label that would be called otherwise
	Unread     []string  `json:"unread"`     // recordings that cannot be read
	Better     bool      `json:"better"`     // than what judges now
	Why        string    `json:"why"`
}

// Class is how the devices of a label are judged, by records that are not learned from: their
// newest; Others by a model of other devices alone.
type Class struct {
	Label   string `json:"label"`
	Devices int    `json:"devices"`
	Records int    `json:"records"` // that are learned from
	Before  Score  `json:"before"`  // by the model that judges now
	After   Score  `json:"after"`
	Others  Score  `json:"others"`
}

// Score counts devices by what they are called in the end.
type Score struct {
	Right   int     `json:"right"`
	Wrong   int     `json:"wrong"`
	Unnamed int     `json:"unnamed"`
	Windows float64 `json:"windows"` // sum of the devices' shares of windows whose best guess is right; of others 0
}

func (s *Score) add(o outcome, class string) {
	switch o.name {
	case class:
		s.Right++
	case "":
		s.Unnamed++
	default:
		s.Wrong++
	}
	s.Windows += o.right
}

// Left is a labelled device that is not learned from.
type Left struct {
	Device string `json:"device"`
	Label  string `json:"label"`
	Why    string `json:"why"`
}

// Renamed is a device that would be called something else; null: nothing.
type Renamed struct {
	Device string  `json:"device"`
	Before *string `json:"before"`
	After  *string `json:"after"`
}

// Nothing is the report of what was not learned.
func Nothing(why string) *Report {
	return &Report{Classes: []*Class{}, Left: []Left{}, Unlabelled: []Renamed{}, Unread: []string{}, Why: why}
}

func newReport() *Report { return Nothing("no device has a label that can be learned") }

func (r *Report) leave(p *pupil, why string) {
	r.Left = append(r.Left, Left{p.Name(), p.Label, why})
}

// class is that of a label.
func (r *Report) class(label string) *Class {
	at, found := slices.BinarySearchFunc(r.Classes, label, func(c *Class, l string) int { return strings.Compare(c.Label, l) })
	if !found {
		r.Classes = slices.Insert(r.Classes, at, &Class{Label: label})
	}
	return r.Classes[at]
}

// leastGain is by how much the mean share of right windows must be higher where the devices
// are called the same.
const leastGain = 0.01

// judge says whether what was learned is better: no more devices are called something wrong,
// and more are called right; or as many, and more of their windows are right, if what judges now
// is not outdated. A device without a label that gets another name than it has counts as one called
// wrong.
func (r *Report) judge(outdated bool) {
	var before, after Score
	for _, c := range r.Classes {
		for _, s := range []struct {
			sum *Score
			of  Score
		}{{&before, c.Before}, {&after, c.After}} {
			s.sum.Right += s.of.Right
			s.sum.Wrong += s.of.Wrong
			s.sum.Unnamed += s.of.Unnamed
			s.sum.Windows += s.of.Windows
		}
	}
	renamed := 0
	for _, u := range r.Unlabelled {
		if u.Before != nil && u.After != nil {
			renamed++
		}
	}
	devices := max(1, before.Right+before.Wrong+before.Unnamed)
	gain := (after.Windows - before.Windows) / float64(devices)
	r.Why = fmt.Sprintf("of %d devices %d are named right instead of %d, %d wrong instead of %d; %.1f %% of their windows instead of %.1f %%",
		devices, after.Right, before.Right, after.Wrong, before.Wrong, 100*after.Windows/float64(devices), 100*before.Windows/float64(devices))
	if renamed > 0 {
		r.Why += fmt.Sprintf("; %d without a label would get another name", renamed)
	}
	r.Better = after.Wrong+renamed <= before.Wrong && (after.Right > before.Right || after.Right == before.Right && (gain >= leastGain || outdated && gain > -leastGain))
}
