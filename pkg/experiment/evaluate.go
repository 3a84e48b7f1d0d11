package experiment

// This file scores models on labelled data.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	v1 "github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/score"
	"github.com/iotsense/iotsense/pkg/report"
	"github.com/iotsense/iotsense/pkg/taxonomy"
)

// Evaluation says what a model is scored on and how.
type Evaluation struct {
	Model      string            // what it is called in warnings
	Data       dataset.Options   // with the record that the model was made for
	Folds      *dataset.Folds    // of Data, of which the one for testing is taken; nil: not cut
	WindowMode *model.WindowMode // nil: the model's
	Score      score.Config      // but for mode, labels and thresholds, which are the model's
	Stress     bool              // Stressed is to change the data
	First      []time.Duration   // of each device's traffic, to score alone by Stressed
	Taxonomy   Taxonomy          // of true classes that the models lack; theirs stand in the models
	NoFacts    bool              // networks judge alone
	Strangers  string            // manifest of devices that no class describes, for Stressed; may be empty

	Predictions io.Writer // takes a line for each window and joined verdict as CSV, those of Stressed too; nil: none
}

// InvalidError is of an experiment that cannot be carried out as it is meant, whatever
// the data.
type InvalidError struct{ Err error }

func (e *InvalidError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *InvalidError) Unwrap() error { return e.Err }

// invalid is an InvalidError.
func invalid(format string, args ...any) error { return &InvalidError{fmt.Errorf(format, args...)} }

// Run scores the bundle. With a result, the error is of captures that could be read in
// part only.
func (e Evaluation) Run(ctx context.Context, bundle model.Bundle, w Watcher) (*score.Result, error) {
	show, end := w.Files("evaluate")
	defer end()
	set, err := e.open(ctx, show, w)
	if err != nil {
		return nil, err
	}
	s, err := e.score(ctx, set, bundle, "", func(c dataset.CaptureSummary, k *classify.Classifier) { w.Classified(c, k, bundle) })
	end()
	if s == nil || s.devices == 0 || dataset.Refused(err) {
		return nil, err
	}
	if !s.known {
		w.Warn("the model knows none of the data's classes: is it the right --model?", "model", e.Model)
	}
	result, wrong := s.result()
	if wrong != nil {
		return nil, errors.Join(err, wrong)
	}
	result.Models = map[string]score.Made{}
	for service, m := range bundle {
		result.Models[service] = score.Made{Choice: m.Training.Choice, Calibration: m.Calibration}
	}
	return result, err
}

// open opens the part of the data that is to be scored.
func (e Evaluation) open(ctx context.Context, show func(done, total int, name string), w Watcher) (*dataset.Set, error) {
	if e.Strangers != "" {
		if _, err := dataset.ReadManifest(e.Strangers); err != nil {
			return nil, err // before hours of the rest
		}
	}
	e.Data.Progress = show
	set, err := dataset.Open(e.Data)
	if err != nil {
		return nil, err
	}
	if e.Stress || len(e.First) > 0 {
		if err := set.Changeable(); err != nil {
			return nil, err
		}
	}
	w.Opened(set)
	return set, cut(ctx, set, e.Folds, (*dataset.Dealt).Tests)
}

// score runs the bundle over a set that the change of that name is made to. Without a
// scoring the error ends the run.
func (e Evaluation) score(ctx context.Context, set *dataset.Set, bundle model.Bundle, change string, done func(dataset.CaptureSummary, *classify.Classifier)) (*scoring, error) {
	s, err := e.scoring(bundle)
	if err != nil {
		return nil, err
	}
	if e.Predictions != nil {
		s.predictions = newPredictions(e.Predictions, change, s.labels)
	}
	padded := model.Padded // the strict windows are among them
	damaged := classify.Captures(ctx, set, bundle, classify.Options{WindowMode: &padded, NoFacts: e.NoFacts, Judged: s.judged}, s.record,
		func(c dataset.CaptureSummary, k *classify.Classifier) error {
			done(c, k)
			s.capture(c, verdicts(k))
			return s.err
		})
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err() // a part of the data is no score of it
	case s.err != nil:
		return nil, s.err
	case s.devices == 0 && damaged == nil:
		return nil, errors.New("no device to score: the data holds no packet of one (see --manifest and --local)")
	}
	return s, damaged
}

// scoring carries windows from the classifier to the scorer.
type scoring struct {
	scorer  *score.Scorer
	parts   map[string]*score.Scorer // of NetworkAlone and FactsAlone; nil: no model has facts
	labels  []string                 // classes of all models
	rows    int                      // that a strict judgement needs
	truth   flows.LabelledRecord     // the record being classified
	reading map[string]*reading      // by capture
	devices int                      // of captures that have been read
	known   bool                     // one of them is of a class that a model has
	err     error                    // of scorer

	predictions *predictions
}

// scoring prepares to score a bundle.
func (e Evaluation) scoring(bundle model.Bundle) (*scoring, error) {
	cfg := e.Score
	cfg.Labels, cfg.Thresholds, cfg.Taxonomy = classify.Labels(bundle), classify.Thresholds(bundle), e.paths(bundle)
	s := &scoring{labels: cfg.Labels, reading: map[string]*reading{}}
	for _, m := range bundle {
		cfg.Mode, s.rows = m.Record.WindowMode, m.Net.Strict()
	}
	if e.WindowMode != nil {
		cfg.Mode = *e.WindowMode
	}
	var err error
	if s.scorer, err = score.New(cfg); err != nil {
		return nil, &InvalidError{err}
	}
	cfg.Resamples = 0
	for _, m := range bundle {
		if m.Facts == nil || e.NoFacts {
			continue
		}
		s.parts = map[string]*score.Scorer{}
		for _, part := range []string{NetworkAlone, FactsAlone} {
			if s.parts[part], err = score.New(cfg); err != nil {
				return nil, &InvalidError{err}
			}
		}
	}
	return s, nil
}

// paths are those of the bundle's classes, and of others.
func (e Evaluation) paths(bundle model.Bundle) taxonomy.Taxonomy {
	all, own := classify.Taxonomy(bundle), classify.Labels(bundle)
	for label, path := range e.Taxonomy.Paths {
		if !slices.Contains(own, label) {
			all[label] = path
		}
	}
	return all
}

// record takes each record before its window.
func (s *scoring) record(r flows.LabelledRecord) error {
	if s.err != nil {
		return s.err
	}
	if r.Label == "" {
		return fmt.Errorf("%s: device %s has no label: give it one in a --manifest, or leave it out there", r.Capture, r.Device)
	}
	s.truth = r
	capture := s.reading[r.Capture]
	if capture == nil {
		capture = &reading{map[string]int64{}, map[streamName][]flows.Row{}, map[string]*joined{}}
		s.reading[r.Capture] = capture
	}
	if _, known := capture.first[r.Device]; !known {
		capture.first[r.Device] = r.FirstSeen
	}
	return nil
}

// reading is what is kept of a capture while it is read.
type reading struct {
	first  map[string]int64           // of each device: when its first packet was seen, us
	recent map[streamName][]flows.Row // the newest rows, as many as a strict judgement needs
	joined map[string]*joined         // by device, for predictions
}

// streamName tells a capture's streams apart.
type streamName struct {
	device  string
	service flows.Service
}

// judged takes the model's output for the row that the record made.
func (s *scoring) judged(j classify.Judged) {
	capture, name := s.reading[s.truth.Capture], streamName{j.Device, j.Service}
	rows := append(capture.recent[name], j.Row)
	rows = rows[max(0, len(rows)-s.rows):]
	capture.recent[name] = rows
	last, local := int64(0), 0
	for _, r := range rows {
		last = max(last, r.LastDescribed())
		if r.IsLocal() {
			local++
		}
	}
	out := score.Output{
		Device: j.Device, Capture: s.truth.Capture, Label: s.truth.Label, Window: j.Window,
		Padded: j.Number < s.rows-1, Local: local,
		Since: time.Duration(last-capture.first[j.Device]) * time.Microsecond,
	}
	s.err = errors.Join(s.err, s.scorer.Add(out))
	out.Named, out.Maker, out.Revised = nil, "", nil
	for part, probs := range map[string][]float32{NetworkAlone: j.Network, FactsAlone: j.Facts} {
		if out.Probs = probs; s.parts != nil && probs != nil {
			s.err = errors.Join(s.err, s.parts[part].Add(out))
		}
	}
	if s.predictions != nil {
		s.predictions.window(capture, s.truth, j, j.Number < s.rows-1)
	}
}

// What judges a window alone, where a model has both.
const (
	NetworkAlone = "network"
	FactsAlone   = "facts"
)

// result is the score, with those of what each part of the models says alone.
func (s *scoring) result() (*score.Result, error) {
	r, err := s.scorer.Result()
	if err != nil || s.parts == nil {
		return r, err
	}
	r.Alone = map[string]score.Part{}
	for name, scorer := range s.parts {
		alone, err := scorer.Result()
		if err != nil {
			return nil, err
		}
		r.Alone[name] = score.Part{Summary: alone.Modes[alone.WindowMode], ECE: alone.Confidence.ECE}
	}
	return r, nil
}

// verdicts are those on a capture's devices in the end; k is nil where there was no record.
func verdicts(k *classify.Classifier) func(device string) v1.Verdict {
	of := map[string]v1.Verdict{}
	if k != nil {
		for _, d := range k.Registry().Devices() {
			of[d.Device] = d.Verdict
		}
	}
	return func(device string) v1.Verdict {
		v := of[device]
		v.State = cmp.Or(v.State, v1.Gathering)
		return v
	}
}

// StatesTable shows how many devices were in each state in the end.
func StatesTable(title string, of map[v1.State]int) report.Table {
	t := report.Table{Title: title, Header: []string{"State in the end", "Devices"}}
	for _, state := range slices.Sorted(maps.Keys(of)) {
		t.Rows = append(t.Rows, []string{string(state), fmt.Sprint(of[state])})
	}
	return t
}

// capture takes a capture that has been read.
func (s *scoring) capture(c dataset.CaptureSummary, last func(device string) v1.Verdict) {
	read := s.reading[c.Name]
	delete(s.reading, c.Name)
	var devices []score.Device
	for _, d := range c.Devices {
		v := last(d.Name)
		if s.predictions != nil {
			s.predictions.device(read, c.Name, d, v.Path)
		}
		said := score.Device{Name: d.Name, Capture: c.Name, Label: d.Label, State: v.State}
		if v.Windows == 0 && v.Path != nil {
			said.Path = *v.Path
		}
		devices = append(devices, said)
		s.known = s.known || slices.Contains(s.labels, d.Label)
	}
	s.devices += len(devices)
	s.scorer.Capture(devices, c.Duration.Hours())
	for i := range devices {
		devices[i].Path = "" // it is of no part's windows
	}
	for _, part := range s.parts {
		part.Capture(devices, c.Duration.Hours())
	}
	if s.predictions != nil {
		s.err = errors.Join(s.err, s.predictions.flush())
	}
}
