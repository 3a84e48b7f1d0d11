package loader

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/loader/keep"
	"github.com/iotsense/iotsense/pkg/loader/object"
	"github.com/iotsense/iotsense/pkg/replay"
)

// keeping is a sink that keeps how many samples it has got.
type keeping struct {
	events
	before, ended uint64
	saved         string
}

func (k *keeping) Counts() []uint64      { return []uint64{k.before + uint64(len(k.samples))} }
func (k *keeping) Save() ([]byte, error) { return []byte("saved"), nil }
func (k *keeping) Restore(counts []uint64, saved []byte, ended uint64) error {
	k.before, k.saved, k.ended = counts[0], string(saved), ended
	return nil
}

// stays runs a sensor that keeps, until what it returns is called.
func stays(t *testing.T, s *Kernel, sink *keeping) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, sink) }()
	return func() {
		t.Helper()
		cancel()
		if err := errors.Join(<-done, s.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// killed frees what a killed process has of a sensor that no Run is at work on.
func killed(t *testing.T, s *Kernel) {
	t.Helper()
	s.mu.Lock()
	s.sink, s.left = nil, true
	s.mu.Unlock()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// attached are the programs on the sensor's interface.
func attached(t *testing.T, n *replay.Network, hook attach.Hook) (ids []int) {
	t.Helper()
	err := n.Do(func() error {
		l, err := netlink.LinkByName(replay.Interface)
		if err != nil {
			return err
		}
		kind := map[attach.Hook]link.Type{attach.HookTCX: link.TCXType, attach.HookXDP: link.XDPType}[hook]
		if hook != attach.HookTC {
			programs, err := programsOn(l, kind)
			for _, id := range programs {
				ids = append(ids, int(id))
			}
			return err
		}
		for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
			list, err := netlink.FilterList(l, parent)
			if err != nil {
				return err
			}
			for _, f := range list {
				ids = append(ids, f.(*netlink.BpfFilter).Id)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// A sensor that is killed while the programs are about to wake it leaves that to the next.
func TestKeptWaking(t *testing.T) {
	needHook(t, attach.HookTCX)
	b := newBox(t, "kept-waking")
	cfg := Config{Hook: attach.HookTCX, Pin: testenv.PinDirectory(t), Keep: func() bool { return true }}
	first := mustOpen(t, b.Network, cfg)
	b.send(replay.DeviceInterface, udpFrame(1, 100), 1)
	killed(t, first)
	cfg.Keep = func() bool { return false }
	next := mustOpen(t, b.Network, cfg)
	sink := &keeping{}
	if err := next.setSink(sink); err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(10 * time.Second)
	for _, poll := range []time.Duration{object.WakeAfter, time.Hour} { // at first it may have been woken already
		if err := errors.Join(next.ring.Wait(until, poll), next.read()); err != nil {
			t.Fatal(err)
		}
		b.send(replay.DeviceInterface, udpFrame(2, 100), 1)
	}
	if time.Now().After(until) || next.mostWaiting == 0 {
		t.Errorf("it was not woken, %d bytes waited", next.mostWaiting)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
}

// A sensor that ends leaves its programs on and what they count; the next one puts its own in
// their place and goes on, whether the one before has handed over or was killed.
func TestKept(t *testing.T) {
	for _, hook := range []attach.Hook{attach.HookTCX, attach.HookTC, attach.HookXDP} {
		t.Run(string(hook), func(t *testing.T) {
			needHook(t, hook)
			b := newBox(t, "kept-"+string(hook))
			cfg := Config{Hook: hook, Packets: 4, Pin: testenv.PinDirectory(t), Keep: func() bool { return true }, Log: slog.New(slog.NewTextHandler(testWriter{t}, nil))}
			send := func(n int) { b.send(replay.DeviceInterface, udpFrame(1, 100), n) }
			first := mustOpen(t, b.Network, cfg)
			sink := &keeping{}
			stop := stays(t, first, sink)
			send(2)
			b.until(first, "two packets", counted(2))
			stop()
			before := attached(t, b.Network, hook)
			send(1) // nobody is there
			second := mustOpen(t, b.Network, cfg)
			if now := attached(t, b.Network, hook); len(now) != len(before) || now[0] == before[0] {
				t.Errorf("programs %v, before %v: want others, as many", now, before)
			}
			sink = &keeping{}
			if err := second.setSink(sink); err != nil {
				t.Fatal(err)
			}
			stats := b.until(second, "three packets", counted(3))
			if stats.Packets.Seen != 3 || stats.Flows.Open != 1 || stats.Packets.InOpen != 3 {
				t.Errorf("%+v", stats)
			}
			if sink.saved != "saved" || sink.before != 2 {
				t.Errorf("the sink got %q and %d, want what was saved and 2", sink.saved, sink.before)
			}
			killed(t, second)
			send(1)
			cfg.Keep = func() bool { return false }
			third := mustOpen(t, b.Network, cfg)
			sink = &keeping{}
			stop = stays(t, third, sink)
			stats = b.until(third, "four packets", counted(4))
			if sink.saved != "" || stats.Samples.Sent != 4 || stats.Flows.Open != 1 || !identities(withDevices(stats)) {
				t.Errorf("after a kill %q, %+v", sink.saved, stats)
			}
			stop()
			if packets, _ := sink.total(); packets != 4 || len(sink.closes) != 1 {
				t.Errorf("%d packets in %d lives, want 4 in 1", packets, len(sink.closes))
			}
			if rest := left(t, b.Network); rest != "" {
				t.Errorf("at the end: %s", rest)
			}
			if _, err := os.Stat(cfg.Pin); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("pins are left: %v", err)
			}
		})
	}
}

// withDevices are the packets of stats with a sink's part in them.
func withDevices(s Stats) (p flows.PacketStats) {
	p = s.Packets
	p.WithDevice = p.InClosed
	return p
}

// What does not fit is refused by name, and the sensor begins anew.
func TestKeptIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Config, string) error
		says   string
	}{
		{"table", func(c *Config, _ string) error { c.MaxFlows *= 2; return nil }, "max-flows is 8192 now, and was 4096"},
		{"ring", func(c *Config, _ string) error { c.RingSize *= 2; return nil }, "ring-size is 2097152 now"},
		{"lifetime", func(c *Config, _ string) error { c.Lifetime = time.Second; return nil }, "flow-timeout is 1000000000 now"},
		{"hook", func(c *Config, _ string) error { c.Hook = attach.HookTC; return nil }, "hook is tc now, and was auto"},
		{"interfaces", func(c *Config, _ string) error { c.Interfaces = append(c.Interfaces, "iots-x0"); return nil }, "interfaces are [sensor0 iots-x0] now, and were [sensor0]"},
		{"a map is gone", func(_ *Config, pin string) error { return os.Remove(filepath.Join(pin, gen.IotsenseMapMacs)) }, "the map macs is missing"},
		{"another's map", func(_ *Config, pin string) error {
			return anotherMap(filepath.Join(pin, "kept"), &ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 1})
		}, "read what was counted"},
		{"what was handed over is damaged", func(_ *Config, pin string) error {
			return anotherMap(filepath.Join(pin, "handover"), &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4096, MaxEntries: 1})
		}, "no map of this schema"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t, "refused")
			log := &logged{}
			cfg := Config{
				Interfaces: []string{replay.Interface}, Hook: attach.HookAuto, MaxFlows: 4096, RingSize: 1 << 20, Pin: testenv.PinDirectory(t),
				Keep: func() bool { return true }, Log: slog.New(slog.NewTextHandler(log, nil)),
			}
			s := mustOpen(t, b.Network, cfg)
			stop := stays(t, s, &keeping{})
			b.send(replay.DeviceInterface, udpFrame(1, 100), 1)
			b.until(s, "a packet", counted(1))
			stop()
			if err := tt.change(&cfg, cfg.Pin); err != nil {
				t.Fatal(err)
			}
			cfg.Keep = func() bool { return false }
			if err := b.Do(func() (err error) { s, err = Open(cfg); return err }); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			stop = stays(t, s, &keeping{})
			b.send(replay.DeviceInterface, udpFrame(1, 100), 1)
			b.until(s, "a packet of its own", counted(1))
			if log.lines("nothing is taken over") != 1 || log.lines(tt.says) != 1 {
				t.Errorf("the log has no line with %q", tt.says)
			}
			if n := len(attached(t, b.Network, attach.HookTCX)); tt.name != "hook" && n != 2 && hasTCX(t) {
				t.Errorf("%d programs on the interface", n)
			}
			stop()
			if rest := left(t, b.Network); rest != "" {
				t.Errorf("at the end: %s", rest)
			}
		})
	}
}

// anotherMap pins a map in the place of what is kept.
func anotherMap(path string, spec *ebpf.MapSpec) error {
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return err
	}
	defer m.Close()
	return errors.Join(os.Remove(path), m.Pin(path))
}

// Lives that a killed sensor had taken out of the table and not yet told of are told by the
// next one.
func TestKeptLivesThatWereBeingCollected(t *testing.T) {
	b := newBox(t, "collected")
	cfg := Config{Packets: 1, Pin: testenv.PinDirectory(t), Keep: func() bool { return true }}
	s := mustOpen(t, b.Network, cfg)
	for n := range 3 {
		b.send(replay.DeviceInterface, udpFrame(n, 100), 2)
	}
	b.until(s, "all packets", counted(6))
	s.mu.Lock()
	args, err := s.mark(1<<62, 2)
	if err == nil {
		s.ledger.Set(atCollecting, uint64(args.Marked))
		collect := gen.IotsenseCollectArgs{Marked: args.Marked}
		_, err = s.programs[gen.IotsenseProgIotsenseCollect].Run(&ebpf.RunOptions{Context: &collect, ContextOut: &collect})
	}
	s.mu.Unlock()
	if err != nil || args.Marked != 2 {
		t.Fatal(err, args.Marked)
	}
	killed(t, s)
	cfg.Keep = func() bool { return false }
	s = mustOpen(t, b.Network, cfg)
	sink := &keeping{}
	stop := stays(t, s, sink)
	b.until(s, "two ended lives", func(stats Stats) bool { return stats.Flows.Closed == 2 && stats.Packets.InOpen == 2 })
	stop()
	if packets, _ := sink.total(); packets != 6 || len(sink.closes) != 3 {
		t.Errorf("%d packets in %d lives, want 6 in 3", packets, len(sink.closes))
	}
}

// What is kept outlasts starts that come to nothing: of a sensor that is killed before its pins
// are in their place, of one that is killed before its programs are on, and of one that fails.
func TestKeptThroughStartsThatFail(t *testing.T) {
	for _, hook := range []attach.Hook{attach.HookTCX, attach.HookTC, attach.HookXDP} {
		t.Run(string(hook), func(t *testing.T) {
			needHook(t, hook)
			b := newBox(t, "half-"+string(hook))
			cfg := Config{
				Interfaces: []string{replay.Interface}, Hook: hook, Packets: 4, MaxFlows: 4096, RingSize: 1 << 20, Pin: testenv.PinDirectory(t),
				Keep: func() bool { return true }, Log: slog.New(slog.NewTextHandler(testWriter{t}, nil)),
			}
			sent := 0
			send := func() { // the first packet of a flow takes a tail call
				sent++
				b.send(replay.DeviceInterface, udpFrame(sent, 100), 1)
			}
			starts := func(attaches bool) *Kernel {
				var s *Kernel
				err := b.Do(func() (err error) {
					if s, err = load(cfg); err == nil && attaches {
						err = s.watcher.Open()
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			s := mustOpen(t, b.Network, cfg)
			stop := stays(t, s, &keeping{})
			send()
			b.until(s, "a packet", counted(1))
			stop()
			s = starts(true)
			send()
			s.kept = nil
			killed(t, s)
			send()
			s = starts(false)
			send()
			s.kept = nil
			killed(t, s)
			send()
			s = mustOpen(t, b.Network, cfg)
			send()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			send()
			cfg.Keep = func() bool { return false }
			s = mustOpen(t, b.Network, cfg)
			sink := &keeping{}
			stop = stays(t, s, sink)
			send()
			b.until(s, "all packets", counted(uint64(sent)))
			if sink.saved != "saved" {
				t.Errorf("the sink got %q, want what was saved", sink.saved)
			}
			stop()
			if packets, _ := sink.total(); packets != uint64(sent) {
				t.Errorf("%d packets in lives, want %d", packets, sent)
			}
			if _, err := os.Stat(cfg.Pin); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("pins are left: %v", err)
			}
		})
	}
}

// Where the pins have been removed nothing can be left to another sensor: open flows are closed.
func TestKeptWithoutPins(t *testing.T) {
	b := newBox(t, "unpinned")
	log := &logged{}
	cfg := Config{Pin: testenv.PinDirectory(t), Keep: func() bool { return true }, Log: slog.New(slog.NewTextHandler(log, nil))}
	s := mustOpen(t, b.Network, cfg)
	sink := &keeping{}
	stop := stays(t, s, sink)
	b.send(replay.DeviceInterface, udpFrame(1, 100), 1)
	b.until(s, "a packet", counted(1))
	if err := keep.Clear(cfg.Pin); err != nil {
		t.Fatal(err)
	}
	stop()
	if packets, _ := sink.total(); packets != 1 || log.lines("somebody has removed the pins") != 1 {
		t.Errorf("%d packets in closed flows; the log has %d lines of the pins", packets, log.lines("somebody has removed the pins"))
	}
}

// Without --keep what was kept is taken off.
func TestKeptNoLonger(t *testing.T) {
	b := newBox(t, "no-longer")
	cfg := Config{Pin: testenv.PinDirectory(t), Keep: func() bool { return true }}
	s := mustOpen(t, b.Network, cfg)
	stays(t, s, &keeping{})()
	if files, err := filepath.Glob(keep.Links(cfg.Pin, "*")); err != nil || len(files) == 0 && hasTCX(t) {
		t.Errorf("links %v, %v", files, err)
	}
	cfg.Keep = nil
	s = mustOpen(t, b.Network, cfg)
	if n := len(attached(t, b.Network, attach.HookTCX)); n != 2 && hasTCX(t) {
		t.Errorf("%d programs", n)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if rest := left(t, b.Network); strings.TrimSpace(rest) != "" {
		t.Errorf("at the end: %s", rest)
	}
}
