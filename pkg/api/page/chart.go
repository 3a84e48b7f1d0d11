package page

// This file draws a device's traffic, when it was there, and what happened to it.

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

const (
	sparkHigh   = 32 // units of a picture; a minute is one wide
	chartHigh   = 80
	presentFor  = 24 * time.Hour
	maxHappened = 25
)

// chart is what a device sent and received by minute.
type chart struct {
	Spark          string // both together, as the outline of a path
	Up, Down       string // sent above the middle, received below
	Sent, Received string // in the hour
	Most           string // of a minute
}

// chartOf draws traffic, and with it what flows that are open have had.
func chartOf(t v1.Traffic, open [2]uint64) (c chart) {
	n := len(t.Sent)
	if n == 0 || len(t.Received) != n {
		return chart{}
	}
	sent, received, both := make([]float64, n), make([]float64, n), make([]float64, n)
	var most, side float64
	var up, down uint64
	for i := range n {
		s, r := t.Sent[i], t.Received[i]
		if i == n-1 {
			s, r = s+open[0], r+open[1]
		}
		sent[i], received[i], both[i] = float64(s), float64(r), float64(s+r)
		up, down = up+s, down+r
		most, side = max(most, both[i]), max(side, sent[i], received[i])
	}
	return chart{
		Spark: outline(both, most, sparkHigh, sparkHigh), Up: outline(sent, side, chartHigh/2, chartHigh/2), Down: outline(received, side, chartHigh/2, -chartHigh/2),
		Sent: sizeText(up), Received: sizeText(down), Most: sizeText(uint64(most)),
	}
}

// outline is the path around values that stand on a line at y, the greatest so high; below 0 they
// hang. Empty: there is nothing to see.
func outline(values []float64, greatest, y, high float64) string {
	if greatest == 0 {
		return ""
	}
	place := func(v float64) float64 {
		if v == 0 {
			return 0
		}
		return math.Copysign(max(1, math.Round(math.Abs(high)*v/greatest)), high) // something is there
	}
	var b strings.Builder
	fmt.Fprintf(&b, "M0 %g", y)
	for i := 0; i < len(values); {
		at, n := place(values[i]), 1
		for ; i+n < len(values) && place(values[i+n]) == at; n++ {
		}
		fmt.Fprintf(&b, "V%gh%d", y-at, n)
		i += n
	}
	fmt.Fprintf(&b, "V%gz", y)
	return b.String()
}

// span is a time in which a device was there, in minutes of the day that is shown.
type span struct{ From, Long int }

// presence is when a device was there in the 24 hours up to the end of its traffic, as far as
// events are remembered.
func presence(d *v1.Device) (spans []span, there time.Duration) {
	end := d.Traffic.Until.Time
	begin := end.Add(-presentFor)
	add := func(from, to time.Time) {
		if from.Before(begin) {
			from = begin
		}
		if to.Before(from) {
			return
		}
		there += to.Sub(from)
		spans = append(spans, span{int(from.Sub(begin).Minutes()), max(2, int(to.Sub(from).Minutes()))})
	}
	since := d.FirstSeen.Time
	for i := range d.Events {
		switch e := &d.Events[i]; e.Event {
		case v1.EventNew, v1.EventBack:
			since = e.Time.Time
		case v1.EventGone:
			if !since.IsZero() {
				add(since, e.Time.Time)
			}
			since = time.Time{}
		}
	}
	if !since.IsZero() {
		add(since, d.LastSeen.Time)
	}
	return spans, min(there, presentFor)
}

// happened is an event as the page has it.
type happened struct {
	Time v1.Time
	What string
}

// history are the newest events of a device, the newest first.
func history(events []v1.Event) (list []happened) {
	for i := len(events) - 1; i >= 0 && len(list) < maxHappened; i-- {
		list = append(list, happened{events[i].Time, happenedWords(&events[i])})
	}
	return list
}

func happenedWords(e *v1.Event) string {
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return shorten(*s, 120)
	}
	was := ""
	if old := text(e.Old); old != "" {
		was = ", before " + old
	}
	switch now := text(e.New); e.Event {
	case v1.EventNew:
		return "seen for the first time"
	case v1.EventGone:
		return "gone"
	case v1.EventBack:
		return "back"
	case v1.EventLabelled:
		if now == "" {
			return "its label was taken back" + was
		}
		return "labelled " + now + was
	case string(v1.Known), string(v1.Likely):
		return e.Event + ": " + cmp.Or(now, text(e.Label)) + was
	}
	return e.Event + was
}
