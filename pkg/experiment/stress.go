package experiment

// This file scores models on changed data, and on devices that they cannot know.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
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
	"github.com/iotsense/iotsense/pkg/taxonomy"
)

// Stressed is a score with those of the same data, changed.
type Stressed struct {
	*score.Result
	Stress    []StressRow `json:"stress"`    // null: not asked for
	Strangers *Strangers  `json:"strangers"` // null: not asked for
}

// StressRow is the score of the data after one change. Devices are those of captures,
// one joined verdict each.
type StressRow struct {
	Change string `json:"change"` // a stress.Change's name
	StressScore
	Alone map[string]StressScore `json:"alone"` // of the parts of models that have two; null: they have one
}

// StressScore is what a score says of changed data.
type StressScore struct {
	Devices    int      `json:"devices"`     // with a window
	Right      int      `json:"right"`       // of these, whatever the threshold
	Named      int      `json:"named"`       // at or over the threshold
	NamedWrong int      `json:"named_wrong"` // of these
	SafeRight  int      `json:"safe_right"`  // at the deepest level that is safe
	SafeWrong  int      `json:"safe_wrong"`  // the same
	MacroF1    *float64 `json:"macro_f1"`    // of windows
	ECE        *float64 `json:"ece"`         // of windows
}

// Strangers says how many devices that no class describes were given a name, and how many
// a level that is none of theirs.
type Strangers struct {
	Devices       int `json:"devices"`         // of captures, with a window or without
	Named         int `json:"named"`           // in the end
	NamedEver     int `json:"named_ever"`      // at some time
	SafeWrong     int `json:"safe_wrong"`      // in the end
	SafeWrongEver int `json:"safe_wrong_ever"` // at some time

	States map[v1.State]int `json:"states"`  // devices in each in the end
	InPart int              `json:"in_part"` // captures that are damaged, and were read up to there
}

// add counts a device by what was said of it in the end and at all.
func (s *Strangers) add(paths taxonomy.Taxonomy, label string, verdict v1.Verdict, ever spoken) {
	last := spoken{}.and(&verdict)
	s.Devices++
	s.States[verdict.State]++
	s.Named += count(last.known)
	s.NamedEver += count(ever.known)
	s.SafeWrong += count(last.wrong(paths, label))
	s.SafeWrongEver += count(ever.wrong(paths, label))
}

// spoken is what verdicts have said of a device.
type spoken struct {
	known bool
	paths []string // each once
}

// and is s with a verdict more.
func (s spoken) and(v *v1.Verdict) spoken {
	s.known = s.known || v.Known
	if v.Path != nil && !slices.Contains(s.paths, *v.Path) {
		s.paths = append(s.paths, *v.Path)
	}
	return s
}

// wrong reports whether a path was none of a device of the label.
func (s spoken) wrong(paths taxonomy.Taxonomy, label string) bool {
	return slices.ContainsFunc(s.paths, func(path string) bool { return !paths.Below(label, path) })
}

// Tables show what there is beside the result.
func (s *Stressed) Tables() (tables []report.Table) {
	if len(s.Stress) > 0 {
		t := report.Table{Title: "The same captures, changed", Header: []string{"Change", "Devices with a window", "Right", "Named", "Named wrong", "At a level", "Wrong", "Macro F1", "Calibration error"}}
		for _, r := range s.Stress {
			t.Rows = append(t.Rows, append([]string{r.Change}, r.cells()...))
			for _, part := range slices.Sorted(maps.Keys(r.Alone)) {
				t.Rows = append(t.Rows, append([]string{r.Change + ", " + part + " alone"}, r.Alone[part].cells()...))
			}
		}
		tables = append(tables, t)
	}
	if r := s.Strangers; r != nil {
		tables = append(tables, report.Table{
			Title: "Devices that no class describes", Header: []string{"Strangers", "Named in the end", "Named at some time", "At a wrong level in the end", "At a wrong level at some time", "Captures read in part"},
			Rows: [][]string{{fmt.Sprint(r.Devices), fmt.Sprint(r.Named), fmt.Sprint(r.NamedEver), fmt.Sprint(r.SafeWrong), fmt.Sprint(r.SafeWrongEver), fmt.Sprint(r.InPart)}},
		}, StatesTable("Their states", r.States))
	}
	return tables
}

func (r StressScore) cells() []string {
	return []string{fmt.Sprint(r.Devices), fmt.Sprint(r.Right), fmt.Sprint(r.Named), fmt.Sprint(r.NamedWrong), fmt.Sprint(r.SafeRight + r.SafeWrong), fmt.Sprint(r.SafeWrong), figure("%.4f", r.MacroF1), figure("%.4f", r.ECE)}
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
	err = set.Change(func(name string, devices []string) capture.Changer { return change.Begin(stress.Seed, name, devices) })
	if err != nil {
		return nil, err
	}
	e.Score.Resamples, e.Score.Draws = 0, false
	s, err := e.score(ctx, set, bundle, change.Name, func(dataset.CaptureSummary, *classify.Classifier) {})
	if s == nil || errors.As(err, new(*flows.AccountingError)) {
		return nil, err
	}
	r, err := s.result()
	if err != nil {
		return nil, err
	}
	row := &StressRow{Change: change.Name, StressScore: stressScore(r.Modes[r.WindowMode], r.Confidence.ECE)}
	for part, alone := range r.Alone {
		if row.Alone == nil {
			row.Alone = map[string]StressScore{}
		}
		row.Alone[part] = stressScore(alone.Summary, alone.ECE)
	}
	return row, nil
}

func stressScore(s score.Summary, ece *float64) StressScore {
	d := s.Devices
	row := StressScore{Devices: d.WithWindow, Named: d.NamedRight + d.NamedWrong, NamedWrong: d.NamedWrong, SafeRight: d.SafeRight, SafeWrong: d.SafeWrong, MacroF1: s.MacroF1, ECE: ece}
	if d.AccuracyWithWindow != nil {
		row.Right = int(math.Round(*d.AccuracyWithWindow * float64(d.WithWindow)))
	}
	return row
}

// again is a Watcher that has told of the data before.
type again struct{ Watcher }

// Opened implements Watcher.
func (again) Opened(*dataset.Set) {}

// strangers counts the names that the bundle gives to devices it cannot know. Devices of
// the manifest that are of a class it has are left out. Damaged captures are counted, and
// are no error: what was read of them is as good a stranger.
func (e Evaluation) strangers(ctx context.Context, bundle model.Bundle, w Watcher) (*Strangers, error) {
	show, end := w.Files("strangers")
	defer end()
	set, err := dataset.Open(dataset.Options{Manifest: e.Strangers, Capture: e.Data.Capture, Progress: show})
	if err != nil {
		return nil, err
	}
	classes, paths, known := classify.Classes(bundle), e.paths(bundle), 0
	found, ever := &Strangers{States: map[v1.State]int{}}, map[string]spoken{} // ever: of devices of the capture being read
	said := func(v v1.Verdict) { ever[v.Device] = ever[v.Device].and(&v) }
	opts := classify.Options{WindowMode: e.WindowMode, NoFacts: e.NoFacts, Verdict: said, Presumed: said}
	damaged := classify.Captures(ctx, set, bundle, opts, nil, func(c dataset.CaptureSummary, k *classify.Classifier) error {
		last := verdicts(k)
		for _, d := range c.Devices {
			if slices.Contains(classes, d.Label) {
				known++
				continue
			}
			v := last(d.Name)
			found.add(paths, d.Label, v, ever[d.Name].and(&v)) // of one without a window too
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
	found.InPart = dataset.InPart(damaged)
	return found, tolerated(w, damaged)
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
