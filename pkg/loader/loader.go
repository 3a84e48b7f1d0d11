package loader

// This file loads the programs and holds the kernel half together.

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/pkg/flows"
)

// Kernel is the loaded kernel half. It watches the network namespace of the thread
// that called Open.
type Kernel struct {
	cfg       Config
	log       *slog.Logger
	programs  map[string]*ebpf.Program
	maps      map[string]*ebpf.Map
	variables map[string]*ebpf.Variable
	ring      *ringbuf.Reader
	grace     *gracePeriod
	network   *network
	pins      *pins
	stats     *kernelStats // nil unless asked for
	bootTime  atomic.Int64 // us from CLOCK_BOOTTIME to the Unix epoch

	gate      sync.Mutex // held by who waits for mu, see lock
	mu        sync.Mutex // guards what follows, the ring and the sweep
	freed     bool
	watches   []*watch
	host      Host
	sink      flows.Sink // nil while Run is not running
	record    ringbuf.Record
	pending   []flows.Close // ended by rollover, see sweepSome
	ended     []flows.Close // all samples of them are delivered, see closeSome
	sweeping  bool          // a sweep is due or has more to do
	looked    time.Time     // when the interfaces were last looked at
	inClosed  uint64        // packets of closes that the sink has got
	closed    uint64        // such closes
	refusals  refusals      // reported so far
	suspended int64         // ns, as the programs know it
}

// Open loads the kernel half and attaches it to every interface of cfg that is
// there; Run attaches to the others when they come. Whatever fails, nothing is left
// attached. The caller must Close what it gets.
func Open(cfg Config) (*Kernel, error) {
	s, err := load(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.openWatches(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// load does everything but attach. Without packet programs named it loads those needed.
func load(cfg Config, programs ...string) (*Kernel, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(CheckPrivileges(cfg), checkTimeNamespace("/proc/self/timens_offsets")); err != nil {
		return nil, err
	}
	s := &Kernel{cfg: cfg, log: cfg.Log, suspended: suspended()}
	s.readClock()
	if s.network, err = openNetwork(); err != nil {
		return nil, err
	}
	if err := s.loadPrograms(programs...); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if s.ring, err = ringbuf.NewReader(s.maps[eventsMap]); err != nil {
		return nil, errors.Join(fmt.Errorf("open the ring buffer: %w", err), s.Close())
	}
	if s.grace, err = newGracePeriod(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := listNoMAC(s.maps[macsMap]); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.openHost(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if cfg.KernelStats {
		if s.stats, err = enableKernelStats(); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	s.network.listen(func() { s.ring.Flush() }) // Run looks at once
	s.pins = pinAll(cfg.Pin, s.programs, s.maps, s.log)
	return s, nil
}

// Names in bpf/.
const (
	inProgram    = "iotsense_in"
	outProgram   = "iotsense_out"
	inIPProgram  = "iotsense_in_ip"
	outIPProgram = "iotsense_out_ip"
	xdpProgram   = "iotsense_xdp"

	sweepProgram   = "iotsense_sweep"
	collectProgram = "iotsense_collect"

	flowsMap    = "flows"
	eventsMap   = "events"
	countersMap = "packet_counters"
	markedMap   = "marked"
	macsMap     = "macs"
	prefixesMap = "local_prefixes"
	scratchMap  = "scratch"
)

// objectNames are the names of all programs and maps.
var objectNames = []string{
	inProgram, outProgram, inIPProgram, outIPProgram, xdpProgram, sweepProgram, collectProgram,
	flowsMap, eventsMap, countersMap, markedMap, macsMap, prefixesMap, scratchMap,
}

// loadPrograms loads what the configured interfaces need and no more: the
// verifier takes its time.
func (s *Kernel) loadPrograms(wanted ...string) error {
	if len(wanted) == 0 {
		wanted = s.neededPrograms()
	}
	wanted = append(wanted, sweepProgram, collectProgram)
	spec, err := gen.LoadIotsense()
	if err != nil {
		return fmt.Errorf("read the compiled programs: %w", err)
	}
	if err := configure(spec, s.cfg, s.suspended); err != nil {
		return err
	}
	for name := range spec.Programs {
		if !slices.Contains(wanted, name) {
			delete(spec.Programs, name)
		}
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		return explainLoad(spec, err)
	}
	s.programs, s.maps, s.variables = coll.Programs, coll.Maps, coll.Variables
	return nil
}

// configure sets what the programs know when they are loaded.
func configure(spec *ebpf.CollectionSpec, cfg Config, suspended int64) error {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("count CPUs: %w", err)
	}
	setMapSizes(spec, cfg.MaxFlows, cfg.RingSize)
	err = errors.Join(
		spec.Variables["cfg"].Set(cfg.kernel(cpus)),
		spec.Variables["suspended_ns"].Set(uint64(suspended)))
	if err != nil {
		return fmt.Errorf("configure the programs: %w", err)
	}
	return nil
}

// neededPrograms are the packet programs for the hook and the interfaces' link
// types. One that is not there yet can be of either.
func (s *Kernel) neededPrograms() []string {
	if s.cfg.Hook.isXDP() {
		return []string{xdpProgram}
	}
	list := []string{inProgram, outProgram}
	for _, name := range s.cfg.Interfaces {
		link, err := s.network.LinkByName(name)
		if err != nil || !hasEthernetHeader(link) {
			return append(list, inIPProgram, outIPProgram)
		}
	}
	return list
}

// Close detaches and frees everything. Lives still open are lost: Run closes
// them. It may be called more than once.
func (s *Kernel) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.freed {
		return nil
	}
	s.freed = true
	err := s.detachAll()
	s.pins.remove()
	if s.ring != nil {
		err = errors.Join(err, s.ring.Close())
	}
	if s.grace != nil {
		err = errors.Join(err, s.grace.Close())
	}
	if s.stats != nil {
		err = errors.Join(err, s.stats.Close())
	}
	for _, p := range s.programs {
		err = errors.Join(err, p.Close())
	}
	for _, m := range s.maps {
		err = errors.Join(err, m.Close())
	}
	if s.network != nil {
		s.network.Close()
	}
	return err
}
