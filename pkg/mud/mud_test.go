package mud

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/miekg/dns"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/capture"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/pcap"
)

// lint has yanglint look at files, by the modules of RFC 8520 and those that they import.
func lint(t *testing.T, files ...[]byte) {
	t.Helper()
	tool, dir := testenv.Tool(t, "yanglint"), t.TempDir()
	for i, text := range files {
		path := filepath.Join(dir, fmt.Sprint(i)+".json")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		const modules = "testdata/yang/"
		if out, err := exec.Command(tool, "-p", modules, "-f", "json", "-t", "data", modules+"ietf-mud.yang", modules+"ietf-acldns.yang", path).CombinedOutput(); err != nil {
			t.Errorf("%v: %s\n%s", err, out, text)
		}
	}
}

func written(t *testing.T, f *File) []byte {
	t.Helper()
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The linter finds what is wrong: else nothing that it passes is right.
func TestLintFindsFaults(t *testing.T) {
	tool := testenv.Tool(t, "yanglint")
	f, err := New(&v1.Peers{Device: "x", Peers: []v1.Peer{{Peer: "a\"b", IPVersion: 4, Proto: protoTCP, Port: 443}}}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.json")
	if err := os.WriteFile(path, written(t, f), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool, "-p", "testdata/yang", "-f", "json", "-t", "data", "testdata/yang/ietf-mud.yang", "testdata/yang/ietf-acldns.yang", path).CombinedOutput(); err == nil {
		t.Errorf("a name with a quote passes: %s", out)
	}
}

// Every packet that a device sent, and every one that belongs to what it sent, is allowed by
// the file that comes of its capture; and nothing is allowed that it did not send.
func TestCoversWhatADeviceDid(t *testing.T) {
	for _, kind := range lab.Kinds() {
		t.Run("lab "+kind, func(t *testing.T) {
			r, err := lab.Generate(kind, 0, 1, 10*time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			w := pcapgo.NewWriter(&b)
			if err := w.WriteFileHeader(1<<16, layers.LinkTypeEthernet); err != nil {
				t.Fatal(err)
			}
			for _, f := range r.Frames {
				if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: f.Time, CaptureLength: len(f.Data), Length: len(f.Data)}, f.Data); err != nil {
					t.Fatal(err)
				}
			}
			covers(t, b.Bytes(), r.Device.String())
		})
	}
	t.Run("devices", func(t *testing.T) {
		data := testenv.Data(t)
		manifest, err := os.ReadFile(filepath.Join(data, "manifest.csv"))
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for line := range strings.Lines(string(manifest)) {
			columns := strings.Split(line, ",") // capture, mac, label
			if label := columns[2]; label == "label" || seen[label] {
				continue
			}
			seen[columns[2]] = true
			t.Run(columns[2], func(t *testing.T) {
				text, err := os.ReadFile(filepath.Join(data, columns[0]))
				if err != nil {
					t.Fatal(err)
				}
				covers(t, text, columns[1])
			})
		}
	})
}

func covers(t *testing.T, text []byte, device string) {
	t.Helper()
	known := facts.NewCollector(0)
	if _, err := capture.ReadPackets(t.Context(), bytes.NewReader(text), capture.Config{Observe: known.Sample}, func(*flows.Record) {}); err != nil {
		t.Fatal(err)
	}
	peers := known.Peers(device)
	f, err := New(&peers, known.Of(device).Lines(device, nil), "https://example.org/it.json")
	if err != nil {
		t.Fatal(err)
	}
	file := written(t, f)
	lint(t, file)
	o := observe(t, text, device)
	needed := map[string]bool{}
	for _, p := range o.packets {
		entries := o.allow(f, &p)
		if entries == nil && o.done[p.flow()] && !t.Failed() { // else a stranger's try, or the refusal of it
			t.Errorf("%+v is not allowed", p)
		}
		for _, e := range entries {
			needed[e] = true
		}
	}
	for _, a := range f.ACLs.List {
		for _, e := range a.Entries.List {
			if strings.HasSuffix(e.Name, fromDevice) && !needed[a.Name+" "+e.Name] {
				t.Errorf("%s %s allows what was not sent: %+v", a.Name, e.Name, e.Matches)
			}
		}
	}
	if len(needed) == 0 || peers.LeftOut > 0 || t.Failed() {
		t.Errorf("%d packets, %d entries needed, %d left out\n%s", len(o.packets), len(needed), peers.LeftOut, file)
	}
}

// seen is a packet of a device, read by gopacket.
type seen struct {
	direction   string
	version     int
	proto       uint8
	peer        netip.Addr
	own, remote uint16
	ports       bool
	opens       bool // a connection
	tells       bool // it is more than a refusal or an acknowledgement
}

type conversation struct {
	proto       uint8
	peer        netip.Addr
	own, remote uint16
}

func (p *seen) flow() conversation { return conversation{p.proto, p.peer, p.own, p.remote} }

// observed are a device's packets, the names of its peers, and the flows in which it did something.
type observed struct {
	packets []seen
	names   map[netip.Addr][]string
	done    map[conversation]bool
	locals  *flows.Locals
}

func observe(t *testing.T, text []byte, device string) *observed {
	t.Helper()
	o := &observed{names: map[netip.Addr][]string{}, done: map[conversation]bool{}, locals: flows.NewLocals(nil)}
	r, err := pcap.NewReader(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return o
		}
		if err != nil {
			t.Fatal(err)
		}
		o.take(gopacket.NewPacket(bytes.Clone(p.Data), layers.LinkTypeEthernet, gopacket.Default), device)
	}
}

func (o *observed) take(p gopacket.Packet, device string) {
	link, ok := p.LinkLayer().(*layers.Ethernet)
	if !ok || link.SrcMAC.String() != device && link.DstMAC.String() != device || p.NetworkLayer() == nil || p.Layer(layers.LayerTypeIPv6Fragment) != nil {
		return
	}
	s := seen{direction: toDevice, tells: true}
	if link.SrcMAC.String() == device {
		s.direction = fromDevice
	}
	src, dst := p.NetworkLayer().NetworkFlow().Endpoints()
	if s.direction == fromDevice {
		src = dst
	}
	s.peer, _ = netip.AddrFromSlice(src.Raw())
	switch ip := p.NetworkLayer().(type) {
	case *layers.IPv4:
		if s.version, s.proto = 4, uint8(ip.Protocol); ip.FragOffset > 0 {
			return
		}
	case *layers.IPv6:
		if s.version, s.proto = 6, uint8(ip.NextHeader); p.Layer(layers.LayerTypeIPv6HopByHop) != nil {
			s.proto = uint8(p.Layer(layers.LayerTypeIPv6HopByHop).(*layers.IPv6HopByHop).NextHeader)
		}
	}
	switch l4 := p.TransportLayer().(type) {
	case *layers.TCP:
		s.ports, s.own, s.remote = true, uint16(l4.SrcPort), uint16(l4.DstPort)
		s.opens, s.tells = l4.SYN && !l4.ACK, l4.SYN || len(l4.Payload) > 0
	case *layers.UDP:
		s.ports, s.own, s.remote = true, uint16(l4.SrcPort), uint16(l4.DstPort)
		s.tells = len(l4.Payload) > 0
		o.answer(s.direction == toDevice && l4.SrcPort == 53, l4.Payload)
	}
	if s.direction == toDevice {
		s.own, s.remote = s.remote, s.own
	} else if s.tells {
		o.done[s.flow()] = true
	}
	o.packets = append(o.packets, s)
}

// answer notes which addresses a resolver gave for a name.
func (o *observed) answer(is bool, b []byte) {
	m := new(dns.Msg)
	if !is || m.Unpack(b) != nil || len(m.Question) == 0 {
		return
	}
	for _, r := range m.Answer {
		var a netip.Addr
		switch r := r.(type) {
		case *dns.A:
			a, _ = netip.AddrFromSlice(r.A.To4())
		case *dns.AAAA:
			a, _ = netip.AddrFromSlice(r.AAAA.To16())
		default:
			continue
		}
		o.names[a] = append(o.names[a], strings.ToLower(strings.TrimSuffix(m.Question[0].Name, ".")))
	}
}

// allow are the entries that allow a packet, as a controller would read the file.
func (o *observed) allow(f *File, p *seen) (entries []string) {
	policy := f.MUD.FromDevice
	if p.direction == toDevice {
		policy = f.MUD.ToDevice
	}
	for _, a := range f.ACLs.List {
		if !slices.Contains(policy.Lists.List, Named{a.Name}) || a.Type != fmt.Sprintf("ipv%d-acl-type", p.version) {
			continue
		}
		for _, e := range a.Entries.List {
			if e.Actions.Forwarding == "accept" && o.matches(&e.Matches, p) {
				entries = append(entries, a.Name+" "+e.Name)
			}
		}
	}
	return entries
}

func (o *observed) matches(m *Matches, p *seen) bool {
	ip, name, network := m.IPv4, "", ""
	if p.version == 6 {
		ip = m.IPv6
	}
	if ip == nil || ip.Protocol != p.proto || m.MUD != nil && !o.locals.IsLocal(p.peer) {
		return false
	}
	ports, own, remote := m.UDP, (*Port)(nil), (*Port)(nil)
	if p.proto == protoTCP {
		ports = m.TCP
	}
	if p.direction == fromDevice {
		name, network = ip.DestinationName, ip.Destination4+ip.Destination6
	} else {
		name, network = ip.SourceName, ip.Source4+ip.Source6
	}
	if name != "" && !slices.Contains(o.names[p.peer], name) || network != "" && !netip.MustParsePrefix(network).Contains(p.peer) || (m.MUD == nil) == (name+network == "") {
		return false
	}
	if ports == nil {
		return !p.ports
	}
	if own, remote = ports.Source, ports.Destination; p.direction == toDevice {
		own, remote = remote, own
	}
	is := func(want *Port, port uint16) bool {
		return want == nil || want.Operator == "eq" && want.Port == int32(port)
	}
	return p.ports && is(own, p.own) && is(remote, p.remote) && (!p.opens || ports.Initiated == p.direction)
}

// What a device hears from a group's members is allowed, as DHCP's answers: with their names
// and odd makers it is a file that can be read.
func TestHostile(t *testing.T) {
	by := v1.OpenedByDevice
	at := v1.UnixMicro(1e15)
	files := [][]byte{}
	for _, text := range []string{"a\"b\\c", "Küche & Söhne <b>", strings.Repeat("ü", 100), "\u202ex", "\x7f"} {
		known := facts.NewCollector(0)
		const device = "02:00:00:00:00:09"
		end := func(addr string, mac byte, port uint16) flows.End {
			e := flows.End{Addr: netip.MustParseAddr(addr), Port: port}
			if mac != 0 {
				e.MAC = flows.MAC{2, 0, 0, 0, 0, mac}
			}
			return e
		}
		take := func(sent bool, remote flows.End, payload []byte) {
			own := end("192.168.0.9", 9, 40000)
			known.Sample(device, sent, 1e15, &flows.Sample{Life: flows.Life{Key: flows.Key{A: own, B: remote, Proto: protoUDP, HasPorts: true}}, FromA: sent, Size: uint32(28 + len(payload)), Payload: payload})
		}
		name := text[:min(len(text), 60)]
		question := append([]byte{0, 1, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, byte(len(name))}, name...)
		question = append(question, 0, 0, 1, 0, 1)
		take(false, end("192.168.0.1", 1, 53), append(question, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 198, 51, 100, 7))
		take(true, end("198.51.100.7", 0, 9999), []byte("x"))
		take(true, end("239.255.255.250", 0, 1900), fmt.Appendf(nil, "<modelName>%s</modelName>", text))
		peers := known.Peers(device)
		if len(peers.Peers) != 2 || peers.Peers[0].Peer != "198.51.100.7/32" {
			t.Fatalf("%q: %+v", text, peers)
		}
		f, err := New(&peers, []v1.Fact{{Kind: "maker", Value: text, Source: "mac"}, {Kind: "upnp", Value: "modelName: " + text, Source: "sent"}}, "")
		if err != nil {
			t.Fatal(err)
		}
		if text != "\x7f" { // which no fact has
			files = append(files, written(t, f))
		}
	}
	ip := v1.Peers{Device: "ip:fe80::1", LeftOut: 3, Peers: []v1.Peer{{Peer: v1.LocalPeer, IPVersion: 6, Proto: protoUDP, Port: 123, OpenedBy: &by, Last: at}}}
	f, err := New(&ip, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	text := written(t, f)
	for _, want := range []string{clock, "as seen by iotsense, without 3 packets to more peers", `"last-update": "2001-09-09T01:46:40Z"`, `"mud-url": "https://mud.invalid/ipfe801.json"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	ip.LeftOut = math.MaxUint64 // which has more digits than there is room for
	if f, err = New(&ip, nil, ""); err != nil {
		t.Fatal(err)
	}
	lint(t, append(files, text, written(t, f))...)
	if _, err := New(&v1.Peers{Device: "x"}, nil, ""); err == nil {
		t.Error("a file of nothing")
	}
}
