package score

// This file counts verdicts: the confusion matrix and the figures that follow from it.

// table is a confusion matrix.
type table struct {
	names  []string
	index  map[string]int
	counts [][]int // [true][predicted]
	none   []int   // [true]: without any verdict
}

func newTable(names []string) *table {
	t := &table{names: names, index: map[string]int{}, counts: make([][]int, len(names)), none: make([]int, len(names))}
	for i, n := range names {
		t.index[n] = i
		t.counts[i] = make([]int, len(names))
	}
	return t
}

// add counts n verdicts; given is "" when there was none.
func (t *table) add(truth, given string, n int) {
	if given == "" {
		t.none[t.index[truth]] += n
		return
	}
	t.counts[t.index[truth]][t.index[given]] += n
}

// support is how many of a class there are.
func (t *table) support(class int) int {
	n := t.none[class]
	for _, c := range t.counts[class] {
		n += c
	}
	return n
}

func (t *table) predicted(class int) int {
	n := 0
	for _, row := range t.counts {
		n += row[class]
	}
	return n
}

func (t *table) accuracy() *float64 {
	right, all := 0, 0
	for i := range t.names {
		right += t.counts[i][i]
		all += t.support(i)
	}
	return ratio(float64(right), float64(all))
}

func (t *table) classes() []Class {
	out := make([]Class, len(t.names))
	for i, name := range t.names {
		right, support, predicted := float64(t.counts[i][i]), t.support(i), t.predicted(i)
		c := Class{Label: name, Support: support}
		if predicted > 0 {
			c.Precision = right / float64(predicted)
		}
		if support > 0 {
			c.Recall = right / float64(support)
		}
		if right > 0 {
			c.F1 = 2 * right / float64(support+predicted)
		}
		out[i] = c
	}
	return out
}

// macroF1 is the mean F1 over classes that have members.
func (t *table) macroF1() *float64 {
	sum, n := 0.0, 0
	for _, c := range t.classes() {
		if c.Support > 0 {
			sum += c.F1
			n++
		}
	}
	return ratio(sum, float64(n))
}

// coverage is the share of classes with members that were right at least once.
func (t *table) coverage() *float64 {
	right, n := 0, 0
	for i := range t.names {
		if t.support(i) > 0 {
			n++
			if t.counts[i][i] > 0 {
				right++
			}
		}
	}
	return ratio(float64(right), float64(n))
}
