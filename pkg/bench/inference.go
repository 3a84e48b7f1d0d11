package bench

// This file measures the inference engine: throughput, latency and memory by the
// number of concurrent inputs (paper IV-C: Table V, Figs. 13 and 14).

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
)

// Mode says how the windows of a batch belong together.
type Mode string

const (
	// Cold inputs are independent windows: each is computed from all its rows,
	// and nothing is kept from one to the next.
	Cold Mode = "cold"
	// Sliding inputs are as live ones: a batch is the next row of each of as
	// many devices, and each device keeps its memory from row to row. A device
	// whose capture has ended makes room for another, which starts from nothing.
	Sliding Mode = "sliding"
)

// ParseMode reads "cold" or "sliding".
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case Cold, Sliding:
		return m, nil
	}
	return "", fmt.Errorf("mode %q: want cold or sliding", s)
}

// InferenceConfig says what to measure.
type InferenceConfig struct {
	Mode    Mode
	Batches []int
	Threads int           // each with an engine, devices and windows of its own
	Runs    int           // the figures are medians over them
	Time    time.Duration // of each run; a batch that has begun is finished
}

// BatchFigures is what inference costs at one number of concurrent inputs. One
// thread works on a batch, in one call of the engine.
type BatchFigures struct {
	Batch     int     `json:"batch"`
	PerSecond float64 `json:"per_second"` // inferences of all threads
	P50       float64 `json:"p50_us"`     // time of a batch divided by its inputs, us
	P99       float64 `json:"p99_us"`
	RSS       float64 `json:"rss_mb"` // of the process after the runs, devices' memories included
}

// InferenceFigures is the whole measurement.
type InferenceFigures struct {
	Engine  string // code path that the engine took: avx2, neon, go
	Loaded  int64  // bytes resident with model and engines ready, before the first inference
	Batches []BatchFigures
}

// maxCalls bounds the batches of one thread's run, so that their times fit into
// memory that is there before the model is.
const maxCalls = 1 << 17

// Inference is a measurement that holds all memory of its own: what the process
// grows by while it runs is the model's and the engine's.
type Inference struct {
	cfg     InferenceConfig
	traffic *Traffic
	times   [][]float64 // by thread: us per input of each batch
	all     []float64   // of all threads, sorted
}

// NewInference prepares a measurement.
func NewInference(cfg InferenceConfig, traffic *Traffic) *Inference {
	b := &Inference{cfg: cfg, traffic: traffic, all: touched(cfg.Threads * maxCalls)}
	for range cfg.Threads {
		b.times = append(b.times, touched(maxCalls))
	}
	return b
}

// touched is an empty slice whose memory is resident.
func touched(capacity int) []float64 {
	s := make([]float64, capacity)
	for i := range s {
		s[i] = 1
	}
	return s[:0]
}

// Run loads the model into an engine and measures every batch size.
func (b *Inference) Run(ctx context.Context, m *model.Model) (InferenceFigures, error) {
	var figures InferenceFigures
	engine, err := model.NewEngine(m)
	if err != nil {
		return figures, err
	}
	figures.Engine = engine.Path()
	engines := []*model.Engine{engine}
	for len(engines) < b.cfg.Threads {
		engines = append(engines, engine.Clone())
	}
	loaded, err := Settled()
	if err != nil {
		return figures, err
	}
	figures.Loaded = loaded.Total
	for _, size := range b.cfg.Batches {
		f, err := b.batch(ctx, engines, size)
		if err != nil {
			return figures, fmt.Errorf("batch %d: %w", size, err)
		}
		figures.Batches = append(figures.Batches, f)
	}
	return figures, nil
}

// batch measures one batch size, after a run that only warms up.
func (b *Inference) batch(ctx context.Context, engines []*model.Engine, size int) (BatchFigures, error) {
	if _, err := Settled(); err != nil { // the memories of the size before are gone
		return BatchFigures{}, err
	}
	workers := make([]worker, len(engines))
	for i, e := range engines {
		workers[i] = b.worker(e, i, size)
	}
	var rates, p50, p99 []float64
	for run := range b.cfg.Runs + 1 {
		rate, err := b.run(ctx, workers, size)
		if err != nil {
			return BatchFigures{}, err
		}
		if run == 0 {
			continue
		}
		rates, p50, p99 = append(rates, rate), append(p50, percentile(b.all, 50)), append(p99, percentile(b.all, 99))
	}
	rss, err := Resident()
	return BatchFigures{Batch: size, PerSecond: median(rates), P50: median(p50), P99: median(p99), RSS: MB(rss.Total)}, err
}

// run lets all workers run side by side, leaves the sorted times of their batches
// in b.all and returns the inferences per second.
func (b *Inference) run(ctx context.Context, workers []worker, size int) (float64, error) {
	errs := make([]error, len(workers))
	var running sync.WaitGroup
	begin := time.Now()
	for i, w := range workers {
		running.Go(func() { b.times[i], errs[i] = w.run(ctx, size, b.cfg.Time, b.times[i][:0]) })
	}
	running.Wait()
	elapsed := time.Since(begin)
	b.all = b.all[:0]
	for i := range workers {
		if errs[i] != nil {
			return 0, errs[i]
		}
		b.all = append(b.all, b.times[i]...)
	}
	slices.Sort(b.all)
	return float64(len(b.all)*size) / elapsed.Seconds(), nil
}

// worker is one thread's part: it computes the next batch.
type worker func() error

// run computes batches for a length of time and appends the time of each, in us
// per input.
func (infer worker) run(ctx context.Context, size int, length time.Duration, times []float64) ([]float64, error) {
	begin := time.Now()
	for last := begin; last.Sub(begin) < length && len(times) < maxCalls; {
		if err := ctx.Err(); err != nil {
			return times, err
		}
		if err := infer(); err != nil {
			return times, err
		}
		now := time.Now()
		times = append(times, float64(now.Sub(last).Nanoseconds())/1e3/float64(size))
		last = now
	}
	return times, nil
}

func (b *Inference) worker(e *model.Engine, thread, size int) worker {
	probs := make([][]float32, size)
	for i := range probs {
		probs[i] = make([]float32, e.Classes())
	}
	if b.cfg.Mode == Cold {
		return b.coldWorker(e, thread, probs)
	}
	return b.slidingWorker(e, thread, probs)
}

// coldWorker takes the windows one after the other, each thread from another place.
func (b *Inference) coldWorker(e *model.Engine, thread int, probs [][]float32) worker {
	windows, memories, batch := b.traffic.windows, newMemories(e, len(probs)), make([]flows.Row, len(probs))
	at := thread * len(windows) / b.cfg.Threads
	return func() error {
		for i, m := range memories {
			at++
			w := windows[at%len(windows)]
			m.Reset()
			for _, row := range w[:len(w)-1] {
				if err := e.Skip(m, row); err != nil {
					return err
				}
			}
			batch[i] = w[len(w)-1]
		}
		return e.NextBatch(memories, batch, probs)
	}
}

// slidingWorker has a device at each place of the batch. A place takes the
// streams that no other place has, one after the other, each to its end, so that
// all are taken equally often.
func (b *Inference) slidingWorker(e *model.Engine, thread int, probs [][]float32) worker {
	memories, rest, batch := newMemories(e, len(probs)), make([]Stream, len(probs)), make([]flows.Row, len(probs))
	streams := b.traffic.streams
	at := thread * len(streams) / b.cfg.Threads
	return func() error {
		for i, m := range memories {
			if len(rest[i]) == 0 {
				at++
				rest[i] = streams[at%len(streams)]
				m.Reset()
				for _, row := range rest[i][:b.traffic.first] {
					if err := e.Skip(m, row); err != nil {
						return err
					}
				}
				rest[i] = rest[i][b.traffic.first:]
			}
			batch[i], rest[i] = rest[i][0], rest[i][1:]
		}
		return e.NextBatch(memories, batch, probs)
	}
}

func newMemories(e *model.Engine, n int) []model.Memory {
	m := make([]model.Memory, n)
	for i := range m {
		m[i] = e.Memory()
	}
	return m
}
