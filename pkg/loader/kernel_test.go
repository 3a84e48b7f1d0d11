package loader

// This file drives the kernel half with BPF_PROG_TEST_RUN: nothing is attached.

import (
	"os"
	"slices"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/loader/watch"
)

// exactEnv asks for the long variants of the tests of exactness (make exact).
const exactEnv = "IOTSENSE_EXACT_LONG"

// long is how much of something a test does: a few seconds' worth, or all of it.
func long(short, whole int) int {
	if os.Getenv(exactEnv) != "" {
		return whole
	}
	return short
}

// events is a flows.Sink that keeps what it gets.
type events struct {
	samples []flows.Sample
	closes  []flows.Close
}

func (e *events) Sample(s *flows.Sample) {
	c := *s
	c.Payload = slices.Clone(s.Payload)
	e.samples = append(e.samples, c)
}

func (e *events) Close(c *flows.Close) { e.closes = append(e.closes, *c) }

// kernel is a sensor that is on no interface.
type kernel struct {
	*Kernel
	*events
	t testing.TB
}

// newKernel loads the programs named, or those for TC on Ethernet.
func newKernel(t testing.TB, cfg Config, programs ...string) *kernel {
	t.Helper()
	testenv.Root(t)
	cfg.Interfaces = []string{"lo"}
	if cfg.MaxFlows == 0 {
		cfg.MaxFlows = 16384 // of which one MAC may hold an eighth
	}
	if cfg.RingSize == 0 {
		cfg.RingSize = 4 << 20
	}
	s, err := load(cfg, programs...)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	s.cfg.Interfaces = nil
	s.watcher = watch.New(s.network, attach.Attacher{}, nil, s.freeDirections) // step attaches to none
	k := &kernel{s, &events{}, t}
	s.sink = k.events
	return k
}

// What the programs return: the next program's turn.
var pass = map[string]uint32{
	gen.IotsenseProgIotsenseIn: 0xffffffff, gen.IotsenseProgIotsenseOut: 0xffffffff, // TC_ACT_UNSPEC
	gen.IotsenseProgIotsenseInIp: 0xffffffff, gen.IotsenseProgIotsenseOutIp: 0xffffffff,
	gen.IotsenseProgIotsenseXdp: 2, // XDP_PASS
}

// run sends a frame through a program.
func (k *kernel) run(program string, frame []byte) {
	k.t.Helper()
	k.runWith(program, ebpf.RunOptions{Data: frame})
}

func (k *kernel) runWith(program string, opts ebpf.RunOptions) {
	k.t.Helper()
	ret, err := k.programs[program].Run(&opts)
	if err != nil {
		k.t.Fatalf("%s with a frame of %d bytes: %v", program, len(opts.Data), err)
	}
	if ret != pass[program] {
		k.t.Fatalf("%s returned %d, want %d: it must not end the chain", program, int32(ret), int32(pass[program]))
	}
}

// settle delivers every event there is.
func (k *kernel) settle() {
	k.t.Helper()
	k.must(k.read())
	k.must(k.sweep(0))
}

func (k *kernel) must(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}

func (k *kernel) count() Stats {
	k.t.Helper()
	s, err := k.Stats(nil)
	k.must(err)
	return s
}

// total is the sum over the closes delivered so far.
func (e *events) total() (packets, bytes uint64) {
	for _, c := range e.closes {
		packets += c.Packets[0] + c.Packets[1]
		bytes += c.Bytes[0] + c.Bytes[1]
	}
	return packets, bytes
}

// identities are the equations of the accounting that package loader answers for.
func identities(p flows.PacketStats) bool {
	return p.Seen == p.Counted+p.NotIP+p.Malformed+p.TableFull+p.Duplicate && p.Counted == p.InClosed+p.InOpen
}
