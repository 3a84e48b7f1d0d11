// Package measure finds out what a packet costs in the kernel half, with
// BPF_PROG_TEST_RUN: the programs run on one CPU, on a frame in memory, without
// an interface, thousands of times in a row.
package measure

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/loader/object"
	"github.com/iotsense/iotsense/pkg/loader/probe"
)

// Case is the cost of one kind of packet at one hook.
type Case struct {
	// Name: empty (a program that does nothing), reference (one hash lookup and
	// one atomic add), known (a flow whose samples are taken), known_vlan,
	// known_options, known_ipv6 (the same in a VLAN tag, with IP options, over
	// IPv6), known_local (with a local range that is not built in), known_32k
	// (32,768 of them at random), sample_0, sample_200, sample_1000 (a packet that is
	// sampled with that many payload bytes), new_flow (a flow's first packet).
	Name string      `json:"name"`
	Hook attach.Hook `json:"hook"` // attach.HookTC or attach.HookXDP
	// NSPerPacket is the least of all rounds. It includes what the kernel takes
	// to call any program: the case empty.
	NSPerPacket float64 `json:"ns_per_packet"`
	// OverReference is (this - empty) / (reference - empty).
	OverReference float64 `json:"over_reference"`
}

// Sizes of the measurement. Rounds are short, so that many of them are not
// interrupted, and what they open and sample fits the default table and ring.
const (
	benchRounds  = 15
	benchRepeat  = 10000
	benchNew     = 16384   // flows opened in a round
	benchSamples = 4000    // packets sampled in a round
	benchKnown   = 1 << 15 // flows of known_32k
	benchTaken   = 4095    // samples of one life: as many as its life word can count
)

// Programs of bpf/bench.bpf.c, before "_tc" or "_xdp".
const (
	emptyProgram     = "empty"
	referenceProgram = "reference"
	manyProgram      = "many"
	manyCountProgram = "many_count"
)

// Run measures every case at both hooks. It needs the sensor's capabilities,
// some 40 MB of memory for a few seconds, and a machine with little else to do.
func Run() ([]Case, error) {
	if err := probe.CheckPrivileges(false); err != nil {
		return nil, err
	}
	unpin, err := pinThread()
	if err != nil {
		return nil, err
	}
	defer unpin()
	var list []Case
	for _, hook := range []attach.Hook{attach.HookTC, attach.HookXDP} {
		cases, err := benchHook(hook)
		if err != nil {
			return nil, fmt.Errorf("measure %s: %w", hook, err)
		}
		list = append(list, cases...)
	}
	return list, nil
}

// pinThread keeps the caller on one CPU, the last that it may use, until the
// returned function is called.
func pinThread() (unpin func(), err error) {
	var allowed, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return nil, fmt.Errorf("read the CPU affinity: %w", err)
	}
	for cpu := range len(allowed) * 64 {
		if allowed.IsSet(cpu) {
			one.Zero()
			one.Set(cpu)
		}
	}
	runtime.LockOSThread()
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("stay on one CPU: %w", err)
	}
	return func() {
		if unix.SchedSetaffinity(0, &allowed) == nil {
			runtime.UnlockOSThread() // else the thread ends with the goroutine
		}
	}, nil
}

// benchHook measures the cases at one hook. The sensor is loaded twice: as it
// runs, and so that it samples every packet of a flow.
func benchHook(hook attach.Hook) ([]Case, error) {
	sensor, err := openBench(hook, flows.RowPackets)
	if err != nil {
		return nil, err
	}
	defer sensor.Close()
	ns := map[string]float64{}
	for _, measure := range []func(map[string]float64) error{sensor.floors, sensor.known, sensor.manyKnown, sensor.newFlows} {
		if err := measure(ns); err != nil {
			return nil, err
		}
	}
	sampler, err := openBench(hook, benchTaken)
	if err != nil {
		return nil, err
	}
	defer sampler.Close()
	if err := sampler.samples(ns); err != nil {
		return nil, err
	}
	return benchCases(hook, ns)
}

var benchNames = []string{"empty", "reference", "known", "known_vlan", "known_options", "known_ipv6", "known_local", "known_32k", "sample_0", "sample_200", "sample_1000", "new_flow"}

// benchCases puts the measured times in order and in relation.
func benchCases(hook attach.Hook, ns map[string]float64) ([]Case, error) {
	reference := ns["reference"] - ns["empty"]
	if reference <= 0 {
		return nil, fmt.Errorf("the reference (%.1f ns) is no slower than an empty program (%.1f ns): the machine is too busy to measure", ns["reference"], ns["empty"])
	}
	var list []Case
	for _, name := range benchNames {
		list = append(list, Case{name, hook, ns[name], (ns[name] - ns["empty"]) / reference})
	}
	return list, nil
}

// bench is the sensor's programs and those of bpf/bench.bpf.c for one hook.
type bench struct {
	*ebpf.Collection
	ring   *ringbuf.Reader
	count  string // the sensor's program
	suffix string
}

func openBench(hook attach.Hook, samples int) (*bench, error) {
	b := &bench{count: gen.IotsenseProgIotsenseIn, suffix: "_tc"}
	if hook == attach.HookXDP {
		b.count, b.suffix = gen.IotsenseProgIotsenseXdp, "_xdp"
	}
	spec, err := gen.LoadBench()
	if err != nil {
		return nil, fmt.Errorf("read the compiled programs: %w", err)
	}
	b.Collection, err = object.Config{
		MaxFlows: object.DefaultMaxFlows, RingSize: object.DefaultRingSize, Lifetime: flows.Lifetime,
		Packets: samples, Prefix: object.MaxPrefix, Local: flows.DefaultLocal(),
	}.Load(spec, b.count, emptyProgram+b.suffix, referenceProgram+b.suffix, manyProgram+b.suffix, manyCountProgram+b.suffix)
	if err != nil {
		return nil, fmt.Errorf("load the programs: %w", err)
	}
	reference := b.Maps["bench_reference"]
	if err := reference.Put(gen.IotsenseFlowKey{}, make([]byte, reference.ValueSize())); err != nil {
		b.Collection.Close()
		return nil, fmt.Errorf("fill the reference: %w", err)
	}
	if b.ring, err = ringbuf.NewReader(b.Maps[gen.IotsenseMapEvents]); err != nil {
		b.Collection.Close()
		return nil, fmt.Errorf("open the ring buffer: %w", err)
	}
	if err := b.resetShares(); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *bench) Close() {
	b.ring.Close()
	b.Collection.Close()
}

// benchFrame is a UDP datagram of a local device.
func benchFrame(payload int) []byte {
	return packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: packet.UDPProto}, packet.UDP(5000, 53, make([]byte, payload))))
}

// tally is how far a round has moved the counters that tell what it did.
type tally struct{ counted, opened, sent uint64 }

// floors measures what is not the sensor.
func (b *bench) floors(ns map[string]float64) (err error) {
	for _, name := range []string{emptyProgram, referenceProgram} {
		if ns[name], err = b.least(name+b.suffix, benchFrame(0), benchRepeat, tally{}, nil); err != nil {
			return err
		}
	}
	return nil
}

// known measures one flow whose samples are taken, of each kind.
func (b *bench) known(ns map[string]float64) error {
	datagram := packet.UDP(5000, 53, nil)
	ip := packet.IPv4(packet.IP{Proto: packet.UDPProto}, datagram)
	for name, frame := range map[string][]byte{
		"known":         benchFrame(0),
		"known_vlan":    packet.Ethernet(packet.VLANType, packet.VLAN(7, packet.IPv4Type, ip)),
		"known_options": packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: packet.UDPProto, Options: make([]byte, 8)}, datagram)),
		"known_ipv6":    packet.Ethernet(packet.IPv6Type, packet.IPv6(packet.IP{Proto: packet.UDPProto}, datagram)),
	} {
		if err := b.knownFlow(ns, name, frame); err != nil {
			return err
		}
	}
	// A range that holds neither end: both are looked up.
	err := errors.Join(b.Maps[gen.IotsenseMapLocalPrefixes].Put(gen.IotsensePrefixKey{Bits: 32 + 24, Version: 4, Addr: [16]byte{203, 0, 113}}, uint8(1)),
		b.Variables["prefixes_v4"].Set(uint32(1)), b.knownFlow(ns, "known_local", benchFrame(0)), b.Variables["prefixes_v4"].Set(uint32(0)))
	return err
}

// knownFlow measures the flow of a frame.
func (b *bench) knownFlow(ns map[string]float64, name string, frame []byte) (err error) {
	if err = b.clear(); err != nil {
		return err
	}
	if _, err = b.run(b.count, frame, flows.RowPackets); err != nil {
		return err
	}
	ns[name], err = b.least(b.count, frame, benchRepeat, tally{counted: benchRepeat}, nil)
	return err
}

// manyKnown measures 32,768 flows at random.
func (b *bench) manyKnown(ns map[string]float64) (err error) {
	if err := b.clear(); err != nil {
		return err
	}
	for range flows.RowPackets {
		if err := b.choose(0); err != nil {
			return err
		}
		if _, err := b.run(manyCountProgram+b.suffix, benchFrame(0), benchKnown); err != nil {
			return err
		}
	}
	if err := b.choose(benchKnown - 1); err != nil {
		return err
	}
	ns["known_32k"], err = b.many(ns["empty"], benchRepeat, tally{counted: benchRepeat}, nil)
	return err
}

// newFlows measures first packets: each opens a life and is sampled.
func (b *bench) newFlows(ns map[string]float64) (err error) {
	inTurn := func() error { return errors.Join(b.clear(), b.choose(0)) }
	ns["new_flow"], err = b.many(ns["empty"], benchNew, tally{benchNew, benchNew, benchNew}, inTurn)
	return err
}

// many is least of packets of many flows, without what the wrapper takes to choose these.
func (b *bench) many(empty float64, packets int, want tally, before func() error) (float64, error) {
	wrapper, err := b.least(manyProgram+b.suffix, benchFrame(0), packets, tally{}, before)
	if err != nil {
		return 0, err
	}
	total, err := b.least(manyCountProgram+b.suffix, benchFrame(0), packets, want, before)
	return total - wrapper + empty, err
}

// samples measures packets of a known flow that are sampled.
func (b *bench) samples(ns map[string]float64) error {
	for _, payload := range []int{0, 200, 1000} {
		frame := benchFrame(payload)
		again := func() error {
			if err := b.clear(); err != nil {
				return err
			}
			_, err := b.run(b.count, frame, 1) // opens the flow
			return err
		}
		took, err := b.least(b.count, frame, benchSamples, tally{counted: benchSamples, sent: benchSamples}, again)
		if err != nil {
			return err
		}
		ns[fmt.Sprintf("sample_%d", payload)] = took
	}
	return nil
}

// choose makes the wrapper take flows in turn from the first one (0), or at
// random out of mask + 1.
func (b *bench) choose(mask uint32) error {
	return errors.Join(b.Variables["bench_mask"].Set(mask), b.Variables["bench_turn"].Set(uint32(0)))
}

// least is the time of one packet in the fastest round, in ns. A round counts
// only if it has done what it is taken for.
func (b *bench) least(program string, frame []byte, packets int, want tally, before func() error) (float64, error) {
	least := math.Inf(1)
	var wrong error // a signal makes a run start again: such a round is left out
	for range benchRounds {
		if before != nil {
			if err := before(); err != nil {
				return 0, err
			}
		}
		took, done, err := b.round(program, frame, packets)
		if err != nil {
			return 0, err
		}
		if done != want {
			wrong = fmt.Errorf("%s: %d packets were to be %+v, they were %+v", program, packets, want, done)
			continue
		}
		least = min(least, float64(took))
	}
	if math.IsInf(least, 1) {
		return 0, wrong
	}
	return least, nil
}

// run sends a frame through a program so many times and returns the time of one
// packet by the kernel's clock, which is cut to whole nanoseconds.
func (b *bench) run(program string, frame []byte, times int) (time.Duration, error) {
	_, took, err := b.Programs[program].Benchmark(frame, times, nil)
	if err != nil {
		return 0, fmt.Errorf("%s: test run: %w", program, err)
	}
	return took, nil
}

// round runs a frame through a program so many times: the time of one packet, and how
// far that has moved the counters.
func (b *bench) round(program string, frame []byte, packets int) (took time.Duration, done tally, err error) {
	start, err := object.Counters(b.Maps[gen.IotsenseMapPacketCounters])
	if err != nil {
		return 0, done, err
	}
	if took, err = b.run(program, frame, packets); err != nil {
		return 0, done, err
	}
	end, err := object.Counters(b.Maps[gen.IotsenseMapPacketCounters])
	return took, tally{end.Counted - start.Counted, end.Opened - start.Opened, end.Sent - start.Sent}, err
}

// clear empties the flow table, with its accounts, and the ring.
func (b *bench) clear() error {
	if err := errors.Join(empty[uint64, gen.IotsenseFlow](b.Maps[gen.IotsenseMapFlows]), b.resetShares()); err != nil {
		return err
	}
	b.ring.SetDeadline(time.Unix(1, 0)) // long past: take what is there
	var record ringbuf.Record
	for {
		err := b.ring.ReadInto(&record)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("empty the ring buffer: %w", err)
		}
	}
}

// resetShares makes every MAC hold nothing.
func (b *bench) resetShares() error {
	return errors.Join(empty[uint64, gen.IotsenseMacShare](b.Maps[gen.IotsenseMapMacs]), object.ListNoMAC(b.Maps[gen.IotsenseMapMacs]),
		b.Variables["flows_used"].Set(uint64(0)), b.Variables["macs_used"].Set(uint64(0)))
}

// empty deletes every entry of a hash map.
func empty[K, V any](m *ebpf.Map) error {
	const batch = 4096
	keys, values := make([]K, batch), make([]V, batch)
	var cursor ebpf.MapBatchCursor
	for {
		_, err := m.BatchLookupAndDelete(&cursor, keys, values, nil)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("empty %v: %w", m, err)
		}
	}
}
