package loader

// This file holds what a sensor can be told.

import (
	"fmt"
	"log/slog"
	"math/bits"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/pkg/flows"
)

// Hook is where in the kernel packets are seen.
type Hook string

const (
	HookAuto       Hook = "auto"        // TCX, or clsact where the kernel has no TCX
	HookTCX        Hook = "tcx"         // both directions, Linux 6.6
	HookTC         Hook = "tc"          // both directions, a filter on a clsact qdisc
	HookTCIngress  Hook = "tc-ingress"  // received packets only, on a clsact or an ingress qdisc; never chosen unasked
	HookXDP        Hook = "xdp"         // received packets only, in the driver
	HookXDPGeneric Hook = "xdp-generic" // received packets only, after the driver; never chosen unasked
)

// ParseHook reads a hook's name.
func ParseHook(s string) (Hook, error) {
	h := Hook(s)
	if !slices.Contains([]Hook{HookAuto, HookTCX, HookTC, HookTCIngress, HookXDP, HookXDPGeneric}, h) {
		return "", fmt.Errorf("hook %q: want auto, tcx, tc, tc-ingress, xdp or xdp-generic", s)
	}
	return h, nil
}

func (h Hook) isXDP() bool { return h == HookXDP || h == HookXDPGeneric }
func (h Hook) isTC() bool  { return h == HookTC || h == HookTCIngress }

// Defaults and limits of Config.
const (
	DefaultMaxFlows = 65536
	DefaultRingSize = 8 << 20
	MaxPackets      = int(gen.IotsenseLimitsMAX_SAMPLES)
	MaxPrefix       = int(gen.IotsenseLimitsMAX_PREFIX)

	minRingSize = 64 << 10 // a multiple of every page size
	pollEvery   = 250 * time.Millisecond
	sweepEvery  = time.Second // divided as the lifetime is
	minSweep    = 10 * time.Millisecond
)

// Config says what to watch and what a life is. Zero values stand for the
// defaults: HookAuto, Bi, the paper's lifetime and packets.
type Config struct {
	Interfaces []string
	Hook       Hook
	Direction  flows.Direction
	Packets    int            // samples of one life, at most MaxPackets
	Prefix     int            // payload bytes of one sample, at most MaxPrefix; 0: none
	Lifetime   time.Duration  // of a life, from its first packet
	MaxFlows   int            // lives open at once
	RingSize   int            // bytes; rounded up to a power of two, at least 64 KiB
	Local      []netip.Prefix // local ranges, as in flows.NewLocals; nil: flows.DefaultLocal
	// LocalInterfaces makes the networks of the interfaces local too, as they are
	// now and as they change.
	LocalInterfaces bool
	// HostChanged is called from Run's goroutine when the addresses of the
	// interfaces have changed; it must not call back but for Epoch. May be nil.
	HostChanged func(Host)
	Pin         string // bpffs directory for maps and programs; empty: no pins
	// Promisc turns promiscuous mode on; nil: with the XDP hooks only.
	Promisc     *bool
	KernelStats bool // time spent in the programs; needs CAP_SYS_ADMIN
	Log         *slog.Logger
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
	if c.Hook == "" {
		c.Hook = HookAuto
	}
	if _, err := ParseHook(string(c.Hook)); err != nil {
		return c, err
	}
	setDefault(&c.Packets, flows.RowPackets)
	setDefault(&c.MaxFlows, DefaultMaxFlows)
	setDefault(&c.RingSize, DefaultRingSize)
	if c.Lifetime == 0 {
		c.Lifetime = flows.Lifetime
	}
	if c.Local == nil {
		c.Local = flows.DefaultLocal()
	}
	if c.Promisc == nil {
		promisc := c.Hook.isXDP()
		c.Promisc = &promisc
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	for _, check := range []struct {
		name             string
		value, low, high int
	}{
		{"packets", c.Packets, 1, MaxPackets},
		{"prefix", c.Prefix, 0, MaxPrefix},
		{"max-flows", c.MaxFlows, 1, 1 << 24},
		{"ring-size", c.RingSize, 1, 1 << 30},
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

func setDefault(v *int, value int) {
	if *v == 0 {
		*v = value
	}
}

// ringSize rounds up to what the kernel takes: a power of two, whole pages.
func ringSize(n int) int {
	n = max(n, minRingSize, os.Getpagesize())
	return 1 << bits.Len(uint(n-1))
}

// kernel is the part of c that the programs read, on a machine with that many CPUs.
func (c Config) kernel(cpus int) gen.IotsenseConfig {
	k := gen.IotsenseConfig{
		LifetimeNs: uint64(c.Lifetime.Nanoseconds()),
		Samples:    uint32(c.Packets),
		Prefix:     uint32(c.Prefix),
		CoarseNs:   uint64(coarseLate.Nanoseconds()),
		// Often enough that a quarter of the ring is taken at most when all CPUs
		// are about to wake the reader, seldom enough that wakeups do not
		// dominate the cost.
		WakeBytes: uint32(max(4<<10, c.RingSize/4>>bits.Len(uint(cpus-1)))),
	}
	share := shareOf(c.MaxFlows)
	k.MacFlows, k.OpenFlows = share.macFlows, share.openFlows
	k.EarlyFlows, k.EarlyMacs = share.earlyFlows, share.earlyMACs
	if c.Direction == flows.Uni {
		k.Uni = 1
	}
	if c.privateLocal() {
		k.PrivateLocal = 1
	}
	return k
}

// privateLocal reports whether every default range is local: the programs then
// compare constants instead of looking the ranges up.
func (c Config) privateLocal() bool {
	for _, p := range flows.DefaultLocal() {
		if !slices.Contains(c.Local, p) {
			return false
		}
	}
	return true
}

// listedPrefixes are those of the local ranges that the programs have to look up.
func (c Config) listedPrefixes(local []netip.Prefix) []netip.Prefix {
	var list []netip.Prefix
	for _, p := range local {
		if !c.privateLocal() || !covered(p, flows.DefaultLocal()) {
			list = append(list, p.Masked())
		}
	}
	return list
}

func covered(p netip.Prefix, by []netip.Prefix) bool {
	return slices.ContainsFunc(by, func(b netip.Prefix) bool {
		return b.Bits() <= p.Bits() && b.Contains(p.Addr())
	})
}

func (c Config) sweepEvery() time.Duration {
	return min(sweepEvery, max(minSweep, c.Lifetime/(flows.Lifetime/sweepEvery)))
}
