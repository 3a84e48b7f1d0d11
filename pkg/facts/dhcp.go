package facts

// This file reads what a client of DHCP says (RFC 2131, RFC 8415). The library that
// tests elsewhere use reads whole messages into values of their own and links a packet
// socket with them; what is wanted here is four options.

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"

	"github.com/iotsense/iotsense/pkg/flows"
)

// dhcp reads a BOOTP request with DHCP options. One that a relay passes on, and puts its
// own address into, is not the relay's.
func (v *voice) dhcp(b []byte) bool {
	const relay, options = 24, 240
	if len(b) < options || b[0] != 1 || string(b[options-4:options]) != "\x63\x82\x53\x63" {
		return false
	}
	if binary.BigEndian.Uint32(b[relay:]) != 0 {
		return true
	}
	var o dhcpOptions
	whole := o.read(b[options:])
	for _, field := range [...]struct {
		has         byte // a bit of option 52
		from, until int
	}{{1, 108, 236}, {2, 44, 108}} { // the boot file's name, the server's
		if whole && o.overload&field.has != 0 {
			whole = o.read(b[field.from:field.until])
		}
	}
	for _, option := range o.list[:o.count] {
		v.dhcpOption(option.code, option.value)
	}
	return whole
}

// dhcpOptions are those that are wanted, in the order they began in, parts of one together
// (RFC 3396).
type dhcpOptions struct {
	list [5]struct {
		code  byte
		value []byte
	}
	count    int
	overload byte // of which fields hold options too (RFC 2132, section 9.3)
}

// read reads a field of options, and reports whether it was all there.
func (o *dhcpOptions) read(b []byte) bool {
	for len(b) > 0 && b[0] != 255 {
		if b[0] == 0 {
			b = b[1:]
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return false
		}
		o.add(b[0], b[2:2+int(b[1])])
		b = b[2+int(b[1]):]
	}
	return true
}

func (o *dhcpOptions) add(code byte, b []byte) {
	switch code {
	case 52:
		if len(b) == 1 {
			o.overload = b[0]
		}
	case 12, 55, 60, 61, 81:
		for i := range o.list[:o.count] {
			if had := &o.list[i]; had.code == code {
				had.value = slices.Concat(had.value, b)
				return
			}
		}
		o.list[o.count].code, o.list[o.count].value = code, b
		o.count++
	}
}

func (v *voice) dhcpOption(code byte, b []byte) {
	switch code {
	case 12:
		v.say(DHCPHost, b)
	case 55:
		v.hex(DHCPParams, b)
	case 60:
		v.say(DHCPClass, b)
	case 61:
		v.clientID(b)
	case 81: // client's full name: flags, two codes, then text or labels (RFC 4702)
		if len(b) > 3 && b[0]&4 == 0 {
			v.say(DHCPHost, b[3:])
		} else if len(b) > 3 {
			v.labels(DHCPHost, b[3:])
		}
	}
}

// hex adds as many whole bytes as a fact has room for.
func (v *voice) hex(kind Kind, b []byte) {
	v.scratch = hex.AppendEncode(v.scratch[:0], b[:min(len(b), MaxValue/2)])
	v.say(kind, v.scratch)
}

// labels adds a name in the form of DNS, which may be partial: without its last zero.
func (v *voice) labels(kind Kind, b []byte) {
	v.scratch = v.scratch[:0]
	for len(b) > 0 && b[0] > 0 && int(b[0]) < len(b) && len(v.scratch) < MaxValue {
		if len(v.scratch) > 0 {
			v.scratch = append(v.scratch, '.')
		}
		v.scratch = append(v.scratch, b[1:1+int(b[0])]...)
		b = b[1+int(b[0]):]
	}
	v.say(kind, v.scratch)
}

// clientID tells a client identifier (RFC 2132, RFC 4361), and of what kind it is.
func (v *voice) clientID(b []byte) {
	if len(b) < 2 {
		return
	}
	if duid := b[min(5, len(b)):]; !v.isMAC(b, 1) && (b[0] != 255 || !v.isMAC(duid, 0, 3, 0, 1)) {
		v.hex(DHCPClientID, b)
	}
	switch kind := b[0]; {
	case kind == 0:
		v.say(DHCPClient, []byte("text"))
	case kind == 1 && len(b) == 7:
		v.say(DHCPClient, []byte("mac"))
	case kind == 255 && len(b) >= 7:
		v.scratch = appendDUID(append(v.scratch[:0], "duid-"...), b[5:])
		v.say(DHCPClient, v.scratch)
	default:
		v.scratch = strconv.AppendUint(append(v.scratch[:0], "type "...), uint64(kind), 10)
		v.say(DHCPClient, v.scratch)
	}
}

// isMAC reports whether an identifier is nothing but the device's MAC behind a head that tells so.
func (v *voice) isMAC(b []byte, head ...byte) bool {
	mac, err := flows.ParseMAC(v.device)
	rest, found := bytes.CutPrefix(b, head)
	return err == nil && found && bytes.Equal(rest, mac[:])
}

// appendDUID appends what a DHCP unique identifier is made of (RFC 8415, section 11).
func appendDUID(text, b []byte) []byte {
	if len(b) < 2 {
		return append(text, "none"...)
	}
	switch kind := binary.BigEndian.Uint16(b); {
	case kind == 1:
		return append(text, "llt"...)
	case kind == 2 && len(b) >= 6:
		return strconv.AppendUint(append(text, "en/"...), uint64(binary.BigEndian.Uint32(b[2:])), 10)
	case kind == 3:
		return append(text, "ll"...)
	case kind == 4:
		return append(text, "uuid"...)
	default:
		return strconv.AppendUint(append(text, "type "...), uint64(kind), 10)
	}
}

// dhcp6 reads a message of a DHCPv6 client.
func (v *voice) dhcp6(b []byte) bool {
	if len(b) < 4 || bytes.IndexByte([]byte{1, 3, 4, 5, 6, 8, 9, 11}, b[0]) < 0 {
		return false
	}
	for b = b[4:]; len(b) > 0; {
		if len(b) < 4 {
			return false
		}
		code, size := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < 4+size {
			return false
		}
		v.dhcp6Option(code, b[4:4+size])
		b = b[4+size:]
	}
	return true
}

func (v *voice) dhcp6Option(code uint16, b []byte) {
	switch {
	case code == 1:
		v.scratch = appendDUID(v.scratch[:0], b)
		v.say(DHCP6Client, v.scratch)
		if !v.isMAC(b, 0, 3, 0, 1) {
			v.hex(DHCP6ClientID, b)
		}
	case code == 6:
		v.hex(DHCP6Params, b)
	case code == 16 && len(b) > 6: // enterprise number, then texts with their lengths; the first
		v.scratch = append(strconv.AppendUint(v.scratch[:0], uint64(binary.BigEndian.Uint32(b)), 10), ' ')
		size := int(binary.BigEndian.Uint16(b[4:]))
		v.scratch = append(v.scratch, b[6:min(len(b), 6+size)]...)
		v.say(DHCP6Class, v.scratch)
	case code == 39 && len(b) > 1:
		v.labels(DHCP6Host, b[1:])
	}
}
