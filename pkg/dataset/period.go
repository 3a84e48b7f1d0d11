package dataset

// This file picks records by the time of their first packet.

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Period is a stretch of time; the zero Period is all of it.
type Period struct {
	From, Until time.Time // Until itself is outside
}

const dayLayout = "2006-01-02"

// ParsePeriod reads days in UTC, both included: "2016-09-23..2016-09-29", or one
// day alone. Nothing is the zero Period.
func ParsePeriod(s string) (Period, error) {
	if s == "" {
		return Period{}, nil
	}
	first, last, found := strings.Cut(s, "..")
	if !found {
		last = first
	}
	from, err := time.Parse(dayLayout, first)
	if err != nil {
		return Period{}, fmt.Errorf("dates %q: want days like 2016-09-23..2016-09-29", s)
	}
	until, err := time.Parse(dayLayout, last)
	if err != nil {
		return Period{}, fmt.Errorf("dates %q: want days like 2016-09-23..2016-09-29", s)
	}
	if until.Before(from) {
		return Period{}, fmt.Errorf("dates %q: the last day comes before the first", s)
	}
	return Period{from, until.AddDate(0, 0, 1)}, nil
}

// IsZero says whether the period is all time.
func (p Period) IsZero() bool { return p.From.IsZero() && p.Until.IsZero() }

// Contains says whether a time, in us since 1970, lies in the period.
func (p Period) Contains(us int64) bool {
	return p.IsZero() || (us >= p.From.UnixMicro() && us < p.Until.UnixMicro())
}

// Overlaps reports whether two periods have a time in common.
func (p Period) Overlaps(q Period) bool {
	return p.IsZero() || q.IsZero() || p.From.Before(q.Until) && q.From.Before(p.Until)
}

// Within is how much of the time from first to last, in us since 1970, lies in the
// period.
func (p Period) Within(first, last int64) time.Duration {
	if !p.IsZero() {
		first, last = max(first, p.From.UnixMicro()), min(last, p.Until.UnixMicro())
	}
	const longest = math.MaxInt64 / int64(time.Microsecond) // 292 years: a stamp is odd
	return time.Duration(max(0, min(last-first, longest))) * time.Microsecond
}

func (p Period) String() string {
	if p.IsZero() {
		return "all dates"
	}
	return p.From.Format(dayLayout) + ".." + p.Until.AddDate(0, 0, -1).Format(dayLayout)
}

// Part is a part of a data set; the zero Part is all of it.
type Part struct {
	Splits []string
	Period Period
}

// IsZero reports whether no part is named.
func (p Part) IsZero() bool { return len(p.Splits) == 0 && p.Period.IsZero() }

// Overlaps reports whether records can be of both parts.
func (p Part) Overlaps(q Part) bool {
	splits := len(p.Splits) == 0 || len(q.Splits) == 0 || // no split named: all of them
		slices.ContainsFunc(p.Splits, func(s string) bool { return slices.Contains(q.Splits, s) })
	return splits && p.Period.Overlaps(q.Period)
}
