package sensor

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iotsense/iotsense/internal/queue"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/flows"
)

// Where there is no time left, flows that are still open give records, for the
// accounts, but no verdicts.
func TestHurry(t *testing.T) {
	hurry, now := context.WithCancel(t.Context())
	records := 0
	s := &Sensor{cfg: Config{Hurry: hurry, Record: func(*flows.Record) { records++ }}}
	var err error
	if s.classifier, err = classify.New(nil, classify.Options{}); err != nil {
		t.Fatal(err)
	}
	s.record(&flows.Record{Device: "02:00:00:00:00:01"})
	now()
	s.record(&flows.Record{Device: "02:00:00:00:00:02"})
	if judged := s.classifier.Registry().Devices(); records != 2 || len(judged) != 1 {
		t.Errorf("%d records, %d devices judged, want 2 and 1", records, len(judged))
	}
}

// A listener that stands still is waited for once, whether by Run, by Close or by both.
func TestEndOfVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blocked := make(chan struct{})
		s := &Sensor{cfg: Config{Hurry: t.Context()}}
		s.verdicts = queue.New(1, func(v1.Verdict) error { <-blocked; return nil })
		s.verdicts.Put(v1.Verdict{})
		synctest.Wait() // the listener holds it
		begin := time.Now()
		s.endVerdicts()
		s.endVerdicts()
		if took := time.Since(begin); took != lastVerdicts {
			t.Errorf("waited %v, want %v", took, lastVerdicts)
		}
		close(blocked)
	})
}
