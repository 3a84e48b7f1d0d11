// Package object is the kernel half as it was compiled: which programs and maps
// there are, what they are told when they are loaded, and what the maps will take.
// It attaches nothing.
package object

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"maps"
	"math/bits"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

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

// WakeAfter is how long events may wait in the ring before user space is woken for them.
const WakeAfter = 250 * time.Millisecond

// Config is what the programs know when they are loaded, and how large the maps are.
type Config struct {
	Direction flows.Direction
	Packets   int           // samples of one life, at most MaxPackets; 0: none
	Prefix    int           // payload bytes of one sample, at most MaxPrefix; 0: none
	Lifetime  time.Duration // of a life, from its first packet
	MaxFlows  int           // lives open at once
	RingSize  int           // bytes: a power of two, at least MinRingSize
	Local     []netip.Prefix
	Secret    *Secret // nil: a random one

	kept map[string]*ebpf.Map // see Adopt
}

// Load loads the programs named of spec, with all its maps, and takes the others out
// of spec: the verifier takes its time.
func (c Config) Load(spec *ebpf.CollectionSpec, programs ...string) (*ebpf.Collection, error) {
	programs = withRest(spec, programs)
	for name := range spec.Programs {
		if !slices.Contains(programs, name) {
			delete(spec.Programs, name)
		}
	}
	constants, err := c.now()
	if err != nil {
		return nil, err
	}
	setMapSizes(spec, c.MaxFlows, c.RingSize)
	if err := spec.Variables["cfg"].Set(constants); err != nil {
		return nil, fmt.Errorf("configure the programs: %w", err)
	}
	replaced := maps.Clone(c.kept)
	delete(replaced, Constants) // the new ones say the same
	return ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: replaced})
}

// now are the constants for this machine.
func (c Config) now() (k gen.IotsenseConfig, err error) {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return k, fmt.Errorf("count CPUs: %w", err)
	}
	return c.constants(cpus), nil
}

// withRest adds the programs that those named go on to, and empties the arrays through
// which no other does.
func withRest(spec *ebpf.CollectionSpec, programs []string) []string {
	all := slices.Clone(programs)
	for array, m := range spec.Maps {
		if m.Type != ebpf.ProgramArray {
			continue
		}
		goesOn := func(name string) bool {
			p, ok := spec.Programs[name]
			return ok && slices.ContainsFunc(p.Instructions, func(i asm.Instruction) bool { return i.Reference() == array })
		}
		if !slices.ContainsFunc(programs, goesOn) {
			m.Contents = nil
		}
		for _, rest := range m.Contents {
			all = append(all, rest.Value.(string))
		}
	}
	return all
}

// constants is c as the programs read it, on a machine with that many CPUs.
func (c Config) constants(cpus int) gen.IotsenseConfig {
	k := gen.IotsenseConfig{
		Secret:     c.secret(),
		LifetimeNs: uint64(c.Lifetime.Nanoseconds()),
		Samples:    uint32(c.Packets),
		Prefix:     uint32(c.Prefix),
		WakeNs:     uint64(WakeAfter.Nanoseconds()),
		TickNs:     uint64(clock.Tick().Nanoseconds()),
		CoarseNs:   uint64(clock.CoarseLate.Nanoseconds()),
		// So often that a quarter of the ring is taken at most when all CPUs are about to
		// wake the reader: bpf/wake.h counts on it.
		WakeBytes: uint32(max(1, c.RingSize/4>>bits.Len(uint(cpus-1)))),
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

// Secret is what fingerprints of flows are made with (bpf/key.h).
type Secret [2][14]uint64

// secret is c.Secret, or random: whoever sends packets must not know what makes two
// flows look alike.
func (c Config) secret() Secret {
	if c.Secret != nil {
		return *c.Secret
	}
	var s Secret
	for i := range s {
		for j := range s[i] {
			var b [8]byte
			rand.Read(b[:]) // never fails
			s[i][j] = binary.NativeEndian.Uint64(b[:])
		}
	}
	return s
}

// Place is where a flow's entry is in the flow table, as bpf/key.h makes it of the flow's key.
func (s *Secret) Place(key gen.IotsenseFlowKey) uint64 {
	le := binary.LittleEndian
	head := uint32(key.Version) | uint32(key.Proto)<<8 | uint32(key.HasPorts)<<16
	a, b := &key.A, &key.B
	words := [...]uint32{
		head,
		le.Uint32(a.Mac[:]), uint32(le.Uint16(a.Mac[4:])) | uint32(a.Port)<<16,
		le.Uint32(b.Mac[:]), uint32(le.Uint16(b.Mac[4:])) | uint32(b.Port)<<16,
		le.Uint32(a.Addr[:]), le.Uint32(b.Addr[:]), le.Uint32(a.Addr[4:]), le.Uint32(b.Addr[4:]),
		le.Uint32(a.Addr[8:]), le.Uint32(a.Addr[12:]), le.Uint32(b.Addr[8:]), le.Uint32(b.Addr[12:]),
	}
	sums := [2]uint64{s[0][0], s[1][0]}
	for i, w := range words {
		sums[0] += s[0][i+1] * uint64(w)
		sums[1] += s[1][i+1] * uint64(w)
	}
	return sums[0]>>32<<32 | sums[1]>>32&^(uint64(gen.IotsensePlacePLACES)-1) | uint64(key.Alt)
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

// Counters is the sum over the CPUs of what the map of counters holds.
func Counters(m *ebpf.Map) (sum gen.IotsenseCounters, err error) {
	var cpus []gen.IotsenseCounters
	if err := m.Lookup(uint32(0), &cpus); err != nil {
		return sum, fmt.Errorf("read the counters: %w", err)
	}
	all := reflect.ValueOf(&sum).Elem()
	for _, c := range cpus {
		for i := range all.NumField() {
			if all.Field(i).Kind() != reflect.Uint64 {
				continue // the layout's mark
			}
			all.Field(i).SetUint(all.Field(i).Uint() + reflect.ValueOf(c).Field(i).Uint())
		}
	}
	return sum, nil
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
