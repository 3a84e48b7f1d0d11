package embedded_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/embedded"
)

// daysEnv names directories of `iotsense lab --duration 24h`, as PATH does.
const daysEnv = "IOTSENSE_TEST_DAYS"

// history is what was said of devices in the course of time.
type history struct {
	devices       int
	hours         float64 // that they were heard for, together; of a silence one at most
	changes, late int     // of what was said of a device; of these after its first 10 minutes
	told          map[v1.State]int
}

// course follows one device.
type course struct {
	first, last int64
	heard       time.Duration
	said        bool
	told        map[v1.State]bool
}

func (h *history) follow(t *testing.T, bundle model.Bundle, opts dataset.Options) {
	of := map[string]*course{}
	get := func(capture, device string) *course {
		key := capture + "|" + device
		if of[key] == nil {
			of[key] = &course{told: map[v1.State]bool{}}
		}
		return of[key]
	}
	var now flows.LabelledRecord
	said := func(v v1.Verdict) {
		c := get(now.Capture, v.Device)
		c.told[v.State] = true
		if v.News && c.said {
			h.changes++
			if v.Time.UnixMicro()-c.first > (10 * time.Minute).Microseconds() {
				h.late++
			}
		}
		c.said = true
	}
	err := classify.Captures(t.Context(), open(t, bundle, opts), bundle, classify.Options{Verdict: said}, func(r flows.LabelledRecord) error {
		now = r
		c := get(r.Capture, r.Device)
		if c.first == 0 {
			c.first = r.FirstSeen
		}
		if c.last != 0 {
			c.heard += min(max(0, time.Duration(r.LastSeen-c.last)*time.Microsecond), time.Hour)
		}
		c.last = max(c.last, r.LastSeen)
		return nil
	}, func(dataset.CaptureSummary, *classify.Classifier) error { return nil })
	inPart(t, err)
	for _, c := range of {
		h.devices++
		h.hours += c.heard.Hours()
		for state := range c.told {
			h.told[state]++
		}
	}
}

// No device of captures, nor what is around strangers, is ever said to have changed or to be
// in conflict; how often what is said of a device becomes another is logged, for days of the
// lab too where there are some.
func TestStatesOverTime(t *testing.T) {
	days := filepath.SplitList(os.Getenv(daysEnv))
	for _, tt := range []struct {
		name, others string
		model        func() (model.Bundle, error)
		dirs         []string
	}{
		{"captures", "", embedded.Default, []string{testenv.Data(t)}},
		{"strangers and what is around them", "other", embedded.Default, []string{testenv.Strangers(t)}},
		{"lab days", "", embedded.Lab, days},
	} {
		bundle := read(t, tt.model)
		h := history{told: map[v1.State]int{}}
		for _, dir := range tt.dirs {
			h.follow(t, bundle, dataset.Options{Manifest: manifest(dir), Others: tt.others})
		}
		if h.devices == 0 {
			continue
		}
		t.Logf("%s: %d devices, %.0f h: %.4f changes an hour, %.4f after the first 10 minutes; ever in %v",
			tt.name, h.devices, h.hours, float64(h.changes)/h.hours, float64(h.late)/h.hours, h.told)
		if n := h.told[v1.Changed] + h.told[v1.Conflict]; n > 0 && tt.name != "lab days" {
			t.Errorf("%s: %d devices have changed or are in conflict", tt.name, n)
		}
	}
}
