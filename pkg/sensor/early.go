package sensor

// This file judges devices by flows that are still open: a record comes when its flow has
// ended, a minute after its first packet, and a name is wanted before.

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/registry"
)

const (
	// earlyEvery is how often devices are judged by their open flows; traffic that is played
	// faster has them oftener, though not oftener than the ring is looked at.
	earlyEvery, earlyLeast = 2 * time.Second, 250 * time.Millisecond
	// earlyFlows is by how many flows a device is judged, its first ones; earlyWork by how
	// many all are each time. Those that this leaves out come first the next time.
	earlyFlows, earlyWork = 64, 1024
)

// early keeps provisional verdicts: what would be said of a device if its open flows ended
// now. They are judged on copies, in a goroutine of their own: nothing that is kept of the
// device changes, and packets wait for the copying alone.
type early struct {
	lock       sync.Locker // of what packets change: assembler, classifier, facts
	assembler  *flows.Assembler
	classifier *classify.Classifier
	facts      func(device string) *facts.Set          // nil: none are kept
	counted    func(map[flows.Life]*flows.Close) error // fills in what there is of these lives
	lifetime   time.Duration                           // of flows
	most       int                                     // devices

	news   chan struct{}        // there may be something to judge, or to forget
	copies *classify.Classifier // of one device at a time
	known  *facts.Set           // of that one
	round  uint64
	failed bool // to count has

	// turn is had by who judges a device, by who changes what judges, and by who takes the
	// operator's word. Before lock and mu.
	turn sync.Mutex

	mu   sync.Mutex
	said map[string]*provisional
}

// provisional is what was said of a device last.
type provisional struct {
	v1.Verdict
	sampled uint64 // by what samples it was judged
	round   uint64 // when
}

// begin makes ready what New leaves out.
func (e *early) begin() *early {
	e.said, e.news = map[string]*provisional{}, make(chan struct{}, 1)
	e.renew()
	return e
}

// renew has copies judged by the models that classifier has now.
func (e *early) renew() {
	var known func(string) *facts.Set
	if e.facts != nil {
		known = func(string) *facts.Set { return e.known }
	}
	e.copies = e.classifier.Apart(known)
}

// stir says that there is a sample, or that a flow has ended. It never waits.
func (e *early) stir() {
	if e == nil {
		return
	}
	select {
	case e.news <- struct{}{}:
	default:
	}
}

// run judges until ctx ends, so often while there is something new and never while there is not.
func (e *early) run(ctx context.Context, every time.Duration, tell func(v1.Verdict), log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.news:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(every, earlyLeast)):
		}
		select { // what came meanwhile is looked at with it
		case <-e.news:
		default:
		}
		e.look(ctx, tell, log)
	}
}

// look judges those devices again of which there are new samples, as many as may be.
func (e *early) look(ctx context.Context, tell func(v1.Verdict), log *slog.Logger) {
	e.round++
	chosen, left := e.choose()
	if left {
		e.stir()
	}
	if len(chosen) == 0 {
		return
	}
	lives, err := e.count(chosen)
	if err != nil && !e.failed {
		e.failed = true // until then it is known what its samples tell
		log.Error("provisional verdicts rest on the samples of open flows alone", "error", err)
	}
	for _, d := range chosen {
		if ctx.Err() != nil {
			return
		}
		e.say(d, lives, tell)
	}
}

// say judges a device, and tells of it.
func (e *early) say(d flows.OpenDevice, lives map[flows.Life]*flows.Close, tell func(v1.Verdict)) {
	e.turn.Lock()
	defer e.turn.Unlock()
	v, err := e.judge(d.Name, lives)
	e.keep(d, &v)
	if err == nil && (v.Windows > 0 || v.Level > 0) {
		tell(v)
	}
}

// choose picks the devices to judge, those first that have waited longest. left says
// whether there may be others.
func (e *early) choose() (chosen []flows.OpenDevice, left bool) {
	e.lock.Lock()
	defer e.lock.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	for name := range e.said {
		if !e.assembler.IsOpen(name) {
			delete(e.said, name)
		}
	}
	settled := e.classifier.Registry().Settled
	for d := range e.assembler.OpenDevices {
		p := e.said[d.Name]
		if p == nil && len(e.said)+len(chosen) >= e.most || p != nil && p.sampled == d.Sampled || settled(d.Name, d.First, e.lifetime) {
			continue
		}
		chosen = append(chosen, d)
		if left = len(chosen) >= e.most; left {
			break
		}
	}
	last := func(d flows.OpenDevice) uint64 {
		if p := e.said[d.Name]; p != nil {
			return p.round
		}
		return 0
	}
	slices.SortFunc(chosen, func(x, y flows.OpenDevice) int { return int(last(x)) - int(last(y)) })
	work := 0
	for i, d := range chosen {
		if work += min(d.Records, earlyFlows); work > earlyWork {
			return chosen[:i], true
		}
	}
	return chosen, left
}

// count gives what has been counted of the devices' open lives: more than samples tell.
func (e *early) count(devices []flows.OpenDevice) (map[flows.Life]*flows.Close, error) {
	lives := map[flows.Life]*flows.Close{}
	e.lock.Lock()
	for _, d := range devices {
		e.assembler.Preview(d.Name, earlyFlows, func(l flows.Life) *flows.Close {
			lives[l] = nil
			return nil
		})
	}
	e.lock.Unlock()
	if len(lives) == 0 { // the samples tell all
		return lives, nil
	}
	return lives, e.counted(lives)
}

// judge gives what would be said of a device if its open lives ended now. The error is the
// model's, on values that it refuses.
func (e *early) judge(device string, lives map[flows.Life]*flows.Close) (v1.Verdict, error) {
	e.lock.Lock()
	records := e.assembler.Preview(device, earlyFlows, func(l flows.Life) *flows.Close { return lives[l] })
	e.classifier.Copy(device, e.copies)
	if e.facts != nil {
		e.known = e.facts(device).Clone()
	}
	e.lock.Unlock()
	defer e.copies.Forget(device)
	before := e.copies.Registry().Verdict(device)
	for _, r := range records {
		if err := e.copies.Record(r); err != nil {
			return before, err
		}
	}
	v := e.copies.Registry().Verdict(device)
	v.Provisional, v.News = true, registry.SayOther(&v, &before)
	return v, nil
}

// keep notes what is said of a device, and whether that is news.
func (e *early) keep(d flows.OpenDevice, v *v1.Verdict) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.said[d.Name]
	if p == nil {
		p = &provisional{}
		e.said[d.Name] = p
	} else {
		v.News = registry.SayOther(v, &p.Verdict)
	}
	p.Verdict, p.sampled, p.round = *v, d.Sampled, e.round
}

// ended takes a verdict on flows that have ended: it is no news while more has been said
// than it rests on.
func (e *early) ended(v *v1.Verdict) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.said[v.Device]
	switch {
	case p == nil || p.Windows == 0 && p.Level == 0:
	case v.Windows < p.Windows:
		v.News = false
	default:
		v.News = registry.SayOther(v, &p.Verdict)
		p.Verdict = *v
	}
}

// end forgets what has been said by open flows: there are none any more, or others judge them.
func (e *early) end() {
	if e == nil {
		return
	}
	e.stir()
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.said)
}

// overlay gives the provisional verdict in place of one on fewer windows; what the operator
// said is that of now.
func (e *early) overlay(v *v1.Verdict) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.said[v.Device]
	if p == nil || !p.Provisional {
		return
	}
	if presumed := v.State == v1.Gathering && p.Windows == v.Windows && p.Level > v.Level; presumed || p.Windows > v.Windows {
		label, others := v.UserLabel, v.Others
		*v = p.Verdict
		v.UserLabel, v.Others = label, others
	}
}

// forget drops what was said of a device.
func (e *early) forget(device string) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.said, device)
	e.stir()
}
