package lab

// This file holds a day: when a home's people use a unit, and what befalls it.

import (
	"cmp"
	"slices"
	"time"
)

// span is a time since the recording's start; it ends before until.
type span struct{ from, until time.Duration }

func (s span) has(at time.Duration) bool { return s.from <= at && at < s.until }

// habit is how people use a kind of device, and where that looks for firmware.
type habit struct {
	hours             string // how often they turn to it in each hour from midnight on: a digit counts halves
	shortest, longest time.Duration
	updates           string // the server that has its firmware
	tls               *tlsProfile
}

// course is what befalls a unit in a recording.
type course struct {
	lives []life        // in order of time, gaps between them
	use   []span        // when people use it, in order of time, apart from each other
	check time.Duration // when it looks for new firmware
	finds bool          // and finds some
	slow  time.Duration // how many times rarer upkeep is than in the minutes after power-on
	asks  time.Duration // from one question for the router's MAC to the next
	day   bool
}

// life is a unit's time between joining the network and leaving it.
type life struct {
	span
	spare   bool // has the other one of its two addresses
	refused bool // the router has given its earlier one away
	updates int  // new firmware installed before
}

// powerOn is the course of a unit that is used from power-on to the end.
func powerOn(_ kind, _ int, _ *home, length time.Duration) course {
	all := span{0, length}
	return course{lives: []life{{span: all}}, use: []span{all}, check: length, slow: 1}
}

const (
	shortestLife = 3 * time.Minute
	mostDrops    = 3    // of Wi-Fi in a day, beside the router's own restart at night
	refusals     = 0.25 // of lives at whose first renewal the router gives another address
	findings     = 0.2  // of looks for firmware that find some
	installing   = 90 * time.Second
	outages      = 0.4 // of servers in a day
)

// daily is a unit's course through a day of a home.
func daily(k kind, unit int, h *home, length time.Duration) course {
	r, own := newRand("day", k.name, unit, h.seed), newRand("firmware", k.name, unit)
	between := func(low, high time.Duration) time.Duration { return low + time.Duration(r.Int64N(int64(high-low))) }
	c := course{day: true, use: k.habit.sessions(k, unit, h, length), check: length,
		slow: time.Duration(4 + r.IntN(16)), asks: between(2*time.Minute, 10*time.Minute)}

	type cut struct{ at, gap time.Duration }
	cuts := []cut{{length, time.Hour}, {h.next(h.restart), between(20*time.Second, 3*time.Minute)}}
	for range 1 + r.IntN(mostDrops) {
		cuts = append(cuts, cut{between(0, day), between(3*time.Second, 5*time.Minute)})
	}
	installed := length
	hour, everyDays := time.Duration(own.Int64N(int64(day))), 1+6*own.IntN(2)
	if r.IntN(everyDays) == 0 {
		c.check, c.finds = h.next(hour), r.Float64() < findings
	}
	if c.finds {
		installed = c.check + installing
		cuts = append(cuts, cut{installed, between(15*time.Second, time.Minute)})
	}
	slices.SortFunc(cuts, func(a, b cut) int { return cmp.Compare(a.at, b.at) })

	l := life{}
	end := func(at, gap time.Duration) {
		l.until = at
		c.lives = append(c.lives, l)
		l.from = at + gap
	}
	for _, x := range cuts {
		if l.from >= length || x.at > length || x.at < length && x.at < l.from+shortestLife {
			continue
		}
		if renewal := l.from + h.term/2; renewal+shortestLife < x.at && r.Float64() < refusals {
			end(renewal, 0)
			l.refused, l.spare = true, !l.spare
		}
		end(x.at, x.gap)
		l.refused = false
		if x.at == installed {
			l.updates++
		}
	}
	return c
}

// sessions draws when people use a unit: as often as is usual for its kind at that hour,
// earlier or later and more or less often by home and by unit.
func (t habit) sessions(k kind, unit int, h *home, length time.Duration) []span {
	r := newRand("use", k.name, unit, h.seed)
	late, often := h.late+time.Duration(r.Int64N(int64(90*time.Minute)))-45*time.Minute, 0.6+r.Float64()*0.8
	var use []span
	for at := time.Duration(0); at < length; at += time.Hour {
		n := float64(t.hours[h.start.Add(at-late).Hour()]-'0') / 2 * often * (0.4 + r.Float64()*1.2)
		for ; r.Float64() < n; n-- {
			from := at + time.Duration(r.Int64N(int64(time.Hour)))
			use = append(use, span{from, from + t.shortest + time.Duration(r.Int64N(int64(t.longest-t.shortest)))})
		}
	}
	slices.SortFunc(use, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	apart := use[:0]
	for _, s := range use {
		if n := len(apart); n > 0 && s.from <= apart[n-1].until {
			apart[n-1].until = max(apart[n-1].until, s.until)
			continue
		}
		apart = append(apart, s)
	}
	return apart
}

// inUse is the first moment from a time on at which people use the device.
func (d *device) inUse(at time.Duration) time.Duration {
	for _, s := range d.course.use {
		if at < s.until {
			if at >= s.from {
				return at
			}
			return s.from + d.between(0, 5*time.Second)
		}
	}
	return d.until
}

// used does something once a period, as every does, while people use the device.
func (d *device) used(from, period time.Duration, do func(at time.Duration)) {
	d.after(d.inUse(from), func(at time.Duration) {
		do(at)
		d.used(at+period+d.between(-period/20, period/20), period, do)
	})
}

// visit does something once each time that people turn to the device.
func (d *device) visit(from time.Duration, do func(at time.Duration)) {
	d.after(d.inUse(from), func(at time.Duration) {
		do(at)
		if i := slices.IndexFunc(d.course.use, func(s span) bool { return s.from > at }); i >= 0 {
			d.visit(d.course.use[i].from, do)
		}
	})
}

// upkeep does something once a period just after power-on, and more rarely in a day.
func (d *device) upkeep(from, period time.Duration, do func(at time.Duration)) {
	d.every(from, period*d.course.slow, do)
}

// stay does what a device on the network does all day.
func (d *device) stay(at time.Duration) {
	if !d.course.day {
		return
	}
	d.every(at+d.home.term/2, d.home.term/2, d.renew)
	d.every(at+d.course.asks, d.course.asks, func(at time.Duration) { d.resolve(at, d.home.router) })
	if d.course.check > at {
		d.after(d.course.check, d.lookForFirmware)
	}
}

// lookForFirmware asks for new firmware and loads it where there is some.
func (d *device) lookForFirmware(at time.Duration) {
	q := request{method: "GET", host: d.habit.updates, path: "/check?sn=" + d.serial + "&v=" + d.firmware, agent: "fw/" + d.firmware,
		typ: "application/json", answer: []byte(`{"update":null}`)}
	if d.course.finds {
		q.path, q.typ, q.answer = "/load?sn="+d.serial, "application/octet-stream", d.bytes(100_000+d.rng.IntN(900_000))
	}
	if d.habit.tls != nil {
		d.report(at, *d.habit.tls, q)
	} else {
		d.get(at, q)
	}
}
