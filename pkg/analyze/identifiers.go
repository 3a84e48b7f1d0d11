package analyze

// This file finds, in payloads, what names a unit instead of a type: MAC
// addresses, local addresses, UUIDs and strings like serial numbers.

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"github.com/iotsense/iotsense/pkg/flows"
)

// Kinds of identifiers, in the order of IdentifierKinds. The last three are unions.
const (
	macBinary = iota
	macText
	macEUI64
	macNeighbour
	macTail
	ownAddressBinary
	ownAddressText
	localAddressBinary
	localAddressText
	uuidText
	serialText
	anyMAC
	anyMACOrAddress
	anyIdentifier
	kindCount
)

// IdentifierKinds are the kinds of identifiers a payload may hold, by JSON key.
var IdentifierKinds = [kindCount]struct{ Key, Meaning string }{
	{"mac_binary", "the device's own MAC, six bytes"},
	{"mac_text", "its own MAC in hex, bare or with colons or dashes, either case"},
	{"mac_eui64", "its own MAC as EUI-64 (RFC 4291), bytes or text, or as a reverse name"},
	{"mac_neighbour", "its MAC plus or minus one, bytes or hex: another interface of the unit"},
	{"mac_tail", "the last two or three bytes of its MAC as a word of hex digits"},
	{"own_address_binary", "an address the device uses in that capture, four bytes"},
	{"own_address_text", "an address the device uses in that capture, written out"},
	{"local_address_binary", "another local address of that capture, four bytes"},
	{"local_address_text", "another private IPv4 address, written out"},
	{"uuid", "a UUID, written out"},
	{"serial", "a word like a serial number: 8 to 40 letters and digits, at least four digits and two letters"},
	{"mac", "any form of the MAC"},
	{"mac_or_address", "any form of the MAC or of a local address"},
	{"any", "any of these"},
}

// kinds is a set of identifier kinds.
type kinds uint32

func (k kinds) has(kind int) bool { return k&(1<<kind) != 0 }

func (k *kinds) set(kind int, found bool) {
	if found {
		*k |= 1 << kind
	}
}

// union sets the unions that follow from the rest.
func (k *kinds) union() {
	k.set(anyMAC, *k&(1<<ownAddressBinary-1) != 0)
	k.set(anyMACOrAddress, *k&(1<<uuidText-1) != 0)
	k.set(anyIdentifier, *k&(1<<anyMAC-1) != 0)
}

// needles are a device's own identifiers in the forms they are searched in.
// Texts are in lower case.
type needles struct {
	known               bool // the device has a MAC
	binary              []byte
	text                [][]byte
	eui64, eui64Text    [][]byte
	neighbour           [][]byte
	neighbourText       [][]byte
	tails               []string
	ownBinary, ownText  [][]byte
	localBinary         [][]byte
	ownAddressesAsQuads map[[4]byte]bool
}

// newNeedles builds the needles of a device with the given name, its own
// addresses and the other local addresses of its capture.
func newNeedles(device string, own, local []netip.Addr) *needles {
	n := &needles{ownAddressesAsQuads: map[[4]byte]bool{}}
	for _, a := range own {
		n.ownBinary = append(n.ownBinary, a.AsSlice())
		n.ownText = append(n.ownText, []byte(a.String()))
		if a.Is4() {
			n.ownAddressesAsQuads[a.As4()] = true
		}
	}
	for _, a := range local {
		n.localBinary = append(n.localBinary, a.AsSlice())
	}
	mac, err := flows.ParseMAC(device)
	if err != nil {
		return n
	}
	n.known = true
	n.binary = bytes.Clone(mac[:])
	n.text = hexForms(mac)
	for _, flip := range []byte{2, 0} {
		e := [8]byte{mac[0] ^ flip, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]}
		n.eui64 = append(n.eui64, e[:])
		n.eui64Text = append(n.eui64Text, eui64Forms(e)...)
	}
	for _, step := range []int{-1, 1} {
		near := neighbour(mac, step)
		n.neighbour = append(n.neighbour, bytes.Clone(near[:]))
		n.neighbourText = append(n.neighbourText, hexForms(near)...)
	}
	digits := hex.EncodeToString(mac[:])
	n.tails = []string{digits[6:]}
	if last := digits[8:]; strings.ContainsAny(last, "abcdef") { // four digits may be any number
		n.tails = append(n.tails, last)
	}
	return n
}

func hexForms(mac flows.MAC) [][]byte {
	colons := mac.String()
	return [][]byte{
		[]byte(colons),
		[]byte(strings.ReplaceAll(colons, ":", "-")),
		[]byte(strings.ReplaceAll(colons, ":", "")),
	}
}

// eui64Forms writes an interface identifier as hex digits, as the end of an IPv6
// address and as that of its reverse name (RFC 3596).
func eui64Forms(e [8]byte) [][]byte {
	digits := hex.EncodeToString(e[:])
	var address, reverse strings.Builder
	for i := 0; i < len(e); i += 2 {
		if i > 0 {
			address.WriteByte(':')
		}
		fmt.Fprintf(&address, "%x", uint16(e[i])<<8|uint16(e[i+1]))
	}
	for i := len(digits) - 1; i >= 0; i-- {
		reverse.WriteByte(digits[i])
		if i > 0 {
			reverse.WriteByte('.')
		}
	}
	wire := []byte(strings.ReplaceAll("."+reverse.String(), ".", "\x01")) // as DNS labels
	return [][]byte{[]byte(digits), []byte(address.String()), []byte(reverse.String()), wire}
}

func neighbour(mac flows.MAC, step int) flows.MAC {
	low := int(mac[3])<<16 | int(mac[4])<<8 | int(mac[5])
	low += step
	return flows.MAC{mac[0], mac[1], mac[2], byte(low >> 16), byte(low >> 8), byte(low)}
}

// search returns the kinds of identifiers in one payload.
func (n *needles) search(payload []byte) kinds {
	var k kinds
	if len(payload) == 0 {
		return k
	}
	lower := bytes.ToLower(payload)
	if n.known {
		k.set(macBinary, bytes.Contains(payload, n.binary))
		k.set(macText, containsAny(lower, n.text))
		k.set(macEUI64, containsAny(payload, n.eui64) || containsAny(lower, n.eui64Text))
		k.set(macNeighbour, containsAny(payload, n.neighbour) || containsAny(lower, n.neighbourText))
	}
	k.set(ownAddressBinary, containsAny(payload, n.ownBinary))
	for _, text := range n.ownText {
		k.set(ownAddressText, containsWord(lower, text))
	}
	k.set(localAddressBinary, containsAny(payload, n.localBinary))
	k.set(localAddressText, n.hasPrivateText(payload))
	k.set(uuidText, hasUUID(lower))
	for word := range words(lower) {
		k.set(serialText, isSerial(word))
		for _, tail := range n.tails {
			k.set(macTail, string(word) == tail)
		}
	}
	k.union()
	return k
}

func containsAny(payload []byte, needles [][]byte) bool {
	for _, n := range needles {
		if bytes.Contains(payload, n) {
			return true
		}
	}
	return false
}

// containsWord looks for text that no letter or digit surrounds, so that
// 10.0.0.1 is not found in 10.0.0.10.
func containsWord(payload, text []byte) bool {
	for at := 0; ; at++ {
		i := bytes.Index(payload[at:], text)
		if i < 0 {
			return false
		}
		at += i
		end := at + len(text)
		if (at == 0 || !isAlnum(payload[at-1])) && (end == len(payload) || !isAlnum(payload[end])) {
			return true
		}
	}
}

// hasPrivateText looks for a dotted private or link-local IPv4 address that is
// none of the device's own.
func (n *needles) hasPrivateText(payload []byte) bool {
	for start := 0; start < len(payload); {
		if !isDigit(payload[start]) {
			start++
			continue
		}
		end := start
		for end < len(payload) && (isDigit(payload[end]) || payload[end] == '.') {
			end++
		}
		text := bytes.Trim(payload[start:end], ".")
		if len(text) >= len("10.0.0.0") && len(text) <= len("255.255.255.255") {
			a, err := netip.ParseAddr(string(text))
			if err == nil && (a.IsPrivate() || a.IsLinkLocalUnicast()) && !n.ownAddressesAsQuads[a.As4()] {
				return true
			}
		}
		start = end
	}
	return false
}

// hasUUID looks for 8-4-4-4-12 lower-case hex digits.
func hasUUID(lower []byte) bool {
	const length, firstDash = 36, 8
	for at := 0; ; at++ {
		i := bytes.IndexByte(lower[at:], '-')
		if i < 0 {
			return false
		}
		at += i
		if at >= firstDash && at-firstDash+length <= len(lower) && isUUID(lower[at-firstDash:at-firstDash+length]) {
			return true
		}
	}
}

func isUUID(s []byte) bool {
	for i, c := range s {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !isDigit(c) && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}

// isSerial reports whether a word looks like a serial number.
func isSerial(word []byte) bool {
	if len(word) < 8 || len(word) > 40 {
		return false
	}
	digits := 0
	for _, c := range word {
		if isDigit(c) {
			digits++
		}
	}
	return digits >= 4 && len(word)-digits >= 2
}

// minText is the length of a run of printable characters that passes for text.
const minText = 8

// words gives the runs of letters and digits inside payload's text. What stands
// in a shorter run of printable characters is chance more often than text.
func words(payload []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for text := range runs(payload, isPrintable) {
			if len(text) < minText {
				continue
			}
			for word := range runs(text, isAlnum) {
				if !yield(word) {
					return
				}
			}
		}
	}
}

// runs gives the maximal runs of bytes that belong.
func runs(s []byte, belongs func(byte) bool) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for start := 0; start < len(s); start++ {
			end := start
			for end < len(s) && belongs(s[end]) {
				end++
			}
			if end > start && !yield(s[start:end]) {
				return
			}
			start = end
		}
	}
}

func isDigit(c byte) bool     { return c >= '0' && c <= '9' }
func isAlnum(c byte) bool     { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'z' }
func isPrintable(c byte) bool { return c >= 0x20 && c < 0x7f || c == '\r' || c == '\n' || c == '\t' }
