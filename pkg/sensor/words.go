package sensor

// This file takes an operator's word on devices.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/iotsense/iotsense/pkg/api"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/registry"
)

// Events implements api.Source.
func (s *Sensor) Events(after uint64) ([]v1.Event, error) {
	return s.classifier.Registry().Events(after, registry.MaxEvents), nil
}

// News implements api.Source.
func (s *Sensor) News() (newest uint64, next <-chan struct{}) { return s.classifier.Registry().News() }

// Traffic implements api.Source.
func (s *Sensor) Traffic(device string) v1.Traffic {
	s.mu.Lock()
	now, _, _ := s.clock(s.kernel.Now())
	s.mu.Unlock()
	return s.classifier.Registry().Traffic(device, now)
}

// ShowsPayload implements api.Source.
func (s *Sensor) ShowsPayload() bool { return s.cfg.ShowPayload }

// Names implements api.Source.
func (s *Sensor) Names(most int) []string { return s.classifier.Registry().Names(most) }

// Correct implements api.Source.
func (s *Sensor) Correct(ctx context.Context, device, do string, c v1.Correction) (v1.Corrected, error) {
	names, err := s.say(device, do, c)
	if err == nil && names != nil {
		s.notify.Forget(names)
		err = s.recorder.Forget(names) // without the lock: the disk may be slow
	}
	if err != nil {
		if errors.Is(err, registry.ErrRefused) {
			err = &api.RefusedError{Err: err}
		}
		return v1.Corrected{}, err
	}
	done := v1.Corrected{Device: s.classifier.Registry().Verdict(device).Device}
	if s.kept == nil {
		return done, nil
	}
	if err := s.kept.keeper.Sync(ctx); err != nil {
		return done, fmt.Errorf("taken, but not on the disk yet: %w", err)
	}
	done.Kept = true
	return done, nil
}

// say takes it in memory. Records wait meanwhile: who makes room for another, or is
// forgotten, is so by all: forgotten are the names of who is. What is being judged by open flows
// is told before, so that none of it is kept or told of after.
func (s *Sensor) say(device, do string, c v1.Correction) (forgotten []string, err error) {
	if s.early != nil {
		s.early.turn.Lock()
		defer s.early.turn.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.classifier.Registry()
	switch do {
	case v1.DoLabel:
		return nil, r.Label(device, c.Label, time.Now().UnixMicro())
	case v1.DoForget:
		return s.forget(device)
	case v1.DoMerge:
		return nil, r.Merge(device, c.With)
	case v1.DoSplit:
		s.early.forget(device) // it was said of the one that it was a part of
		return nil, r.Split(device)
	case v1.DoIgnore, v1.DoHeed:
		v := r.Verdict(device)
		for _, name := range append([]string{v.Device}, v.Others...) {
			s.early.forget(name)
		}
		return nil, r.Ignore(device, do == v1.DoIgnore, time.Now().UnixMicro())
	case v1.DoLock, v1.DoUnlock:
		return nil, r.Lock(device, do == v1.DoLock)
	}
	return nil, fmt.Errorf("%w: no such word: %s", registry.ErrRefused, do)
}

// forget removes all that is known of a device, and returns the names it went by; the lock is
// held. One that had to make room may be in recordings.
func (s *Sensor) forget(device string) (names []string, err error) {
	names, err = s.classifier.Registry().Erase(device) // has the others forget it, as evicted
	if errors.Is(err, registry.ErrUnknown) && names != nil && s.recorder != nil {
		err = nil
	}
	for _, name := range names {
		s.early.forget(name)
		s.assembler.Forget(name)
	}
	return names, err
}
