package sensor

// This file looks, now and then, for what no packet tells: who is gone, and what is lost.

import (
	"context"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

const (
	lookEvery = 30 * time.Second
	// dropsEnd is how many looks after the last loss it is over.
	dropsEnd = 4
)

// watch looks until ctx ends.
func (s *Sensor) watch(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	drops := map[string]*dropping{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock() // what is forgotten is so by all
		now, since, ok := s.clock(s.kernel.Now())
		if ok && (time.Duration(s.kernel.Epoch(0)-s.ahead)*time.Microsecond).Abs() < 2*time.Second { // else the clock is just being set
			s.classifier.Registry().Look(now, since)
		}
		s.mu.Unlock()
		ringFull, tableFull, err := s.kernel.Losses()
		if err != nil {
			continue // whoever asks for them is told
		}
		for counter, n := range map[string]uint64{
			"samples.ring_full": ringFull, "packets.table_full": tableFull, "dropped_verdicts": s.verdicts.Dropped(),
		} {
			if drops[counter] == nil {
				drops[counter] = &dropping{}
			}
			if event := drops[counter].look(counter, n); event != nil {
				event.Time = v1.Time{Time: time.Now()}
				s.classifier.Registry().Note(*event)
			}
		}
	}
}

// clockSet has all that is known of devices as long ago as it was.
func (s *Sensor) clockSet(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	us := by.Microseconds()
	now, since, ok := s.clock(s.kernel.Now() - us)
	if ok {
		s.classifier.Registry().ClockSet(since, now, by)
		if s.facts != nil {
			s.facts.ClockSet(since, now, us)
		}
	}
	s.since += us
	s.ahead += us
	if first := s.first.Load(); first != 0 {
		s.first.Store(first + us)
	}
}

// clock is what time it is for packets, at a time of the wall's clock, and since when there
// have been some; us since the Unix epoch. ok is false where none has come yet. The lock is held.
func (s *Sensor) clock(wall int64) (now, since int64, ok bool) {
	if s.cfg.Speed == 1 {
		return wall, s.since, true
	}
	first := s.first.Load()
	return first + int64(float64(wall-first)*s.cfg.Speed), first, first != 0
}

// dropping is a counter of losses.
type dropping struct {
	n     uint64
	quiet int  // looks since it was last raised
	on    bool // it has been said
}

// look takes the counter's value, and returns what there is to say.
func (d *dropping) look(counter string, n uint64) *v1.Event {
	raised := n > d.n
	d.n = n
	switch {
	case raised:
		d.quiet = 0
		if !d.on {
			d.on = true
			return &v1.Event{Event: v1.EventDropsBegan, New: &counter}
		}
	case d.on:
		if d.quiet++; d.quiet == dropsEnd {
			d.on = false
			return &v1.Event{Event: v1.EventDropsEnded, Old: &counter}
		}
	}
	return nil
}
