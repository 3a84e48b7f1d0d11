package sensor

// This file explains: a sample of the verdicts, and what is asked for on the socket. Never
// on the ring's way, and with a small part of a processor.

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/iotsense/iotsense/internal/queue"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/explain"
)

const (
	// MaxExplainRate is how many verdicts a minute can be asked to be explained.
	MaxExplainRate = 6000
	// explainPause is how long explanations pause after each, in times of what it took: a
	// twentieth of a processor is theirs.
	explainPause = 19
	// askedPause is how much of that who asks waits.
	askedPause = 2 * time.Second
	// explainQueue is how many verdicts of the sample wait.
	explainQueue = 4
)

var (
	errNoExplanations = errors.New("this sensor keeps no flows to explain: start `iotsense run` with --explain-rate N, as many verdicts a minute as it is to explain by itself")
	errNoTime         = errors.New("explanations have had their part of the processor")
)

// work is an explanation to make. Nothing of it changes any more.
type work struct {
	by      explainers
	device  string
	ground  *classify.Ground
	facts   []facts.Fact
	verdict *v1.Verdict     // whose label it is to be
	asked   explain.Request // but for rows, facts and label
}

// explainers are those of a model's services.
type explainers map[flows.Service]*explain.Explainer

// explain explains what it is they that judged.
func (by explainers) explain(w *work) (*v1.Explanation, error) {
	r := w.asked
	r.Rows, r.Facts = w.ground.Rows, w.facts
	return by[w.ground.Service].ExplainVerdict(w.verdict, r)
}

// explaining makes explanations, one at a time.
type explaining struct {
	by      explainers // used with the sensor's lock held
	explain func(*work) (*v1.Explanation, error)
	told    func(*v1.Explanation) // takes those of a label's logit
	made    atomic.Uint64

	turn        chan struct{} // has who explains; guards what follows
	ended, free time.Time     // of the last one; when the sample's next has time

	sample *queue.Queue[*work]
	every  time.Duration // between two of the sample
	next   time.Time     // whose verdict is the sample's next: used on the ring's way alone
}

// newExplaining explains for the models of a bundle; rate is how many verdicts a minute
// are the sample.
func newExplaining(bundle model.Bundle, rate int, told func(*v1.Explanation)) (*explaining, error) {
	by, err := explain.All(bundle)
	if err != nil {
		return nil, err
	}
	return &explaining{
		by: by, turn: make(chan struct{}, 1), every: time.Minute / time.Duration(rate), told: told,
		explain: func(w *work) (*v1.Explanation, error) { return w.by.explain(w) },
	}, nil
}

// start begins to explain the sample; end ends that. failed takes why a verdict of it has
// no explanation.
func (e *explaining) start(failed func(error)) {
	e.sample = queue.New(explainQueue, func(w *work) error {
		err := e.sampled(w)
		if err != nil && err != errNoTime {
			failed(err)
		}
		return err
	})
}

// end drops what is left of the sample.
func (e *explaining) end() { e.sample.Close(0) }

// sampled explains what is of the sample, if there is time for it at once.
func (e *explaining) sampled(w *work) error {
	select {
	case e.turn <- struct{}{}:
	default:
		return errNoTime
	}
	defer func() { <-e.turn }()
	if time.Now().Before(e.free) {
		return errNoTime
	}
	_, err := e.make(w)
	return err
}

// asked explains what somebody asks for, when there is time.
func (e *explaining) asked(ctx context.Context, w *work) (*v1.Explanation, error) {
	select {
	case e.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-e.turn }()
	select {
	case <-time.After(min(time.Until(e.free), time.Until(e.ended.Add(askedPause)))):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return e.make(w)
}

// make makes one, whose turn it is.
func (e *explaining) make(w *work) (*v1.Explanation, error) {
	begun := time.Now()
	x, err := e.explain(w)
	e.ended = time.Now()
	e.free = e.ended.Add(explainPause * e.ended.Sub(begun))
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", w.device, err)
	}
	e.made.Add(1)
	x.Device, x.WindowIndex = w.device, w.ground.Window
	if w.asked.Output == explain.Logit && w.asked.WhyNot == "" {
		e.told(x)
	}
	return x, nil
}

// take makes the device's newest verdict one of the sample, if it is time for the next. It
// is called on the ring's way.
func (e *explaining) take(v *v1.Verdict, c *classify.Classifier, now time.Time) {
	if now.Before(e.next) {
		return
	}
	if g := c.Ground(v.Device); g != nil && g.Missing == 0 {
		e.next = now.Add(e.every)
		e.sample.Put(&work{by: e.by, device: v.Device, ground: g, facts: g.Facts(), verdict: v})
	}
}

// judged takes each verdict; the lock is held.
func (s *Sensor) judged(v v1.Verdict) {
	if s.explaining != nil {
		s.explaining.take(&v, s.classifier, time.Now())
	}
	s.verdicts.Put(v)
}

// explained tells of an explanation in its device's verdicts.
func (s *Sensor) explained(x *v1.Explanation) {
	s.classifier.Registry().Explained(x.Device, x.Label, x.PaddingFraction)
}

// Explanation implements api.Source.
func (s *Sensor) Explanation(ctx context.Context, device string, q v1.ExplanationRequest) (*v1.Explanation, error) {
	if s.explaining == nil {
		return nil, errNoExplanations
	}
	r := explain.Request{WhyNot: q.WhyNot}
	var err error
	if q.Output != "" {
		if r.Output, err = explain.ParseOutput(q.Output); err != nil {
			return nil, err
		}
	}
	w, err := s.newest(device)
	if err != nil {
		return nil, err
	}
	v := s.classifier.Registry().Verdict(device)
	s.early.overlay(&v)
	w.asked, w.verdict = r, &v
	return s.explaining.asked(ctx, w)
}

// newest is what a device's present state rests on.
func (s *Sensor) newest(device string) (*work, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.classifier.Ground(device)
	if g == nil {
		return nil, fmt.Errorf("device %s: none of its flows has ended and been judged: ask again a minute after its first; `devices` tells what is known so far", device)
	}
	if g.Missing > 0 {
		return nil, fmt.Errorf("device %s: %d of the %d flows that its verdict rests on made room for other devices: ask again when it has had as many more", device, g.Missing, g.Missing+len(g.Rows))
	}
	return &work{by: s.explaining.by, device: device, ground: g, facts: g.Facts()}, nil
}

// startExplaining begins with the sample, if there is to be one.
func (s *Sensor) startExplaining() {
	if s.explaining == nil {
		return
	}
	failures := 0
	s.explaining.start(func(err error) {
		failures++
		if failures&(failures-1) == 0 { // the 1st, 2nd, 4th, ...: never a flood
			s.cfg.Log.Error("verdict not explained", "error", err, "failures", failures)
		}
	})
}

// explanations are their counters; the lock is held.
func (s *Sensor) explanations() (stats v1.ExplanationStats) {
	if s.explaining == nil {
		return stats
	}
	devices, bytes := s.classifier.Grounds()
	return v1.ExplanationStats{
		Made: s.explaining.made.Load(), Dropped: s.explaining.sample.Dropped(),
		Devices: uint64(devices), Bytes: uint64(bytes), Forgotten: s.classifier.ForgottenGrounds(),
	}
}
