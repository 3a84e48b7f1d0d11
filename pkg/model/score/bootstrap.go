package score

// This file says how far a score could be off by the luck of which captures were
// taken.

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Interval is a range that a figure lies in.
type Interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Intervals are percentile bootstrap intervals. Captures are drawn anew with
// replacement, as many of each class as there are (of each set of classes, where
// captures hold several): windows of one capture are too much alike to be drawn
// one by one.
type Intervals struct {
	Level           float64   `json:"level"`
	Resamples       int       `json:"resamples"`
	Accuracy        *Interval `json:"accuracy"`
	MacroF1         *Interval `json:"macro_f1"`
	DevicesAccuracy *Interval `json:"devices_accuracy"`
	DevicesMacroF1  *Interval `json:"devices_macro_f1"`
}

// Of the bootstrap.
const (
	intervalLevel = 0.95
	bootstrapSeed = 1
)

// bootstrap gives the intervals of a tally; nil when no stratum has two captures.
func (t *tally) bootstrap(names []string, resamples int) *Intervals {
	strata, several := map[string][]counted{}, false
	for _, in := range keys(t.captures) { // by name: the same captures give the same draws
		c := t.count(t.captures[in])
		strata[c.stratum] = append(strata[c.stratum], c)
		several = several || len(strata[c.stratum]) > 1
	}
	if !several || resamples < 1 {
		return nil
	}
	random := rand.New(rand.NewPCG(bootstrapSeed, 0))
	order := keys(strata)
	var figures [4][]float64
	for range resamples {
		windows, devices := newTable(names), newTable(names)
		for _, name := range order {
			from := strata[name]
			for range from {
				c := from[random.IntN(len(from))]
				t.fill(windows, c.windows)
				t.fill(devices, c.devices)
			}
		}
		for i, figure := range []*float64{windows.accuracy(), windows.macroF1(), devices.accuracy(), devices.macroF1()} {
			if figure != nil { // a draw without any window has no accuracy
				figures[i] = append(figures[i], *figure)
			}
		}
	}
	return &Intervals{intervalLevel, resamples, percentiles(figures[0]), percentiles(figures[1]), percentiles(figures[2]), percentiles(figures[3])}
}

// percentiles is the range that holds the middle of the values, by nearest rank.
func percentiles(values []float64) *Interval {
	if len(values) == 0 {
		return nil
	}
	slices.Sort(values)
	at := func(q float64) float64 {
		return values[max(0, min(len(values)-1, int(math.Ceil(q*float64(len(values))))-1))]
	}
	tail := (1 - intervalLevel) / 2
	return &Interval{at(tail), at(1 - tail)}
}
