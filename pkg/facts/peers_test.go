package facts

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/iotsense/iotsense/pkg/flows"
)

var (
	gateway = flows.End{Addr: netip.MustParseAddr("192.168.0.1"), MAC: flows.MAC{2, 0, 0, 0, 0, 1}}
	cloud   = flows.End{Addr: netip.MustParseAddr("198.51.100.7")}
	cloud6  = flows.End{Addr: netip.MustParseAddr("2001:db8::7")}
)

// packet is a sample between the device's port and another end's; syn is a segment that has
// so many bytes of options and no payload.
func packet(index uint8, proto uint8, own uint16, remote flows.End, port uint16, payload string) *flows.Sample {
	me := flows.End{Addr: netip.MustParseAddr("192.168.0.9"), MAC: flows.MAC{2, 0, 0, 0, 0, 9}, Port: own}
	header := 28
	if remote.Addr.Is6() {
		me.Addr, header = netip.MustParseAddr("fe80::9"), 48
	}
	if proto == protoTCP {
		header += 12
	}
	remote.Port = port
	return &flows.Sample{
		Life: flows.Life{Key: flows.Key{A: me, B: remote, Proto: proto, HasPorts: own != 0}}, Index: index, FromA: true,
		Size: uint32(header + len(payload)), Payload: []byte(payload),
	}
}

func syn(index uint8, own uint16, remote flows.End, port uint16, options uint32) *flows.Sample {
	s := packet(index, protoTCP, own, remote, port, "")
	s.Size += options
	return s
}

// reply is an answer of DNS that calls addresses by the name that was asked for.
func reply(t testing.TB, name string, addrs ...string) *flows.Sample {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), dns.TypeA)
	m.Response = true
	m.Answer = append(m.Answer, &dns.CNAME{Hdr: dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.TypeCNAME, Class: dns.ClassINET}, Target: "cdn.example."})
	for _, a := range addrs {
		if addr := netip.MustParseAddr(a); addr.Is4() {
			m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: "cdn.example.", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: addr.AsSlice()})
		} else {
			m.Answer = append(m.Answer, &dns.AAAA{Hdr: dns.RR_Header{Name: "cdn.example.", Rrtype: dns.TypeAAAA, Class: dns.ClassINET}, AAAA: addr.AsSlice()})
		}
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	s := packet(1, protoUDP, 40000, gateway, 53, string(b))
	s.FromA = false
	return s
}

func talks(c *Collector) (list []string) {
	for _, p := range c.Peers(hue).Peers {
		by := "nobody"
		if p.OpenedBy != nil {
			by = *p.OpenedBy
		}
		list = append(list, fmt.Sprintf("%s v%d %d/%d by %s %d", p.Peer, p.IPVersion, p.Proto, p.Port, by, p.Count))
	}
	return list
}

// With whom a device talks, by which service, and who begins.
func TestPeers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		told   []*flows.Sample
		sent   []*flows.Sample
		wanted []string
	}{
		{"the name that was asked for", []*flows.Sample{reply(t, "Api.Example.COM", "198.51.100.7", "2001:db8::7")},
			[]*flows.Sample{syn(0, 50000, cloud, 443, 20), syn(0, 50001, cloud6, 443, 20)},
			[]string{"api.example.com v4 6/443 by device 1", "api.example.com v6 6/443 by device 1"}},
		{"an address, when nobody asked", nil, []*flows.Sample{syn(0, 50000, cloud, 443, 4)}, []string{"198.51.100.7/32 v4 6/443 by device 1"}},
		{"the newest name", []*flows.Sample{reply(t, "a.example", "198.51.100.7"), reply(t, "b.example", "198.51.100.7")},
			[]*flows.Sample{packet(0, protoUDP, 50000, cloud, 123, "x")}, []string{"b.example v4 17/123 by device 1"}},
		{"whoever is of the house", nil,
			[]*flows.Sample{packet(0, protoUDP, 40000, gateway, 53, "x"), packet(0, protoUDP, 40001, flows.End{Addr: netip.MustParseAddr("192.168.0.255"), MAC: flows.MAC{255, 255, 255, 255, 255, 255}}, 53, "x")},
			[]string{"local v4 17/53 by device 2"}},
		{"groups", []*flows.Sample{reply(t, "evil.example", "224.0.0.251")},
			[]*flows.Sample{packet(0, protoUDP, 5353, flows.End{Addr: netip.MustParseAddr("224.0.0.251")}, 5353, "x"), packet(0, 58, 0, flows.End{Addr: netip.MustParseAddr("ff02::1:ff12:3456")}, 0, "x"), packet(0, 58, 0, flows.End{Addr: netip.MustParseAddr("ff02::1:ff99:1")}, 0, "x")},
			[]string{"224.0.0.251/32 v4 17/5353 by device 1", "ff02::1:ff00:0/104 v6 58/-1 by nobody 2"}},
		{"it answers a connection", nil, []*flows.Sample{syn(1, 80, gateway, 1025, 12), syn(1, 8080, gateway, 50000, 4), packet(3, protoTCP, 8080, gateway, 50000, "x")}, []string{"local v4 6/80 by peer 1", "local v4 6/8080 by peer 2"}},
		{"an opening with few options", nil, []*flows.Sample{syn(0, 1030, cloud, 8443, 12)}, []string{"198.51.100.7/32 v4 6/8443 by device 1"}},
		{"lives in the middle of a connection", nil,
			[]*flows.Sample{syn(0, 1030, cloud, 8443, 20), packet(1, protoTCP, 1030, cloud, 8443, "x"), packet(0, protoTCP, 1030, cloud, 8443, "y")}, []string{"198.51.100.7/32 v4 6/8443 by device 3"}},
		{"begun before it was watched", nil, []*flows.Sample{packet(4, protoTCP, 443, gateway, 50000, "x"), packet(4, protoTCP, 50000, cloud, 443, "x")},
			[]string{"198.51.100.7/32 v4 6/443 by device 1", "local v4 6/443 by peer 1"}},
		{"refusals, acknowledgements and fragments", nil, []*flows.Sample{syn(1, 22, gateway, 50000, 0), syn(3, 23, gateway, 50000, 12), packet(0, protoUDP, 0, cloud, 0, "x")}, nil},
	} {
		c := NewCollector(0)
		for i, s := range tt.told {
			c.Sample(hue, false, int64(i), s)
		}
		for i, s := range tt.sent {
			c.Sample(hue, true, int64(i), s)
		}
		if d := cmp.Diff(tt.wanted, talks(c)); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
}

// What a device did not answer is not what it does.
func TestPeersUnanswered(t *testing.T) {
	c := NewCollector(0)
	s := packet(0, protoUDP, 5000, gateway, 50000, "hello")
	s.FromA = false
	c.Sample(hue, false, 1, s)
	if list := talks(c); list != nil {
		t.Errorf("%q", list)
	}
}

// What is kept of a device is bounded, and it says how much it is without; who is forgotten
// leaves nothing.
func TestPeersBounds(t *testing.T) {
	c := NewCollector(0)
	const more = 6
	for i := range MaxPeers + more {
		c.Sample(hue, true, int64(i), packet(0, protoUDP, 50000, cloud, uint16(1000+i), "x"))
	}
	if p := c.Peers(hue); len(p.Peers) != MaxPeers || p.LeftOut != more || p.Peers[0].Port != 1000 {
		t.Errorf("%d peers, without %d", len(p.Peers), p.LeftOut)
	}
	for i := range 2 * maxAnswers {
		c.Sample(hue, false, 1, reply(t, fmt.Sprintf("n%d.example", i), fmt.Sprintf("198.51.100.%d", i)))
	}
	d := c.device(hue, 1)
	if n := len(d.peers.answers); n != maxAnswers || d.peers.answers[0].name != fmt.Sprintf("n%d.example", maxAnswers) {
		t.Errorf("%d answers from %s", n, d.peers.answers[0].name)
	}
	long := strings.Repeat("a", 45) + "." + strings.Repeat("b", 45) + ".x"
	c = NewCollector(0)
	for i := range MaxPeers {
		c.Sample(hue, false, 1, reply(t, fmt.Sprintf("%03d%s", i, long), "198.51.100.7"))
		for range 2 {
			c.Sample(hue, true, 1, packet(0, protoUDP, 50000, cloud, 123, "x"))
		}
	}
	p := c.Peers(hue)
	want := maxPeerNames / (len(long) + 3)
	if len(p.Peers) != want || p.LeftOut != uint64(2*(MaxPeers-want)) {
		t.Errorf("%d long names, without %d; want %d", len(p.Peers), p.LeftOut, want)
	}
	c.Forget(hue)
	if p := c.Peers(hue); len(p.Peers) != 0 || p.LeftOut != 0 {
		t.Errorf("%+v is left", p)
	}
}

// Only what can be a host's name is one: others would make a profile that nobody can read, or
// that means another.
func TestHostName(t *testing.T) {
	for name, want := range map[string]string{
		"WWW.Example.com": "www.example.com", "_sip._tcp.example.com": "_sip._tcp.example.com", "localhost": "localhost", "local": "", "xn--bcher-kva.example": "xn--bcher-kva.example",
		"": "", "a..b": "", ".": "", "-a.b": "", "a-.b": "", "a_.b": "", "192.0.2.1": "", "a b": "", "a\"b": "", "a\x00b": "", "b\u00fccher.example": "", "\xff.example": "", "a*b": "",
		strings.Repeat("a", 64) + ".b": "", strings.Repeat("a.", 64) + "b": "",
	} {
		if got, ok := hostName([]byte(name)); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", name, got, ok)
		}
	}
}

// What is kept beyond the process is what was known, and goes on from there; what was not
// written by it is left out.
func TestPeersKept(t *testing.T) {
	c := NewCollector(0)
	c.Sample(hue, false, 1, reply(t, "api.example.com", "198.51.100.7", "2001:db8::7"))
	for i, s := range []*flows.Sample{
		syn(0, 50000, cloud, 443, 20), syn(0, 50000, cloud6, 443, 20), packet(0, 58, 0, flows.End{Addr: netip.MustParseAddr("ff02::1:ff12:3456")}, 0, "x"),
		packet(0, protoUDP, 1900, gateway, 50000, "x"), packet(0, protoUDP, 50000, flows.End{Addr: netip.MustParseAddr("203.0.113.9")}, 123, "x"),
	} {
		c.Sample(hue, true, int64(i), s)
	}
	before, list := c.Kept(hue)
	for _, f := range list {
		if len(f.Value) > MaxValue {
			t.Errorf("%q has %d bytes", f.Value, len(f.Value))
		}
	}
	for _, odd := range []string{"", "4 6/443 device", "4 6/443 device local.", "4 6/443 device a b", "5 6/443 device local", "4 6/99999 device local", "4 6/-2 - local", "4 6/443 else local", "4 6/443 device 192.0.2.1/24"} {
		list = append(list, Fact{Kind: PeerKind, Source: Sent, Value: odd, Count: 1})
	}
	next := NewCollector(0)
	next.Restore(hue, append(list, list...))
	if d := cmp.Diff(c.Peers(hue), next.Peers(hue)); d != "" || len(next.Peers(hue).Peers) != 5 {
		t.Error(d)
	}
	if set := next.Of(hue).All(); len(set) == 0 || slices.ContainsFunc(set, func(f Fact) bool { return f.Kind == PeerKind }) {
		t.Errorf("%+v", set)
	}
	c.Sample(hue, true, 9, packet(0, protoUDP, 50000, gateway, 53, "x"))
	if after, _ := c.Kept(hue); after == before {
		t.Error("another peer is no change")
	}
	if changes, list := c.Kept("02:00:00:00:00:99"); changes != 0 || list != nil {
		t.Errorf("%d, %v of nobody", changes, list)
	}
}

func FuzzKeptPeer(f *testing.F) {
	f.Add("4 6/443 device api.example.com")
	f.Add("6 58/-1 - ff02::1:ff00:0/104")
	f.Fuzz(func(t *testing.T, value string) {
		if n, ok := readPeer(&Fact{Kind: PeerKind, Value: value}); ok && (n.port < -1 || n.name != "" && n.addr.IsValid()) {
			t.Errorf("%q is %+v", value, n)
		}
	})
}

func FuzzDNSAnswer(f *testing.F) {
	f.Add(reply(f, "api.example.com", "198.51.100.7", "2001:db8::7").Payload)
	f.Add(reply(f, `a\"\000b.example`, "198.51.100.7").Payload)
	f.Fuzz(func(t *testing.T, b []byte) {
		c := NewCollector(0)
		for _, proto := range []uint8{protoUDP, protoTCP} {
			s := packet(0, proto, 40000, gateway, 53, string(b))
			c.Sample(hue, false, 1, s)
		}
		for _, a := range c.device(hue, 1).peers.answers {
			if name, ok := hostName([]byte(a.name)); !ok || name != a.name || slices.Contains([]byte(a.name), '"') || !a.addr.IsValid() {
				t.Errorf("%q has %v", a.name, a.addr)
			}
		}
	})
}
