// Package experiment trains and scores models as plans say: one model, one for each
// service, folds of the data, the paper's series of models. In go plans and labelled
// data, out come models, scores, tables. A [Plan] prints itself as the command line
// that gives the same model. What a run tells while it goes on, a [Watcher] takes.
package experiment

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"runtime"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/train"
	"github.com/iotsense/iotsense/pkg/taxonomy"
)

// Strategies of the paper's section IV-B: which flows a model learns.
const (
	Specialized = "specialized" // one model for each of the services
	Mixed       = "mixed"       // one for the flows of the services
	Everything  = "all"         // one for every flow
)

// PresetPaper is the paper's training, IV-A.
const PresetPaper = "paper"

// Plan says what a model is made of; begin with [NewPlan].
type Plan struct {
	Data       dataset.Options // to learn from: files, splits, dates; what opens it sets the record
	Local      []netip.Prefix  // local ranges of Data; none: the usual
	Folds      *dataset.Folds  // of Data, of which those to train on are taken; nil: not cut
	Validation dataset.Part    // of the files, to validate on; zero: Share of Data
	Share      float64         // of each class's captures
	Negatives  bool            // learn model.NoneLabel from machines that nobody listed, and chimeras
	Augment    bool            // learn, and validate, on changed copies of each capture too
	Taxonomy   Taxonomy        // of the classes
	NoFacts    bool            // the network judges alone

	Direction  *flows.Direction  // nil: bi, and not said
	WindowMode *model.WindowMode // nil: padded, and not said
	Record     model.RecordSpec  // all else of it
	Strategy   string            // "": Everything, and not said
	Services   []flows.Service   // of Mixed and Specialized
	Preset     string            // that NewPlan was told

	Arch  string // name of a registered [Design]
	Paper PaperOptions

	Train  train.Options
	Memory int64 // bytes of rows that are kept in memory

	Said []string // flags that the command line shows even where they are what they are by themselves
}

// Taxonomy is where classes stand, and the file that says so; the zero one has none.
type Taxonomy struct {
	File  string
	Paths taxonomy.Taxonomy
}

// PaperOptions are those that the paper's network has; others may have some of them.
type PaperOptions struct {
	Rows    int      // K: rows of a window; 0: the paper's
	Filters int      // of each convolution
	Ablate  []string // parts left out, of those that the network's package learn names
}

// NewPlan is the project's training, or that of a preset ("": none), for a strategy
// ("": every flow) and a network ("": the stream network, the paper's for its preset).
func NewPlan(preset, strategy, arch string) (Plan, error) {
	arch = cmp.Or(arch, usualArch(preset))
	p := Plan{
		Share: 0.2, Record: model.DefaultRecordSpec(), Strategy: strategy, Preset: preset, Arch: arch,
		Paper: PaperOptions{Filters: 2}, Train: train.DefaultOptions(), Memory: dataset.DefaultMemory,
	}
	d := designs[arch]
	if d.Train != nil {
		p.Train = d.Train()
	}
	p.Augment, p.Negatives = d.Changed, d.Changed
	p.Train.Threads = runtime.NumCPU()
	for _, name := range []string{"tcp/80", "tcp/443", "udp/53", "udp/123"} { // the paper's
		s, err := flows.ParseService(name)
		if err != nil {
			return p, err
		}
		p.Services = append(p.Services, s)
	}
	switch preset {
	case "":
	case PresetPaper:
		if arch != PaperArch {
			return p, fmt.Errorf("--preset %s: it trains the network of --arch %s, not %s", preset, PaperArch, arch)
		}
		strict := model.Strict
		p.WindowMode = &strict
		p.Train.MinPerClass, p.Train.MaxPerClass, p.Train.Patience, p.Train.EMA = 50, 20_000, 5, 0
		p.Train.ByWindow = true
		if strategy == Specialized {
			p.Train.MaxPerClass = 10_000
		}
	default:
		return p, fmt.Errorf("--preset %q: the only one is %s", preset, PresetPaper)
	}
	return p, nil
}

// usualArch is the network of plans that name none.
func usualArch(preset string) string {
	if preset == PresetPaper {
		return PaperArch
	}
	return StreamArch
}

// Validate names the first thing by which the plan cannot be carried out, whatever the
// data.
func (p *Plan) Validate() error {
	if err := p.Train.Validate(); err != nil {
		return err
	}
	if p.Paper.Rows < 0 {
		return fmt.Errorf("--window %d: want at least 1", p.Paper.Rows)
	}
	if p.apart() && p.part().Overlaps(p.validation()) {
		return errors.New("--validation-split, --validation-dates: name the training part with --split or --dates too, and another one, or the model learns what it is validated on")
	}
	if !(p.Share > 0 && p.Share < 1) {
		return fmt.Errorf("--validation %v: want a share between 0 and 1", p.Share)
	}
	if _, err := p.design(); err != nil {
		return err
	}
	if err := model.CheckTaxonomy(p.Taxonomy.Paths, nil); err != nil {
		return err
	}
	if p.Folds != nil {
		if err := tested(*p.Folds).Validate(); err != nil {
			return err
		}
	}
	_, err := p.streams()
	return err
}

// part is the part of the data to learn from.
func (p *Plan) part() dataset.Part { return dataset.Part{Splits: p.Data.Splits, Period: p.Data.Period} }

// apart reports whether a part of the data is named for validation.
func (p *Plan) apart() bool { return !p.Validation.IsZero() }

// validation is the part that is named for validation; of splits and dates, the one
// that was not is the training's.
func (p *Plan) validation() dataset.Part {
	part := p.part()
	if len(p.Validation.Splits) > 0 {
		part.Splits = p.Validation.Splits
	}
	if !p.Validation.Period.IsZero() {
		part.Period = p.Validation.Period
	}
	return part
}

// record is that of the plan's models, services aside.
func (p *Plan) record() model.RecordSpec {
	r := p.Record
	if p.Direction != nil {
		r.Direction = *p.Direction
	}
	if p.WindowMode != nil {
		r.WindowMode = *p.WindowMode
	}
	return r
}

// rows is the K of the paper's network.
func (o PaperOptions) rows() int {
	if o.Rows == 0 {
		return cnn.DefaultRows
	}
	return o.Rows
}

// streams say which traffic each model learns (paper IV-B), by service; "" for one
// model.
func (p *Plan) streams() (map[string]flows.StreamSpec, error) {
	stream := p.record().Stream()
	switch p.Strategy {
	case "", Everything:
	case Mixed:
		stream.Services = p.Services
	case Specialized:
		streams := map[string]flows.StreamSpec{}
		for _, s := range p.Services {
			stream.Services, stream.Among = []flows.Service{s}, p.Services
			streams[s.String()] = stream
		}
		return streams, nil
	default:
		return nil, fmt.Errorf("--strategy %q: want all, mixed or specialized", p.Strategy)
	}
	return map[string]flows.StreamSpec{"": stream}, nil
}

// tested is folds of which the last is tested where none is named.
func tested(f dataset.Folds) dataset.Folds {
	if f.Tested == 0 {
		f.Tested = f.Count
	}
	return f
}
