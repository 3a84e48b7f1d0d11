// Package learning makes a model for one network. In go what a sensor recorded of devices and
// what its operator calls them, out comes a model with these classes beside those of another,
// and how it and the one that judges now do on records that neither has learned from. Devices
// that cannot be learned from are named, with the reason.
package learning

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/hearing"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/stream"
	"github.com/iotsense/iotsense/pkg/model/stream/learn"
	"github.com/iotsense/iotsense/pkg/model/train"
	"github.com/iotsense/iotsense/pkg/taxonomy"
)

const (
	// Newest is the share of each device's records, the newest, that is not learned from but
	// judged.
	Newest = 0.2
	// leastRows is how many records it takes to learn from a device.
	leastRows = 20
	// calibrates is the share of what is learned that first calibrates.
	calibrates = 0.2
	// sittings are the captures that a device's records are taken for, one after the other: a
	// word of facts counts that three have.
	sittings = 3
)

// Device is what is known of a device.
type Device struct {
	Names  []string // MACs, as records have them, its own first
	Label  string   // that the operator gave it; empty: none
	Locked bool     // the operator's word stands, whatever others of its kind say
	State  v1.State
	Facts  []facts.Fact
}

// Name is what the device is called in reports.
func (d *Device) Name() string { return d.Names[0] }

// Config says what is learned.
type Config struct {
	Base       *model.Model // that classes are added to
	Running    model.Bundle // that judges now
	Outdated   bool         // Running was learned of another base or other labels: what is as good is better
	Recordings []string     // files
	Devices    []Device
	Rows       int // records that are held at most, of all devices
	Seed       int64
	Threads    int
	Say        func(string) // what is done now; may be nil
}

// Run learns. There is no model where there is nothing to learn: the report says why.
func Run(ctx context.Context, cfg Config) (*model.Model, *Report, error) {
	if cfg.Base.Net.Kind() != stream.Kind {
		return nil, nil, fmt.Errorf("classes can be added to a %s network alone, this is a %s one: name another with --model", stream.Kind, cfg.Base.Net.Kind())
	}
	if cfg.Say == nil {
		cfg.Say = func(string) {}
	}
	l := &learner{Config: cfg, report: newReport(), known: facts.NewCollector(len(cfg.Devices) + 1), paths: taxonomy.Taxonomy{}}
	cfg.Say("reading what was recorded")
	if err := l.gather(ctx); err != nil {
		return nil, nil, err
	}
	l.choose()
	if len(l.lessons()) == 0 {
		return nil, l.report, nil
	}
	if err := l.doubt(ctx); err != nil {
		return nil, nil, err
	}
	cfg.Say("learning")
	m, err := l.learn(l.lessons())
	if err != nil {
		return nil, nil, err
	}
	cfg.Say("comparing with the model that judges now")
	return m, l.report, l.compare(ctx, m)
}

// learner has the run's devices.
type learner struct {
	Config
	report *Report
	all    []*pupil // that there are records of, by name
	known  *facts.Collector
	paths  taxonomy.Taxonomy // of the classes that are learned
}

// choose says which devices are learned from, and as what.
func (l *learner) choose() {
	for _, p := range l.all {
		if p.Label == "" {
			continue
		}
		parts := strings.Split(p.Label, "/")
		p.class = parts[len(parts)-1]
		why := l.unfit(p)
		if why == "" {
			p.learned = true
			l.paths[p.class] = p.Label
			continue
		}
		l.report.leave(p, why)
	}
}

// unfit is why a labelled device is not learned from.
func (l *learner) unfit(p *pupil) string {
	path, known := l.paths[p.class]
	switch {
	case p.State == v1.Gateway:
		return "it forwards for others, whose traffic is not its own"
	case p.State == v1.Ignored:
		return "it is ignored"
	case p.State == v1.Changed || p.State == v1.Conflict:
		return fmt.Sprintf("its state is %s: label it again once it is what it is", p.State)
	case p.class == model.NoneLabel:
		return "the label is a word of the model's own"
	case slices.Contains(l.Base.Labels, p.class):
		p.judged = true
		return "the model knows this type already"
	case known && path != p.Label:
		return fmt.Sprintf("another device has the label %s", path)
	case len(p.lesson) < leastRows:
		return fmt.Sprintf("%d records of it, want %d", len(p.lesson), leastRows)
	}
	if err := model.CheckTaxonomy(l.taxonomy(p.class, p.Label), l.Base.Labels); err != nil {
		return err.Error()
	}
	return ""
}

// lessons are the devices that are learned from.
func (l *learner) lessons() (list []*pupil) {
	for _, p := range l.all {
		if p.learned {
			list = append(list, p)
		}
	}
	return list
}

// learn adds the classes of devices to the base.
func (l *learner) learn(devices []*pupil) (m *model.Model, err error) {
	store := dataset.NewStore(dataset.DefaultMemory)
	defer func() { err = errors.Join(err, store.Close()) }()
	said := hearing.Told(store, l.known)
	first := l.Base.Record.WindowMode.First(l.Base.Net.Strict())
	for _, p := range devices {
		for sitting, step := range p.steps(l.Base.Record.Stream()) {
			e := dataset.Example{Step: step, Device: dataset.Device{Name: p.Name(), Label: p.class, Unit: p.Name()}, Capture: fmt.Sprint(p.Name(), " ", sitting)}
			judged := step.Number >= first
			if err := store.Add(e, judged); err != nil {
				return nil, err
			}
			said.Row(e, judged)
		}
	}
	o := learn.Options()
	o.Seed, o.Threads = l.Seed, l.Threads
	kept, held := dataset.Holdout(store, store.All(), l.Base.Net.Span(), calibrates)
	design := learn.Design{Arch: l.Base.Net.(*stream.Net).Arch}
	if m, _, err = train.Add(design, l.Base, store, kept, held, o); err != nil {
		return nil, err
	}
	m.Taxonomy = l.taxonomy(devices[0].class, devices[0].Label)
	return m, said.Add(m, l.Base, store.All(), l.Seed)
}

// taxonomy is the base's, with the paths of what is learned and one more.
func (l *learner) taxonomy(class, path string) taxonomy.Taxonomy {
	all := taxonomy.Taxonomy{}
	maps.Copy(all, l.Base.Taxonomy)
	maps.Copy(all, l.paths)
	all[class] = path
	return all
}
