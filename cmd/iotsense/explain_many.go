package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/explain"
	"github.com/iotsense/iotsense/pkg/report"
)

// explainMany sums up what carries each label over the windows of captures.
func explainMany(c *cli.Context) error {
	bundle, err := box.LoadModel(c)
	if err != nil {
		return err
	}
	l, err := newLearnt(c, bundle)
	if err != nil {
		return err
	}
	if err := report.MakeDir(c.String("report")); err != nil {
		return err
	}
	set, mode, end, err := box.OpenFor(c, bundle)
	if err != nil {
		return err
	}
	defer end()
	opts := classify.Options{WindowMode: mode, NoFacts: c.Bool("no-facts"), Ground: true, Judged: l.judged}
	damaged := classify.Captures(c.Context, set, bundle, opts, func(r flows.LabelledRecord) error {
		l.truth = r.Label
		return nil
	}, l.captured)
	end()
	if dataset.Refused(damaged) || c.Context.Err() != nil {
		return damaged
	}
	if l.unknown > 0 {
		terminal.Say("%d windows left out: the model does not know what their devices are", l.unknown)
	}
	result := l.result()
	if result.Windows == 0 {
		return errors.Join(damaged, errors.New("no window: the data holds no flow of a device that the model knows (see --manifest and --local)"))
	}
	if dir := c.String("report"); dir != "" {
		if err := report.WriteLearnt(dir, result); err != nil {
			return err
		}
		terminal.Logger().Info("report written", "directory", dir)
	}
	if c.Bool("json") {
		result.Cut(c.Int("top"))
		return errors.Join(damaged, terminal.PrintJSON(c.App.Writer, result))
	}
	lines := learntLines
	if c.IsSet("top") {
		lines = c.Int("top")
	}
	printLearnt(c.App.Writer, result, lines)
	return damaged
}

// learnt explains the windows of captures.
type learnt struct {
	labels     []string // of the bundle
	output     explain.Output
	explainers map[flows.Service]*explain.Explainer
	labelled   bool // by a manifest
	most       int  // windows of a device in a capture; 0: all
	truth      string

	devices map[string]*thinned // of the capture that is read

	types, rivals, wrong    explain.Global
	windows, right, unknown int
}

func newLearnt(c *cli.Context, bundle model.Bundle) (l *learnt, err error) {
	for _, name := range []string{"window-index", "why-not"} {
		if c.IsSet(name) {
			return nil, terminal.Usagef("--%s: is of one device: name it with --device", name)
		}
	}
	if c.Int("windows") < 0 {
		return nil, terminal.Usagef("--windows %d: want 0 or more", c.Int("windows"))
	}
	l = &learnt{labels: classify.Labels(bundle), labelled: c.String("manifest") != "", most: c.Int("windows"), devices: map[string]*thinned{}}
	if l.output, err = explain.ParseOutput(c.String("on")); err != nil {
		return nil, terminal.Usagef("--on: %w", err)
	}
	l.explainers, err = explain.All(bundle)
	return l, err
}

// question is a window that is to be explained.
type question struct {
	service            flows.Service
	rows               []flows.Row
	heard              []facts.Fact
	label, given, near string // that it is explained for; that it was given; the most probable class beside label
}

// thinned keeps an even selection of windows.
type thinned struct {
	kept         []question
	stride, seen int
}

// add takes a window, and halves the selection when it has twice as many as are wanted.
func (t *thinned) add(q question, most int) {
	t.stride = max(1, t.stride)
	if t.seen++; (t.seen-1)%t.stride != 0 {
		return
	}
	t.kept = append(t.kept, q)
	if most == 0 || len(t.kept) < 2*most {
		return
	}
	for i := range most {
		t.kept[i] = t.kept[2*i]
	}
	t.kept = t.kept[:most]
	t.stride *= 2
}

// selection is that of so many windows at most; 0: all.
func (t *thinned) selection(most int) []question {
	if most == 0 || len(t.kept) <= most {
		return t.kept
	}
	chosen := make([]question, most)
	for i := range chosen {
		chosen[i] = t.kept[i*len(t.kept)/most]
	}
	return chosen
}

// judged keeps a window to be explained at its capture's end.
func (l *learnt) judged(j classify.Judged) {
	best := func(but ...string) string {
		at := -1
		for i, p := range j.Probs {
			if !slices.Contains(but, l.labels[i]) && (at < 0 || p > j.Probs[at]) {
				at = i
			}
		}
		if at < 0 {
			return ""
		}
		return l.labels[at]
	}
	q := question{service: j.Service, rows: j.Ground.Rows, heard: j.Ground.Facts(), label: l.truth, given: best()}
	if !l.labelled {
		q.label = q.given
	}
	if at, known := slices.BinarySearch(l.labels, q.label); !known || j.Probs[at] < 0 {
		l.unknown++
		return
	}
	q.near = best(q.label, model.NoneLabel)
	d := l.devices[j.Device]
	if d == nil {
		d = &thinned{}
		l.devices[j.Device] = d
	}
	d.add(q, l.most)
}

// captured explains a capture's windows.
func (l *learnt) captured(s dataset.CaptureSummary, _ *classify.Classifier) error {
	devices := l.devices
	l.devices = map[string]*thinned{}
	for device, d := range devices {
		for _, q := range d.selection(l.most) {
			if err := l.explain(s.Name+" "+device, q); err != nil {
				return fmt.Errorf("%s, device %s: %w", s.Name, device, err)
			}
		}
	}
	return nil
}

// explain adds a window: for its label, against the class that is nearest, and where it
// was given another, against that.
func (l *learnt) explain(capture string, q question) error {
	l.windows++
	ask := explain.Request{Rows: q.rows, Facts: q.heard, Label: q.label, Output: l.output}
	parts := []struct {
		to      *explain.Global
		against string
	}{{&l.types, ""}, {&l.rivals, q.near}}
	if q.given == q.label {
		l.right++
	} else {
		parts = append(parts, struct {
			to      *explain.Global
			against string
		}{&l.wrong, q.given})
	}
	for i, p := range parts {
		if i > 0 && p.against == "" {
			continue // there is no other class
		}
		ask.WhyNot = p.against
		x, err := l.explainers[q.service].Explain(ask)
		if err != nil {
			return err
		}
		p.to.Add(capture, x)
	}
	return nil
}

// result is what was found.
func (l *learnt) result() *explain.Learnt {
	r := &explain.Learnt{Output: l.output.String(), Windows: l.windows, Types: l.types.Labels(), Rivals: nearest(l.rivals.Labels()), Wrong: l.wrong.Labels()}
	if l.labelled {
		r.Right = &l.right
	}
	r.SumFields()
	return r
}

// nearest are of each label's rivals the one that was so in most captures.
func nearest(pairs []explain.Importance) []explain.Importance {
	best := []explain.Importance{}
	for _, p := range pairs {
		n := len(best)
		switch {
		case n == 0 || best[n-1].Label != p.Label:
			best = append(best, p)
		case cmp.Or(cmp.Compare(p.Captures, best[n-1].Captures), cmp.Compare(p.Windows, best[n-1].Windows)) > 0:
			best[n-1] = p
		}
	}
	return best
}

// printLearnt prints what speaks most for each type, and against it: so many lines; 0: all.
func printLearnt(w io.Writer, r *explain.Learnt, most int) {
	t := terminal.NewTable(w, "Type", "Windows", "Share", "Of", "What")
	lines := func(x *explain.Importance, name string) {
		for _, s := range x.Strongest(most) {
			t.AppendRow(table.Row{name, x.Windows, fmt.Sprintf("%+.2f", s.Mean), s.Of, s.Name})
			name = ""
		}
	}
	for i := range r.Types {
		lines(&r.Types[i], r.Types[i].Label)
	}
	for i := range r.Rivals {
		lines(&r.Rivals[i], r.Rivals[i].Label+" and not "+*r.Rivals[i].WhyNot)
	}
	for i := range r.Wrong {
		lines(&r.Wrong[i], r.Wrong[i].Label+" given "+*r.Wrong[i].WhyNot)
	}
	fields := r.Fields
	if most > 0 {
		fields = fields[:min(most, len(fields))]
	}
	for _, f := range fields {
		t.AppendRow(table.Row{"all types", r.Windows, fmt.Sprintf("%+.2f", f.Mean), "field", f.Name})
	}
	t.Render()
}

// learntLines of each type for a terminal, unless --top says how many.
const learntLines = 6
