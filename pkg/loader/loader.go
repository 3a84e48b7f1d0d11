// Package loader joins the kernel half (bpf/) to Go: it loads the programs,
// keeps them on interfaces, reads their events, ends lives that are past their
// time, and reads the counters. Below it are the compiled programs (object), what
// puts them on one interface (attach) and keeps them there (watch) in one network
// namespace (network), the clocks (clock), what the kernel can do (probe) and what a
// packet costs (measure).
//
// In go interface names and what a record needs ([Config]); out come the events
// of flows' lives, to a [flows.Sink], and counters ([Stats]). The package makes
// no record, knows no device and no model, and never changes or drops a packet.
//
// A life that the sweep ends is marked in the kernel, left alone until every
// program that may not have seen the mark is done, and only then read and
// deleted; see bpf/flow.h for what packets do meanwhile.
package loader

// This file loads the programs, holds the kernel half together and pins maps and programs
// for bpftool.

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/loader/clock"
	"github.com/iotsense/iotsense/pkg/loader/network"
	"github.com/iotsense/iotsense/pkg/loader/object"
	"github.com/iotsense/iotsense/pkg/loader/probe"
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
	ring      *ringbuf.Reader
	grace     *gracePeriod
	network   *network.Network
	watcher   *watch.Watcher
	pins      *pins
	stats     *kernelStats // nil unless asked for
	bootTime  atomic.Int64 // us from CLOCK_BOOTTIME to the Unix epoch

	gate      sync.Mutex // held by who waits for mu, see lock
	mu        sync.Mutex // guards what follows, the ring and the sweep
	freed     bool
	host      Host
	unfit     []netip.Prefix // local ranges that were to come last, and could not
	sink      flows.Sink     // nil while Run is not running
	record    ringbuf.Record
	pending   []flows.Close // ended by rollover, see sweepSome
	ended     []flows.Close // all samples of them are delivered, see closeSome
	sweeping  bool          // a sweep is due or has more to do
	undeleted uint32        // ended lives that the kernel has not deleted, of the last ones listed
	stuck     int           // rounds of sweepSome since one that deleted something
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
	k, err := load(cfg)
	if err != nil {
		return nil, err
	}
	if err := k.watcher.Open(); err != nil {
		return nil, errors.Join(err, k.Close())
	}
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
	if err := k.loadPrograms(programs...); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	k.watcher = watch.New(k.network, attach.Attacher{
		Programs: k.programs, Hook: cfg.Hook, Promisc: *cfg.Promisc, Log: cfg.Log,
	}, cfg.Interfaces, k.freeDirections)
	if k.ring, err = ringbuf.NewReader(k.maps[eventsMap]); err != nil {
		return nil, errors.Join(fmt.Errorf("open the ring buffer: %w", err), k.Close())
	}
	if k.grace, err = newGracePeriod(); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	if err := object.ListNoMAC(k.maps[macsMap]); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	if err := k.openHost(); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	if cfg.KernelStats {
		if k.stats, err = enableKernelStats(); err != nil {
			return nil, errors.Join(err, k.Close())
		}
	}
	k.network.Listen(func() { k.ring.Flush() }) // Run looks at once
	k.pins = pinAll(cfg.Pin, k.programs, k.maps, k.log)
	return k, nil
}

// Names in bpf/.
const (
	inProgram    = gen.IotsenseProgIotsenseIn
	outProgram   = gen.IotsenseProgIotsenseOut
	inIPProgram  = gen.IotsenseProgIotsenseInIp
	outIPProgram = gen.IotsenseProgIotsenseOutIp
	xdpProgram   = gen.IotsenseProgIotsenseXdp

	sweepProgram   = gen.IotsenseProgIotsenseSweep
	collectProgram = gen.IotsenseProgIotsenseCollect

	flowsMap    = gen.IotsenseMapFlows
	eventsMap   = gen.IotsenseMapEvents
	countersMap = gen.IotsenseMapPacketCounters
	markedMap   = gen.IotsenseMapMarked
	macsMap     = gen.IotsenseMapMacs
	prefixesMap = gen.IotsenseMapLocalPrefixes
)

// loadPrograms loads what the configured interfaces need and no more.
func (k *Kernel) loadPrograms(wanted ...string) error {
	if len(wanted) == 0 {
		wanted = k.neededPrograms()
	}
	wanted = append(wanted, sweepProgram, collectProgram)
	spec, err := gen.LoadIotsense()
	if err != nil {
		return fmt.Errorf("read the compiled programs: %w", err)
	}
	coll, err := k.cfg.object().Load(spec, wanted...)
	if err != nil {
		return probe.ExplainLoad(spec, err)
	}
	k.programs, k.maps, k.variables = coll.Programs, coll.Maps, coll.Variables
	return nil
}

// neededPrograms are the packet programs for the hook and the interfaces' link
// types. One that is not there yet can be of either.
func (k *Kernel) neededPrograms() []string {
	if k.cfg.Hook.IsXDP() {
		return []string{xdpProgram}
	}
	list := []string{inProgram, outProgram}
	for _, name := range k.cfg.Interfaces {
		link, err := k.network.LinkByName(name)
		if err != nil || !attach.HasEthernetHeader(link) {
			return append(list, inIPProgram, outIPProgram)
		}
	}
	return list
}

// Close detaches and frees everything. Lives still open are lost: Run closes
// them. It may be called more than once.
func (k *Kernel) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.freed {
		return nil
	}
	k.freed = true
	var err error
	if k.watcher != nil {
		err = k.watcher.Detach()
	}
	k.pins.remove()
	if k.ring != nil {
		err = errors.Join(err, k.ring.Close())
	}
	if k.grace != nil {
		err = errors.Join(err, k.grace.Close())
	}
	if k.stats != nil {
		err = errors.Join(err, k.stats.Close())
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

// pins are the files of one sensor in a bpffs directory. They are for looking
// only: no sensor takes anything over from them.
type pins struct {
	dir   *os.File // locked while the sensor lives
	files []string
}

// pinAll pins everything below dir, where a killed sensor may have left pins. Pins
// are a convenience: without them the sensor works as well, so whatever fails is
// a warning.
func pinAll(dir string, programs map[string]*ebpf.Program, maps map[string]*ebpf.Map, log *slog.Logger) *pins {
	if dir == "" {
		return nil
	}
	p, err := lockPins(dir)
	if err != nil {
		log.Warn("no pins for bpftool", "directory", dir, "error", err)
		return nil
	}
	names, err := object.Names()
	if err != nil {
		log.Warn("pins of a sensor that was killed may be left", "directory", dir, "error", err)
	}
	for _, name := range names {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			log.Warn("a pin of another sensor is left", "directory", dir, "error", err)
		}
	}
	pin := func(name string, object interface{ Pin(string) error }) {
		path := filepath.Join(dir, name)
		if err := object.Pin(path); err != nil {
			log.Warn("no pin for bpftool", "path", path, "error", err)
			return
		}
		p.files = append(p.files, path)
	}
	for name, program := range programs {
		pin(name, program)
	}
	for name, m := range maps {
		if slices.Contains(names, name) { // not the programs' own data
			pin(name, m)
		}
	}
	return p
}

var (
	errNoBPFFS   = errors.New("not on a bpf file system: mount -t bpf bpf /sys/fs/bpf")
	errPinsTaken = errors.New("another sensor has its pins there: choose another --pin")
)

// lockPins makes the directory and locks it; the lock goes with the process.
func lockPins(dir string) (*pins, error) {
	var where unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(dir), &where); err != nil {
		return nil, err
	}
	if where.Type != unix.BPF_FS_MAGIC {
		return nil, errNoBPFFS
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = errPinsTaken
		}
		return nil, err
	}
	return &pins{dir: f}, nil
}

// remove deletes the pins and, when nothing else is in it, the directory.
func (p *pins) remove() {
	if p == nil || p.dir == nil {
		return
	}
	for _, path := range p.files {
		os.Remove(path)
	}
	os.Remove(p.dir.Name())
	p.dir.Close()
	p.dir = nil
}
