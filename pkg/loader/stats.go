package loader

// This file answers questions about a running sensor.

import (
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"time"

	"github.com/cilium/ebpf"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/loader/object"
)

// Stats is what the kernel half has counted since Open, or since that of the first sensor of
// those that took over from each other (Config.Keep).
type Stats struct {
	Packets    flows.PacketStats // WithDevice and NoDevice are the Assembler's
	Samples    v1.SampleStats
	Flows      v1.FlowStats
	Ring       v1.RingStats
	MapsBytes  uint64
	Interfaces []v1.Interface
	Kernel     *KernelStats // nil without Config.KernelStats
}

// KernelStats is the time spent in the packet programs.
type KernelStats struct {
	Time time.Duration
	Runs uint64
}

// Stats reads the counters. While packets arrive, Packets.InOpen is what has
// been counted and not closed; once traffic has stopped it is the sum over the
// open lives themselves. also is called before the sink gets another event, for who
// wants what the sink has counted of the same moment; it may be nil.
func (k *Kernel) Stats(also func()) (Stats, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	ring := v1.RingStats{SizeBytes: uint64(k.ring.Size()), WaitingBytes: uint64(k.ring.Waiting())}
	if k.sink != nil {
		if err := k.readAside(); err != nil {
			return Stats{}, err
		}
	}
	before, err := k.counters()
	if err != nil {
		return Stats{}, err
	}
	open, openPackets := uint64(0), uint64(0)
	for _, waiting := range [][]flows.Close{k.pending, k.ended} {
		for i := range waiting {
			open++
			openPackets += waiting[i].Packets[0] + waiting[i].Packets[1]
		}
	}
	if before.Opened != k.closed+open { // else the table is empty
		table, err := k.mark(0, 0)
		if err != nil {
			return Stats{}, err
		}
		open, openPackets = open+table.Open, openPackets+table.OpenPackets
	}
	c, err := k.counters()
	if err != nil {
		return Stats{}, err
	}
	if c.Counted != before.Counted {
		openPackets = c.Counted - k.inClosed
		open = c.Opened - k.closed
	}
	kernel, err := k.kernelStats()
	if err != nil {
		return Stats{}, err
	}
	stats := Stats{
		Packets:    flows.PacketStats{InOpen: openPackets, InClosed: k.inClosed},
		Flows:      v1.FlowStats{Open: open, Closed: k.closed},
		Interfaces: k.watcher.Interfaces(),
		Ring:       ring,
		MapsBytes:  k.mapsBytes(),
		Kernel:     kernel,
	}
	stats.Ring.MostBytes = uint64(k.mostWaiting)
	stats.fill(c)
	if also != nil {
		also()
	}
	return stats, nil
}

// Losses is what Stats says of samples that found the ring full and of packets that found the
// table so. It looks at no flow: it is for who asks again and again.
func (k *Kernel) Losses() (ringFull, tableFull uint64, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, err := k.counters()
	return c.RingFull, c.TableFull, err
}

// mapsBytes is what the maps take, as the kernel says: a map's grows with its entries.
func (k *Kernel) mapsBytes() (sum uint64) {
	for _, m := range k.maps {
		if info, err := m.Info(); err == nil {
			n, _ := info.Memlock()
			sum += n
		}
	}
	return sum
}

// fill sets the counters that the kernel half keeps under the same name.
func (s *Stats) fill(c gen.IotsenseCounters) {
	kept := reflect.ValueOf(c)
	for _, answer := range []any{&s.Packets, &s.Samples, &s.Flows} {
		into := reflect.ValueOf(answer).Elem()
		for i := range into.NumField() {
			name := into.Type().Field(i).Name
			if n := kept.FieldByNameFunc(func(k string) bool { return strings.EqualFold(k, name) }); n.IsValid() {
				into.Field(i).SetUint(n.Uint())
			}
		}
	}
}

// counters is the sum over the CPUs.
func (k *Kernel) counters() (gen.IotsenseCounters, error) {
	return object.Counters(k.maps[gen.IotsenseMapPacketCounters])
}

// OpenFlows lists the lives going on as if they ended now, in no order, and no more than so
// many; left counts the others. Packets are read meanwhile: a life may be missing that has been
// followed by another. Close must not be called before it returns.
func (k *Kernel) OpenFlows(most int) (list []flows.Close, left int, err error) {
	names := k.interfaceNames()
	const batch = 512 // more than any hash bucket will hold
	places, values := make([]uint64, batch), make([]gen.IotsenseFlow, batch)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := k.maps[gen.IotsenseMapFlows].BatchLookup(&cursor, places, values, nil)
		for i := range n {
			if len(list) == most {
				left++
				continue
			}
			c := k.closeOf(values[i])
			c.Interface.Name = names[c.Interface.Index]
			list = append(list, c)
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return list, left, nil
		}
		if err != nil {
			return nil, 0, fmt.Errorf("read the open flows: %w", err)
		}
	}
}

// Counted gives what has been counted of some lives so far, of those that are still going on,
// without looking at others. Close must not be called before it returns.
func (k *Kernel) Counted(lives iter.Seq[flows.Life], take func(*flows.Close)) error {
	var constants gen.IotsenseConfig
	if err := k.variables["cfg"].Get(&constants); err != nil {
		return fmt.Errorf("read the constants: %w", err)
	}
	secret := object.Secret(constants.Secret)
	for l := range lives {
		var f gen.IotsenseFlow
		err := k.maps[gen.IotsenseMapFlows].Lookup(secret.Place(tableKey(&l)), &f)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read an open flow: %w", err)
		}
		if c := k.closeOf(f); c.Life == l {
			take(&c)
		}
	}
	return nil
}

// interfaceNames are the present names of the interfaces watched, by index.
func (k *Kernel) interfaceNames() map[uint32]string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.watcher.ByIndex()
}

// kernelStats sums the packet programs; nil: nobody asked for it.
func (k *Kernel) kernelStats() (*KernelStats, error) {
	if !k.cfg.KernelStats {
		return nil, nil
	}
	var sum KernelStats
	for name, p := range k.programs {
		if name == gen.IotsenseProgIotsenseSweep || name == gen.IotsenseProgIotsenseCollect {
			continue
		}
		stats, err := p.Stats()
		if err != nil {
			return nil, fmt.Errorf("run-time statistics of %s: %w", name, err)
		}
		sum.Time += stats.Runtime
		sum.Runs += stats.RunCount
	}
	return &sum, nil
}
