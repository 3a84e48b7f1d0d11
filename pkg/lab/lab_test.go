package lab

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/iotsense/iotsense/pkg/flows"
)

const testLength = 90 * time.Second

// each runs a test for every kind.
func each(t *testing.T, f func(t *testing.T, kind string)) {
	t.Helper()
	for _, k := range Kinds() {
		t.Run(k, func(t *testing.T) { f(t, k) })
	}
}

func generate(t *testing.T, kind string, unit int, seed int64) Recording {
	t.Helper()
	c, err := Generate(kind, unit, seed, testLength)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// pcap is a capture's file form.
func pcap(t *testing.T, c Recording) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WritePCAP(&b, c); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestKindsAreManyAndDistinct(t *testing.T) {
	names := Kinds()
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	if got := len(slices.Compact(sorted)); got < 8 || got != len(names) {
		t.Errorf("%d distinct kinds of %d, want at least 8, all distinct", got, len(names))
	}
	if len(names)*unitLeases > leases {
		t.Errorf("%d kinds with %d leases each do not fit into %d", len(names), unitLeases, leases)
	}
}

func TestGenerateRefuses(t *testing.T) {
	tests := []struct {
		name, kind string
		unit       int
		length     time.Duration
		want       string
	}{
		{"unknown kind", "toaster", 0, time.Minute, "toaster"},
		{"negative unit", "hub", -1, time.Minute, "unit -1"},
		{"no length", "hub", 0, 0, "length 0s"},
		{"endless", "hub", 0, MaxLength + 1, "length 24h"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Generate(tt.kind, tt.unit, 1, tt.length)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one that says %q", err, tt.want)
			}
		})
	}
}

func TestGenerateIsRepeatable(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		for seed := range int64(3) {
			if a, b := pcap(t, generate(t, kind, 1, seed)), pcap(t, generate(t, kind, 1, seed)); !bytes.Equal(a, b) {
				t.Errorf("seed %d: two captures differ", seed)
			}
		}
	})
}

func TestUnitsAndSeedsDiffer(t *testing.T) {
	macs := map[flows.MAC]string{}
	each(t, func(t *testing.T, kind string) {
		a, b, again := generate(t, kind, 0, 7), generate(t, kind, 1, 7), generate(t, kind, 0, 8)
		if bytes.Equal(pcap(t, a), pcap(t, b)) || bytes.Equal(pcap(t, a), pcap(t, again)) {
			t.Error("another unit or seed gives the same capture")
		}
		if a.Device != again.Device {
			t.Errorf("unit 0 is %v with one seed and %v with another, want one MAC", a.Device, again.Device)
		}
		for _, c := range []Recording{a, b} {
			if c.Label != kind {
				t.Errorf("label %q, want %q", c.Label, kind)
			}
			if c.Device[0]&3 != 2 {
				t.Errorf("MAC %v is not a locally administered unicast address", c.Device)
			}
			if other, ok := macs[c.Device]; ok {
				t.Errorf("MAC %v belongs to %s too", c.Device, other)
			}
			if _, ok := c.Peers[c.Device]; ok {
				t.Errorf("MAC %v is a peer's too", c.Device)
			}
			macs[c.Device] = kind
		}
	})
}

// TestOneHomeOneLease: units made with one seed live in one subnet, each with an
// address of its own.
func TestOneHomeOneLease(t *testing.T) {
	leased := map[netip.Addr]string{}
	var home netip.Prefix
	for i, k := range kinds() {
		for unit := range unitLeases {
			h := newHome(3)
			d := newDevice(k, i, unit, h, powerOn(k, unit, h, testLength))
			d.begin(d.course.lives[0])
			if other, ok := leased[d.ip]; ok {
				t.Errorf("%s %d and %s share %v", k.name, unit, other, d.ip)
			}
			leased[d.ip] = k.name
			if home.IsValid() && !home.Contains(d.ip) {
				t.Errorf("%s %d has %v, outside of %v", k.name, unit, d.ip, home)
			}
			home = d.home.net
		}
	}
}

// TestFrames holds every frame of every kind against what the lab promises.
func TestFrames(t *testing.T) {
	public := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24")}
	each(t, func(t *testing.T, kind string) {
		for seed := range int64(3) {
			c := generate(t, kind, int(seed), seed)
			var last time.Time
			for i, f := range c.Frames {
				if !f.Time.After(last) || f.Time.Nanosecond()%1000 != 0 || f.Time.Sub(c.Frames[0].Time) > testLength {
					t.Fatalf("frame %d at %v after %v: want whole, ascending microseconds within the length", i, f.Time, last)
				}
				last = f.Time
				p := gopacket.NewPacket(f.Data, layers.LayerTypeEthernet, gopacket.Default)
				if e := p.ErrorLayer(); e != nil {
					t.Fatalf("frame %d: %v", i, e.Error())
				}
				eth := p.LinkLayer().(*layers.Ethernet)
				if (flows.MAC(eth.SrcMAC) == c.Device) != f.FromDevice {
					t.Fatalf("frame %d: FromDevice is %t, sent by %v, device %v", i, f.FromDevice, eth.SrcMAC, c.Device)
				}
				ip, ok := p.NetworkLayer().(*layers.IPv4)
				if !ok {
					continue
				}
				for _, b := range [][]byte{ip.SrcIP.To4(), ip.DstIP.To4()} {
					a := netip.AddrFrom4([4]byte(b))
					if a.IsPrivate() || a.IsMulticast() || a.IsUnspecified() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
						continue
					}
					if !slices.ContainsFunc(public, func(n netip.Prefix) bool { return n.Contains(a) }) {
						t.Fatalf("frame %d: %v is neither local nor a documentation address", i, a)
					}
				}
			}
		}
	})
}

// TestNamesComeFirst: no device talks to a public address that the resolver has
// not told it before, in this capture.
func TestNamesComeFirst(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		c := generate(t, kind, 0, 11)
		known, used := map[string]bool{}, 0
		for i, f := range c.Frames {
			p := gopacket.NewPacket(f.Data, layers.LayerTypeEthernet, gopacket.Default)
			if l, ok := p.Layer(layers.LayerTypeDNS).(*layers.DNS); ok {
				for _, a := range l.Answers {
					known[a.IP.String()] = true
				}
			}
			ip, ok := p.NetworkLayer().(*layers.IPv4)
			if !ok || !f.FromDevice || ip.DstIP.IsPrivate() || ip.DstIP.IsMulticast() || ip.DstIP.String() == "255.255.255.255" {
				continue
			}
			if used++; !known[ip.DstIP.String()] {
				t.Fatalf("frame %d goes to %v, which no answer named", i, ip.DstIP)
			}
		}
		if used == 0 {
			t.Error("the device sends nothing to a public address")
		}
	})
}

// TestFlows: each kind is worth classifying within 90 s, boots from 0.0.0.0 and
// stays one of many.
func TestFlows(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		for seed := range int64(8) {
			c := generate(t, kind, int(seed%3), seed)
			seen, boots := map[string]bool{}, false
			for _, f := range c.Frames {
				p := gopacket.NewPacket(f.Data, layers.LayerTypeEthernet, gopacket.Default)
				n := p.NetworkLayer()
				if n == nil {
					continue
				}
				a, b := n.NetworkFlow().Endpoints()
				boots = boots || a.String() == "0.0.0.0"
				ends := []string{a.String(), b.String()}
				if tr := p.TransportLayer(); tr != nil {
					sp, dp := tr.TransportFlow().Endpoints()
					ends[0] += ":" + sp.String()
					ends[1] += ":" + dp.String()
				}
				slices.Sort(ends)
				seen[strings.Join(ends, " ")] = true
			}
			if len(seen) < 8 || !boots {
				t.Errorf("seed %d: %d flows, boots from 0.0.0.0: %t; want at least 8 and true", seed, len(seen), boots)
			}
		}
	})
}
