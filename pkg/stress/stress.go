// Package stress changes a capture's packets as they are read: what a sensor sees that
// starts late, loses packets, sees them twice or one way only, or stands in another
// home. In go packets, a seed and the names of the capture's devices, out come fewer,
// more or other packets, the same ones whenever it is asked again. Lengths stay,
// checksums are not made right.
package stress

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/capture"
	"github.com/iotsense/iotsense/pkg/pcap"
)

// Change is a kind of change that a verdict should survive.
type Change struct {
	Name    string
	Meaning string // in a table for readers
	begin   func(c *changer)
}

// Changes are all changes, in the order of tables.
func Changes() []Change {
	return []Change{
		{"late-30s", "the first 30 s missing", late(30 * time.Second)},
		{"late-60s", "the first 60 s missing", late(time.Minute)},
		{"lost-5", "5 % of packets lost", lost(0.05)},
		{"lost-20", "20 % of packets lost", lost(0.2)},
		{"twice", "every packet twice", twice(1)},
		{"twice-10", "10 % of packets twice", twice(0.1)},
		{"sent-only", "only what devices send", way((*changer).sent)},
		{"received-only", "only what devices receive", way((*changer).received)},
		{"another-home", "another home", anotherHome},
	}
}

// Seed is what scores draw changes by, so that those of one capture are the same in all.
const Seed = 1

// Named is the change of that name: one of Changes or Copies, or [First] of a time, as
// first-10s. The error lists them.
func Named(name string) (Change, error) {
	all := slices.Concat(Changes(), Copies())
	for _, c := range all {
		if c.Name == name {
			return c, nil
		}
	}
	if text, ok := strings.CutPrefix(name, "first-"); ok {
		if d, err := time.ParseDuration(text); err == nil && d >= 0 {
			return First(d), nil
		}
	}
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
	}
	return Change{}, fmt.Errorf("no change %q: there are %s, and first- with a time as in first-10s", name, strings.Join(names, ", "))
}

// First leaves what there is of a device so long after the first packet that it sends,
// what others sent to it before among it: what a sensor has seen that is asked then.
func First(time time.Duration) Change {
	return Change{fmt.Sprintf("first-%gs", time.Seconds()), fmt.Sprintf("the first %g s alone", time.Seconds()), first(time)}
}

// Begin begins the change of one capture: the same for the same seed, capture and
// devices, which are named as records name them.
func (c Change) Begin(seed int64, name string, devices []string) capture.Changer {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s", c.Name, name)
	s := &changer{random: rand.New(rand.NewPCG(uint64(seed), h.Sum64())), macs: map[flows.MAC]bool{}, addrs: map[netip.Addr]bool{}}
	for _, d := range devices {
		if mac, err := flows.ParseMAC(d); err == nil {
			s.macs[mac] = true
		} else if addr, err := netip.ParseAddr(strings.TrimPrefix(d, "ip:")); err == nil {
			s.addrs[addr] = true
		}
	}
	c.begin(s)
	return s
}

// changer is the change of one capture; a capture.Changer.
type changer struct {
	random *rand.Rand
	macs   map[flows.MAC]bool // of the devices
	addrs  map[netip.Addr]bool
	home   *home // nil: the same
	packet func(p pcap.Packet, give func(pcap.Packet))
}

var _ capture.Changer = (*changer)(nil)

// Device implements capture.Changer.
func (c *changer) Device(name string) string {
	if c.home == nil {
		return name
	}
	return c.home.device(name)
}

// Later implements capture.Changer.
func (c *changer) Later() int64 {
	if c.home == nil {
		return 0
	}
	return c.home.later.Microseconds()
}

// Packet implements capture.Changer.
func (c *changer) Packet(p pcap.Packet, give func(pcap.Packet)) { c.packet(p, give) }

// late passes over what the file has of the time after its first packet.
func late(by time.Duration) func(*changer) {
	return func(c *changer) {
		var first time.Time
		over := true // of a packet without a time: what the one before was
		c.packet = func(p pcap.Packet, give func(pcap.Packet)) {
			if p.Timed {
				if first.IsZero() {
					first = p.Time
				}
				over = p.Time.Sub(first) >= by
			}
			if over {
				give(p)
			}
		}
	}
}

// first passes over what is more than so long after the first packet that each of its
// devices sends, and over what is of none. Packets to a device that has sent none say
// nothing of when it came: a router asks for one that is gone.
func first(most time.Duration) func(*changer) {
	return func(c *changer) {
		begun := map[any]time.Time{} // by MAC or address of the device
		var parsed flows.Packet
		var now time.Time // of a packet without a time: that of the one before
		c.packet = func(p pcap.Packet, give func(pcap.Packet)) {
			flows.Parse(&parsed, flows.Link(p.Link), p.Data, p.Length)
			if p.Timed {
				now = p.Time
			}
			within := false
			note := func(of any, device, sends bool) {
				if !device {
					return
				}
				at, has := begun[of]
				if !has && sends {
					begun[of], at, has = now, now, true
				}
				within = within || !has || now.Sub(at) <= most
			}
			note(parsed.SrcMAC, c.macs[parsed.SrcMAC], true)
			note(parsed.DstMAC, c.macs[parsed.DstMAC], false)
			note(parsed.Src, c.addrs[parsed.Src], true)
			note(parsed.Dst, c.addrs[parsed.Dst], false)
			if within {
				give(p)
			}
		}
	}
}

// lost loses a share of packets.
func lost(share float64) func(*changer) {
	return func(c *changer) {
		c.packet = func(p pcap.Packet, give func(pcap.Packet)) {
			if c.random.Float64() >= share {
				give(p)
			}
		}
	}
}

// twice gives a share of packets a second time, at once.
func twice(share float64) func(*changer) {
	return func(c *changer) {
		c.packet = func(p pcap.Packet, give func(pcap.Packet)) {
			give(p)
			if c.random.Float64() < share {
				give(p)
			}
		}
	}
}

// way passes over what goes another way.
func way(goes func(c *changer, p *flows.Packet) bool) func(*changer) {
	return func(c *changer) {
		var parsed flows.Packet
		c.packet = func(p pcap.Packet, give func(pcap.Packet)) {
			flows.Parse(&parsed, flows.Link(p.Link), p.Data, p.Length)
			if goes(c, &parsed) {
				give(p)
			}
		}
	}
}

func (c *changer) sent(p *flows.Packet) bool     { return c.macs[p.SrcMAC] || c.addrs[p.Src] }
func (c *changer) received(p *flows.Packet) bool { return c.macs[p.DstMAC] || c.addrs[p.Dst] }
