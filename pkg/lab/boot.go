package lab

// This file holds what every device does between power-on and its first
// connection: DHCP, ARP, multicast groups, IPv6, names and the time.

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/miekg/dns"
)

// boot takes the device from power-on to a usable network and returns when that is.
func (d *device) boot() time.Duration {
	at := d.since + d.between(5*time.Millisecond, 900*time.Millisecond)
	if d.stack.ipv6 {
		d.startIPv6(at)
		at += d.between(50*time.Millisecond, 400*time.Millisecond)
	}
	at = d.dhcp(at)
	if d.chance(0.8) { // address conflict detection and announcement (RFC 5227)
		probe := host{mac: d.mac, ip: netip.IPv4Unspecified()}
		everyone := host{mac: broadcast, ip: d.ip}
		d.arp(at+2*time.Millisecond, layers.ARPRequest, probe, everyone, [6]byte{})
		at += d.between(200*time.Millisecond, 1200*time.Millisecond)
		d.arp(at, layers.ARPRequest, d.host, everyone, [6]byte{})
	}
	at = d.resolve(at+d.between(time.Millisecond, 20*time.Millisecond), d.home.router)
	d.stay(at)
	return at
}

// resolve asks for a neighbour's MAC (RFC 826).
func (d *device) resolve(at time.Duration, h host) time.Duration {
	d.arp(at, layers.ARPRequest, d.host, host{mac: broadcast, ip: h.ip}, [6]byte{})
	at += h.rtt + d.between(0, h.rtt)
	d.arp(at, layers.ARPReply, h, d.host, d.mac)
	return at + d.between(100*time.Microsecond, time.Millisecond)
}

// dhcp gets the lease (RFC 2131): all four messages, or only the last two when
// the device remembers an earlier lease that the router still grants.
func (d *device) dhcp(at time.Duration) time.Duration {
	var xid dhcpv4.TransactionID
	copy(xid[:], d.bytes(len(xid)))
	nobody := host{mac: d.mac, ip: netip.IPv4Unspecified(), ttl: d.ttl}
	all := group("255.255.255.255")
	mine := d.dhcpOptions()
	tell := func(m *dhcpv4.DHCPv4, err error) *dhcpv4.DHCPv4 {
		if d.failAs("DHCP request", err) {
			return nil
		}
		d.udp(at, nobody, all, 68, 67, layers.IPv4{}, m.ToBytes())
		return m
	}
	var request *dhcpv4.DHCPv4
	remembers := d.chance(d.stack.reboot)
	if wanted := d.earlier; remembers || wanted.IsValid() {
		if !wanted.IsValid() {
			wanted = d.ip
		}
		m, err := dhcpv4.New(append(mine, dhcpv4.WithTransactionID(xid), dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest),
			dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(wanted.AsSlice())))...)
		if request = tell(m, err); wanted != d.ip {
			_, at = d.dhcpAnswer(at, request, dhcpv4.MessageTypeNak, all)
			at += d.between(10*time.Millisecond, 2*time.Second)
			request = nil
		}
	}
	if request == nil {
		discover := tell(dhcpv4.NewDiscovery(hardware(d.mac), append(mine, dhcpv4.WithTransactionID(xid))...))
		var offer *dhcpv4.DHCPv4
		if offer, at = d.dhcpAnswer(at, discover, dhcpv4.MessageTypeOffer, d.host); offer != nil {
			at += d.between(time.Millisecond, 30*time.Millisecond)
			request = tell(dhcpv4.NewRequestFromOffer(offer, mine...))
		}
	}
	_, at = d.dhcpAnswer(at, request, dhcpv4.MessageTypeAck, d.host)
	return at + d.between(time.Millisecond, 15*time.Millisecond)
}

// dhcpAnswer is the router's answer to a message, and when it is there; a nil message
// has none.
func (d *device) dhcpAnswer(at time.Duration, q *dhcpv4.DHCPv4, t dhcpv4.MessageType, to host) (*dhcpv4.DHCPv4, time.Duration) {
	if q == nil {
		return nil, at
	}
	server := net.IP(d.home.router.ip.AsSlice())
	at += d.between(2*time.Millisecond, 60*time.Millisecond)
	opts := []dhcpv4.Modifier{dhcpv4.WithMessageType(t), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(server))}
	if t != dhcpv4.MessageTypeNak {
		term := day
		if d.course.day {
			term = d.home.term
		}
		opts = []dhcpv4.Modifier{dhcpv4.WithMessageType(t), dhcpv4.WithYourIP(d.ip.AsSlice()),
			dhcpv4.WithServerIP(server), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(server)),
			dhcpv4.WithNetmask(net.CIDRMask(d.home.net.Bits(), 32)), dhcpv4.WithRouter(server), dhcpv4.WithDNS(server),
			dhcpv4.WithLeaseTime(uint32(term / time.Second)), dhcpv4.WithOption(dhcpv4.OptDomainName(d.home.domain))}
	}
	m, err := dhcpv4.NewReplyFromRequest(q, opts...)
	if d.failAs("DHCP reply", err) {
		return nil, at
	}
	d.udp(at, d.home.router, to, 67, 68, layers.IPv4{}, m.ToBytes())
	return m, at
}

// renew asks the router for more time (RFC 2131, section 4.4.5).
func (d *device) renew(at time.Duration) {
	var xid dhcpv4.TransactionID
	copy(xid[:], d.bytes(len(xid)))
	m, err := dhcpv4.New(append(d.dhcpOptions(), dhcpv4.WithTransactionID(xid),
		dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), dhcpv4.WithClientIP(d.ip.AsSlice()))...)
	if !d.failAs("DHCP renewal", err) {
		d.udp(at, d.host, d.home.router, 68, 67, layers.IPv4{}, m.ToBytes())
		d.dhcpAnswer(at, m, dhcpv4.MessageTypeAck, d.host)
	}
}

// dhcpOptions are the options by which a DHCP client is known.
func (d *device) dhcpOptions() []dhcpv4.Modifier {
	opts := []dhcpv4.Modifier{dhcpv4.WithHwAddr(hardware(d.mac)), dhcpv4.WithoutOption(dhcpv4.OptionParameterRequestList)}
	if d.hostname != "" {
		opts = append(opts, dhcpv4.WithOption(dhcpv4.OptHostName(d.hostname)))
	}
	if d.stack.dhcpVendor != "" {
		opts = append(opts, dhcpv4.WithOption(dhcpv4.OptClassIdentifier(d.stack.dhcpVendor)),
			dhcpv4.WithOption(dhcpv4.OptClientIdentifier(append([]byte{1}, d.mac[:]...))))
	}
	if params := d.stack.dhcpParams; len(params) > 0 {
		opts = append(opts, dhcpv4.WithGeneric(dhcpv4.OptionParameterRequestList, params))
	}
	return append(opts, dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(1500)))
}

// join reports membership of a group: IGMPv2 (RFC 2236) with the router alert
// option, and leaves nothing to the querier.
func (d *device) join(at time.Duration, address string) time.Duration {
	g := group(address)
	igmp := []byte{0x16, 0, 0, 0}
	igmp = append(igmp, g.ip.AsSlice()...)
	binary.BigEndian.PutUint16(igmp[2:], gopacket.FoldChecksum(gopacket.ComputeChecksum(igmp, 0)))
	alert := []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}
	for range 2 {
		d.ipv4(at, d.host, g, layers.IPv4{Protocol: layers.IPProtocolIGMP, TTL: 1, Options: alert}, gopacket.Payload(igmp))
		at += d.between(300*time.Millisecond, 3*time.Second)
	}
	return at
}

// startIPv6 announces the link-local address: duplicate address detection,
// router solicitation (RFC 4861, 4862) and the groups it listens to (RFC 3810).
func (d *device) startIPv6(at time.Duration) {
	ll := d.ip6.As16()
	solicited := netip.AddrFrom16([16]byte{0xff, 0x02, 11: 1, 12: 0xff, ll[13], ll[14], ll[15]})
	nobody := host{mac: d.mac, ip6: netip.IPv6Unspecified()}
	report := &layers.MLDv2MulticastListenerReportMessage{}
	for _, g := range []netip.Addr{solicited, netip.MustParseAddr("ff02::fb")} {
		report.MulticastAddressRecords = append(report.MulticastAddressRecords, layers.MLDv2MulticastAddressRecord{
			RecordType:       layers.MLDv2MulticastAddressRecordTypeChangeToExcludeMode,
			MulticastAddress: g.AsSlice(),
		})
	}
	alert := func() *layers.IPv6HopByHop { // a layer is used up by one packet
		h := &layers.IPv6HopByHop{Options: []*layers.IPv6HopByHopOption{
			{OptionType: 5, OptionLength: 2, OptionData: []byte{0, 0}}, // router alert: MLD
			{OptionType: 1, OptionLength: 0, OptionData: []byte{}},     // PadN of two bytes
		}}
		h.NextHeader = layers.IPProtocolICMPv6
		return h
	}
	icmp := func(t uint8) *layers.ICMPv6 { return &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(t, 0)} }
	hop := layers.IPv6{NextHeader: layers.IPProtocolIPv6HopByHop}
	plain := layers.IPv6{NextHeader: layers.IPProtocolICMPv6}

	d.icmp6(at, nobody, group("ff02::16"), hop, alert(), icmp(layers.ICMPv6TypeMLDv2MulticastListenerReportMessageV2), report)
	at += d.between(20*time.Millisecond, 300*time.Millisecond)
	d.icmp6(at, nobody, group(solicited.String()), plain, icmp(layers.ICMPv6TypeNeighborSolicitation),
		&layers.ICMPv6NeighborSolicitation{TargetAddress: d.ip6.AsSlice()})
	at += time.Second + d.between(0, 100*time.Millisecond)
	d.icmp6(at, d.host, group("ff02::2"), plain, icmp(layers.ICMPv6TypeRouterSolicitation),
		&layers.ICMPv6RouterSolicitation{Options: layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: d.mac[:]}}})
	at += d.between(20*time.Millisecond, 300*time.Millisecond)
	d.icmp6(at, d.host, group("ff02::16"), hop, alert(), icmp(layers.ICMPv6TypeMLDv2MulticastListenerReportMessageV2), report)
}

// icmp6 puts an ICMPv6 message on the wire.
func (d *device) icmp6(at time.Duration, from, to host, ip layers.IPv6, upper ...gopacket.SerializableLayer) {
	d.ipv6(at, from, to, ip, upper...)
}

// lookup asks the home's resolver for a name (RFC 1035) unless it still knows
// the answer, and returns the host and when it may be used.
func (d *device) lookup(at time.Duration, name string) (host, time.Duration) {
	h := d.home.server(name)
	if d.course.day {
		h.out = d.home.outage(name)
	}
	if expires, ok := d.names[name]; ok && at < expires {
		return h, at
	}
	ttl := uint32(30 + d.rng.IntN(270))
	port := d.nextPort()
	done := d.ask(at, port, name, dns.TypeA, &dns.A{Hdr: header(name, dns.TypeA, ttl), A: h.ip.AsSlice()})
	if d.stack.quadA {
		done = max(done, d.ask(at+d.between(20*time.Microsecond, 200*time.Microsecond), port, name, dns.TypeAAAA, nil))
	}
	d.names[name] = done + time.Duration(ttl)*time.Second
	return h, done + d.between(200*time.Microsecond, 4*time.Millisecond)
}

// header is a resource record's header of class IN.
func header(name string, rrtype uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: dns.Fqdn(name), Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}

// ask is one question to the resolver and its answer; a nil answer means that
// the name has no record of that type (RFC 2308).
func (d *device) ask(at time.Duration, port uint16, name string, rrtype uint16, answer dns.RR) time.Duration {
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), rrtype)
	q.Id = uint16(d.rng.Uint32())
	r := new(dns.Msg).SetReply(q)
	r.RecursionAvailable, r.Compress = true, true
	if answer != nil {
		r.Answer = []dns.RR{answer}
	} else {
		r.Ns = []dns.RR{&dns.SOA{Hdr: header("example.", dns.TypeSOA, 900), Ns: "ns.example.", Mbox: "hostmaster.example.",
			Serial: 2026010500, Refresh: 7200, Retry: 3600, Expire: 1209600, Minttl: 900}}
	}
	d.udp(at, d.host, d.home.router, port, 53, layers.IPv4{}, d.pack(q))
	at += d.home.router.rtt + d.between(500*time.Microsecond, 35*time.Millisecond)
	d.udp(at, d.home.router, d.host, 53, port, layers.IPv4{}, d.pack(r))
	return at
}

// pack is a DNS message's wire form.
func (d *device) pack(m *dns.Msg) []byte {
	b, err := m.Pack()
	d.failAs("pack DNS message", err)
	return b
}

// ntpEpoch is what NTP time stamps count from (RFC 5905).
var ntpEpoch = time.Date(1900, time.January, 1, 0, 0, 0, 0, time.UTC)

// ntpTime is t in NTP's 32.32 fixed point.
func ntpTime(t time.Time) layers.NTPTimestamp {
	since := t.Unix() - ntpEpoch.Unix()
	return layers.NTPTimestamp(uint64(since)<<32 | uint64(t.Nanosecond())<<32/1e9)
}

// setClock asks a time server n times (RFC 5905, 4330). A device without a clock
// of its own asks from 1970.
func (d *device) setClock(at time.Duration, name string, version, n int, hasClock bool) time.Duration {
	h, at := d.lookup(at, name)
	port := uint16(123)
	if d.chance(0.5) || d.stack.sequential {
		port = d.nextPort()
	}
	for i := range n {
		sent := ntpTime(d.clock(at).Add(d.between(-2*time.Second, 2*time.Second)))
		if !hasClock && i == 0 {
			sent = ntpTime(time.Unix(0, 0).Add(at))
		}
		q := &layers.NTP{Version: layers.NTPVersion(version), Mode: 3, TransmitTimestamp: sent}
		if hasClock {
			q.Poll, q.Precision = 6, -20
		}
		d.ntp(at, d.host, h, port, 123, q)
		at += h.rtt + d.between(0, h.rtt/10)
		now := d.clock(at - h.rtt/2) // when the server has it
		r := &layers.NTP{Version: q.Version, Mode: 4, Stratum: 2, Poll: 6, Precision: -23,
			RootDelay: 0x200 + layers.NTPFixed16Seconds(d.rng.IntN(0x400)), RootDispersion: 0x300 + layers.NTPFixed16Seconds(d.rng.IntN(0x800)),
			ReferenceID: 0xc0000264, ReferenceTimestamp: ntpTime(now.Add(-d.between(time.Second, 10*time.Minute))),
			OriginTimestamp: sent, ReceiveTimestamp: ntpTime(now), TransmitTimestamp: ntpTime(now.Add(d.between(10*time.Microsecond, 90*time.Microsecond)))}
		d.ntp(at, h, d.host, 123, port, r)
		if i+1 < n {
			at += 2 * time.Second
		}
	}
	return at + d.between(time.Millisecond, 10*time.Millisecond)
}

// ntp puts one NTP message on the wire.
func (d *device) ntp(at time.Duration, from, to host, sport, dport uint16, m *layers.NTP) {
	buf := gopacket.NewSerializeBuffer()
	d.failAs("serialize NTP message", m.SerializeTo(buf, gopacket.SerializeOptions{}))
	d.udp(at, from, to, sport, dport, layers.IPv4{}, buf.Bytes())
}
