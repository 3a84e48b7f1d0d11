package loader

// This file holds the fast path of the programs against the rest of them.

import (
	"bytes"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

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
	const rounds = 3 // the first packet opens the flow, the first two are sampled
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
			tt.cfg.Packets, tt.cfg.Prefix, tt.cfg.Lifetime = 2, 64, math.MaxInt32*1000
			fast, slow := newKernel(t, tt.cfg, tt.program), newKernel(t, tt.cfg, tt.program)
			type total struct{ packets, bytes [2]uint64 }
			lives := func(k *kernel) map[flows.Key]total {
				k.closes, k.samples = nil, nil
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
				if !slices.EqualFunc(fast.samples, slow.samples, sameSample) {
					t.Fatalf("%d samples on the fast path, %d others without it", len(fast.samples), len(slow.samples))
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

// sameSample leaves out times, which two runs do not share.
func sameSample(a, b flows.Sample) bool {
	return a.Life.Key == b.Life.Key && a.Index == b.Index && a.FromA == b.FromA && a.Size == b.Size && bytes.Equal(a.Payload, b.Payload)
}

// The kinds of packets that the fast path is for are on it: of a new flow nothing is
// parsed, of a sampled packet no more than the sample is written, of a known one nothing.
func TestFastPathIsTaken(t *testing.T) {
	udp := packet.UDP(1, 2, packet.Payload(9))
	v4, v6 := packet.IPv4(packet.IP{Proto: packet.UDPProto}, udp), packet.IPv6(packet.IP{Proto: packet.UDPProto}, udp)
	ethernet, ip := gen.IotsenseProgIotsenseIn, gen.IotsenseProgIotsenseInIp
	for _, tt := range []struct {
		name, program string
		frame         []byte
	}{
		{"ipv4", ethernet, packet.Ethernet(packet.IPv4Type, v4)},
		{"tcp", ethernet, packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: packet.TCPProto}, packet.TCP(1, 2, nil)))},
		{"icmp", ethernet, packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: packet.ICMP}, packet.Payload(9)))},
		{"ipv6", ethernet, packet.Ethernet(packet.IPv6Type, v6)},
		{"vlan", ethernet, packet.Ethernet(packet.VLANType, packet.VLAN(7, packet.IPv4Type, v4))},
		{"options", ethernet, packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: packet.UDPProto, Options: make([]byte, 40)}, udp))},
		{"xdp", gen.IotsenseProgIotsenseXdp, packet.Ethernet(packet.IPv4Type, v4)},
		{"tunnel ipv4", ip, v4},
		{"tunnel ipv6", ip, v6},
	} {
		k := newKernel(t, Config{Packets: 2}, tt.program)
		scratch := k.maps["scratch"]
		written := func() (w gen.IotsenseScratch) {
			var values []gen.IotsenseScratch
			k.must(scratch.Lookup(uint32(0), &values))
			for _, v := range values {
				if v != (gen.IotsenseScratch{}) {
					w = v
				}
			}
			clear(values)
			k.must(scratch.Put(uint32(0), values))
			return w
		}
		k.run(tt.program, tt.frame)
		if w := written(); w.Read == 0 {
			t.Errorf("%s: the first packet is parsed", tt.name)
		}
		k.run(tt.program, tt.frame)
		if w := written(); w.Sample.Index != 1 || w.Packet != (gen.IotsenseScratch{}).Packet {
			t.Errorf("%s: a sampled packet is not on the fast path", tt.name)
		}
		k.run(tt.program, tt.frame)
		if w := written(); w != (gen.IotsenseScratch{}) {
			t.Errorf("%s: a known packet is not on the fast path", tt.name)
		}
		if got := k.count(); got.Packets.Counted != 3 || got.Samples.Sent != 2 || !identities(got.Packets) {
			t.Errorf("%s: %+v", tt.name, got)
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
