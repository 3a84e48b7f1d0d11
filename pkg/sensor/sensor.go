// Package sensor is the running daemon: it joins the kernel half (package
// loader), the records (package flows), the model (package classify) and the
// socket (package api). Packets come from interfaces, verdicts go to a callback
// and to whoever asks on the socket. It holds no rule of its own.
package sensor

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/iotsense/iotsense/internal/queue"
	"github.com/iotsense/iotsense/pkg/api"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/export"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/loader"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/notify"
	"github.com/iotsense/iotsense/pkg/recording"
	"github.com/iotsense/iotsense/pkg/registry"
)

// maxLifetimes is how many lifetimes a flow's records may take to end before they
// are given up; only a sensor that stood still for minutes takes more than two.
const maxLifetimes = 5

// Config says what to watch and with which model.
type Config struct {
	Loader loader.Config // Direction, Packets, Prefix and Lifetime are set from Model
	Model  model.Bundle  // nil: records only
	// CountOnly makes no record either: packets are counted, and the kernel sends no sample.
	// It needs a nil Model.
	CountOnly bool
	ModelName Named
	// Choose gives the model that is to judge now, and what it is in words, where others may
	// come while the sensor runs; nil: none.
	Choose     func() (model.Bundle, Named, error)
	Models     model.Shelf // of those that are learned; empty: none is
	MaxDevices int         // 0: registry.DefaultMaxDevices
	// Ignored reports whether a record makes its device one that is counted but not
	// judged from then on; nil: never.
	Ignored func(*flows.Record) bool
	Socket  string // path; empty: no socket
	// Listener is a socket that is there already, in place of one at Socket; may be nil.
	Listener net.Listener
	// Gate is where else the sensor answers; nil: nowhere.
	Gate  *api.Gate
	State string // file that the registry outlasts the process in; empty: memory only
	// Recording is the directory that records are kept in to learn from, but for those of
	// ignored devices, RecordingSize how many bytes they may take; empty: nowhere.
	Recording     string
	RecordingSize int64
	// NoFacts keeps nothing of what devices say of themselves.
	NoFacts bool
	Sinks   notify.Config // who is told of events
	Export  export.Config // where records go as they end; with CountOnly there are none
	// ExplainRate is how many verdicts a minute are explained; 0: none, and no rows are kept
	// for who asks for an explanation. Models must have references then.
	ExplainRate int
	// ShowPayload has pages show what bytes of payload weigh.
	ShowPayload bool
	// Speed divides the lifetime of flows and multiplies their times back, for
	// traffic that is played faster than it was; 0 or 1: as it is.
	Speed float64
	// Verdict takes the verdict after each inference; may be nil. It is called from
	// a goroutine of its own, behind a queue: however long it takes, packets are not
	// held up by it. What the queue cannot hold, and what it fails on, is Stats'
	// DroppedVerdicts.
	Verdict func(v1.Verdict) error
	// Record takes each record, on the ring's way: it must not wait. May be nil.
	Record func(*flows.Record)
	// Hurry, once it has ended, makes Run end without judging what flows are still
	// open; nil: never.
	Hurry context.Context
	Log   *slog.Logger
}

const (
	// verdictQueue is how many verdicts wait for the listener.
	verdictQueue = 8192
	// lastVerdicts is how long the listener may take for those of the last flows.
	lastVerdicts = 3 * time.Second
)

// Sensor watches interfaces until its Run ends.
type Sensor struct {
	cfg      Config
	id       string
	spec     flows.RecordSpec // of the records that the model needs
	kernel   *loader.Kernel
	socket   net.Listener // nil: there is none
	doors    []api.Door   // beside it
	verdicts *queue.Queue[v1.Verdict]
	sink     *sink
	early    *early    // nil: there is no model
	ended    sync.Once // of verdicts
	started  time.Time // by the wall clock as it was then
	kept     *kept
	notify   *notify.Notifier
	recorder *recording.Recorder // nil: nothing is recorded
	export   *export.Exporter
	ending   atomic.Bool  // flows are ended before their time
	first    atomic.Int64 // of packets played faster, when the first came, us since the Unix epoch

	mu         sync.Mutex // guards what events change
	locals     *flows.Locals
	assembler  *flows.Assembler
	classifier *classify.Classifier
	facts      *facts.Collector // nil: none are kept
	explaining *explaining      // nil: nothing is explained
	counts     counts
	failures   uint64    // records that the model refused
	since      int64     // the start by the clock as it is now, us since the Unix epoch
	ahead      int64     // of the kernel's stamps, the times that all is known by, us
	judging    time.Time // since when the model judges; zero: since the start
	unread     string    // why what was learned last cannot be read, as logged
}

// Open loads and attaches the kernel half and makes the socket. Whatever fails,
// nothing is left attached.
func Open(cfg Config) (*Sensor, error) {
	if cfg.Speed == 0 {
		cfg.Speed = 1
	}
	if cfg.Hurry == nil {
		cfg.Hurry = context.Background()
	}
	if cfg.Verdict == nil {
		cfg.Verdict = func(v1.Verdict) error { return nil }
	}
	s := &Sensor{cfg: cfg, id: rand.Text()[:16], started: time.Now()}
	if err := s.openClassifier(); err != nil {
		return nil, err
	}
	if err := s.recordsOf(cfg.Model); err != nil {
		return nil, err
	}
	if err := loader.CheckPrivileges(s.cfg.Loader); err != nil { // else what misses them first says so, worse
		return nil, err
	}
	var err error
	if err := s.openDoors(); err != nil {
		return nil, err
	}
	if err := s.beginKeeping(); err != nil {
		s.closeSocket()
		return nil, errors.Join(err, s.endKeeping())
	}
	s.cfg.Loader.LocalInterfaces = s.cfg.Loader.Local == nil
	s.cfg.Loader.HostChanged, s.cfg.Loader.ClockSet = s.moved, s.clockSet
	if s.kernel, err = loader.Open(s.cfg.Loader); err != nil {
		s.closeSocket()
		return nil, errors.Join(err, s.endKeeping())
	}
	s.verdicts = queue.New(verdictQueue, func(v v1.Verdict) error {
		if !v.Provisional {
			s.early.ended(&v)
		}
		s.addFacts(&v) // here, where it keeps no packet waiting
		return cfg.Verdict(v)
	})
	s.since, s.ahead = s.started.UnixMicro(), s.kernel.Epoch(0)
	s.startExplaining()
	s.locals = locals(s.kernel.Host())
	assembly := flows.AssemblerConfig{
		Spec: s.spec, Locals: s.locals, Epoch: s.kernel.Epoch, Emit: s.record,
		MaxAge: maxLifetimes * s.cfg.Loader.Lifetime.Microseconds(),
	}
	if s.facts != nil {
		assembly.Observe = s.facts.Sample
	}
	s.assembler, s.sink = flows.NewAssembler(assembly), &sink{sensor: s}
	s.early = s.newEarly()
	return s, nil
}

// openDoors makes the socket, and listens where the sensor answers beside it.
func (s *Sensor) openDoors() (err error) {
	s.socket = s.cfg.Listener
	if s.socket == nil && s.cfg.Socket != "" {
		if s.socket, err = api.Listen(s.cfg.Socket); err != nil {
			return err
		}
	}
	if s.cfg.Gate == nil {
		return nil
	}
	l, err := s.cfg.Gate.Listen()
	if err != nil {
		s.closeSocket()
		return err
	}
	s.doors = append(s.doors, api.Door{Listener: l, Gate: s.cfg.Gate})
	s.cfg.Log.Info("answering who has the token", "at", l.Addr().String())
	if s.cfg.Gate.Clear() {
		s.cfg.Log.Warn("the token crosses the network in the clear: give --listen a --tls-cert and --tls-key, or a loopback address")
	}
	return nil
}

// openClassifier prepares what judges records, what it hears of devices, and what explains.
func (s *Sensor) openClassifier() error {
	cfg := &s.cfg
	opts := classify.Options{MaxDevices: cfg.MaxDevices, Ignored: cfg.Ignored, Verdict: s.judged, Noted: func(e v1.Event) {
		s.kept.noted()
		s.notify.Event(e)
	}}
	if !cfg.NoFacts && !cfg.CountOnly {
		s.facts = facts.NewCollector(cmp.Or(cfg.MaxDevices, registry.DefaultMaxDevices))
		opts.Facts, opts.Evicted = s.facts.Of, s.facts.Forget
	}
	var err error
	if cfg.ExplainRate > 0 {
		opts.Ground = true
		if s.explaining, err = newExplaining(cfg.Model, cfg.ExplainRate, s.explained); err != nil {
			return err
		}
	}
	if s.classifier, err = classify.New(cfg.Model, opts); err != nil {
		return err
	}
	if s.facts != nil {
		s.facts.Spare(s.classifier.Registry().Knows)
	}
	return nil
}

// newEarly judges the sensor's devices by their open flows.
func (s *Sensor) newEarly() *early {
	if s.cfg.Model == nil {
		return nil
	}
	e := &early{
		lock: &s.mu, assembler: s.assembler, classifier: s.classifier, lifetime: s.spec.Lifetime,
		most: cmp.Or(s.cfg.MaxDevices, registry.DefaultMaxDevices),
		counted: func(lives map[flows.Life]*flows.Close) error {
			return s.kernel.Counted(maps.Keys(lives), func(c *flows.Close) { lives[c.Life] = s.sink.scaled(c) })
		},
	}
	if s.facts != nil {
		e.facts = s.facts.Of
	}
	return e.begin()
}

// recordsOf makes the kernel collect what the model needs, no more.
func (s *Sensor) recordsOf(bundle model.Bundle) error {
	spec, err := bundle.Record()
	if err != nil {
		return err
	}
	s.spec = spec
	l := &s.cfg.Loader
	l.Direction, l.Packets, l.Prefix = spec.Direction, spec.Packets, spec.Prefix
	if s.cfg.CountOnly {
		l.Packets, l.Prefix = -1, 0
	}
	l.Lifetime = time.Duration(float64(spec.Lifetime) / s.cfg.Speed)
	return nil
}

func locals(h loader.Host) *flows.Locals { return flows.NewLocals(h.Local).WithOwn(h.Own) }

// moved takes over new addresses of the sensor's own machine.
func (s *Sensor) moved(h loader.Host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.locals = locals(h)
	s.assembler.SetLocals(s.locals)
}

// SetLocal replaces the local ranges, [Config].Loader.Local; nil: the default ones and the
// interfaces' own. Flows that are open keep their devices. An error leaves what was.
func (s *Sensor) SetLocal(local []netip.Prefix) error { return s.kernel.SetLocal(local, local == nil) }

// Run works until ctx ends, then closes every open flow, so that its records are
// made and judged before it returns, and the listener has got the verdicts if it
// takes them within three seconds.
func (s *Sensor) Run(ctx context.Context) error {
	if err := s.kernel.Begin(s.sink); err != nil {
		return errors.Join(err, s.endKeeping())
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	var answering sync.WaitGroup
	if s.socket != nil || s.doors != nil {
		answering.Go(func() { api.Serve(serving, s.socket, s, s.cfg.Log, s.doors...) })
	}
	s.kept.run(ctx)
	answering.Go(func() { s.watch(serving) })
	early, flush := context.WithCancel(ctx)
	defer flush()
	var judging sync.WaitGroup
	if s.early != nil {
		judging.Go(func() { s.early.run(early, time.Duration(float64(earlyEvery)/s.cfg.Speed), s.verdicts.Put, s.cfg.Log) })
	}
	context.AfterFunc(ctx, func() { s.ending.Store(true) })
	err := s.kernel.Run(ctx, s.sink)
	flush()
	judging.Wait()
	s.endVerdicts()
	s.early.end()
	stop()
	answering.Wait()
	return errors.Join(err, s.endKeeping())
}

// beginKeeping opens what is kept beyond the process.
func (s *Sensor) beginKeeping() (err error) {
	if s.kept, err = s.keep(); err != nil {
		return err
	}
	if err = s.startRecording(); err != nil {
		return err
	}
	if s.notify, err = s.openNotify(); err != nil {
		return err
	}
	s.export, err = export.Open(s.cfg.Export, s.cfg.Log)
	return err
}

// endKeeping ends what is kept beyond the process, of what there is.
func (s *Sensor) endKeeping() error {
	within := lastMessages
	if s.cfg.Hurry.Err() != nil {
		within = 0
	}
	s.notify.Close(within)
	s.export.Close(within)
	return errors.Join(s.recorder.Close(), s.kept.close())
}

// endVerdicts gives the listener the time to take the last verdicts, once.
func (s *Sensor) endVerdicts() {
	within := lastVerdicts
	if s.cfg.Hurry.Err() != nil {
		within = 0
	}
	s.ended.Do(func() {
		if s.explaining != nil {
			s.explaining.end()
		}
		s.verdicts.Close(within)
	})
}

// Close detaches the kernel half and removes the socket.
func (s *Sensor) Close() error {
	s.endVerdicts() // where there was no Run
	s.closeSocket()
	return errors.Join(s.kernel.Close(), s.endKeeping())
}

func (s *Sensor) closeSocket() {
	if s.socket != nil {
		s.socket.Close()
	}
	for _, d := range s.doors {
		d.Close()
	}
}

// sink takes the kernel's events, and makes the times of fast-played traffic
// those of the original: t' = t0 + (t - t0) x speed.
type sink struct {
	sensor *Sensor
	t0     int64
}

func (k *sink) stamp(t int64) int64 {
	if k.sensor.cfg.Speed == 1 {
		return t
	}
	if k.t0 == 0 {
		k.t0 = t
		k.sensor.first.Store(k.sensor.kernel.Epoch(t))
	}
	return k.t0 + int64(float64(t-k.t0)*k.sensor.cfg.Speed)
}

// scaled is a life that is open, as its end would be.
func (k *sink) scaled(c *flows.Close) *flows.Close {
	k.sensor.mu.Lock()
	defer k.sensor.mu.Unlock()
	e := *c
	e.First, e.Last = k.stamp(e.First), k.stamp(e.Last)
	return &e
}

// Sample implements flows.Sink.
func (k *sink) Sample(e *flows.Sample) {
	k.sensor.mu.Lock()
	defer k.sensor.mu.Unlock()
	e.Stamp = k.stamp(e.Stamp)
	k.sensor.assembler.Sample(e)
	k.sensor.early.stir()
}

// Close implements flows.Sink.
func (k *sink) Close(e *flows.Close) {
	k.sensor.mu.Lock()
	defer k.sensor.mu.Unlock()
	k.sensor.counts.protocol(e)
	if k.sensor.cfg.CountOnly {
		k.sensor.counts.device(e, k.sensor.locals.Devices(e.Life.Key, k.sensor.cfg.Loader.Direction))
		return
	}
	e.First, e.Last = k.stamp(e.First), k.stamp(e.Last)
	k.sensor.assembler.Close(e)
	k.sensor.early.stir()
}

// record takes each finished record; the lock is held.
func (s *Sensor) record(r *flows.Record) {
	if s.cfg.Record != nil {
		s.cfg.Record(r)
	}
	if s.recorder != nil && (s.cfg.Ignored == nil || !s.cfg.Ignored(r)) && !s.classifier.Registry().Ignores(r.Device) {
		s.recorder.Add(r)
	}
	if s.cfg.Hurry.Err() == nil {
		s.classify(r)
	}
	if s.export.Sends() {
		v := s.classifier.Registry().Verdict(r.Device)
		s.export.Add(export.Of(r, &v, s.ending.Load()))
	}
}

// classify has the model judge a record; the lock is held.
func (s *Sensor) classify(r *flows.Record) {
	if err := s.classifier.Record(r); err != nil {
		s.failures++
		if s.failures&(s.failures-1) == 0 { // the 1st, 2nd, 4th, ...: never a flood
			s.cfg.Log.Error("record not classified", "error", err, "failures", s.failures)
		}
	}
}

// SetIPFIX replaces the collector that records go to, [Config].Export.IPFIX. An error leaves
// what was.
func (s *Sensor) SetIPFIX(cfg export.IPFIX) error { return s.export.SetIPFIX(cfg) }

// ID implements api.Source: a random word, another after each start.
func (s *Sensor) ID() string { return s.id }

// Progress is a number that grows while events of the kernel are read and judged, from one call
// to the next at least: see [loader.Kernel.Progress].
func (s *Sensor) Progress() uint64 { return s.kernel.Progress() }

// Stats implements api.Source.
func (s *Sensor) Stats() (v1.Stats, error) {
	var made flows.AssemblerStats
	var counted counts
	kernel, err := s.kernel.Stats(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		made, counted = s.assembler.Stats(), s.counts
	})
	if err != nil {
		return v1.Stats{}, err
	}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return v1.Stats{}, fmt.Errorf("resource usage: %w", err)
	}
	sinks := s.notify.Stats() // without the lock: it may wait for a disk
	s.mu.Lock()
	defer s.mu.Unlock()
	kernel.Packets.WithDevice, kernel.Packets.NoDevice = made.WithDevice+counted.withDevice, made.NoDevice+counted.noDevice
	stats := v1.Stats{
		Sensor:            s.id,
		UptimeS:           time.Since(s.started).Seconds(),
		Interfaces:        kernel.Interfaces,
		Packets:           kernel.Packets,
		Protocols:         counted.protocols,
		Samples:           kernel.Samples,
		Flows:             kernel.Flows,
		Records:           made.Records,
		IncompleteRecords: made.Incomplete,
		Inferences:        s.classifier.Inferences(),
		DroppedVerdicts:   s.verdicts.Dropped(),
		EvictedDevices:    s.classifier.Registry().Evicted(),
		Explanations:      s.explanations(),
		Registry:          s.kept.stats(),
		Recording:         s.recorder.Stats(),
		Sinks:             sinks,
		Export:            s.export.Stats(),
		Ring:              kernel.Ring,
		MapsBytes:         kernel.MapsBytes,
		Goroutines:        uint64(runtime.NumGoroutine()),
		UserCPUS:          time.Duration(usage.Utime.Nano()).Seconds(),
	}
	if s.facts != nil {
		stats.Facts = s.facts.Stats()
	}
	if s.cfg.Model != nil {
		name := s.cfg.ModelName.Text // another model may come
		stats.Model = &name
	}
	if k := kernel.Kernel; k != nil {
		ns := uint64(k.Time.Nanoseconds())
		stats.KernelNSTotal, stats.KernelRuns = &ns, &k.Runs
	}
	return stats, nil
}

// Flows implements api.Source: a line for each device end of each open flow, and
// one for a flow without any.
func (s *Sensor) Flows(most int) (list []v1.Flow, left int, err error) {
	open, left, err := s.kernel.OpenFlows(most)
	if err != nil {
		return nil, 0, err
	}
	s.mu.Lock()
	locals := s.locals // is replaced, never changed: records are made meanwhile
	s.mu.Unlock()
	list = make([]v1.Flow, 0, len(open))
	for i := range open {
		lines := s.flowsOf(&open[i], locals)
		if len(list)+len(lines) > most {
			return list, left + len(open) - i, nil
		}
		list = append(list, lines...)
	}
	return list, left, nil
}

func (s *Sensor) flowsOf(f *flows.Close, locals *flows.Locals) []v1.Flow {
	var list []v1.Flow
	for _, end := range locals.Devices(f.Life.Key, s.cfg.Loader.Direction) {
		line := s.flow(f, &end.Name, end.End, end.Remote)
		line.BytesSent = sentBytes(f, end)
		list = append(list, line)
	}
	if list == nil {
		list = []v1.Flow{s.flow(f, nil, f.Life.Key.A, f.Life.Key.B)}
	}
	return list
}

func (s *Sensor) flow(f *flows.Close, name *string, device, remote flows.End) v1.Flow {
	line := v1.Flow{
		Device: name, Remote: remote.Addr.String(), Proto: f.Life.Key.Proto,
		DevPort: flows.Missing, RemPort: flows.Missing,
		FirstSeen: v1.UnixMicro(s.kernel.Epoch(f.First)),
		Packets:   f.Packets[0] + f.Packets[1], Bytes: f.Bytes[0] + f.Bytes[1], Interface: f.Interface.Name,
	}
	if f.Life.Key.HasPorts {
		line.DevPort, line.RemPort = int32(device.Port), int32(remote.Port)
	}
	return line
}
