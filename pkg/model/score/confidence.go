package score

// This file asks whether a probability means what it says (paper V).

import "math"

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
	ECEDevice      *float64 `json:"ece_device"` // the same of joined verdicts, one for each device and capture with a window
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
	ece       calibration
	bins      [histogramBins][2]int // wrong, right
	locals    []LocalFlows          // by number of local flows
}

// calibration compares probabilities with how often they were right, by bins.
type calibration [eceBins]struct{ n, probability, right float64 }

func (c *calibration) add(right bool, probability float64) {
	b := &c[bin(probability, eceBins)]
	b.n++
	b.probability += probability
	if right {
		b.right++
	}
}

// gap is the expected calibration error; nil of nothing.
func (c *calibration) gap() *float64 {
	n, gap := 0.0, 0.0
	for _, b := range c {
		n += b.n
		gap += math.Abs(b.right - b.probability)
	}
	return ratio(gap, n)
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
	c.ece.add(right, probability)
	c.bins[bin(probability, histogramBins)][hit]++
}

// bin is which of n bins of equal width a probability falls into.
func bin(probability float64, n int) int {
	return max(0, min(n-1, int(probability*float64(n))))
}

func (c *confidence) result(threshold float64) Confidence {
	all, lowLocal := c.n[0]+c.n[1], 0
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
		ECE:            c.ece.gap(),
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
