package export

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/internal/testenv"
)

func TestParseCollector(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.1": "udp 10.0.0.1:4739", "nas:2055": "udp nas:2055", "udp://nas": "udp nas:4739", "tcp://nas": "tcp nas:4739", "tls://nas": "tls nas:4740",
		"tcp://[2001:db8::1]:99": "tcp [2001:db8::1]:99", "[2001:db8::1]": "udp [2001:db8::1]:4739",
		"2001:db8::1": "", "": "", ":4739": "", "nas:0": "", "nas:70000": "", "nas:many": "", "http://nas": "", "udp://nas/x": "", "tcp://": "",
	} {
		scheme, addr, err := parseCollector(text)
		if got := scheme + " " + addr; (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
}

// A text has its length before it, in one byte or three, and is cut between characters.
func TestAppendText(t *testing.T) {
	for _, c := range []struct {
		text, head string
		rest       int
	}{
		{"", "00", 0}, {"ü", "02", 2}, {strings.Repeat("x", 254), "fe", 254}, {strings.Repeat("x", 255), "ff00ff", 255}, {strings.Repeat("x", 400), "ff0190", 400},
		{strings.Repeat("x", 401), "ff0190", 400}, {"x" + strings.Repeat("ü", 300), "ff018f", 399}, {"a\xff\xfeb", "05", 5},
	} {
		b := appendText([]byte("before"), c.text)[len("before"):]
		head, text := b[:len(b)-c.rest], string(b[len(b)-c.rest:])
		if hex.EncodeToString(head) != c.head || text != strings.ToValidUTF8(text, "") || !strings.HasPrefix(strings.ToValidUTF8(c.text, "\uFFFD"), text) {
			t.Errorf("%.10q: %x, %q", c.text, head, text)
		}
	}
}

func until(t *testing.T, what string, true func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !true(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never came: " + what)
		}
	}
}

// nfcapd collects what send exports to it, and returns that as nfdump reads it.
func nfcapd(t *testing.T, send func(collector string)) (flows []map[string]any, said string) {
	t.Helper()
	capd, dump, dir := testenv.Tool(t, "nfcapd"), testenv.Tool(t, "nfdump"), t.TempDir()
	c := listen(t)
	port := c.LocalAddr().(*net.UDPAddr).Port
	c.Close()
	cmd := exec.Command(capd, "-b", "127.0.0.1", "-p", fmt.Sprint(port), "-w", dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	until(t, "nfcapd listens", func() bool { _, ok := testenv.UDPQueue(t, os.Getpid(), port); return ok })
	send(fmt.Sprintf("127.0.0.1:%d", port))
	until(t, "nfcapd has read all", func() bool {
		waiting, _ := testenv.UDPQueue(t, os.Getpid(), port)
		return strings.Trim(waiting, "0") == ""
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("nfcapd: %v\n%s", err, &out)
	}
	read := exec.Command(dump, "-R", dir, "-o", "json")
	read.Env = append(os.Environ(), "TZ=UTC")
	text, err := read.Output()
	if err != nil {
		t.Fatalf("nfdump: %v", err)
	}
	if err := json.Unmarshal(text, &flows); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	return flows, out.String()
}

// What another's collector writes down is what the records say.
func TestNfdump(t *testing.T) {
	list := append(records(), numbered(60)...)
	got, said := nfcapd(t, func(collector string) {
		e := open(t, Config{IPFIX: ipfix(collector)})
		for _, r := range list {
			e.Add(r)
		}
		e.Close(time.Minute)
		accounted(t, e, uint64(len(list)))
	})
	if len(got) != len(list) || !strings.Contains(said, "Sequence Errors: 0, Bad Packets: 0") {
		t.Fatalf("%d flows of %d\n%s", len(got), len(list), said)
	}
	for i, r := range list {
		f := got[i]
		want := []any{
			"2023-11-14T22:13:20.123", "2023-11-14T22:14:19.623", r.Proto, r.PacketsSent, r.BytesSent, r.Packets - r.PacketsSent, r.Bytes - r.BytesSent, 7,
			r.mac.String(), r.device, r.remote,
		}
		version := "4"
		if r.device.Is6() {
			version = "6"
		}
		fields := []string{"first", "last", "proto", "in_packets", "in_bytes", "out_packets", "out_bytes", "input_snmp", "in_src_mac", "src" + version + "_addr", "dst" + version + "_addr"}
		if r.Proto != 1 {
			want, fields = append(want, r.DevPort, r.RemPort), append(fields, "src_port", "dst_port")
		}
		for j, name := range fields {
			value := f[name]
			if n, ok := value.(float64); ok {
				value = uint64(n)
			}
			if fmt.Sprint(value) != fmt.Sprint(want[j]) && (name != "out_packets" || r.Packets > r.PacketsSent) { // it leaves out what is 0
				t.Errorf("flow %d: %s is %v, want %v", i, name, value, want[j])
			}
		}
	}
}

// messages are what an exporter sends of records, and no message is longer than may be.
func messages(t *testing.T, list []*Record) (all [][]byte) {
	t.Helper()
	c := listen(t)
	c.SetReadBuffer(1 << 20)
	e := open(t, Config{IPFIX: ipfix(c.LocalAddr().String())})
	for _, r := range list {
		e.Add(r)
	}
	e.Close(time.Minute)
	accounted(t, e, uint64(len(list)))
	c.SetReadDeadline(time.Now().Add(time.Minute))
	for sent := uint32(0); sent < uint32(len(list)+len(own)); {
		b := make([]byte, 65536)
		n, err := c.Read(b)
		if err != nil {
			t.Fatalf("%d messages: %v", len(all), err)
		}
		b = b[:n]
		if n > mostMTU-28 || int(binary.BigEndian.Uint16(b[2:])) != n || binary.BigEndian.Uint32(b[8:]) != sent || binary.BigEndian.Uint32(b[12:]) != DefaultDomain {
			t.Fatalf("message %d: %d bytes, header %x, %d records before", len(all), n, b[:headerSize], sent)
		}
		if len(all) == 0 {
			sent = uint32(len(own))
		} else {
			sent += recordsOf(t, b)
		}
		all = append(all, b)
	}
	return all
}

// recordsOf counts the records of a message by the device's MAC, which each of them has once.
func recordsOf(t *testing.T, b []byte) (n uint32) {
	t.Helper()
	for sets := b[headerSize:]; len(sets) > 0; {
		size := int(binary.BigEndian.Uint16(sets[2:]))
		if size < setHeader || size > len(sets) {
			t.Fatalf("set of %d bytes of %d", size, len(sets))
		}
		if id := binary.BigEndian.Uint16(sets); id != ofIPv4 && id != ofIPv6 {
			t.Fatalf("set %d", id)
		}
		n += uint32(bytes.Count(sets[:size], []byte{0x50, 0xc7, 0xbf, 0, 0}))
		sets = sets[size:]
	}
	return n
}

// Another's decoder reads the same from the messages, our own elements too.
func TestTshark(t *testing.T) {
	tool := testenv.Tool(t, "tshark")
	list := append(records(), numbered(50)...)
	list = slices.DeleteFunc(list, func(r *Record) bool { return r.mac.IsZero() }) // see recordsOf
	path := filepath.Join(t.TempDir(), "ipfix.pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := pcapgo.NewWriter(f)
	if err := w.WriteFileHeader(65536, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for _, m := range messages(t, list) {
		loopback := netip.MustParseAddr("127.0.0.1")
		frame := packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: packet.UDPProto, Src: loopback, Dst: loopback}, packet.UDP(40000, 4739, m)))
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Now(), CaptureLength: len(frame), Length: len(frame)}, frame); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	fields := []string{
		"cflow.srcport", "cflow.dstport", "cflow.octets", "cflow.packets", "cflow.flow_end_reason", "cflow.srcmac", "cflow.enterprise_private_entry", "cflow.information_element_name", "_ws.malformed",
	}
	args := []string{"-r", path, "-d", "udp.port==4739,cflow", "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=,"}
	for _, name := range fields {
		args = append(args, "-e", name)
	}
	out, err := exec.Command(tool, args...).Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	got := make([][]string, len(fields))
	for line := range strings.Lines(string(out)) {
		for i, values := range strings.Split(strings.TrimSuffix(line, "\n"), "\t") {
			if values != "" {
				got[i] = append(got[i], strings.Split(values, ",")...)
			}
		}
	}
	want, confidence := make([][]string, len(fields)), "\x3f\x60\x00\x00" // 0.875
	put := func(field int, value any) { want[field] = append(want[field], fmt.Sprint(value)) }
	for _, r := range list {
		put(0, max(0, r.DevPort))
		put(1, max(0, r.RemPort))
		put(2, r.BytesSent)
		put(2, r.Bytes-r.BytesSent)
		put(3, r.PacketsSent)
		put(3, r.Packets-r.PacketsSent)
		put(4, map[string]int{"active_timeout": 2, "forced_end": 4}[r.EndReason])
		put(5, r.mac)
		for _, text := range []*string{r.Device, r.Label, &confidence, (*string)(&r.State), r.Path, r.UserLabel} {
			if text != nil { // tshark leaves out what is empty
				put(6, hex.EncodeToString([]byte(strings.ToValidUTF8(*text, "\uFFFD"))))
			}
		}
	}
	for _, e := range own {
		put(7, e.name)
	}
	for i, name := range fields {
		if name == "cflow.enterprise_private_entry" {
			for j := range got[i] {
				got[i][j] = strings.ReplaceAll(got[i][j], ":", "")
			}
		}
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("%s:\n%.600v\nwant\n%.600v", name, got[i], want[i])
		}
	}
}

// A collector over TCP that is away keeps records waiting, and begins anew with each connection.
func TestCollectorAway(t *testing.T) {
	signed := httptest.NewTLSServer(nil)
	defer signed.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for scheme, listener := range map[string]func(net.Listener) net.Listener{
		"tcp": func(l net.Listener) net.Listener { return l },
		"tls": func(l net.Listener) net.Listener { return tls.NewListener(l, signed.TLS) },
	} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			addr := l.Addr().String()
			l.Close()
			cfg := ipfix(scheme + "://" + addr)
			if scheme == "tls" {
				cfg.CAFile = ca
			}
			e := open(t, Config{IPFIX: cfg})
			list := numbered(2)
			e.Add(list[0])
			until(t, "a failure", func() bool { return e.Stats().IPFIX.Failures > 0 })
			if l, err = net.Listen("tcp", addr); err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			l = listener(l)
			talk := func() {
				t.Helper()
				c, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				c.SetDeadline(time.Now().Add(time.Minute))
				for i, sequence := range []uint32{0, uint32(len(own))} {
					head := make([]byte, headerSize)
					if _, err := io.ReadFull(c, head); err != nil {
						t.Fatal(err)
					}
					if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint16(head[2:]))-headerSize); err != nil {
						t.Fatal(err)
					}
					if got := binary.BigEndian.Uint32(head[8:]); got != sequence {
						t.Errorf("message %d of the connection has the sequence number %d, want %d", i, got, sequence)
					}
				}
			}
			talk()
			failures := e.Stats().IPFIX.Failures
			until(t, "it is noticed that the connection is closed", func() bool {
				s := e.toIPFIX.way.(*session)
				s.mu.Lock()
				defer s.mu.Unlock()
				_, err := s.conn.Write(nil)
				return err != nil
			})
			e.Add(list[1])
			talk()
			e.Close(time.Minute)
			accounted(t, e, 2)
			if s := e.Stats().IPFIX; s.Sent != 2 || s.Failures <= failures {
				t.Errorf("%+v, of these %d failures before", s, failures)
			}
		})
	}
}

// Who signed a collector's certificate is read with each connection: the file may be changed.
func TestCollectorSignedAnew(t *testing.T) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	put := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(ca, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	signed := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	put(signed)
	cfg := ipfix("tls://" + s.Listener.Addr().String())
	cfg.CAFile = ca
	e := open(t, Config{IPFIX: cfg})
	put(nil)
	e.Add(records()[0])
	until(t, "nobody is trusted", func() bool { return e.Stats().IPFIX.Failures > 0 })
	put(signed)
	until(t, "it is sent", func() bool { return e.Stats().IPFIX.Sent == 1 })
}

// A collector that nobody runs costs no time and no memory over UDP, and is told of.
func TestNobodyListens(t *testing.T) {
	c := listen(t)
	addr := c.LocalAddr().String()
	c.Close()
	e := open(t, Config{IPFIX: ipfix(addr)})
	for i, r := range numbered(3) {
		e.Add(r)
		until(t, "it is sent", func() bool { return e.Stats().IPFIX.Sent == uint64(i+1) })
	}
	e.Close(time.Minute)
	if s := e.Stats().IPFIX; s.Failures == 0 {
		t.Errorf("%+v", s)
	}
	accounted(t, e, 3)
}

// Records go to another collector from one moment on, and each to one of the two.
func TestSetIPFIX(t *testing.T) {
	a, b := listen(t), listen(t)
	e := open(t, Config{IPFIX: ipfix(a.LocalAddr().String())})
	list := numbered(2)
	e.Add(list[0])
	if err := e.SetIPFIX(ipfix("nowhere:0")); err == nil {
		t.Error("a collector without a port is taken")
	}
	if err := e.SetIPFIX(ipfix(b.LocalAddr().String())); err != nil {
		t.Fatal(err)
	}
	e.Add(list[1])
	if err := e.SetIPFIX(IPFIX{}); err != nil || e.Sends() {
		t.Errorf("it sends to nobody: %v, %v", e.Sends(), err)
	}
	for i, c := range []*net.UDPConn{a, b} {
		if m := received(t, c, 2)[1]; !bytes.Contains(m, binary.BigEndian.AppendUint16(nil, uint16(1000+i))) {
			t.Errorf("collector %d got %x", i, m)
		}
	}
	e.Close(0)
	accounted(t, e, 2)
	if err := e.SetIPFIX(ipfix(a.LocalAddr().String())); err != nil || e.Sends() {
		t.Errorf("after the end: %v, %v", e.Sends(), err)
	}
}

// The page names each element, by its number.
func TestElementsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/EXPORT.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range slices.Concat(layouts[ofIPv4], layouts[ofIPv6]) {
		number := fmt.Sprint(e.id)
		switch e.enterprise {
		case reverse:
			number = fmt.Sprintf("%d/%d", reverse, e.id)
		case ours:
			number = fmt.Sprintf("E/%d", e.id)
		}
		named := slices.ContainsFunc(strings.Split(string(page), "\n"), func(line string) bool {
			cells := strings.Split(line, " | ")
			return len(cells) == 3 && strings.Contains(cells[0], "`"+e.name+"`") && slices.Contains(strings.Split(cells[1], ", "), number)
		})
		if !named {
			t.Errorf("docs/EXPORT.md does not say that `%s` is %s", e.name, number)
		}
	}
}
