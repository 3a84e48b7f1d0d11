package loader

// This file holds the fast path of the programs against the rest of them.

import (
	"bytes"
	"maps"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/loader/object"
)

// weakSecret makes fingerprints of so many bits: many flows have the same.
func weakSecret(bits int) *object.Secret {
	var s object.Secret
	rng := rand.New(rand.NewPCG(4, 0))
	for j := range s[0] {
		s[0][j] = rng.Uint64() << (64 - bits)
	}
	return &s
}

// Whatever a frame is, the fast path counts it as the rest does, or leaves it to that.
// While user space deletes there is no fast path. With few fingerprints flows share them.
func TestFastPathAgreesWithTheRest(t *testing.T) {
	const rounds = 3 // the first packet opens the flow and is its only sample
	frames := append(everyCut(), mutated(3, 20000)...)
	for _, tt := range []struct {
		name    string
		cfg     Config
		program string
	}{
		{"tc", Config{}, gen.IotsenseProgIotsenseIn},
		{"tc uni", Config{Direction: flows.Uni}, gen.IotsenseProgIotsenseOut},
		{"xdp", Config{Hook: attach.HookXDP}, gen.IotsenseProgIotsenseXdp},
		{"few fingerprints", Config{secret: weakSecret(16)}, gen.IotsenseProgIotsenseIn},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Packets, tt.cfg.Lifetime = 1, math.MaxInt32*1000
			fast, slow := newKernel(t, tt.cfg, tt.program), newKernel(t, tt.cfg, tt.program)
			type total struct{ packets, bytes [2]uint64 }
			lives := func(k *kernel) map[flows.Key]total {
				k.closes = nil
				k.must(k.flush())
				all := map[flows.Key]total{}
				for _, c := range k.closes {
					if _, twice := all[c.Life.Key]; twice {
						t.Fatalf("two lives of %+v", c.Life.Key)
					}
					all[c.Life.Key] = total{c.Packets, c.Bytes}
				}
				return all
			}
			for from := 0; from < len(frames); from += 500 {
				for _, k := range []*kernel{fast, slow} {
					if k == slow {
						k.must(k.closing(1))
					}
					for _, f := range frames[from:min(from+500, len(frames))] {
						if tt.cfg.Hook != attach.HookXDP && !runnable(f) {
							continue
						}
						for range rounds {
							k.run(tt.program, f)
						}
					}
				}
				a, b := lives(fast), lives(slow)
				if !maps.Equal(a, b) {
					t.Fatalf("%d lives on the fast path, %d without it", len(a), len(b))
				}
			}
			a, b := fast.count(), slow.count()
			if a.Packets != b.Packets || a.Flows != b.Flows || a.Samples != b.Samples || !identities(a.Packets) {
				t.Errorf("counters %+v, %+v", a, b)
			}
			if (a.Flows.Collided > 0) != (tt.cfg.secret != nil) {
				t.Errorf("%d collided", a.Flows.Collided)
			}
			t.Logf("%d lives, %d collided, %d refused", a.Flows.Closed, a.Flows.Collided, a.Flows.Refused)
		})
	}
}

// The kinds of packets that the fast path is for are on it: it writes no scratch.
func TestFastPathIsTaken(t *testing.T) {
	udp := packet.UDP(1, 2, packet.Payload(9))
	v4, v6 := packet.IPv4(packet.IP{Proto: packet.UDPProto}, udp), packet.IPv6(packet.IP{Proto: packet.UDPProto}, udp)
	for name, frame := range map[string][]byte{
		"ipv4":    packet.Ethernet(packet.IPv4Type, v4),
		"tcp":     packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: packet.TCPProto}, packet.TCP(1, 2, nil))),
		"icmp":    packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: packet.ICMP}, packet.Payload(9))),
		"ipv6":    packet.Ethernet(packet.IPv6Type, v6),
		"vlan":    packet.Ethernet(packet.VLANType, packet.VLAN(7, packet.IPv4Type, v4)),
		"options": packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: packet.UDPProto, Options: make([]byte, 40)}, udp)),
	} {
		k := newKernel(t, Config{Packets: 1}, gen.IotsenseProgIotsenseIn, gen.IotsenseProgIotsenseXdp)
		k.run(gen.IotsenseProgIotsenseIn, frame)
		scratch := k.maps["scratch"]
		empty := make([]byte, (scratch.ValueSize()+7)/8*8*uint32(ebpf.MustPossibleCPU()))
		values := make([][]byte, ebpf.MustPossibleCPU())
		for i := range values {
			values[i] = empty[:scratch.ValueSize()]
		}
		k.must(scratch.Put(uint32(0), values))
		k.run(gen.IotsenseProgIotsenseIn, frame)
		k.must(scratch.Lookup(uint32(0), &values))
		for _, v := range values {
			if !bytes.Equal(v, empty[:len(v)]) {
				t.Errorf("%s: not on the fast path", name)
			}
		}
		if got := k.count().Packets; got.Counted != 2 || !identities(got) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// What a total cannot hold is moved out before it overflows.
func TestTotalsSpill(t *testing.T) {
	const shift = gen.IotsenseTotalWordTOTAL_SHIFT
	for name, start := range map[string]uint64{
		"packets": (1<<27 - 5) << shift,
		"bytes":   1<<35 - 100,
	} {
		k := newKernel(t, Config{Packets: 1})
		k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 72))
		var place uint64
		var f gen.IotsenseFlow
		k.maps[gen.IotsenseMapFlows].Iterate().Next(&place, &f)
		before := k.closeOf(f)
		side := 0
		if before.Packets[1] > 0 {
			side = 1
		}
		f.Total[side].Word = start
		k.must(k.maps[gen.IotsenseMapFlows].Put(place, f))
		before = k.closeOf(f)
		for range 10 {
			k.run(gen.IotsenseProgIotsenseIn, udpFrame(1, 72))
		}
		k.maps[gen.IotsenseMapFlows].Iterate().Next(&place, &f)
		if f.Packets[side]+f.Bytes[side] <= 101 { // what the first packet has put there
			t.Errorf("%s: nothing moved out of %x", name, f.Total[side].Word)
		}
		k.must(k.sweep(math.MaxUint64))
		c := k.closes[0]
		if c.Packets[side] != before.Packets[side]+10 || c.Bytes[side] != before.Bytes[side]+1000 {
			t.Errorf("%s: %v packets of %v bytes, began with %v of %v", name, c.Packets, c.Bytes, before.Packets, before.Bytes)
		}
	}
}
