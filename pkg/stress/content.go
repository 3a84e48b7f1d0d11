package stress

// This file writes what names a unit, a home or a day anew where it stands in payloads.

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/identifiers"
)

// today is how far a time in a payload may be from its packet's to be taken for it:
// others are the day that a firmware was built or a cookie ends, here and there.
const today = 24 * time.Hour

// ntpEra is 1970 in seconds of NTP (RFC 5905).
const ntpEra = 2_208_988_800

// dates are days as HTTP (RFC 9110) and ISO 8601 write them.
var dates = regexp.MustCompile(`\b\d{2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4}\b|\b\d{4}-\d{2}-\d{2}(?:\b|T)`)

// content changes a payload seen at a time, in place.
func (h *home) content(b []byte, at time.Time) {
	if len(b) == 0 {
		return
	}
	was := bytes.Clone(b)
	for from, to := range identifiers.DHCPFields(was) {
		if from < dhcpHardware {
			to = dhcpHardware
		}
		for ; from+4 <= to; from += 4 {
			h.learn(was[from : from+4])
		}
	}
	h.binary(b, was, at)
	h.dates(b, was, at)
	h.any.Find(was, func(kind identifiers.Kind, from, to int) {
		switch kind {
		case identifiers.UUID:
			h.uuid(b[from:to])
		case identifiers.LocalAddressText:
			h.text(b[from:], to-from)
		}
	})
	// A unit's own MAC stands in UUIDs, and where a neighbour's is found.
	for _, own := range []bool{false, true} {
		for _, u := range h.units {
			u.finder.Find(was, func(kind identifiers.Kind, from, to int) {
				if kind <= identifiers.MACTail && (kind != identifiers.MACNeighbour) == own {
					h.identifier(u, kind, b[from:to], was[from:to])
				}
			})
		}
	}
}

// dhcpHardware is where in a DHCP message the client's MAC begins.
const dhcpHardware = 28

// binary changes addresses of four bytes, and seconds since 1970 or 1900 of today.
func (h *home) binary(b, was []byte, at time.Time) {
	now, near, later := at.Unix(), uint32(today/time.Second), uint32(h.later/time.Second)
	for i := 0; i+4 <= len(was); i++ {
		v := binary.BigEndian.Uint32(was[i:])
		switch {
		case (v>>24 == 10 || v>>24 == 172 || v>>24 == 192) && h.local[[4]byte(was[i:])]:
			q := h.quad([4]byte(was[i:]))
			copy(b[i:], q[:])
			i += 3
		case (v-uint32(now)+near <= 2*near || v-uint32(now+ntpEra)+near <= 2*near) && !isText(was[i:i+4]):
			binary.BigEndian.PutUint32(b[i:], v+later)
			i += 3
		}
	}
}

// isText reports whether bytes are a word, or a part of one.
func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// dates changes written days that are today.
func (h *home) dates(b, was []byte, at time.Time) {
	for _, found := range dates.FindAllIndex(was, -1) {
		text, layout := string(was[found[0]:found[1]]), "02 Jan 2006"
		if text[2] != ' ' {
			text, layout = text[:10], time.DateOnly
		}
		day, err := time.Parse(layout, text)
		if err == nil && at.Sub(day) < 2*today && day.Sub(at) < today {
			copy(b[found[0]:], day.Add(h.later).Format(layout))
		}
	}
}

// uuid turns the digits of a UUID.
func (h *home) uuid(b []byte) {
	place := 0
	rewrite(b, func(digit byte) byte {
		place++
		return (digit + byte(h.uuids[place-1])) & 15
	})
}

// text changes a written address, the first n bytes of b, and a port that follows.
func (h *home) text(b []byte, n int) {
	if a, err := netip.ParseAddr(string(b[:n])); err == nil {
		copy(b, h.addr(a).String())
	}
	if end := n + len(":32768"); len(b) >= end && b[n] == ':' && (len(b) == end || !identifiers.IsAlnum(b[end])) {
		if port, err := strconv.ParseUint(string(b[n+1:end]), 10, 16); err == nil {
			copy(b[n+1:], strconv.Itoa(int(h.port(uint16(port)))))
		}
	}
}

// identifier writes a form of the unit's MAC, which was that, or of one next to it.
func (h *home) identifier(u *unit, kind identifiers.Kind, b, was []byte) {
	copy(b, was)
	switch {
	case kind == identifiers.MACBinary:
		copy(b, u.new[:])
	case kind == identifiers.MACNeighbour:
		for _, step := range []int{-1, 1} {
			from, to := next(u.old, step), next(u.new, step)
			if len(b) == len(from) && flows.MAC(was) == from {
				copy(b, to[:])
			} else if len(b) > len(from) && digits(was) == hex.EncodeToString(from[:]) {
				write(b, hex.EncodeToString(to[:]))
			}
		}
	case kind == identifiers.MACEUI64 && len(b) == 8:
		copy(b[5:], u.new[3:])
	case kind == identifiers.MACEUI64 && (was[0] == 1 || was[1] == '.'): // a reverse name
		place := len(h.turns)
		rewrite(b, func(digit byte) byte {
			place--
			return h.digit(digit, max(0, place))
		})
	default:
		h.tail(b)
	}
}

// tail turns the last digits of b as those of a MAC's end. A group of an IPv6 address
// may be shorter than four.
func (h *home) tail(b []byte) {
	groups := bytes.Split(b, []byte(":"))
	if len(groups) != 4 { // of an EUI-64; a MAC has six
		groups = [][]byte{b}
	}
	last := len(groups) - 1
	for i := max(0, last-1); i <= last; i++ {
		place := len(h.turns) - len(digits(groups[i])) - 4*(last-i)
		rewrite(groups[i], func(digit byte) byte {
			place++
			return h.digit(digit, max(0, place-1))
		})
	}
}

// digits are the hex digits of a text, in lower case.
func digits(text []byte) string {
	var b strings.Builder
	for _, c := range bytes.ToLower(text) {
		if identifiers.IsHex(c) {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// write puts digits in the place of those of a text.
func write(text []byte, with string) {
	i := 0
	rewrite(text, func(byte) byte {
		i++
		v, _ := strconv.ParseUint(with[i-1:i], 16, 8)
		return byte(v)
	})
}

// rewrite replaces the values of a text's hex digits. They keep to upper case if it
// has any.
func rewrite(text []byte, other func(byte) byte) {
	letters := "0123456789abcdef"
	if bytes.ContainsAny(text, "ABCDEF") {
		letters = "0123456789ABCDEF"
	}
	for i, c := range text {
		if identifiers.IsHex(c) {
			v, _ := strconv.ParseUint(string(c), 16, 8)
			text[i] = letters[other(byte(v))]
		}
	}
}
