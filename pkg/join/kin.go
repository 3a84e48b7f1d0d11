package join

// This file compares what outputs say at the level of kinds, where twins are one.

// kin are the classes of a class's kind, the innermost level above it; of one without a
// level above itself alone; of none nothing.
func (l *Levels) kin(class int) []int {
	levels := l.classes[class]
	if len(levels) == 0 {
		return nil
	}
	return levels[max(0, len(levels)-2)].below
}

// Kin reports whether two classes are of one kind.
func (l *Levels) Kin(a, b int) bool {
	x, y := l.kin(a), l.kin(b)
	return len(x) > 0 && len(y) > 0 && x[0] == y[0]
}

// Kind is the joined probability of a class's kind.
func (l *Levels) Kind(m *Mean, class int) float64 { return m.sumOf(l.kin(class)) }

// KindOf is the probability that an output gives to a class's kind; ok is false where its
// model has none of it.
func (l *Levels) KindOf(probs []float32, class int) (p float64, ok bool) {
	for _, c := range l.kin(class) {
		if probs[c] != Lacking {
			p, ok = p+float64(probs[c]), true
		}
	}
	return p, ok
}
