package train

// This file is the training run: epochs, early stopping, the best weights.

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
)

// Example is one window with its class.
type Example struct {
	Window flows.Window
	Label  int // index into Config.Labels
}

// Config says what is to be trained.
type Config struct {
	Labels []string // class names, in any order
	Arch   model.Architecture
	Record model.RecordSpec
	Flags  map[string]string // kept in the model file as training.options
}

// Options say how; begin with [DefaultOptions].
type Options struct {
	Epochs       int     // at most
	Batch        int     // windows of a step
	LearningRate float64 // of Adam
	Patience     int     // epochs without a better validation loss before the end
	MinDelta     float64 // what counts as better
	MinPerClass  int     // classes with fewer training windows are left out
	MaxPerClass  int     // more training windows of a class are thinned out at random; 0: no limit
	Seed         int64   // of initial weights, selection, order and dropout
	Threads      int     // 0: one for each processor
}

// DefaultOptions are the paper's (IV-A), with its limit on a class's windows but
// without its lower one, which a small data set cannot afford.
func DefaultOptions() Options {
	return Options{
		Epochs: 100, Batch: 64, LearningRate: 1e-3, Patience: 5, MinDelta: 0.001,
		MinPerClass: 1, MaxPerClass: 20_000,
	}
}

func (o Options) validate() error {
	switch {
	case o.Epochs < 1:
		return fmt.Errorf("epochs is %d, want at least 1", o.Epochs)
	case o.Batch < 1 || o.Batch > 1<<14:
		return fmt.Errorf("batch is %d, want 1 to %d", o.Batch, 1<<14)
	case !(o.LearningRate > 0) || math.IsInf(o.LearningRate, 0):
		return fmt.Errorf("learning rate is %v, want above 0", o.LearningRate)
	case o.Patience < 1:
		return fmt.Errorf("patience is %d, want at least 1", o.Patience)
	case !(o.MinDelta >= 0):
		return fmt.Errorf("min delta is %v, want 0 or more", o.MinDelta)
	}
	return nil
}

// Progress tells how far a run is.
type Progress struct {
	Epoch, Epochs int           // the epoch under way, from 1; the most there can be
	Batch         int           // steps done in it
	Batches       int           // steps of an epoch
	Loss          float64       // mean training loss of the epoch so far
	Ended         bool          // the epoch is over and the validation figures are set
	ValLoss       float64       // mean cross-entropy of the validation windows
	ValAccuracy   float64       // share of validation windows named rightly
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
)

// Report says how a run went.
type Report struct {
	Classes     []Class `json:"classes"` // in the order of their names
	Windows     int     `json:"windows"` // trained on
	Validation  int     `json:"validation"`
	Skipped     int     `json:"skipped_validation"` // validation windows of classes left out
	Epochs      []Epoch `json:"epochs"`
	Best        int     `json:"best"` // epoch of the weights kept, from 1
	Stopped     string  `json:"stopped"`
	Temperature float64 `json:"temperature"`
}

// Train trains a model on the training examples, choosing the epoch and the
// temperature by the validation examples. progress may be nil; it is called in
// the caller's goroutine. When ctx ends, the best weights so far are kept; before
// the first epoch is over that is an error. The same examples, options and
// machine give the same model, bit for bit.
func Train(ctx context.Context, cfg Config, training, validation []Example, o Options, progress func(Progress)) (*model.Model, *Report, error) {
	m, report, err := run(ctx, cfg, training, validation, o, progress)
	if err != nil {
		return nil, nil, fmt.Errorf("train: %w", err)
	}
	return m, report, nil
}

func run(ctx context.Context, cfg Config, training, validation []Example, o Options, progress func(Progress)) (*model.Model, *Report, error) {
	if err := o.validate(); err != nil {
		return nil, nil, err
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	o.Threads = threadsOr(o.Threads)
	rng := rand.New(rand.NewPCG(uint64(o.Seed), 1))
	set, err := choose(cfg.Labels, cfg.Arch.K, training, validation, o, rng)
	if err != nil {
		return nil, nil, err
	}
	m := &model.Model{
		Labels:     set.labels,
		Arch:       cfg.Arch,
		Record:     cfg.Record,
		Scaling:    set.scaling(),
		Thresholds: model.Thresholds{Default: model.DefaultThreshold},
		Training:   model.Training{Digest: set.digest(), Seed: o.Seed, Threads: o.Threads, Options: cfg.Flags},
	}
	d, err := m.Dims()
	if err != nil {
		return nil, nil, err
	}
	s := shape{m.Arch, d}
	m.Weights = initial(s, rng)
	if err := m.Validate(); err != nil {
		return nil, nil, err
	}
	net, err := newNetwork(newBatch(s, m.Record, m.Scaling, o.Batch, o.Threads, rng.Uint64()), m.Weights, o.LearningRate)
	if err != nil {
		return nil, nil, err
	}
	defer net.close()
	report := &Report{Classes: set.classes, Windows: len(set.training), Validation: len(set.validation), Skipped: set.skipped}
	r := &trainer{ctx: ctx, o: o, set: set, m: m, net: net, report: report, progress: progress, rng: rng, began: time.Now()}
	if err := r.epochs(); err != nil {
		return nil, nil, err
	}
	scores, err := evaluate(m, set.validation, o.Threads)
	if err != nil {
		return nil, nil, err
	}
	m.Calibration.Temperature = scores.temperature()
	report.Temperature = m.Calibration.Temperature
	return m, report, m.Validate()
}

// trainer is a run under way.
type trainer struct {
	ctx      context.Context
	o        Options
	set      *set
	m        *model.Model
	net      *network
	report   *Report
	progress func(Progress)
	rng      *rand.Rand
	began    time.Time
}

// epochs trains until the validation loss stops falling, and leaves the best
// epoch's weights in the model.
func (r *trainer) epochs() error {
	best, waited := math.Inf(1), 0
	var kept model.Weights
	for epoch := 1; epoch <= r.o.Epochs && waited < r.o.Patience; epoch++ {
		begin := time.Now()
		loss, spent, v, err := r.epoch(epoch)
		if r.ctx.Err() != nil {
			r.report.Stopped = StoppedByContext
			break
		}
		if err != nil {
			return fmt.Errorf("epoch %d: %w", epoch, err)
		}
		e := Epoch{Loss: loss, ValLoss: v.loss(1), ValAccuracy: v.accuracy(), Duration: time.Since(begin), TrainCPU: spent}
		r.report.Epochs = append(r.report.Epochs, e)
		waited++
		if e.ValLoss < best-r.o.MinDelta {
			best, waited, kept = e.ValLoss, 0, r.m.Weights
			r.report.Best = epoch
		}
		p := r.at(epoch, r.batches(), loss)
		p.Ended, p.ValLoss, p.ValAccuracy = true, e.ValLoss, e.ValAccuracy
		r.progress(p)
	}
	switch {
	case r.report.Best == 0 && r.report.Stopped == StoppedByContext:
		return fmt.Errorf("stopped before the first epoch was over: %w", context.Cause(r.ctx))
	case r.report.Best == 0:
		return errors.New("no epoch gave a finite validation loss: lower the learning rate")
	case r.report.Stopped != "":
	case waited >= r.o.Patience:
		r.report.Stopped = StoppedEarly
	default:
		r.report.Stopped = StoppedAtLimit
	}
	r.m.Weights = kept
	return nil
}

func (r *trainer) batches() int { return (len(r.set.training) + r.o.Batch - 1) / r.o.Batch }

// at is the progress after some batches of an epoch.
func (r *trainer) at(epoch, batch int, loss float64) Progress {
	p := Progress{
		Epoch: epoch, Epochs: r.o.Epochs, Batch: batch, Batches: r.batches(),
		Loss: loss, BestEpoch: r.report.Best, Elapsed: time.Since(r.began),
	}
	done := (epoch-1)*p.Batches + batch
	p.Left = time.Duration(float64(p.Elapsed) / float64(done) * float64(p.Epochs*p.Batches-done))
	return p
}

// epoch trains for one epoch, which takes the CPU time spent, and scores the
// weights it leaves in the model.
func (r *trainer) epoch(epoch int) (loss float64, spent time.Duration, v *scores, err error) {
	before := cpuTime()
	if loss, err = r.steps(epoch); err != nil {
		return 0, 0, nil, err
	}
	spent = cpuTime() - before
	r.m.Weights = r.net.weights()
	if err := r.m.Validate(); err != nil {
		return 0, 0, nil, fmt.Errorf("training diverged (%w): lower the learning rate", err)
	}
	v, err = evaluate(r.m, r.set.validation, r.o.Threads)
	return loss, spent, v, err
}

// cpuTime is what the process has used so far.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// steps takes every training window once, in a new order, and returns their mean loss.
func (r *trainer) steps(epoch int) (float64, error) {
	all := r.set.training
	r.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	windows, labels := make([]flows.Window, 0, r.o.Batch), make([]int, 0, r.o.Batch)
	sum, batch := 0.0, 0
	for at := 0; at < len(all); at += r.o.Batch {
		if err := r.ctx.Err(); err != nil {
			return 0, err
		}
		part := all[at:min(at+r.o.Batch, len(all))]
		windows, labels = windows[:0], labels[:0]
		for _, e := range part {
			windows, labels = append(windows, e.Window), append(labels, e.Label)
		}
		loss, err := r.net.train(windows, labels)
		if err != nil {
			return 0, err
		}
		sum += loss * float64(len(part))
		batch++
		r.progress(r.at(epoch, batch, sum/float64(at+len(part))))
	}
	return sum / float64(len(all)), nil
}
