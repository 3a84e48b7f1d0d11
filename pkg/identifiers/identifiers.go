// Package identifiers finds what names a unit instead of a type in payloads: MAC
// addresses, local addresses, UUIDs, strings like serial numbers. In go a device's
// name and addresses, and payloads; out come the places of what was found, or
// records with these places masked. It never changes a record it was given.
package identifiers

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"github.com/iotsense/iotsense/pkg/flows"
)

// Kind is a kind of identifier.
type Kind int

// Kinds of identifiers, in the order of Infos. The last three are unions.
const (
	MACBinary Kind = iota
	MACText
	MACEUI64
	MACNeighbour
	MACTail
	OwnAddressBinary
	OwnAddressText
	LocalAddressBinary
	LocalAddressText
	UUID
	Serial
	AnyMAC
	AnyMACOrAddress
	AnyIdentifier
	KindCount
)

// Info is a kind's JSON key, and what it means to a reader.
type Info struct{ Key, Meaning string }

// Infos are the kinds of identifiers a payload may hold.
var Infos = [KindCount]Info{
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

// Kinds is a set of kinds.
type Kinds uint32

// Has reports whether the set has a kind.
func (k Kinds) Has(kind Kind) bool { return k&(1<<kind) != 0 }

func (k *Kinds) set(kind Kind, found bool) {
	if found {
		*k |= 1 << kind
	}
}

// union sets the unions that follow from the rest.
func (k *Kinds) union() {
	k.set(AnyMAC, *k&(1<<OwnAddressBinary-1) != 0)
	k.set(AnyMACOrAddress, *k&(1<<UUID-1) != 0)
	k.set(AnyIdentifier, *k&(1<<AnyMAC-1) != 0)
}

// Finder holds a device's own identifiers in the forms they are searched in.
type Finder struct {
	forms               []form
	tails               []string // of its MAC, in lower case
	ownAddressesAsQuads map[[4]byte]bool
}

// form is one way in which an identifier is written: bytes, or text in lower case.
type form struct {
	kind    Kind
	pattern []byte
	text    bool
	word    bool // text that no letter or digit may surround
}

// NewFinder returns the Finder of a device with the given name (a MAC, or it has
// none), its own addresses and the other local addresses of its network.
func NewFinder(device string, own, local []netip.Addr) *Finder {
	n := &Finder{ownAddressesAsQuads: map[[4]byte]bool{}}
	for _, a := range own {
		n.forms = append(n.forms, form{kind: OwnAddressBinary, pattern: a.AsSlice()},
			form{kind: OwnAddressText, pattern: []byte(a.String()), text: true, word: true})
		if a.Is4() {
			n.ownAddressesAsQuads[a.As4()] = true
		}
	}
	for _, a := range local {
		n.forms = append(n.forms, form{kind: LocalAddressBinary, pattern: a.AsSlice()})
	}
	mac, err := flows.ParseMAC(device)
	if err != nil {
		return n
	}
	n.add(MACBinary, MACText, mac[:], hexForms(mac))
	for _, flip := range []byte{2, 0} {
		e := [8]byte{mac[0] ^ flip, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]}
		n.add(MACEUI64, MACEUI64, e[:], eui64Forms(e))
	}
	for _, step := range []int{-1, 1} {
		near := neighbour(mac, step)
		n.add(MACNeighbour, MACNeighbour, near[:], hexForms(near))
	}
	digits := hex.EncodeToString(mac[:])
	n.tails = []string{digits[6:]}
	if last := digits[8:]; strings.ContainsAny(last, "abcdef") { // four digits may be any number
		n.tails = append(n.tails, last)
	}
	return n
}

// add adds the forms of an address: its bytes, and texts.
func (n *Finder) add(binary, text Kind, address []byte, texts [][]byte) {
	n.forms = append(n.forms, form{kind: binary, pattern: bytes.Clone(address)})
	for _, t := range texts {
		n.forms = append(n.forms, form{kind: text, pattern: t, text: true})
	}
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

// Kinds are the kinds of identifiers in one payload, unions included.
func (n *Finder) Kinds(payload []byte) Kinds {
	var k Kinds
	n.Find(payload, func(kind Kind, _, _ int) { k.set(kind, true) })
	k.union()
	return k
}

// Find gives each identifier in a payload, its kind (no union) and the range of
// its bytes, in no order. One place may be of several kinds.
func (n *Finder) Find(payload []byte, found func(kind Kind, from, to int)) {
	if len(payload) == 0 {
		return
	}
	lower := toLower(payload)
	for _, f := range n.forms {
		in := payload
		if f.text {
			in = lower
		}
		for from := range indexes(in, f.pattern) {
			if to := from + len(f.pattern); !f.word || isWord(in, from, to) {
				found(f.kind, from, to)
			}
		}
	}
	n.findPrivateText(payload, func(from, to int) { found(LocalAddressText, from, to) })
	findUUIDs(lower, func(from, to int) { found(UUID, from, to) })
	for from, word := range words(lower) {
		if isSerial(word) {
			found(Serial, from, from+len(word))
		}
		for _, tail := range n.tails {
			if string(word) == tail {
				found(MACTail, from, from+len(word))
			}
		}
	}
}

// NamesUnit reports whether a string can only be a unit's: it holds the end of one
// of these devices' MACs, a word like a serial number, a UUID or a private address.
func NamesUnit(text string, devices []*Finder) bool {
	lower := toLower([]byte(text))
	names := false
	yes := func(int, int) { names = true }
	findUUIDs(lower, yes)
	(&Finder{}).findPrivateText(lower, yes)
	for _, word := range Runs(lower, IsAlnum) {
		names = names || isSerial(word)
		for _, n := range devices {
			for _, tail := range n.tails {
				names = names || bytes.HasSuffix(word, []byte(tail))
			}
		}
	}
	return names
}

// indexes gives where form, which is not empty, begins in s.
func indexes(s, form []byte) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for at := 0; ; at++ {
			i := bytes.Index(s[at:], form)
			if i < 0 || !yield(at+i) {
				return
			}
			at += i
		}
	}
}

// isWord reports whether no letter or digit surrounds s[from:to], so that 10.0.0.1
// is not found in 10.0.0.10.
func isWord(s []byte, from, to int) bool {
	return (from == 0 || !IsAlnum(s[from-1])) && (to == len(s) || !IsAlnum(s[to]))
}

// findPrivateText looks for dotted private or link-local IPv4 addresses that are
// none of the device's own.
func (n *Finder) findPrivateText(payload []byte, found func(from, to int)) {
	for from, run := range Runs(payload, func(c byte) bool { return isDigit(c) || c == '.' }) {
		text := bytes.TrimLeft(run, ".")
		from += len(run) - len(text)
		text = bytes.TrimRight(text, ".")
		if len(text) < len("10.0.0.0") || len(text) > len("255.255.255.255") {
			continue
		}
		a, err := netip.ParseAddr(string(text))
		if err == nil && (a.IsPrivate() || a.IsLinkLocalUnicast()) && !n.ownAddressesAsQuads[a.As4()] {
			found(from, from+len(text))
		}
	}
}

// findUUIDs looks for 8-4-4-4-12 lower-case hex digits.
func findUUIDs(lower []byte, found func(from, to int)) {
	const length, firstDash = 36, 8
	for dash := range indexes(lower, []byte("-")) {
		from := dash - firstDash
		if from >= 0 && from+length <= len(lower) && isUUID(lower[from:from+length]) {
			found(from, from+length)
		}
	}
}

func isUUID(s []byte) bool {
	for i, c := range s {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash && c != '-' || !dash && !IsHex(c) {
			return false
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

// Texts gives the runs of printable characters that pass for text, and where they
// begin. What stands in a shorter run is chance more often than text.
func Texts(payload []byte) func(yield func(int, []byte) bool) {
	return func(yield func(int, []byte) bool) {
		for from, text := range Runs(payload, isPrintable) {
			if len(text) >= minText && !yield(from, text) {
				return
			}
		}
	}
}

// words gives the runs of letters and digits inside payload's texts.
func words(payload []byte) func(yield func(int, []byte) bool) {
	return func(yield func(int, []byte) bool) {
		for start, text := range Texts(payload) {
			for from, word := range Runs(text, IsAlnum) {
				if !yield(start+from, word) {
					return
				}
			}
		}
	}
}

// Runs gives the maximal runs of bytes that belong, and where they begin.
func Runs(s []byte, belongs func(byte) bool) func(yield func(int, []byte) bool) {
	return func(yield func(int, []byte) bool) {
		for start := 0; start < len(s); start++ {
			end := start
			for end < len(s) && belongs(s[end]) {
				end++
			}
			if end > start && !yield(start, s[start:end]) {
				return
			}
			start = end
		}
	}
}

// toLower is s in lower case, byte for byte: bytes.ToLower makes others of bytes
// that are no UTF-8, and moves what follows them.
func toLower(s []byte) []byte {
	lower := bytes.Clone(s)
	for i, c := range lower {
		if c >= 'A' && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	return lower
}

// IsAlnum reports whether c is an ASCII letter or digit.
func IsAlnum(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'z' }

// IsHex reports whether c is a hex digit in lower or upper case.
func IsHex(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }

func isDigit(c byte) bool     { return c >= '0' && c <= '9' }
func isPrintable(c byte) bool { return c >= 0x20 && c < 0x7f || c == '\r' || c == '\n' || c == '\t' }
