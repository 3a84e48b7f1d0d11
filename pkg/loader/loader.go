package loader

// This file loads the programs and holds the kernel half together.

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/loader/clock"
	"github.com/iotsense/iotsense/pkg/loader/keep"
	"github.com/iotsense/iotsense/pkg/loader/network"
	"github.com/iotsense/iotsense/pkg/loader/object"
	"github.com/iotsense/iotsense/pkg/loader/probe"
	"github.com/iotsense/iotsense/pkg/loader/ring"
	"github.com/iotsense/iotsense/pkg/loader/watch"
)

// Kernel is the loaded kernel half. It watches the network namespace of the thread
// that called Open.
type Kernel struct {
	cfg       Config
	log       *slog.Logger
	programs  map[string]*ebpf.Program
	maps      map[string]*ebpf.Map
	variables map[string]*ebpf.Variable
	ring      *ring.Reader
	grace     *gracePeriod
	network   *network.Network
	watcher   *watch.Watcher
	pins      *pins
	ledger    *keep.Ledger // nil: nothing is kept
	handover  *keep.Handover
	kept      *keep.Kept   // what was taken over; nil: nothing
	closers   []io.Closer  // beside programs, maps and network
	bootTime  atomic.Int64 // us from CLOCK_BOOTTIME to the Unix epoch
	toldTime  int64        // the same, as ClockSet has been told
	clockSet  atomic.Bool  // the clock has been set since it was last read
	steps     atomic.Uint64

	mu          sync.Mutex // guards what follows, the ring but for waiting, and the sweep
	freed       bool
	host        Host
	builtIn     bool           // the private ranges are known to the programs as they are
	unfit       []netip.Prefix // local ranges that were to come last, and could not
	sink        flows.Sink     // nil while Run is not running
	pending     []flows.Close  // ended by rollover, see sweepSome
	ended       []flows.Close  // all samples of them are delivered, see closeSome
	sweeping    bool           // a sweep is due or has more to do
	unswept     uint64         // no open life is known to be older than this, us of CLOCK_BOOTTIME; 0: any may be
	undeleted   uint32         // ended lives that the kernel has not deleted, of the last ones listed
	stuck       int            // rounds of sweepSome since one that deleted something
	looked      time.Time      // when it was last seen whether the programs are on the interfaces
	lookedAll   time.Time      // when the interfaces were last looked at
	inClosed    uint64         // packets of closes that the sink has got
	closed      uint64         // such closes
	ends        ends           // of lives that the kernel has told of, closed or not
	given       []byte         // what the sink of the sensor before has handed over
	left        bool           // the programs stay on, see leave
	sample      flows.Sample   // the last one: a new one each time would be garbage
	refusals    refusals       // reported so far
	mostWaiting int            // bytes in the ring when it was read
	suspended   int64          // ns, when the programs were last told
	told        time.Time      // the programs what time it is
}

// Open loads the kernel half and attaches it to every interface of cfg that is
// there; Run attaches to the others when they come. Whatever fails, nothing is left
// attached but what is kept. The caller must Close what it gets.
func Open(cfg Config) (*Kernel, error) {
	k, err := load(cfg)
	if err != nil {
		return nil, err
	}
	if err := k.watcher.Open(); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	k.commitKept()
	return k, nil
}

// load does everything but attach. Without packet programs named it loads those needed.
func load(cfg Config, programs ...string) (*Kernel, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(CheckPrivileges(cfg), clock.CheckNamespace("/proc/self/timens_offsets")); err != nil {
		return nil, err
	}
	k := &Kernel{cfg: cfg, log: cfg.Log, suspended: clock.Suspended()}
	k.readClock()
	if k.network, err = network.Open(); err != nil {
		return nil, err
	}
	k.pins = openPins(cfg.Pin, k.log)
	if err := k.openKept(programs); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	attacher := attach.Attacher{Programs: k.programs, Hook: cfg.Hook, Promisc: *cfg.Promisc, Kept: k.kept != nil, Log: cfg.Log}
	if k.ledger != nil {
		attacher.Pin = func(name string) string { return keep.Links(cfg.Pin, name) }
	}
	k.watcher = watch.New(k.network, attacher, cfg.Interfaces, k.freeDirections)
	if k.ring, err = ring.Open(k.maps[gen.IotsenseMapEvents]); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	k.closers = append(k.closers, k.ring)
	if k.grace, err = newGracePeriod(); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	k.closers = append(k.closers, k.grace)
	if k.kept == nil {
		if err := object.ListNoMAC(k.maps[gen.IotsenseMapMacs]); err != nil {
			return nil, errors.Join(err, k.Close())
		}
	}
	if err := errors.Join(k.takeOver(), k.openHost()); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	if err := k.askKernel(); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	if cfg.KernelStats {
		stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("kernel run-time statistics (they need CAP_SYS_ADMIN): %w", err), k.Close())
		}
		k.closers = append(k.closers, stats)
	}
	if err := k.listen(); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	if k.ledger == nil {
		k.pins.pinAll(k.programs, k.maps, k.log)
	}
	return k, nil
}

// listen has Run look at once at what the kernel tells of: changes of interfaces, and a clock
// that is set.
func (k *Kernel) listen() error {
	setting, err := clock.NewSetting()
	if err != nil {
		return err
	}
	k.closers = append(k.closers, setting)
	go func() {
		for setting.Wait() {
			k.clockSet.Store(true)
			k.ring.Wake()
		}
	}()
	k.network.Listen(k.ring.Wake)
	return nil
}

// loadPrograms loads what the configured interfaces need and no more, with the maps of o.
func (k *Kernel) loadPrograms(o object.Config, wanted []string) error {
	if len(wanted) == 0 {
		wanted = k.neededPrograms()
	}
	wanted = append(wanted, gen.IotsenseProgIotsenseSweep, gen.IotsenseProgIotsenseCollect)
	spec, err := gen.LoadIotsense()
	if err != nil {
		return fmt.Errorf("read the compiled programs: %w", err)
	}
	coll, err := o.Load(spec, wanted...)
	if err != nil {
		return probe.ExplainLoad(spec, err)
	}
	k.programs, k.maps, k.variables = coll.Programs, coll.Maps, coll.Variables
	return nil
}

// askKernel has the library find out what the kernel can, which it does once, on need and
// with programs of its own: a sensor that runs may be barred from loading any.
func (k *Kernel) askKernel() error {
	if _, err := k.mark(0, 0); err != nil {
		return err
	}
	program := k.programs[gen.IotsenseProgIotsenseSweep]
	if _, err := program.Info(); err != nil {
		return fmt.Errorf("ask about a program: %w", err)
	}
	if err := probe.TCX(); err != nil && !errors.Is(err, ebpf.ErrNotSupported) {
		return fmt.Errorf("ask for TCX: %w", err)
	}
	return nil
}

// neededPrograms are the packet programs for the hook and the interfaces' link
// types. One that is not there yet can be of either.
func (k *Kernel) neededPrograms() []string {
	if k.cfg.Hook.IsXDP() {
		return []string{gen.IotsenseProgIotsenseXdp}
	}
	list := []string{gen.IotsenseProgIotsenseIn, gen.IotsenseProgIotsenseOut}
	for _, name := range k.cfg.Interfaces {
		link, err := k.network.LinkByName(name)
		if err != nil || !attach.HasEthernetHeader(link) {
			return append(list, gen.IotsenseProgIotsenseInIp, gen.IotsenseProgIotsenseOutIp)
		}
	}
	return list
}

// Close detaches, unless Run has left the programs to the next sensor, or has not begun to take
// over from the one before, and frees everything.
// Lives still open are lost else: Run closes them. It may be called more than once.
func (k *Kernel) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.freed {
		return nil
	}
	k.freed = true
	var err error
	switch {
	case k.kept != nil: // a start that has failed
		err = k.handBack()
	case k.left:
		err = k.watcher.Leave()
		k.pins.unlock()
	case k.watcher != nil:
		err = k.watcher.Detach()
	}
	k.pins.remove(k.log)
	err = errors.Join(err, k.ledger.Close(), k.handover.Close())
	for _, c := range k.closers {
		err = errors.Join(err, c.Close())
	}
	for _, p := range k.programs {
		err = errors.Join(err, p.Close())
	}
	for _, m := range k.maps {
		err = errors.Join(err, m.Close())
	}
	if k.network != nil {
		k.network.Close()
	}
	return err
}
