package loader

// This file holds what a sensor can be told.

import (
	"cmp"
	"fmt"
	"log/slog"
	"math/bits"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/loader/object"
	"github.com/iotsense/iotsense/pkg/loader/probe"
)

const (
	lookEvery  = time.Second      // at our filters: of what others do to these the kernel does not tell
	lookLinks  = 10 * time.Second // at our links: to take one off takes somebody who means it (BPF_LINK_DETACH)
	lookAll    = time.Minute      // at the interfaces too, of whose changes the kernel tells
	tellEvery  = 5 * time.Second  // the programs what time it is, where something else is due
	sweepEvery = time.Second      // divided as the lifetime is
	minSweep   = 10 * time.Millisecond
)

// MaxRingSize is the greatest ring, in bytes.
const MaxRingSize = 1 << 30

// Config says what to watch and what a life is. Zero values stand for the
// defaults: attach.HookAuto, Bi, the paper's lifetime and packets.
type Config struct {
	Interfaces []string
	Hook       attach.Hook
	Direction  flows.Direction
	Packets    int            // samples of one life, at most object.MaxPackets; -1: none
	Prefix     int            // payload bytes of one sample, at most object.MaxPrefix; 0: none
	Lifetime   time.Duration  // of a life, from its first packet
	MaxFlows   int            // lives open at once
	RingSize   int            // bytes; rounded up to a power of two, at least 64 KiB
	Local      []netip.Prefix // local ranges, as in flows.NewLocals; nil: flows.DefaultLocal
	// LocalInterfaces makes the networks of the interfaces local too, as they are
	// now and as they change.
	LocalInterfaces bool
	// HostChanged is called from Run's goroutine, or SetLocal's, when the addresses of the
	// interfaces have changed; it must not call back but for Epoch. May be nil.
	HostChanged func(Host)
	// ClockSet is called from Run's goroutine, and as HostChanged, when the wall clock has been
	// set by a second or more: Epoch gives other times from then on. May be nil.
	ClockSet func(by time.Duration)
	Pin      string // bpffs directory for maps and programs; empty: no pins
	// Keep has the programs, what they have counted and what they are at outlast the process,
	// below Pin, for the next sensor that is to do the same; however the process ends. Where it
	// ends in order, Keep says whether it is to be so. Open takes over what fits. nil: nothing
	// is kept, and nothing taken over.
	Keep func() bool
	// Promisc turns promiscuous mode on; nil: with the XDP hooks only.
	Promisc     *bool
	KernelStats bool // time spent in the programs; needs CAP_SYS_ADMIN
	Log         *slog.Logger

	secret *object.Secret // of tests
}

// Check says what of c cannot be, before anything is loaded.
func (c Config) Check() error {
	_, err := c.withDefaults()
	return err
}

func (c Config) withDefaults() (Config, error) {
	if len(c.Interfaces) == 0 {
		return c, fmt.Errorf("no interface given: name at least one with -i")
	}
	for i, name := range c.Interfaces {
		if slices.Contains(c.Interfaces[:i], name) {
			return c, fmt.Errorf("interface %s is named twice: give it once", name)
		}
	}
	c.Hook = cmp.Or(c.Hook, attach.HookAuto)
	if _, err := attach.ParseHook(string(c.Hook)); err != nil {
		return c, err
	}
	c.Packets = cmp.Or(c.Packets, flows.RowPackets)
	c.MaxFlows = cmp.Or(c.MaxFlows, object.DefaultMaxFlows)
	c.RingSize = cmp.Or(c.RingSize, object.DefaultRingSize)
	c.Lifetime = cmp.Or(c.Lifetime, flows.Lifetime)
	if c.Local == nil {
		c.Local = flows.DefaultLocal()
	}
	promisc := c.UsesPromisc()
	c.Promisc = &promisc
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	for _, check := range []struct {
		name             string
		value, low, high int
	}{
		{"packets", c.Packets, -1, object.MaxPackets},
		{"prefix", c.Prefix, 0, object.MaxPrefix},
		{"max-flows", c.MaxFlows, 1, 1 << 24},
		{"ring-size", c.RingSize, 1, MaxRingSize},
	} {
		if check.value < check.low || check.value > check.high {
			return c, fmt.Errorf("%s %d: want %d to %d", check.name, check.value, check.low, check.high)
		}
	}
	if c.Lifetime < time.Millisecond {
		return c, fmt.Errorf("lifetime %v: want at least 1ms", c.Lifetime)
	}
	c.RingSize = ringSize(c.RingSize)
	return c, nil
}

// ringSize rounds up to what the kernel takes: a power of two, whole pages.
func ringSize(n int) int {
	n = max(n, object.MinRingSize, os.Getpagesize())
	return 1 << bits.Len(uint(n-1))
}

// object is the part of c that the programs and maps are made from.
func (c Config) object() object.Config {
	return object.Config{
		Direction: c.Direction, Packets: max(0, c.Packets), Prefix: c.Prefix, Lifetime: c.Lifetime,
		MaxFlows: c.MaxFlows, RingSize: c.RingSize, Local: c.Local, Secret: c.secret,
	}
}

func covered(p netip.Prefix, by []netip.Prefix) bool {
	return slices.ContainsFunc(by, func(b netip.Prefix) bool {
		return b.Bits() <= p.Bits() && b.Contains(p.Addr())
	})
}

func (c Config) sweepEvery() time.Duration {
	return min(sweepEvery, max(minSweep, c.Lifetime/(flows.Lifetime/sweepEvery)))
}

// UsesPromisc reports whether interfaces are put into promiscuous mode.
func (c Config) UsesPromisc() bool {
	if c.Promisc == nil {
		return c.Hook.IsXDP()
	}
	return *c.Promisc
}

// CheckPrivileges is Open's error where a capability that c needs is missing, for
// whoever has something to make before.
func CheckPrivileges(c Config) error { return probe.CheckPrivileges(c.UsesPromisc()) }
