package facts

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
)

const hue = "00:17:88:24:76:ff"

// sample is a packet between a device's port and another's.
func sample(proto uint8, own, remote uint16, payload []byte) *flows.Sample {
	end := func(last byte, port uint16) flows.End {
		return flows.End{Addr: netip.AddrFrom4([4]byte{192, 168, 0, last}), Port: port}
	}
	return &flows.Sample{
		Life:  flows.Life{Key: flows.Key{A: end(1, own), B: end(2, remote), Proto: proto, HasPorts: true}},
		FromA: true, Payload: payload,
	}
}

// said are the facts of one sample without ports and maker: "kind value", with a mark if
// it was only heard.
func said(c *Collector, name string) (list []string) {
	for _, f := range c.Of(name).All() {
		switch f.Kind {
		case PortOpen, PortTo, Maker, MACKind:
			continue
		}
		text := f.Kind.String() + " " + f.Value
		if f.Source == Heard {
			text = "heard " + text
		}
		list = append(list, text)
	}
	return list
}

// check reports what of a set no input may break.
func check(t *testing.T, s *Set) {
	t.Helper()
	text := 0
	for _, f := range s.All() {
		text += len(f.Value)
		if len(f.Value) == 0 || len(f.Value) > MaxValue || !utf8.ValidString(f.Value) || strings.ContainsFunc(f.Value, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%v %q: want 1 to %d bytes of printable text", f.Kind, f.Value, MaxValue)
		}
		if f.First > f.Last || f.Count == 0 {
			t.Errorf("%+v: said %d times from %d to %d", f, f.Count, f.First, f.Last)
		}
	}
	if len(s.All()) > MaxFacts || text > maxText {
		t.Errorf("%d facts of %d bytes", len(s.All()), text)
	}
	for _, token := range Tokens(s.All()) {
		if !strings.Contains(token, ":") {
			t.Errorf("token %q has no kind", token)
		}
	}
}

// A set stays within its bounds, and one kind's flood does not take the others.
func TestSetBounds(t *testing.T) {
	var s Set
	s.add(DHCPHost, Sent, []byte("host"), 1)
	for i := range 1000 {
		s.add(DNSName, Sent, fmt.Appendf(nil, "%d.example", i), int64(2+i))
	}
	check(t, &s)
	if all := s.All(); len(all) != MaxFacts || all[0].Value != "host" || all[1].Value != "937.example" {
		t.Errorf("%d facts, the first two %+v", len(all), all[:2])
	}
	for i := range 1000 {
		s.add(MDNSTXT, Sent, []byte(fmt.Sprintf("%04d", i)+strings.Repeat("x", MaxValue-4)), int64(2000+i))
	}
	check(t, &s)
	if all := s.All(); all[0].Value != "host" {
		t.Errorf("the host name went for %v", all[0])
	}
	counted := 0
	for _, f := range s.facts {
		counted += allocated(len(f.Value))
	}
	if s.text != counted {
		t.Errorf("%d bytes of text counted, want %d", s.text, counted)
	}
}

// A device that says all it can, to whom it can, takes no more than 18 KB.
func TestMemory(t *testing.T) {
	const devices = 512
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	c := NewCollector(devices)
	c.Sample("ip:10.0.0.1", true, 1, sample(protoUDP, 1, 2, nil))
	answers := make([]*flows.Sample, 300)
	for j := range answers {
		answers[j] = reply(t, fmt.Sprintf("%d.x%s.example", j, strings.Repeat("h", j%60)), fmt.Sprintf("203.0.113.%d", j%256))
	}
	before := heap()
	for i := range devices {
		name := fmt.Sprintf("02:00:00:00:%02x:%02x", i>>8, i&255)
		for j := range 300 {
			c.Sample(name, false, int64(j), answers[j])
			c.Sample(name, true, int64(j), packet(0, protoUDP, 40000, flows.End{Addr: netip.AddrFrom4([4]byte{203, 0, 113, byte(j)})}, 123, "x"))
			request := fmt.Appendf(nil, "GET / HTTP/1.1\r\nHost: %d.%s\r\nUser-Agent: %d.%s\r\n\r\n", j, strings.Repeat("h", j%130), j, strings.Repeat("a", 120))
			c.Sample(name, true, int64(j), sample(protoTCP, uint16(40000+j), uint16(j), request))
		}
	}
	each := (heap() - before) / devices
	if each > 18<<10 {
		t.Errorf("%d bytes a device", each)
	}
	t.Logf("%d bytes a device", each)
	runtime.KeepAlive(c)
}

// A sample says no more than a set holds: what is beyond is counted and costs nothing.
func TestSampleBounds(t *testing.T) {
	text := []byte("<Action>x</Action><Types>")
	for i := range 300 {
		text = append(text, 'a'+byte(i%26), 'a'+byte(i/26), ' ')
	}
	c := NewCollector(0)
	c.Sample(hue, true, 1, sample(protoUDP, 3702, 40000, append(text, "</Types>"...)))
	list := said(c, hue) // and its maker and a port, for which two had to go
	if want := "wsd x " + string([]byte{'a' + 63%26, 'a' + 63/26}); len(list) != MaxFacts-2 || list[len(list)-1] != want {
		t.Errorf("%d facts, the last is %s, want %d to %s", len(list), list[len(list)-1], MaxFacts-2, want)
	}
	if got, want := c.Stats().Dropped, uint64(300-len(list)); got != want {
		t.Errorf("%d facts dropped, want %d", got, want)
	}
}

// What is said again is counted, and its times are those of the first and the last
// packet, whatever the order they came in.
func TestSetAgain(t *testing.T) {
	var s Set
	for _, at := range []int64{5, 9, 2} {
		s.add(DNSName, Sent, []byte("a.example"), at)
	}
	s.add(DNSName, Sent, []byte("b.example"), 4)
	s.add(HTTPServer, Heard, []byte("nginx"), 4)
	want := []Fact{
		{DNSName, Sent, 3, "a.example", 2, 9},
		{DNSName, Sent, 1, "b.example", 4, 4},
		{HTTPServer, Heard, 1, "nginx", 4, 4},
	}
	if d := cmp.Diff(want, s.All()); d != "" {
		t.Error(d)
	}
	var v v1.Verdict
	if s.Tell(&v); !maps.Equal(v.Facts, v1.Facts{"dns": "a.example"}) || v.Vendor != nil {
		t.Errorf("tells %v, vendor %v", v.Facts, v.Vendor)
	}
	s.add(Maker, Link, []byte("Acme"), 1)
	if s.Tell(&v); v.Vendor == nil || *v.Vendor != "Acme" || v.Facts["maker"] != "Acme" {
		t.Errorf("tells %v, vendor %v", v.Facts, v.Vendor)
	}
	file := "a.pcap"
	lines := s.Lines("x", &file)
	if len(lines) != 4 || lines[0].Kind != "maker" || lines[0].Source != "mac" || *lines[3].Capture != file || lines[3].Source != "heard" {
		t.Errorf("lines %+v", lines)
	}
	var none *Set
	if none.Tell(&v); len(v.Facts) != 0 || len(none.Lines("x", nil)) != 0 {
		t.Error("nothing known, something told")
	}
}

func TestCollectorMaker(t *testing.T) {
	c := NewCollector(0)
	for name, want := range map[string]string{
		hue:                 "maker Philips Lighting",
		"da:a1:19:01:02:03": "mac random",
		"ff:ff:fe:01:02:03": "mac random",
		"00:00:0e:ff:ff:ff": "maker FUJITSU",
		"fc:ff:ff:01:02:03": "mac unlisted",
		"ip:10.0.0.1":       "",
	} {
		c.Sample(name, true, 1, sample(protoUDP, 1, 2, nil))
		got := ""
		for _, f := range c.Of(name).All() {
			got += f.Kind.String() + " " + f.Value
		}
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// The device that was silent longest is forgotten first.
func TestCollectorLimit(t *testing.T) {
	c := NewCollector(2)
	hear := func(name string) { c.Sample(name, true, 1, sample(protoUDP, 1, 2, []byte("x"))) }
	hear("ip:10.0.0.1")
	hear("ip:10.0.0.2")
	hear("ip:10.0.0.1")
	hear("ip:10.0.0.3")
	var names []string
	for name := range c.Each {
		names = append(names, name)
	}
	if want := []string{"ip:10.0.0.3", "ip:10.0.0.1"}; !slices.Equal(names, want) {
		t.Errorf("knows %v, want %v", names, want)
	}
	if got, want := c.Stats(), (v1.FactStats{Forgotten: 1}); c.Forgotten() != 1 || got != want {
		t.Errorf("%d forgotten, %+v, want %+v", c.Forgotten(), got, want)
	}
	for port := range uint16(MaxFacts + 10) {
		c.Sample("ip:10.0.0.1", true, 1, sample(protoUDP, 20_000, port, []byte("x")))
	}
	if got := c.Stats().Dropped; got != 11 { // it had one
		t.Errorf("%d facts dropped, want 11", got)
	}
	c.Forget("ip:10.0.0.3")
	if c.Of("ip:10.0.0.3") != nil || c.Of("ip:10.0.0.1") == nil {
		t.Error("forgot the wrong one")
	}
	c.Forget("ip:10.0.0.3")
}

// Devices that are spared go when there are no others: a flood of new ones does not take
// what is known of them.
func TestCollectorSpares(t *testing.T) {
	c := NewCollector(4)
	spared := map[string]bool{"known": true, "known too": true}
	c.Spare(func(name string) bool { return spared[name] })
	hear := func(names ...string) {
		for _, name := range names {
			c.Sample(name, true, 1, sample(protoUDP, 1, 2, []byte("x")))
		}
	}
	knows := func(want ...string) {
		t.Helper()
		var names []string
		for name := range c.Each {
			names = append(names, name)
		}
		slices.Sort(names)
		if slices.Sort(want); !slices.Equal(names, want) {
			t.Errorf("knows %v, want %v", names, want)
		}
	}
	hear("known", "known too")
	for i := range 100 {
		hear(fmt.Sprint(i))
	}
	knows("known", "known too", "98", "99")
	spared["known"] = false
	hear("known", "a", "b", "c")
	knows("known too", "a", "b", "c")
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		spared[name] = true
	}
	hear("d", "e") // all are spared: the longest silent goes
	if c.Of("e") == nil || len(c.devices) != 4 || c.recent.Len()+c.spared.Len() != 4 {
		t.Errorf("%d devices, %d and %d in lists", len(c.devices), c.recent.Len(), c.spared.Len())
	}
	c.Forget("e")
	for name := range c.devices {
		c.Forget(name)
	}
	knows()
}

// Ports are of what was sent, with payload.
func TestPorts(t *testing.T) {
	c := NewCollector(0)
	c.Sample("ip:10.0.0.1", true, 1, sample(protoTCP, 49152, 443, nil))
	c.Sample("ip:10.0.0.1", true, 1, sample(protoTCP, 49152, 8883, []byte("x")))
	c.Sample("ip:10.0.0.1", true, 1, sample(protoUDP, 123, 123, []byte("x")))
	c.Sample("ip:10.0.0.1", true, 1, sample(protoTCP, 80, 50000, []byte("x")))
	received := sample(protoTCP, 22, 50000, []byte("x"))
	c.Sample("ip:10.0.0.1", false, 1, received) // sent by A: the device is B
	icmp := sample(1, 0, 0, []byte("x"))
	icmp.Life.Key.HasPorts = false
	c.Sample("ip:10.0.0.1", true, 1, icmp)
	var got []string
	for _, f := range c.Of("ip:10.0.0.1").All() {
		got = append(got, f.Kind.String()+" "+f.Value)
	}
	if d := cmp.Diff([]string{"port_to tcp/8883", "port_to udp/123", "port_open tcp/80"}, got); d != "" {
		t.Error(d)
	}
}

// What a shorter prefix than usual cuts, or a capture's, is not malformed.
func TestCut(t *testing.T) {
	query := []byte("\xab\xcd\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x03com\x00\x00\x01\x00\x01")
	v6 := netip.MustParseAddr("fe80::1")
	for _, tt := range []struct {
		name   string
		proto  uint8
		addr   netip.Addr
		header uint32 // of IP and the transport
	}{
		{"udp", protoUDP, netip.Addr{}, 28},
		{"udp over IPv6", protoUDP, v6, 48},
		{"tcp", protoTCP, netip.Addr{}, 52},
		{"tcp over IPv6", protoTCP, v6, 72},
	} {
		message := query
		if tt.proto == protoTCP {
			message = append([]byte{0, byte(len(query))}, query...)
		}
		for missing, want := range []Tally{{Malformed: 1}, {Cut: 1}} {
			c := NewCollector(0)
			s := sample(tt.proto, 40000, 53, message[:20])
			if s.Size = tt.header + 20 + uint32(missing); tt.addr.IsValid() {
				s.Life.Key.A.Addr = tt.addr
			}
			if c.Sample(hue, true, 1, s); c.Tally(DNS) != want {
				t.Errorf("%s, %d bytes missing: %+v, want %+v", tt.name, missing, c.Tally(DNS), want)
			}
		}
	}
}

func TestText(t *testing.T) {
	long := strings.Repeat("ä", 100)
	for value, want := range map[string]string{
		"plain":                  "plain",
		"  two  words\r\n":       "two words",
		"a\x00b\xffc":            "a b c",
		"\x00\x01":               "",
		"Küche \u202e1":          "Küche 1",
		long:                     long[:MaxValue],
		strings.Repeat("x", 200): strings.Repeat("x", MaxValue),
	} {
		var v voice
		if got := string(v.clean([]byte(value))); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

// Names of kinds and sources are public.
func TestKindNames(t *testing.T) {
	seen := map[string]bool{}
	for k := range kindCount {
		text, err := json.Marshal(k)
		var back Kind
		if err != nil || json.Unmarshal(text, &back) != nil || back != k || k.String() == "" || seen[k.String()] {
			t.Errorf("%d is %s, back %d, %v", k, text, back, err)
		}
		seen[k.String()] = true
	}
	var k Kind
	if err := k.UnmarshalText([]byte("nothing")); err == nil {
		t.Error("a kind called nothing")
	}
	if text, err := json.Marshal([]Source{Link, Sent, Heard}); err != nil || string(text) != `["mac","sent","heard"]` {
		t.Errorf("%s, %v", text, err)
	}
}

// What was heard before the clock was set back is no news of later; what another clock told stays.
func TestClockSet(t *testing.T) {
	const hour = 3600e6
	c := NewCollector(0)
	c.Restore(hue, []Fact{{Kind: DHCPHost, Source: Sent, Value: "restored", First: 1, Last: 1}})
	c.Sample(hue, true, 100*hour, sample(protoUDP, 68, 67, dhcp4(t, option(12, "hue"))))
	before, _ := c.Kept(hue)
	c.ClockSet(99*hour, 101*hour, -50*hour)
	after, list := c.Kept(hue)
	for i, f := range list {
		want := int64(50 * hour)
		if i == 0 {
			want = 1
		}
		if f.First != want || f.Last != want {
			t.Errorf("%+v, want times of %d", f, want)
		}
	}
	if heard := c.Of(hue).By(51 * hour); len(heard) != len(c.Of(hue).All()) || len(heard) < 3 {
		t.Errorf("heard by then: %v", heard)
	}
	if before == after {
		t.Error("it is not kept")
	}
}
