package experiment

// This file holds what all tables of series are made of.

import (
	"fmt"

	"github.com/iotsense/iotsense/pkg/model/score"
)

// covered is the number of classes with a right prediction.
func covered(r *score.Result) int {
	n := 0
	for _, c := range r.Classes {
		if c.Support > 0 && c.Recall > 0 {
			n++
		}
	}
	return n
}

// Outcome is a model's score over its seeds.
type Outcome struct {
	MacroF1  *float64        `json:"macro_f1"`          // mean over the seeds
	Interval *score.Interval `json:"macro_f1_interval"` // 95 %, captures and seeds drawn anew; null with too few captures
	Seeds    []float64       `json:"macro_f1_seeds"`
	draws    [][]float64     // of each seed
}

// add takes the score of one more seed.
func (o *Outcome) add(r *score.Result) {
	if r.MacroF1 == nil {
		return // no window of this model's traffic is in the test part
	}
	o.Seeds = append(o.Seeds, *r.MacroF1)
	sum := 0.0
	for _, f := range o.Seeds {
		sum += f
	}
	mean := sum / float64(len(o.Seeds))
	o.MacroF1 = &mean
	if r.Intervals != nil {
		o.draws = append(o.draws, r.Intervals.MacroF1Draws)
	}
	o.Interval = score.Difference(o.draws, nil)
}

// Sheet is a table of a series, for the terminal and for its page.
type Sheet struct {
	Header []string
	Rows   [][]string
}

// figure formats a figure that may be missing.
func figure(format string, v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf(format, *v)
}

// between formats an interval that may be missing.
func between(format string, i *score.Interval) string {
	if i == nil {
		return "-"
	}
	return fmt.Sprintf(format+" to "+format, i.Low, i.High)
}
