package train

// This file is the training run: epochs, early stopping, the best weights.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/workers"
)

// Config says what is to be trained.
type Config struct {
	Design Design
	Record model.RecordSpec
	Flags  map[string]string // kept in the model file as training.options
}

// Options say how; begin with [DefaultOptions].
type Options struct {
	Epochs       int     // at most
	LeastSteps   int     // more epochs, until there can be so many steps: a small set has few in an epoch; 0: Epochs it is
	Batch        int     // windows of a step
	LearningRate float64 // of Adam
	WeightDecay  float64 // what a step takes off every value, over the learning rate (AdamW); 0: nothing
	WarmUp       float64 // epochs over which the learning rate rises from 0; 0: none
	Fall         float64 // share of the learning rate that is gone after Epochs, along a cosine from the warm-up on; 0: it stays
	EMA          float64 // decay a step of the running average of the weights that is validated and kept; 0: the weights themselves
	Patience     int     // epochs without a better validation loss before the end; 0: all epochs, and the last one's weights
	MinDelta     float64 // what counts as better
	MinPerClass  int     // classes with fewer training windows are left out
	MaxPerClass  int     // more training windows of a class are thinned out at random; 0: no limit
	ByWindow     bool    // validation figures are means over windows, as the paper's, and not over captures
	Seed         int64   // of initial weights, selection, order and dropout
	Threads      int     // 0: one for each processor

	// Checkpoint is a file that the run's state is written to, every so often and
	// after each epoch, and that it goes on from when the file is there; "": none.
	// The caller removes it once the model is safe.
	Checkpoint      string
	CheckpointEvery time.Duration
}

// DefaultOptions are what scores best on captures that were held out of training:
// beside the paper's (IV-A), more patience and averaged weights; and no lower limit
// on a class's windows, which a small data set cannot afford.
func DefaultOptions() Options {
	return Options{
		Epochs: 100, Batch: 64, LearningRate: 1e-3, EMA: 0.999, Patience: 20, MinDelta: 0.001,
		MinPerClass: 1, MaxPerClass: 20_000, CheckpointEvery: time.Minute,
	}
}

// Validate names the first value that no run can have.
func (o Options) Validate() error {
	switch {
	case o.Epochs < 1:
		return fmt.Errorf("epochs is %d, want at least 1", o.Epochs)
	case o.LeastSteps < 0:
		return fmt.Errorf("least number of steps is %d, want 0 or more", o.LeastSteps)
	case o.Batch < 1 || o.Batch > 1<<14:
		return fmt.Errorf("batch is %d, want 1 to %d", o.Batch, 1<<14)
	case !(o.LearningRate > 0) || math.IsInf(o.LearningRate, 0):
		return fmt.Errorf("learning rate is %v, want above 0", o.LearningRate)
	case !(o.WeightDecay >= 0 && o.WeightDecay*o.LearningRate < 1):
		return fmt.Errorf("weight decay is %v, want at least 0 and, times the learning rate, below 1", o.WeightDecay)
	case !(o.WarmUp >= 0) || math.IsInf(o.WarmUp, 0):
		return fmt.Errorf("warm-up is %v epochs, want 0 or more", o.WarmUp)
	case !(o.Fall >= 0 && o.Fall <= 1):
		return fmt.Errorf("fall of the learning rate is %v, want 0 to 1", o.Fall)
	case !(o.EMA >= 0 && o.EMA < 1):
		return fmt.Errorf("decay of averaged weights is %v, want at least 0 and below 1", o.EMA)
	case o.Patience < 0:
		return fmt.Errorf("patience is %d, want 0 or more", o.Patience)
	case o.MinPerClass < 0 || o.MaxPerClass < 0:
		return fmt.Errorf("windows of a class are %d or more, at most %d: want 0 or more", o.MinPerClass, o.MaxPerClass)
	case !(o.MinDelta >= 0):
		return fmt.Errorf("min delta is %v, want 0 or more", o.MinDelta)
	}
	return nil
}

// pace is the share of the learning rate that a step has, counted from 1, when an epoch
// has so many.
func (o *Options) pace(step uint64, ofEpoch int) float64 {
	at := float64(step) / float64(ofEpoch)     // in epochs
	warm := min(o.WarmUp, float64(o.Epochs)/2) // the rate reaches its height, however short the run
	if at < warm {
		return at / warm
	}
	if o.Fall == 0 {
		return 1
	}
	way := (at - warm) / (float64(o.Epochs) - warm)
	return 1 - o.Fall*(1-math.Cos(math.Pi*way))/2
}

// Progress tells how far a run is.
type Progress struct {
	Epoch, Epochs int           // the epoch under way, from 1; the most there can be
	Batch         int           // steps done in it
	Batches       int           // steps of an epoch
	Loss          float64       // mean training loss of the epoch so far
	Ended         bool          // the epoch is over and the validation figures are set
	ValLoss       float64       // cross-entropy of the validation windows, a mean as Options has it
	ValAccuracy   float64       // share of validation windows named rightly, a mean like it
	BestEpoch     int           // the epoch whose weights are kept so far; 0: none
	Elapsed       time.Duration // since the run began
	Left          time.Duration // until the last epoch at this speed; early stopping may come first
}

// Epoch is one epoch's figures.
type Epoch struct {
	Loss        float64       `json:"loss"`
	ValLoss     float64       `json:"val_loss"`
	ValAccuracy float64       `json:"val_accuracy"`
	Duration    time.Duration `json:"duration_ns"`
	TrainCPU    time.Duration `json:"train_cpu_ns"` // of the whole process, without the validation
}

// Class says what became of one class.
type Class struct {
	Label     string `json:"label"`
	Available int    `json:"available"` // training windows given
	Used      int    `json:"used"`      // trained on; 0: left out, fewer than the minimum
}

// Reasons for a run's end.
const (
	StoppedEarly     = "no better validation loss"
	StoppedAtLimit   = "all epochs done"
	StoppedByContext = "cancelled"
	Added            = "classes added" // to a model, without epochs
)

// Report says how a run went.
type Report struct {
	Classes     []Class           `json:"classes"` // in the order of their names
	Windows     int               `json:"windows"` // trained on
	Validation  int               `json:"validation"`
	Skipped     int               `json:"skipped_validation"` // validation windows of classes left out
	Epochs      []Epoch           `json:"epochs"`
	Best        int               `json:"best"` // epoch of the weights kept, from 1; the last one without patience
	Stopped     string            `json:"stopped"`
	Resumed     int               `json:"resumed"` // epoch that a checkpoint was taken in; 0: none
	Choice      *model.Choice     `json:"choice"`  // nil: there was none, classes were added
	Temperature float64           `json:"temperature"`
	Calibration model.Calibration `json:"calibration"`
}

// Train trains a model on the training windows of a store. The validation windows
// choose the epoch, but without patience, and fit the temperature, on captures that did
// not choose the epoch where there are enough; what is fitted below 1, or 0.8 for a model
// that has a class for "none of them", is left there. Their loss and accuracy are means
// over classes of means over captures of means over windows, unless o counts by windows.
// Every window has a label. progress may be nil; it is called in the caller's goroutine.
// When ctx ends, the best weights so far are kept; before the first epoch is over that is
// an error. The same windows, options and machine give the same model, bit for bit,
// whether or not the run was interrupted.
func Train(ctx context.Context, cfg Config, store *dataset.Store, training, validation []int, o Options, progress func(Progress)) (*model.Model, *Report, error) {
	m, report, err := run(ctx, cfg, store, training, validation, o, progress)
	if err != nil {
		return nil, nil, fmt.Errorf("train: %w", err)
	}
	return m, report, nil
}

func run(ctx context.Context, cfg Config, store *dataset.Store, training, validation []int, o Options, progress func(Progress)) (*model.Model, *Report, error) {
	if err := o.Validate(); err != nil {
		return nil, nil, err
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	o.Threads = workers.Or(o.Threads)
	rng := rand.New(rand.NewPCG(uint64(o.Seed), 1))
	_, judged := cfg.Design.Cut()
	set, err := choose(store, cfg.Design.Span(), judged, training, validation, o, rng)
	if err != nil {
		return nil, nil, err
	}
	named := len(set.labels)
	if slices.Contains(set.labels, model.NoneLabel) { // it says nothing of a single class but what else there was
		named--
	}
	if named < 2 {
		return nil, nil, TooLittle("%d classes with at least %d training windows, want 2 or more", named, max(o.MinPerClass, 1))
	}
	m, err := set.model(cfg, o)
	if err != nil {
		return nil, nil, err
	}
	design, err := set.survey(cfg.Design)
	if err != nil {
		return nil, nil, err
	}
	learner, err := design.Learner(m, o.Batch, o.Threads, rng)
	if err != nil {
		return nil, nil, err
	}
	defer learner.Close()
	values := learner.Values()
	m.Net = learner.Net(values)
	if err := m.Validate(); err != nil {
		return nil, nil, err
	}
	report := &Report{Classes: set.classes, Windows: len(set.training), Validation: len(set.validation), Skipped: set.skipped}
	r := &trainer{
		ctx: ctx, o: o, set: set, m: m, report: report, progress: progress, began: time.Now(),
		learner: learner, adam: NewAdam(o.LearningRate, o.WeightDecay, values), average: newAverage(o.EMA, values),
	}
	r.rows, judged = design.Cut()
	r.pieces = cut(store, set.training, judged)
	r.lengthen()
	r.state = state{Run: r.fingerprint(), Epoch: 1, Best: math.Inf(1)}
	if err := r.resume(); err != nil {
		return nil, nil, err
	}
	if err := r.epochs(); err != nil {
		return nil, nil, err
	}
	if err := r.finish(design); err != nil {
		return nil, nil, err
	}
	return m, report, m.Validate()
}

// lengthen gives a small set the epochs that its least steps take. The model says how many
// they are: as many that are asked for give the same one.
func (r *trainer) lengthen() {
	r.o.Epochs = max(r.o.Epochs, (r.o.LeastSteps+r.batches()-1)/r.batches())
	if options := r.m.Training.Options; options[epochsOption] != "" {
		options = maps.Clone(options)
		options[epochsOption] = strconv.Itoa(r.o.Epochs)
		r.m.Training.Options = options
	}
}

// epochsOption is what Options.Epochs is called among a model's training options.
const epochsOption = "epochs"

// finish adds to the model what follows from its weights.
func (r *trainer) finish(design Design) (err error) {
	m := r.m
	m.Training.Choice = r.choice()
	if m.Calibration, err = r.set.calibrate(m, r.o.Threads); err != nil {
		return err
	}
	if g, ok := design.(Grower); ok {
		if m.Background, err = r.set.background(g, m, keptEntries, r.o); err != nil {
			return err
		}
	}
	if err := r.set.compare(m, r.o.Seed); err != nil {
		return err
	}
	r.report.Choice, r.report.Calibration, r.report.Temperature = m.Training.Choice, m.Calibration, m.Temperature()
	return nil
}

// model is what is known of it before there is a network.
func (s *set) model(cfg Config, o Options) (m *model.Model, err error) {
	m = &model.Model{
		Labels:     s.labels,
		Record:     cfg.Record,
		Thresholds: model.Thresholds{Default: model.DefaultThreshold},
		Training:   model.Training{Seed: o.Seed, Threads: o.Threads, Options: cfg.Flags},
	}
	if m.Scaling, err = s.scaling(); err != nil {
		return nil, err
	}
	m.Training.Digest, err = s.digest()
	return m, err
}

// trainer is a run under way.
type trainer struct {
	ctx      context.Context
	o        Options
	set      *set
	m        *model.Model
	learner  Learner
	adam     *Adam
	average  *average
	pieces   [][]int // examples of each
	rows     int     // of a piece, at most
	report   *Report
	progress func(Progress)
	began    time.Time // less the time before an interruption
	saved    time.Time // last checkpoint
	state
}

// state is where a run is, beside the weights and the optimiser: all that its
// rest depends on. Order and dropout follow from the seed, the epoch and the step.
type state struct {
	Run     string // fingerprint of the data and options
	Epoch   int    // under way, from 1
	Batch   int    // steps done in it
	Loss    float64
	CPU     time.Duration // its steps have taken
	Elapsed time.Duration // of the whole run
	Started time.Duration // the epoch, by Elapsed
	Best    float64       // least validation loss
	Waited  int           // epochs since
	Kept    [][]float32   // values of the best epoch
	Chosen  int           // the best epoch; 0: none
	Epochs  []Epoch
}

// enough reports that the validation loss has stopped falling.
func (r *trainer) enough() bool { return r.o.Patience > 0 && r.Waited >= r.o.Patience }

// epochs trains until the validation loss stops falling, and leaves the best
// epoch's weights in the model; without patience, the last one's.
func (r *trainer) epochs() error {
	for r.Epoch <= r.o.Epochs && !r.enough() {
		loss, v, err := r.epoch()
		if r.ctx.Err() != nil {
			r.report.Stopped = StoppedByContext
			if err := r.save(); err != nil {
				return err
			}
			break
		}
		if err != nil {
			return fmt.Errorf("epoch %d: %w", r.Epoch, err)
		}
		e := Epoch{Loss: loss, ValLoss: v.loss(1), ValAccuracy: v.accuracy(), Duration: time.Since(r.began) - r.Started, TrainCPU: r.CPU}
		r.Epochs = append(r.Epochs, e)
		r.Waited++
		if e.ValLoss < r.Best-r.o.MinDelta || r.o.Patience == 0 {
			r.Best, r.Waited, r.Kept, r.Chosen = e.ValLoss, 0, r.values(), r.Epoch
		}
		p := r.at(r.batches(), loss)
		p.Ended, p.ValLoss, p.ValAccuracy = true, e.ValLoss, e.ValAccuracy
		r.Epoch, r.Batch, r.Loss, r.CPU, r.Started = r.Epoch+1, 0, 0, 0, time.Since(r.began)
		if err := r.save(); err != nil {
			return err
		}
		r.progress(p)
	}
	r.report.Epochs, r.report.Best = r.Epochs, r.Chosen
	switch {
	case r.Chosen == 0 && r.report.Stopped == StoppedByContext:
		return fmt.Errorf("stopped before the first epoch was over: %w", context.Cause(r.ctx))
	case r.Chosen == 0:
		return errors.New("no epoch gave a finite validation loss: lower the learning rate")
	case r.report.Stopped != "":
	case r.enough():
		r.report.Stopped = StoppedEarly
	default:
		r.report.Stopped = StoppedAtLimit
	}
	r.m.Net = r.learner.Net(r.Kept)
	return nil
}

// choice says how the epoch was chosen.
func (r *trainer) choice() *model.Choice {
	c := &model.Choice{By: model.ChosenByCaptures, Epoch: r.Chosen, Epochs: len(r.Epochs), Captures: r.set.count(r.set.choosing)}
	switch {
	case r.o.Patience == 0:
		c.By, c.Captures = model.ChosenLast, 0
	case r.o.ByWindow:
		c.By = model.ChosenByWindows
	}
	return c
}

func (r *trainer) batches() int { return (len(r.pieces) + r.o.Batch - 1) / r.o.Batch }

// at is the progress after some batches of the epoch.
func (r *trainer) at(batch int, loss float64) Progress {
	p := Progress{
		Epoch: r.Epoch, Epochs: r.o.Epochs, Batch: batch, Batches: r.batches(),
		Loss: loss, BestEpoch: r.Chosen, Elapsed: time.Since(r.began),
	}
	done := (r.Epoch-1)*p.Batches + batch
	p.Left = time.Duration(float64(p.Elapsed) / float64(done) * float64(p.Epochs*p.Batches-done))
	return p
}

// epoch trains to the end of the epoch and scores the weights it leaves in the
// model.
func (r *trainer) epoch() (loss float64, v *scores, err error) {
	if loss, err = r.steps(); err != nil {
		return 0, nil, err
	}
	r.m.Net = r.learner.Net(r.values())
	if err := r.m.Validate(); err != nil {
		return 0, nil, fmt.Errorf("training diverged (%w): lower the learning rate", err)
	}
	v, err = evaluate(r.m, r.set, r.set.choosing, r.o.Threads)
	return loss, v, err
}

// values are a copy of the learner's, or of their average if there is one.
func (r *trainer) values() [][]float32 {
	values := r.learner.Values()
	if len(r.average.values) > 0 {
		values = r.average.values
	}
	var c [][]float32
	for _, v := range values {
		c = append(c, slices.Clone(v))
	}
	return c
}

// order is the epoch's order of the pieces.
func (r *trainer) order() [][]int {
	all := slices.Clone(r.pieces)
	rng := rand.New(rand.NewPCG(uint64(r.o.Seed), orderStream+uint64(r.Epoch)))
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// orderStream keeps the random numbers of the epochs' orders apart from others
// of the same seed.
const orderStream = 1 << 32

// steps takes every piece once, in a new order, from the batch on that the epoch has
// come to, and returns their mean loss.
func (r *trainer) steps() (float64, error) {
	all := r.order()
	buffers, pieces := make([]dataset.Buffer, r.o.Batch), make([]Piece, r.o.Batch)
	for at := r.Batch * r.o.Batch; at < len(all); at += r.o.Batch {
		if err := r.ctx.Err(); err != nil {
			return 0, err
		}
		before := workers.CPUTime()
		part := all[at:min(at+r.o.Batch, len(all))]
		if err := r.read(part, pieces, buffers); err != nil {
			return 0, err
		}
		loss, err := r.step(pieces[:len(part)])
		if err != nil {
			return 0, err
		}
		r.Loss += loss * float64(len(part))
		r.Batch++
		r.CPU += workers.CPUTime() - before
		if time.Since(r.saved) >= r.o.CheckpointEvery {
			if err := r.save(); err != nil {
				return 0, err
			}
		}
		r.progress(r.at(r.Batch, r.Loss/float64(at+len(part))))
	}
	return r.Loss / float64(len(all)), nil
}

// step moves the values against their gradients and returns the mean loss before.
func (r *trainer) step(pieces []Piece) (float64, error) {
	loss, gradients, err := r.learner.Gradients(pieces, r.adam.steps+1)
	if err != nil {
		return 0, err
	}
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return 0, fmt.Errorf("training diverged (loss %v): lower the learning rate", loss)
	}
	values := r.learner.Values()
	r.adam.Step(values, gradients, r.o.pace(r.adam.steps+1, r.batches()))
	r.learner.Settle()
	r.average.step(values, r.adam.steps)
	return loss, nil
}

// read gets the pieces of a batch out of the store.
func (r *trainer) read(part [][]int, pieces []Piece, buffers []dataset.Buffer) error {
	errs := make([]error, r.o.Threads)
	workers.Each(r.o.Threads, len(part), func(worker, i int) {
		newest := part[i][len(part[i])-1]
		rows, err := r.set.store.Read(newest, r.rows, &buffers[i])
		if err != nil {
			errs[worker] = err
		}
		pieces[i] = Piece{Rows: rows, Judged: len(part[i]), Class: r.set.class[r.set.store.Label(newest)]}
	})
	return errors.Join(errs...)
}
