package score

// This file says how far a score, or the difference of two, could be off by the
// luck of which captures were taken.

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

	// MacroF1Draws are the draws' macro-F1, in their order, if Config.Draws asks for
	// them. On the same captures every model's n-th draw is of the same captures.
	MacroF1Draws []float64 `json:"macro_f1_draws,omitempty"`
}

// Of the bootstrap.
const (
	intervalLevel = 0.95
	bootstrapSeed = 1
)

// bootstrap gives the intervals of a tally, with their draws if wanted; nil when no
// stratum has two captures.
func (t *tally) bootstrap(names []string, resamples int, draws bool) *Intervals {
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
	in := &Intervals{intervalLevel, resamples, percentiles(figures[0]), percentiles(figures[1]), percentiles(figures[2]), percentiles(figures[3]), nil}
	if draws && len(figures[1]) == resamples {
		in.MacroF1Draws = figures[1]
	}
	return in
}

// Difference is the interval of a model's macro-F1 less another's, both trained
// with several seeds and scored on the same captures: of each seed's draws. Each
// draw is of as many seeds too, with replacement. Without the other model it is the
// interval of the first one's mean. Nil when a seed has no draws, or other numbers
// of them.
func Difference(of, from [][]float64) *Interval {
	all := slices.Concat(of, from)
	if len(of) == 0 || slices.ContainsFunc(all, func(d []float64) bool { return len(d) == 0 || len(d) != len(all[0]) }) {
		return nil
	}
	random := rand.New(rand.NewPCG(bootstrapSeed, 1))
	mean := func(seeds [][]float64, draw int) float64 {
		sum := 0.0
		for range seeds {
			sum += seeds[random.IntN(len(seeds))][draw]
		}
		return sum / float64(max(1, len(seeds)))
	}
	differences := make([]float64, len(all[0]))
	for i := range differences {
		differences[i] = mean(of, i) - mean(from, i)
	}
	return percentiles(differences)
}

// percentiles is the range that holds the middle of the values, by nearest rank.
func percentiles(values []float64) *Interval {
	if len(values) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(values))
	at := func(q float64) float64 {
		return sorted[max(0, min(len(sorted)-1, int(math.Ceil(q*float64(len(sorted))))-1))]
	}
	tail := (1 - intervalLevel) / 2
	return &Interval{at(tail), at(1 - tail)}
}
