package lab

// This file holds what runs over UDP beside DHCP, DNS and NTP: mDNS, SSDP, CoAP,
// RTP and the lab's two proprietary protocols.

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/miekg/dns"
	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
	"github.com/plgd-dev/go-coap/v3/udp/coder"
)

// service is one DNS-SD service (RFC 6763).
type service struct {
	typ      string // "_http._tcp"
	instance string
	port     uint16
	txt      []string
}

const (
	mdnsPort  = 5353
	mdnsFlush = 1 << 15 // cache-flush bit of a record in an answer (RFC 6762, section 10.2)
	mdnsQU    = 1 << 15 // unicast-response bit of a question (section 5.4)
)

// mdnsRecords are the records by which the device offers its services.
func (d *device) mdnsRecords(services []service) []dns.RR {
	local := d.hostname + ".local."
	flush := func(name string, t uint16, ttl uint32) dns.RR_Header {
		return dns.RR_Header{Name: name, Rrtype: t, Class: dns.ClassINET | mdnsFlush, Ttl: ttl}
	}
	rrs := []dns.RR{&dns.A{Hdr: flush(local, dns.TypeA, 120), A: net.IP(d.ip.AsSlice())}}
	if d.ip6.IsValid() {
		rrs = append(rrs, &dns.AAAA{Hdr: flush(local, dns.TypeAAAA, 120), AAAA: net.IP(d.ip6.AsSlice())})
	}
	for _, s := range services {
		typ := s.typ + ".local."
		name := strings.ReplaceAll(s.instance, " ", `\ `) + "." + typ
		txt := s.txt
		if len(txt) == 0 {
			txt = []string{""}
		}
		rrs = append(rrs,
			&dns.PTR{Hdr: header("_services._dns-sd._udp.local", dns.TypePTR, 4500), Ptr: typ},
			&dns.PTR{Hdr: header(typ, dns.TypePTR, 4500), Ptr: name},
			&dns.SRV{Hdr: flush(name, dns.TypeSRV, 120), Port: s.port, Target: local},
			&dns.TXT{Hdr: flush(name, dns.TypeTXT, 4500), Txt: txt})
	}
	return rrs
}

// multicastDNS sends a message to the mDNS groups the device can reach.
func (d *device) multicastDNS(at time.Duration, m *dns.Msg) {
	m.Compress = true
	b := d.pack(m)
	d.udp(at, d.host, group("224.0.0.251"), mdnsPort, mdnsPort, layers.IPv4{TTL: 255}, b)
	if d.ip6.IsValid() {
		d.udp(at+d.between(30*time.Microsecond, 300*time.Microsecond), d.host, group("ff02::fb"), mdnsPort, mdnsPort, layers.IPv4{}, b)
	}
}

// advertise probes for the device's names and announces its services (RFC 6762,
// section 8), and returns when it is done.
func (d *device) advertise(at time.Duration, services []service) time.Duration {
	records := d.mdnsRecords(services)
	probe := new(dns.Msg)
	probe.Question = []dns.Question{{Name: d.hostname + ".local.", Qtype: dns.TypeANY, Qclass: dns.ClassINET | mdnsQU}}
	claim := header(d.hostname+".local", dns.TypeA, 120)
	probe.Ns = []dns.RR{&dns.A{Hdr: claim, A: net.IP(d.ip.AsSlice())}}
	at += d.between(0, 250*time.Millisecond)
	for range 3 {
		d.multicastDNS(at, probe)
		at += 250*time.Millisecond + d.between(0, 10*time.Millisecond)
	}
	for range 2 {
		d.multicastDNS(at, &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}, Answer: records})
		at += time.Second + d.between(0, 30*time.Millisecond)
	}
	return at
}

// browse asks the home who offers a service.
func (d *device) browse(at time.Duration, types ...string) {
	q := new(dns.Msg)
	for _, t := range types {
		q.Question = append(q.Question, dns.Question{Name: t + ".local.", Qtype: dns.TypePTR, Qclass: dns.ClassINET})
	}
	d.multicastDNS(at, q)
}

// browsed is the phone asking for services and the device answering.
func (d *device) browsed(at time.Duration, services []service) {
	q := new(dns.Msg)
	q.Question = []dns.Question{{Name: services[0].typ + ".local.", Qtype: dns.TypePTR, Qclass: dns.ClassINET}}
	d.udp(at, d.home.phone, group("224.0.0.251"), mdnsPort, mdnsPort, layers.IPv4{TTL: 255}, d.pack(q))
	at += d.between(20*time.Millisecond, 120*time.Millisecond)
	d.multicastDNS(at, &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}, Answer: d.mdnsRecords(services[:1])})
}

// SSDP's group and port (UPnP Device Architecture 1.1, section 1).
const (
	ssdpGroup = "239.255.255.250"
	ssdpPort  = 1900
)

// ssdpText is an HTTP request over UDP (HTTPU).
func (d *device) ssdpText(method string, h map[string]string) []byte {
	r := &http.Request{Method: method, Host: ssdpGroup + ":1900", URL: &url.URL{Opaque: "*"}, Header: http.Header{"User-Agent": {""}}}
	for k, v := range h {
		r.Header[k] = []string{v}
	}
	return d.written("SSDP "+method, r.Write)
}

// notify announces UPnP devices and services, each twice as the standard advises.
func (d *device) notify(at time.Duration, location, software string, targets ...string) time.Duration {
	port := d.nextPort()
	for range 2 {
		for _, t := range append([]string{"upnp:rootdevice", "uuid:" + d.uuid}, targets...) {
			usn := "uuid:" + d.uuid
			if t != usn {
				usn += "::" + t
			}
			d.udp(at, d.host, group(ssdpGroup), port, ssdpPort, layers.IPv4{TTL: 2}, d.ssdpText("NOTIFY", map[string]string{
				"CACHE-CONTROL": "max-age=1800", "LOCATION": location, "NT": t, "NTS": "ssdp:alive", "SERVER": software, "USN": usn}))
			at += d.between(10*time.Millisecond, 120*time.Millisecond)
		}
		at += d.between(100*time.Millisecond, 600*time.Millisecond)
	}
	return at
}

// search looks for UPnP devices; the recorder may answer.
func (d *device) search(at time.Duration, target string, times int) {
	port := d.nextPort()
	for range times {
		d.udp(at, d.host, group(ssdpGroup), port, ssdpPort, layers.IPv4{TTL: 2}, d.ssdpText("M-SEARCH", map[string]string{
			"MAN": `"ssdp:discover"`, "MX": "3", "ST": target}))
		if d.chance(0.4) {
			d.ssdpAnswer(at+d.between(50*time.Millisecond, 800*time.Millisecond), d.home.recorder, d.host, port, target,
				"http://"+d.home.recorder.ip.String()+":8200/rootDesc.xml", "Linux/5.15 UPnP/1.0 MediaServer/1.3", newUUID(d.home.seed))
		}
		at += d.between(900*time.Millisecond, 1500*time.Millisecond)
	}
}

// newUUID is the recorder's: the same all over a home.
func newUUID(seed int64) string {
	return fmt.Sprintf("4d696e69-444c-164e-9d41-%012x", uint64(seed)&0xffffffffffff)
}

// searched is the phone looking for UPnP devices and the device answering.
func (d *device) searched(at time.Duration, target, location, software string) {
	port := uint16(32768 + d.rng.IntN(28000))
	d.udp(at, d.home.phone, group(ssdpGroup), port, ssdpPort, layers.IPv4{TTL: 2}, d.ssdpText("M-SEARCH", map[string]string{
		"MAN": `"ssdp:discover"`, "MX": "1", "ST": target}))
	d.ssdpAnswer(at+d.between(20*time.Millisecond, 900*time.Millisecond), d.host, d.home.phone, port, target, location, software, d.uuid)
}

func (d *device) ssdpAnswer(at time.Duration, from, to host, port uint16, target, location, software, uuid string) {
	r := &http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{
		"CACHE-CONTROL": {"max-age=1800"}, "EXT": {""}, "LOCATION": {location}, "SERVER": {software}, "ST": {target}, "USN": {"uuid:" + uuid + "::" + target}}}
	d.udp(at, from, to, ssdpPort, port, layers.IPv4{}, d.written("SSDP answer", r.Write))
}

// coapRequest is one CoAP exchange (RFC 7252).
type coapRequest struct {
	code    codes.Code
	path    string
	query   []string
	format  message.MediaType
	payload []byte
	answer  []byte
	status  codes.Code
}

// coapFlow is a CoAP endpoint pair that keeps its ports.
type coapFlow struct {
	d        *device
	from, to host
	port     uint16
	id       uint16
}

func (d *device) coap(from, to host, port uint16) *coapFlow {
	return &coapFlow{d: d, from: from, to: to, port: port, id: uint16(d.rng.Uint32())}
}

const coapPort = 5683

// exchange is a confirmable request and its piggybacked answer; it returns when
// the answer has arrived.
func (f *coapFlow) exchange(at time.Duration, q coapRequest) time.Duration {
	token := f.d.bytes(4)
	f.id++
	opts := message.Options{}
	for _, seg := range strings.Split(strings.Trim(q.path, "/"), "/") {
		opts = opts.Add(message.Option{ID: message.URIPath, Value: []byte(seg)})
	}
	if len(q.payload) > 0 {
		opts = opts.Add(message.Option{ID: message.ContentFormat, Value: mediaType(q.format)})
	}
	for _, s := range q.query {
		opts = opts.Add(message.Option{ID: message.URIQuery, Value: []byte(s)})
	}
	f.put(at, f.from, f.to, f.port, coapPort, message.Message{Type: message.Confirmable, Code: q.code, MessageID: int32(f.id),
		Token: token, Options: opts, Payload: q.payload})
	at += max(f.from.rtt, f.to.rtt) + f.d.between(2*time.Millisecond, 25*time.Millisecond)
	var answer message.Options
	if len(q.answer) > 0 {
		answer = answer.Add(message.Option{ID: message.ContentFormat, Value: mediaType(q.format)})
	}
	f.put(at, f.to, f.from, coapPort, f.port, message.Message{Type: message.Acknowledgement, Code: q.status, MessageID: int32(f.id),
		Token: token, Options: answer, Payload: q.answer})
	return at
}

// mediaType is a CoAP content format as an option value: no leading zeros.
func mediaType(m message.MediaType) []byte {
	if m == 0 {
		return nil
	}
	return bytes.TrimLeft(binary.BigEndian.AppendUint16(nil, uint16(m)), "\x00")
}

func (f *coapFlow) put(at time.Duration, from, to host, sport, dport uint16, m message.Message) {
	size, err := coder.DefaultCoder.Size(m)
	if f.d.failAs("CoAP message", err) {
		return
	}
	b := make([]byte, size)
	_, err = coder.DefaultCoder.Encode(m, b)
	f.d.failAs("CoAP message", err)
	f.d.udp(at, from, to, sport, dport, layers.IPv4{}, b)
}

// autokey is the XOR cipher of a common make of smart plug: each byte of the
// cipher text is the key of the next.
func autokey(plain string) []byte {
	out, key := []byte(plain), byte(171)
	for i := range out {
		out[i] ^= key
		key = out[i]
	}
	return out
}

// beacon is the lab's own binary protocol, spoken by vacuums: magic, length,
// device number, counter, a digest, and an encrypted body.
func (d *device) beacon(counter uint32, body int) []byte {
	b := []byte{0x4c, 0x42}
	b = binary.BigEndian.AppendUint16(b, uint16(28+body))
	b = append(b, d.mac[2:]...)
	b = binary.BigEndian.AppendUint32(b, counter)
	return append(b, d.bytes(16+body)...)
}

// rtp sends a stream of video over RTP (RFC 3550, payload type 96) for a while:
// frames of some packets, each frame an even time after the last.
func (d *device) rtp(at, until time.Duration, to host, sport, dport uint16, rate int) {
	seq, stamp, ssrc := uint16(d.rng.Uint32()), d.rng.Uint32(), d.rng.Uint32()
	interval := time.Second / time.Duration(rate)
	for n := 0; at < min(until, d.until); n++ {
		size := 300 + d.rng.IntN(1500)
		if n%(2*rate) == 0 {
			size += 6000 + d.rng.IntN(6000) // a key frame
		}
		t := at
		for size > 0 {
			part := min(size, 1388)
			size -= part
			b := []byte{0x80, 96}
			if size == 0 {
				b[1] |= 0x80 // last packet of the frame
			}
			b = binary.BigEndian.AppendUint16(b, seq)
			b = binary.BigEndian.AppendUint32(b, stamp)
			b = binary.BigEndian.AppendUint32(b, ssrc)
			d.udp(t, d.host, to, sport, dport, layers.IPv4{}, append(append(b, 0x7c, 0x85), d.bytes(part)...))
			seq++
			t += d.between(80*time.Microsecond, 300*time.Microsecond)
		}
		stamp += uint32(90000 / rate)
		at += interval + d.between(-interval/20, interval/20)
	}
}
