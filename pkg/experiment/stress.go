package experiment

// This file scores models on changed data, and on devices that they cannot know.

import (
	"context"
	"errors"
	"fmt"
	"slices"

	v1 "github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/capture"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/score"
	"github.com/iotsense/iotsense/pkg/report"
	"github.com/iotsense/iotsense/pkg/stress"
)

// stressSeed draws what changes.
const stressSeed = 1

// Stressed is a score with those of the same data, changed.
type Stressed struct {
	*score.Result
	Stress    []StressRow `json:"stress"`    // null: not asked for
	Strangers *Strangers  `json:"strangers"` // null: not asked for
}

// StressRow is the score of the data after one change. Devices are those of captures,
// one joined verdict each.
type StressRow struct {
	Change     string   `json:"change"`      // a stress.Change's name
	Devices    int      `json:"devices"`     // with a window
	Right      int      `json:"right"`       // of these, whatever the threshold
	Named      int      `json:"named"`       // at or over the threshold
	NamedWrong int      `json:"named_wrong"` // of these
	MacroF1    *float64 `json:"macro_f1"`    // of windows
	ECE        *float64 `json:"ece"`         // of windows
}

// Strangers says how many devices that no class describes were given a name.
type Strangers struct {
	Devices   int `json:"devices"`    // of captures, with a window or without
	Named     int `json:"named"`      // in the end
	NamedEver int `json:"named_ever"` // at some time
}

// Tables show what there is beside the result.
func (s *Stressed) Tables() (tables []report.Table) {
	if len(s.Stress) > 0 {
		t := report.Table{Title: "The same captures, changed", Header: []string{"Change", "Devices with a window", "Right", "Named", "Named wrong", "Macro F1", "Calibration error"}}
		for _, r := range s.Stress {
			t.Rows = append(t.Rows, []string{r.Change, fmt.Sprint(r.Devices), fmt.Sprint(r.Right), fmt.Sprint(r.Named), fmt.Sprint(r.NamedWrong), figure("%.4f", r.MacroF1), figure("%.4f", r.ECE)})
		}
		tables = append(tables, t)
	}
	if r := s.Strangers; r != nil {
		tables = append(tables, report.Table{
			Title: "Devices that no class describes", Header: []string{"Strangers", "Named in the end", "Named at some time"},
			Rows: [][]string{{fmt.Sprint(r.Devices), fmt.Sprint(r.Named), fmt.Sprint(r.NamedEver)}},
		})
	}
	return tables
}

// Stressed adds to the result of Run what e asks for beyond it. The error is of what
// Run has not met: captures that lost what was right about them, or a manifest's.
func (e Evaluation) Stressed(ctx context.Context, bundle model.Bundle, r *score.Result, w Watcher) (*Stressed, error) {
	s := &Stressed{Result: r}
	var damaged error
	var changes []stress.Change
	if e.Stress {
		changes = stress.Changes()
	}
	for _, time := range e.First {
		changes = append(changes, stress.First(time))
	}
	for _, change := range changes {
		row, err := e.stressed(ctx, bundle, change, w)
		if err != nil {
			return nil, err
		}
		s.Stress = append(s.Stress, *row)
	}
	if e.Strangers != "" {
		s.Strangers, damaged = e.strangers(ctx, bundle, w)
		if s.Strangers == nil {
			return nil, damaged
		}
	}
	return s, damaged
}

// stressed is the score after a change. Captures that can be read in part only Run has
// told.
func (e Evaluation) stressed(ctx context.Context, bundle model.Bundle, change stress.Change, w Watcher) (*StressRow, error) {
	show, end := w.Files(change.Name)
	defer end()
	set, err := e.open(ctx, show, again{w})
	if err != nil {
		return nil, err
	}
	err = set.Change(func(name string, devices []string) capture.Changer { return change.Begin(stressSeed, name, devices) })
	if err != nil {
		return nil, err
	}
	e.Score.Resamples, e.Score.Draws = 0, false
	s, err := e.score(ctx, set, bundle, change.Name, func(dataset.CaptureSummary, *classify.Classifier) {})
	if s == nil || errors.As(err, new(*flows.AccountingError)) {
		return nil, err
	}
	r, err := s.scorer.Result()
	if err != nil {
		return nil, err
	}
	row := &StressRow{Change: change.Name, Devices: r.Devices.WithWindow, Named: r.Devices.NamedRight + r.Devices.NamedWrong,
		NamedWrong: r.Devices.NamedWrong, MacroF1: r.MacroF1, ECE: r.Confidence.ECE}
	for i, given := range r.DevicesConfusion {
		row.Right += given[i]
	}
	return row, nil
}

// again is a Watcher that has told of the data before.
type again struct{ Watcher }

// Opened implements Watcher.
func (again) Opened(*dataset.Set) {}

// strangers counts the names that the bundle gives to devices it cannot know. Devices of
// the manifest that are of a class it has are left out.
func (e Evaluation) strangers(ctx context.Context, bundle model.Bundle, w Watcher) (*Strangers, error) {
	show, end := w.Files("strangers")
	defer end()
	set, err := dataset.Open(dataset.Options{Manifest: e.Strangers, Capture: e.Data.Capture, Progress: show})
	if err != nil {
		return nil, err
	}
	classes, known := classify.Classes(bundle), 0
	found, ever := &Strangers{}, map[string]bool{} // ever: devices of the capture being read
	opts := classify.Options{WindowMode: e.WindowMode, Verdict: func(v v1.Verdict) {
		if v.Known {
			ever[v.Device] = true
		}
	}}
	damaged := classify.Captures(ctx, set, bundle, opts, nil, func(c dataset.CaptureSummary, k *classify.Classifier) error {
		last := map[string]bool{}
		if k != nil {
			for _, d := range k.Registry().Devices() {
				last[d.Device] = d.Known
			}
		}
		for _, d := range c.Devices {
			if slices.Contains(classes, d.Label) {
				known++
				continue
			}
			found.Devices++
			found.Named += count(last[d.Name])
			found.NamedEver += count(ever[d.Name])
		}
		clear(ever)
		return nil
	})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if known > 0 {
		w.Warn("devices of --strangers that the model has a class for are left out", "devices", known)
	}
	if found.Devices == 0 && damaged == nil {
		damaged = invalid("--strangers %s: it names no device of another class than the model's", e.Strangers)
	}
	if found.Devices == 0 {
		return nil, damaged
	}
	return found, damaged
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
