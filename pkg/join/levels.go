package join

// This file says how far a verdict is safe: at the class, or only at a level above it.

import (
	"slices"
	"strings"
)

// Levels are those of classes: what lies below each, and what it has to reach. They are
// read only once made.
type Levels struct {
	none    int
	classes [][]level // by class, outermost first
}

type level struct {
	path      string
	below     []int // classes
	threshold float64
}

// NewLevels makes those of classes from their paths, levels outermost first, the class
// itself last. none is the class that is below no level and that no device is given, -1:
// there is none. A class is safe from its threshold on, a level above classes from above.
func NewLevels(paths [][]string, none int, threshold func(class int) float64, above float64) *Levels {
	l := &Levels{none: none, classes: make([][]level, len(paths))}
	below := map[string][]int{}
	each := func(visit func(class, depth int, path string, last bool)) {
		for class, parts := range paths {
			for depth := range parts {
				if class != none {
					visit(class, depth, strings.Join(parts[:depth+1], "/"), depth == len(parts)-1)
				}
			}
		}
	}
	each(func(class, _ int, path string, last bool) {
		if !last {
			below[path] = append(below[path], class)
		}
	})
	each(func(class, _ int, path string, last bool) {
		at := level{path, below[path], above}
		if last {
			at = level{path, []int{class}, threshold(class)}
		}
		l.classes[class] = append(l.classes[class], at)
	})
	return l
}

// Paths are all levels' paths, sorted, the classes' own among them.
func (l *Levels) Paths() (list []string) {
	for _, levels := range l.classes {
		for i := range levels {
			list = append(list, levels[i].path)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// None is the class that no device is given; -1: there is none.
func (l *Levels) None() int { return l.none }

// Verdict is what outputs say together.
type Verdict struct {
	Class       int     // the best that a device can be given; -1: nothing has been joined, a level may be presumed
	Probability float64 // its own
	Gathering   bool    // there is too little to say anything, see [LeastFlows]
	Known       bool    // the class is safe

	Level int     // how many parts of the class's path are safe, 0: none
	Path  string  // these
	Sum   float64 // probability of the classes below
}

// Verdict is the best class, and its path as deep as the sum of the probabilities below
// reaches the threshold. What none has is not handed over: where it has more than a
// level, or comes before the class, that is not safe; nor is a level of which the device
// may be named as no class; nor one that is held. The outermost level asks for less: where
// the device's MAC is of the maker that it is of, it may be said of few flows, and of a device
// that may be named as no class; and of one that may be named as a class of it what it has said
// by now is enough: earlier outputs knew less. Until there is an output it is the level that is
// presumed.
func (l *Levels) Verdict(m *Mean) (v Verdict) {
	v.Class, v.Probability = m.BestBut(l.none)
	gathering := m.Gathering()
	if v.Gathering = gathering; v.Class < 0 {
		if m.presumed != "" && m.held == 0 {
			v.Gathering, v.Level, v.Path, v.Sum = false, 1, m.presumed, m.presumedP
		}
		return v
	}
	first, most := m.Best()
	none := first == l.none
	levels := l.classes[v.Class]
	deepest := len(levels)
	if m.held > 0 {
		deepest = min(deepest, m.held-1)
	}
	for depth := deepest; depth > 0; depth-- {
		at := &levels[depth-1]
		sum, class := m.sumOf(at.below), depth == len(levels)
		made, names := depth == 1 && !class && m.maker == at.path, slices.ContainsFunc(at.below, m.Names)
		if made && names && sum < at.threshold {
			sum = m.told
		}
		if sum < at.threshold || none && (class || sum < most) || !made && (gathering || !names) {
			continue
		}
		v.Gathering, v.Known, v.Level, v.Path, v.Sum = false, class, depth, at.path, sum
		break
	}
	return v
}
