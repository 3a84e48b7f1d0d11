package identifiers

// This file masks identifiers in records.

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"github.com/iotsense/iotsense/pkg/flows"
)

// What masked bytes become: text stays text of the same length.
const (
	maskedByte = 0
	maskedText = 'x'
)

// Scrub returns the record with every identifier in its payloads masked: what
// Finder finds with the addresses of the record's two ends, and the addresses and
// the client's name in DHCP. It is r itself when there is none. A record read from
// a file has no addresses: there only those written out, and DHCP's, are masked. A
// string that names the unit without looking like an identifier, such as a name
// its owner gave it, stays.
func Scrub(r *flows.Record) *flows.Record {
	var own, local []netip.Addr
	if IsHost(r.DeviceAddr) {
		own = append(own, r.DeviceAddr)
	}
	if r.IsLocal() && IsHost(r.RemoteAddr) {
		local = append(local, r.RemoteAddr)
	}
	finder := NewFinder(r.Device, own, local)
	scrubbed := r
	for i := range r.Packets {
		masked := finder.mask(r.Packets[i].Payload)
		if isDHCP(r) {
			masked = maskDHCP(masked)
		}
		if bytes.Equal(masked, r.Packets[i].Payload) {
			continue
		}
		if scrubbed == r {
			c := *r
			c.Packets = append([]flows.RowPacket(nil), r.Packets...)
			scrubbed = &c
		}
		scrubbed.Packets[i].Payload = masked
	}
	return scrubbed
}

// IsHost reports whether a is a usable address of one host.
func IsHost(a netip.Addr) bool { return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() }

// mask is a copy of the payload without identifiers.
func (n *Finder) mask(payload []byte) []byte {
	masked := bytes.Clone(payload)
	n.Find(payload, func(kind Kind, from, to int) {
		with := byte(maskedText)
		switch kind {
		case MACBinary, MACEUI64, MACNeighbour, OwnAddressBinary, LocalAddressBinary:
			with = maskedByte
		}
		fill(masked[from:to], with)
	})
	return masked
}

func fill(b []byte, with byte) {
	for i := range b {
		b[i] = with
	}
}

// DHCP (RFC 2131): a lease is named before the device uses it.
const (
	dhcpServer, dhcpClient = 67, 68
	dhcpAddresses          = 12 // ciaddr, yiaddr, siaddr, giaddr, chaddr
	dhcpNames              = 44 // sname, file
	dhcpCookieAt           = 236
	dhcpCookie             = 0x63825363
)

// dhcpOptions are those that hold an address or name the client (RFC 2132).
var dhcpOptions = [256]bool{3: true, 6: true, 50: true, 54: true, 61: true}

func isDHCP(r *flows.Record) bool {
	return r.Proto == 17 && (r.DevPort == dhcpClient || r.DevPort == dhcpServer) && (r.RemPort == dhcpClient || r.RemPort == dhcpServer)
}

// maskDHCP masks addresses in a DHCP message, in place.
func maskDHCP(message []byte) []byte {
	for from, to := range DHCPFields(message) {
		fill(message[from:to], maskedByte)
	}
	return message
}

// DHCPFields gives the ranges of a DHCP message that hold addresses, or name the client:
// first the fixed fields from ciaddr to chaddr. What is no such message has none.
func DHCPFields(message []byte) func(yield func(from, to int) bool) {
	const options = dhcpCookieAt + 4
	return func(yield func(from, to int) bool) {
		if len(message) < options || binary.BigEndian.Uint32(message[dhcpCookieAt:]) != dhcpCookie || !yield(dhcpAddresses, dhcpNames) {
			return
		}
		for at := options; at+2 <= len(message); {
			if message[at] == 0 { // padding, without a length
				at++
				continue
			}
			end := min(len(message), at+2+int(message[at+1]))
			if dhcpOptions[message[at]] && !yield(at+2, end) {
				return
			}
			at = end
		}
	}
}
