// Package object is the kernel half as it was compiled: which programs and maps
// there are, what they are told when they are loaded, and what the maps will take.
// It attaches nothing.
package object

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/loader/clock"
)

// Defaults and limits of Config.
const (
	DefaultMaxFlows = 65536
	DefaultRingSize = 8 << 20
	MaxPackets      = int(gen.IotsenseLimitsMAX_SAMPLES)
	MaxPrefix       = int(gen.IotsenseLimitsMAX_PREFIX)
	MinRingSize     = 64 << 10 // a multiple of every page size
)

// Config is what the programs know when they are loaded, and how large the maps are.
type Config struct {
	Direction flows.Direction
	Packets   int           // samples of one life, at most MaxPackets
	Prefix    int           // payload bytes of one sample, at most MaxPrefix; 0: none
	Lifetime  time.Duration // of a life, from its first packet
	MaxFlows  int           // lives open at once
	RingSize  int           // bytes: a power of two, at least MinRingSize
	Local     []netip.Prefix
}

// Load loads the programs named of spec, with all its maps, and takes the others out
// of spec: the verifier takes its time.
func (c Config) Load(spec *ebpf.CollectionSpec, programs ...string) (*ebpf.Collection, error) {
	for name := range spec.Programs {
		if !slices.Contains(programs, name) {
			delete(spec.Programs, name)
		}
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, fmt.Errorf("count CPUs: %w", err)
	}
	setMapSizes(spec, c.MaxFlows, c.RingSize)
	err = errors.Join(
		spec.Variables["cfg"].Set(c.constants(cpus)),
		spec.Variables["suspended_ns"].Set(uint64(clock.Suspended())))
	if err != nil {
		return nil, fmt.Errorf("configure the programs: %w", err)
	}
	return ebpf.NewCollection(spec)
}

// constants is c as the programs read it, on a machine with that many CPUs.
func (c Config) constants(cpus int) gen.IotsenseConfig {
	k := gen.IotsenseConfig{
		LifetimeNs: uint64(c.Lifetime.Nanoseconds()),
		Samples:    uint32(c.Packets),
		Prefix:     uint32(c.Prefix),
		CoarseNs:   uint64(clock.CoarseLate.Nanoseconds()),
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
	if PrivateLocal(c.Local) {
		k.PrivateLocal = 1
	}
	return k
}

// PrivateLocal reports whether every default range is local: the programs then
// compare constants instead of looking the ranges up.
func PrivateLocal(local []netip.Prefix) bool {
	for _, p := range flows.DefaultLocal() {
		if !slices.Contains(local, p) {
			return false
		}
	}
	return true
}

// Names are the names of all programs and maps, without the programs' own data.
func Names() ([]string, error) {
	spec, err := gen.LoadIotsense()
	if err != nil {
		return nil, fmt.Errorf("read the compiled programs: %w", err)
	}
	var names []string
	for name := range spec.Programs {
		names = append(names, name)
	}
	for name := range spec.Maps {
		if !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	return names, nil
}

// Digest is the SHA-256, in hex, of the compiled programs that are embedded here: two
// binaries with the same one run the same kernel half.
func Digest() string {
	sum := sha256.Sum256(gen.Object())
	return hex.EncodeToString(sum[:])
}

const (
	// noMAC is the key in the map of MACs that flows without one count under.
	noMAC = uint64(0)
	// MinMACs is how many MACs are told apart however small the table.
	MinMACs = 64
)

// ListNoMAC makes the entry that flows without a MAC count under.
func ListNoMAC(macs *ebpf.Map) error {
	if err := macs.Put(noMAC, gen.IotsenseMacShare{}); err != nil {
		return fmt.Errorf("list the flows without a MAC: %w", err)
	}
	return nil
}

// share says how a flow table is shared out, in entries and MACs.
type share struct {
	macFlows  uint32 // entries that one MAC may hold: 1/8
	openFlows uint32 // entries that any MAC may take: 3/4; the rest is for known ones
	macs      uint32 // MACs told apart: 1/8 of the entries; all others count as one

	// A MAC can become known if fewer entries and MACs were there when it came:
	// 1/2 of each. So a flood of MACs leaves room for as many known ones.
	earlyFlows, earlyMACs uint32
}

func shareOf(maxFlows int) share {
	n := uint32(maxFlows)
	macs := max(MinMACs, n/8)
	return share{
		macFlows:   max(1, n/8),
		openFlows:  n - n/4,
		macs:       macs,
		earlyFlows: max(1, n/2),
		earlyMACs:  macs / 2,
	}
}

// Sizes inside the kernel, 64 bit, Linux 6.1 to 6.18 (kernel/bpf/hashtab.c,
// ringbuf.c, lpm_trie.c).
const (
	hashElement = 48  // struct htab_elem
	hashBucket  = 16  // struct bucket
	trieNode    = 40  // struct lpm_trie_node
	mapHead     = 512 // struct bpf_htab, struct bpf_array and the like: at most
	ringPages   = 3   // beside the data: bookkeeping, consumer's, producer's
)

// TableMemory is what the maps take in the kernel, in bytes, with maxFlows open
// flows and a ring of ringSize bytes, everything filled.
func TableMemory(maxFlows, ringSize int) (int64, error) {
	spec, err := gen.LoadIotsense()
	if err != nil {
		return 0, fmt.Errorf("read the compiled programs: %w", err)
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return 0, fmt.Errorf("count CPUs: %w", err)
	}
	var sum int64
	setMapSizes(spec, maxFlows, ringSize)
	for _, m := range spec.Maps {
		sum += mapMemory(m, int64(cpus), int64(os.Getpagesize()))
	}
	return sum, nil
}

const (
	// SweepWalks is how many walks through the flow table end all lives in it: each
	// lists as many as the map of marked lives holds.
	SweepWalks = 16
	minMarked  = 8192
)

// setMapSizes makes room for maxFlows open flows and a ring of ringSize bytes.
func setMapSizes(spec *ebpf.CollectionSpec, maxFlows, ringSize int) {
	spec.Maps[gen.IotsenseMapFlows].MaxEntries = uint32(maxFlows)
	spec.Maps[gen.IotsenseMapMacs].MaxEntries = shareOf(maxFlows).macs + 1 // noMAC
	spec.Maps[gen.IotsenseMapEvents].MaxEntries = uint32(ringSize)
	spec.Maps[gen.IotsenseMapMarked].MaxEntries = uint32(max(minMarked, maxFlows/SweepWalks))
}

// mapMemory is what one map takes on a kernel with that many possible CPUs.
func mapMemory(m *ebpf.MapSpec, cpus, page int64) int64 {
	n, key, value := int64(m.MaxEntries), roundUp(int64(m.KeySize), 8), roundUp(int64(m.ValueSize), 8)
	switch m.Type {
	case ebpf.Hash:
		buckets := int64(1) << bits.Len64(uint64(max(n, 1)-1))
		return mapHead + buckets*hashBucket + (n+cpus)*(hashElement+key+value) + cpus*8
	case ebpf.RingBuf:
		return n + ringPages*page + (ringPages+2*n/page)*8
	case ebpf.PerCPUArray:
		return mapHead + n*value*cpus + n*8
	case ebpf.LPMTrie:
		return mapHead + n*roundUp(trieNode+int64(m.KeySize)+int64(m.ValueSize), 8)
	default: // arrays, the programs' constants and variables among them
		return mapHead + roundUp(n*value, page)
	}
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }
