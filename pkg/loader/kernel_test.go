package loader

// This file drives the kernel half with BPF_PROG_TEST_RUN: nothing is attached.

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/flows"
)

// events is a Sink that keeps what it gets.
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
	*Sensor
	t *testing.T
	*events
}

func newKernel(t *testing.T, cfg Config) *kernel {
	t.Helper()
	testenv.Root(t)
	if cfg.Interfaces == nil {
		cfg.Interfaces = []string{"lo"}
	}
	if cfg.MaxFlows == 0 {
		cfg.MaxFlows = 1024
	}
	if cfg.RingSize == 0 {
		cfg.RingSize = 1 << 20
	}
	s, err := load(cfg)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	k := &kernel{s, t, &events{}}
	s.sink = k.events
	return k
}

// run sends a frame through a program as if it came from interface lo.
func (k *kernel) run(program string, frame []byte) {
	k.t.Helper()
	ret, err := k.programs[program].Run(&ebpf.RunOptions{Data: frame})
	if err != nil {
		k.t.Fatalf("%s: %v", program, err)
	}
	if want := map[bool]uint32{true: 2, false: ^uint32(0)}[program == xdpProgram]; ret != want {
		k.t.Fatalf("%s returned %d, want %d: it must stop nobody's chain", program, int32(ret), int32(want))
	}
}

// settle delivers every event there is.
func (k *kernel) settle() {
	k.t.Helper()
	for range 2 {
		if err := k.poll(time.Unix(1, 0)); err != nil {
			k.t.Fatal(err)
		}
	}
}

func (k *kernel) mustStats() Stats {
	k.t.Helper()
	s, err := k.Stats()
	if err != nil {
		k.t.Fatal(err)
	}
	return s
}

var _ = netip.Addr{}

func TestSmoke(t *testing.T) {
	start := time.Now()
	k := newKernel(t, Config{Prefix: 1000, Packets: 10})
	t.Log("load", time.Since(start))
	frame := make([]byte, 14+20+8+100)
	copy(frame, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 128, 0, 0, 0, 0, 64, 17, 0, 0, 192, 168, 7, 2, 8, 8, 8, 8, 0x13, 0x88, 0, 53, 0, 108})
	for range 12 {
		k.run(inProgram, frame)
	}
	k.settle()
	t.Logf("%+v", k.mustStats())
	t.Log(len(k.samples), k.samples[0])
	t.Log(k.flush())
	t.Logf("%+v", k.closes)
	t.Logf("%+v", k.mustStats())
}
