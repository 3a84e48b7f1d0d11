package score

// This file counts verdicts: the confusion matrix and the figures that follow from it.

import "math"

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

// Confidence says how far probabilities can be trusted (paper V). A window is
// low when its probability is under the threshold of the class it was given.
type Confidence struct {
	Threshold      float64  `json:"threshold"`
	MeanCorrect    *float64 `json:"mean_correct"`
	MeanWrong      *float64 `json:"mean_wrong"`
	LowFraction    *float64 `json:"low_fraction"`
	HighWrong      *float64 `json:"high_wrong"` // wrong / windows that are not low
	HighWrongCount int      `json:"high_wrong_count"`
	ECE            *float64 `json:"ece"`        // expected calibration error, 15 bins of equal width
	WrongHigh      *float64 `json:"wrong_high"` // not low / wrong windows
	LowLocal       *float64 `json:"low_local"`  // of low windows, those with three local flows or more (Fig. 16)
}

// Bin counts the windows of one range of confidence (Fig. 15).
type Bin struct {
	From    float64 `json:"from"` // inclusive
	To      float64 `json:"to"`   // exclusive but for the last
	Correct int     `json:"correct"`
	Wrong   int     `json:"wrong"`
}

// LocalFlows counts the windows that hold so many local flows (Fig. 16).
type LocalFlows struct {
	Local   int `json:"local"`
	Windows int `json:"windows"`
	Low     int `json:"low"` // low confidence
	Wrong   int `json:"wrong"`
}

const (
	eceBins       = 15
	histogramBins = 20
	manyLocal     = 3 // local flows of a window from which the paper's Fig. 16 speaks of many
)

// confidence accumulates windows' probabilities beside whether they were right.
type confidence struct {
	sum, n    [2]float64 // wrong, right
	low, high float64
	highWrong int
	ece       [eceBins]struct{ n, probability, right float64 }
	bins      [histogramBins][2]int // wrong, right
	locals    []LocalFlows          // by number of local flows
}

func newConfidence() *confidence { return &confidence{locals: []LocalFlows{}} }

func (c *confidence) add(right bool, threshold, probability float64, local int) {
	hit := 0
	if right {
		hit = 1
	}
	c.sum[hit] += probability
	c.n[hit]++
	for len(c.locals) <= local {
		c.locals = append(c.locals, LocalFlows{Local: len(c.locals)})
	}
	l := &c.locals[local]
	l.Windows++
	l.Wrong += 1 - hit
	if probability < threshold {
		c.low++
		l.Low++
	} else {
		c.high++
		c.highWrong += 1 - hit
	}
	b := &c.ece[bin(probability, eceBins)]
	b.n++
	b.probability += probability
	b.right += float64(hit)
	c.bins[bin(probability, histogramBins)][hit]++
}

// bin is which of n bins of equal width a probability falls into.
func bin(probability float64, n int) int {
	return max(0, min(n-1, int(probability*float64(n))))
}

func (c *confidence) result(threshold float64) Confidence {
	all, gap, lowLocal := c.n[0]+c.n[1], 0.0, 0
	for _, b := range c.ece {
		gap += math.Abs(b.right - b.probability)
	}
	for _, l := range c.locals {
		if l.Local >= manyLocal {
			lowLocal += l.Low
		}
	}
	return Confidence{
		Threshold:      threshold,
		MeanCorrect:    ratio(c.sum[1], c.n[1]),
		MeanWrong:      ratio(c.sum[0], c.n[0]),
		LowFraction:    ratio(c.low, all),
		HighWrong:      ratio(float64(c.highWrong), c.high),
		HighWrongCount: c.highWrong,
		ECE:            ratio(gap, all),
		WrongHigh:      ratio(float64(c.highWrong), c.n[0]),
		LowLocal:       ratio(float64(lowLocal), c.low),
	}
}

func (c *confidence) histogram() []Bin {
	list := make([]Bin, histogramBins)
	for i, b := range c.bins {
		list[i] = Bin{float64(i) / histogramBins, float64(i+1) / histogramBins, b[1], b[0]}
	}
	return list
}
