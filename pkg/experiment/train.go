package experiment

// This file trains what a plan says.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/internal/wholefile"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/facts/linear/learn"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/capture"
	"github.com/iotsense/iotsense/pkg/hearing"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/train"
	"github.com/iotsense/iotsense/pkg/negatives"
	"github.com/iotsense/iotsense/pkg/stress"
)

// Watcher takes what a run tells while it goes on.
type Watcher interface {
	// Warn takes a warning with its keys and values, as slog does.
	Warn(text string, args ...any)
	// Begins takes a line on what a series begins to train.
	Begins(line string)
	// Opened takes the data that is about to be read.
	Opened(set *dataset.Set)
	// Files shows how far a run over files has come, until end is called.
	Files(what string) (show func(done, total int, name string), end func())
	// Training shows how far the training of that name has come, until end is called.
	Training(name string) (show func(train.Progress), end func())
	// Saves is called when from here on an interrupted run has something to save.
	Saves(ctx context.Context) error
	// Classified takes a capture that a model has read, with what it made of it; nil where
	// there was no record.
	Classified(s dataset.CaptureSummary, k *classify.Classifier, bundle model.Bundle)
}

// Reports say how the training of each service's model went; "" is that of the one for
// everything.
type Reports map[string]*train.Report

// Run trains the plan's models into a file, and removes the checkpoints of those that
// need not go on.
func (p *Plan) Run(ctx context.Context, output string, w Watcher) (model.Bundle, Reports, error) {
	// A long run must not end in a file that cannot be written.
	for name, path := range map[string]string{"output": output, "checkpoint": p.Train.Checkpoint} {
		if path == "" {
			continue
		}
		if err := wholefile.Check(path); err != nil {
			return nil, nil, fmt.Errorf("%s %s: %w", name, path, err)
		}
	}
	bundle, reports, err := p.Bundle(ctx, w)
	if err != nil {
		return nil, nil, err
	}
	if err := bundle.Save(output); err != nil {
		return nil, nil, err
	}
	return bundle, reports, p.removeCheckpoints(reports)
}

// Bundle trains the model of each service, or of everything.
func (p *Plan) Bundle(ctx context.Context, w Watcher) (model.Bundle, Reports, error) {
	streams, err := p.streams()
	if err != nil {
		return nil, nil, err
	}
	bundle, reports := model.Bundle{}, Reports{}
	for _, service := range slices.Sorted(maps.Keys(streams)) {
		m, report, err := p.train(ctx, service, streams[service], w)
		var little *train.TooLittleError
		switch {
		case err == nil:
			bundle[service], reports[service] = m, report
			warnLeftOut(w, service, report)
		case service == "":
			return nil, nil, err
		case errors.As(err, &little):
			w.Warn("no model of this service: too little of it to train on", "service", service, "why", little)
		default:
			return nil, nil, fmt.Errorf("service %s: %w", service, err)
		}
	}
	if len(bundle) == 0 {
		return nil, nil, train.TooLittle("no service of %s has windows of two classes or more to train and validate on", ServiceList(p.Services))
	}
	return bundle, reports, nil
}

// train makes the model of one service, or of everything.
func (p *Plan) train(ctx context.Context, service string, stream flows.StreamSpec, w Watcher) (m *model.Model, report *train.Report, err error) {
	cfg, err := p.config(stream)
	if err != nil {
		return nil, nil, err
	}
	store := dataset.NewStore(p.Memory)
	defer func() { err = errors.Join(err, store.Close()) }()
	said := p.hear(store)
	learn, held, err := p.learned(ctx, stream, store, said, cfg.Design.Span(), w)
	if err != nil {
		return nil, nil, err
	}
	plain, plainHeld := learn, held
	if learn, held, err = p.negatives(store, cfg.Design, p.Train.Seed, learn, held); err != nil {
		return nil, nil, err
	}
	cfg.Flags = p.Options() // as the data allowed
	warnFew(w, service, store, learn, held)
	if err := p.Taxonomy.check(w, service, store, learn); err != nil {
		return nil, nil, err
	}
	options := p.Train
	options.Checkpoint = p.checkpoint(service)
	show, end := w.Training(service)
	defer end()
	if err := w.Saves(ctx); err != nil { // an interrupted training saves its best model
		return nil, nil, err
	}
	if m, report, err = train.Train(ctx, cfg, store, learn, held, options, show); err != nil {
		return nil, nil, err
	}
	m.Taxonomy = p.Taxonomy.Paths
	if err := train.Centre(m, store, plain, plainHeld, p.Train.Seed); err != nil {
		return nil, nil, err
	}
	return m, report, heard(w, said.Train(m, plain, plainHeld, p.Train.Seed))
}

// hear is ready to listen to sets that a store is filled from; nil where the plan has no
// facts: the paper's network judges alone, and a specialised one sees a part of what a
// device says.
func (p *Plan) hear(store *dataset.Store) *hearing.Listener {
	if p.NoFacts || p.Arch == PaperArch || p.Strategy == Specialized {
		return nil
	}
	return hearing.New(store)
}

// heard warns where there is too little to learn from facts; any other error is returned.
func heard(w Watcher, err error) error {
	if errors.Is(err, learn.ErrTooLittle) {
		w.Warn("the model judges by its network alone", "why", err)
		return nil
	}
	return err
}

// learned reads what is to be learned and what validates it, for a network whose outputs
// rest on so many rows.
func (p *Plan) learned(ctx context.Context, stream flows.StreamSpec, store *dataset.Store, said *hearing.Listener, span int, w Watcher) (learn, held []int, err error) {
	if learn, err = p.read(ctx, stream, store, said, p.part(), w); err != nil {
		return nil, nil, err
	}
	if !p.apart() {
		learn, held = negatives.Holdout(store, learn, span, p.Share)
		return learn, held, nil
	}
	if held, err = p.read(ctx, stream, store, said, p.validation(), w); err != nil {
		return nil, nil, fmt.Errorf("validation: %w", err)
	}
	return learn, held, nil
}

// AddTo adds the classes of the plan's data to a model, into a file. What the plan says
// of network and record is overruled by the model, which knows none of the classes, and
// what is none of them by its background.
func (p *Plan) AddTo(ctx context.Context, old *model.Model, output string, w Watcher) (m *model.Model, report *train.Report, err error) {
	if err := wholefile.Check(output); err != nil {
		return nil, nil, fmt.Errorf("output %s: %w", output, err)
	}
	taxonomy, err := p.Taxonomy.over(old)
	if err != nil {
		return nil, nil, err
	}
	p.Arch, p.Record, p.Direction, p.WindowMode = old.Net.Kind(), old.Record, nil, nil
	p.Negatives = false
	design, err := p.design()
	if err != nil {
		return nil, nil, err
	}
	g, ok := design.(train.Grower)
	if !ok {
		return nil, nil, fmt.Errorf("a network of --arch %s keeps nothing of what it learned its classes from: train it anew on the captures of all classes", p.Arch)
	}
	store := dataset.NewStore(p.Memory)
	defer func() { err = errors.Join(err, store.Close()) }()
	var said *hearing.Listener
	if old.Facts != nil {
		said = hearing.New(store)
	}
	learn, held, err := p.learned(ctx, old.Record.Stream(), store, said, old.Net.Span(), w)
	if err != nil {
		return nil, nil, err
	}
	warnFew(w, "", store, learn, held)
	if err := taxonomy.check(w, "", store, learn); err != nil {
		return nil, nil, err
	}
	if m, report, err = train.Add(g, old, store, learn, held, p.Train); err != nil {
		return nil, nil, err
	}
	warnLeftOut(w, "", report)
	m.Taxonomy = taxonomy.Paths
	if err := said.Add(m, old, slices.Concat(learn, held), p.Train.Seed); err != nil {
		return nil, nil, fmt.Errorf("add classes to the facts: %w", err)
	}
	return m, report, m.Save(output)
}

// over is a model's taxonomy with what t says more, or else.
func (t Taxonomy) over(old *model.Model) (Taxonomy, error) {
	t.File = cmp.Or(t.File, "the model's")
	both := maps.Clone(old.Taxonomy)
	if both == nil {
		both = t.Paths
	}
	maps.Copy(both, t.Paths)
	t.Paths = both
	return t, model.CheckTaxonomy(both, old.Labels)
}

// negatives adds to what is learned and what is validated, if the plan has any.
func (p *Plan) negatives(store *dataset.Store, d train.Design, seed int64, learn, held []int) (_, _ []int, err error) {
	if !p.Negatives {
		return learn, held, nil
	}
	_, judged := d.Cut()
	m := negatives.Maker{Store: store, Judged: judged, First: p.record().WindowMode.First(d.Strict()), Seed: seed}
	if learn, err = m.Add(learn, 0); err != nil {
		return nil, nil, err
	}
	held, err = m.Add(held, 1)
	return learn, held, err
}

// config says what a model of the stream is.
func (p *Plan) config(stream flows.StreamSpec) (train.Config, error) {
	design, err := p.design()
	record := p.record()
	record.Services = append([]flows.Service{}, stream.Services...)
	record.Among = stream.Among
	return train.Config{Design: design, Record: record}, err
}

// checkpoint is the file of one service's run.
func (p *Plan) checkpoint(service string) string {
	if p.Train.Checkpoint == "" || service == "" {
		return p.Train.Checkpoint
	}
	return train.CheckpointOf(p.Train.Checkpoint, service)
}

// removeCheckpoints ends the runs that need not go on.
func (p *Plan) removeCheckpoints(reports Reports) error {
	if p.Train.Checkpoint == "" {
		return nil
	}
	for service, r := range reports {
		if r.Stopped == train.StoppedByContext {
			continue
		}
		path, err := wholefile.Target(p.checkpoint(service)) // a link to it stays
		if err == nil {
			err = os.Remove(path)
		}
		if err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
	}
	return nil
}

// open opens a part of the plan's data, not cut into folds.
func (p *Plan) open(part dataset.Part, show func(done, total int, name string), w Watcher) (*dataset.Set, error) {
	o := p.Data
	o.Splits, o.Period, o.Progress = part.Splits, part.Period, show
	if p.Negatives {
		o.Others = model.NoneLabel
	}
	o.Capture.RecordSpec, o.Capture.Locals = p.record().RecordSpec, flows.NewLocals(p.Local)
	set, err := dataset.Open(o)
	if err == nil {
		w.Opened(set)
	}
	return set, err
}

// read puts the labelled windows of a part of the data into the store and returns
// their numbers.
func (p *Plan) read(ctx context.Context, stream flows.StreamSpec, store *dataset.Store, said *hearing.Listener, part dataset.Part, w Watcher) ([]int, error) {
	show, end := w.Files("read")
	defer end()
	set, err := p.open(part, show, w)
	if err != nil {
		return nil, err
	}
	if err := cut(ctx, set, p.Folds, (*dataset.Dealt).Trains); err != nil {
		return nil, err
	}
	before := store.Len()
	if err := p.fill(ctx, set, stream, store, said, w); err != nil {
		return nil, err
	}
	if err := p.augment(ctx, set, stream, store, said); err != nil {
		return nil, err
	}
	if store.Len() == before {
		return nil, train.TooLittle("no window in %d files: are the devices right, is --window-mode padded what you want?", set.Len())
	}
	return store.All()[before:], nil
}

// cut leaves the part of a set that folds mean, as of says; nil folds leave all.
func cut(ctx context.Context, set *dataset.Set, folds *dataset.Folds, of func(d *dataset.Dealt, capture, device string) bool) error {
	if folds == nil {
		return nil
	}
	dealt, err := set.Deal(ctx, tested(*folds))
	if err != nil {
		return err
	}
	return set.Restrict(func(capture, device string) bool { return of(dealt, capture, device) })
}

// fill reads all windows of a stream of the set. What is not there as it should be,
// but leaves something to learn from, is a warning.
func (p *Plan) fill(ctx context.Context, set *dataset.Set, stream flows.StreamSpec, store *dataset.Store, said *hearing.Listener, w Watcher) error {
	design, err := p.design()
	if err != nil {
		return err
	}
	if stream.Scrub != nil && set.RecordsFiles() > 0 {
		w.Warn("a records file holds no local address: --scrub cannot mask those that its payloads hold in binary, as it does of captures")
	}
	if err := p.changeable(set, w); err != nil {
		return err
	}
	seen, first := newWatch(), p.record().WindowMode.First(design.Strict())
	if said.Listen(set) {
		w.Warn("records files hold nothing of what devices say of themselves: the model will judge by its network alone", "files", set.RecordsFiles())
	}
	row := func(e dataset.Example, judged bool) {
		said.Row(e, judged)
		if judged && e.Label != model.NoneLabel {
			seen.example(e)
		}
	}
	if err := tolerated(w, set.Fill(ctx, stream, first, store, row, seen.capture)); err != nil {
		return err
	}
	seen.warn(w, set.Without(store), len(stream.Services) == 0)
	return nil
}

// changeable looks whether the set's files can be read as changed copies. Where nobody
// asked for any, those that cannot be are learned as they are.
func (p *Plan) changeable(set *dataset.Set, w Watcher) error {
	if !p.Augment {
		return nil
	}
	err := set.Changeable()
	if err != nil && !slices.Contains(p.Said, "augment") {
		w.Warn("no changed copies are learned, as records are no packets any more: what the model does not see here it will not know late, in part or twice", "why", err)
		p.Augment, err = false, nil
	}
	return err
}

// augment reads the set's captures again as changed copies, if the plan has any. They
// are of the same captures and devices, so that no part of the data has a copy of what
// is in another.
func (p *Plan) augment(ctx context.Context, set *dataset.Set, stream flows.StreamSpec, store *dataset.Store, said *hearing.Listener) error {
	design, err := p.design()
	if err != nil || !p.Augment {
		return err
	}
	first := p.record().WindowMode.First(design.Strict())
	for _, c := range stress.Copies() {
		err := set.Change(func(name string, devices []string) capture.Changer { return c.Begin(p.Train.Seed, name, devices) })
		if err == nil {
			err = set.Fill(ctx, stream, first, store, said.Row, nil)
		}
		if err != nil && !dataset.OnlyPartial(err) { // told of the captures themselves
			return err
		}
	}
	return set.Change(nil)
}

// tolerated warns of captures that could be read in part only; any other error is
// returned.
func tolerated(w Watcher, err error) error {
	if err == nil || !dataset.OnlyPartial(err) {
		return err
	}
	w.Warn("what could be read of damaged captures is used", "error", err)
	return nil
}

// warnLeftOut names the classes that have too little for the model.
func warnLeftOut(w Watcher, service string, r *train.Report) {
	var classes []string
	for _, k := range r.Classes {
		if k.Used == 0 {
			classes = append(classes, fmt.Sprintf("%s (%d)", k.Label, k.Available))
		}
	}
	if len(classes) > 0 {
		w.Warn("the model does not know classes with fewer training windows than --min-per-class", ofService(service, "classes", strings.Join(classes, ", "))...)
	}
}

// ofService adds the service to the words of a warning, if there is one.
func ofService(service string, args ...any) []any {
	if service == "" {
		return args
	}
	return append(args, "service", service)
}
