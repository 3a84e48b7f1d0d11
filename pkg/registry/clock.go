package registry

// This file moves times when the clock that they were read from has been set.

import "time"

// ClockSet moves by so much what has happened in a span of times that the clock told before it
// was set, us since the Unix epoch: a device was there as long ago as it was. What is of before is
// left, as another clock, or this one before it was wrong, has told that. Traffic by minute begins anew.
func (r *Registry) ClockSet(from, to int64, by time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for d := range r.each {
		d.traffic = nil
		times := []*int64{
			&d.first, &d.last, &d.newest, &d.word.labelled, &d.Since, &d.servedAt, &d.inTurnAt,
			&d.network.first, &d.network.last, &d.facts.first, &d.facts.last, &d.since,
		}
		for i := range d.addresses {
			times = append(times, &d.addresses[i].last, &d.addresses[i].back)
		}
		for _, t := range times {
			if *t >= from && *t <= to && *t != 0 {
				*t += by.Microseconds()
				d.changed = true
			}
		}
	}
}
