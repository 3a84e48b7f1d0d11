package pcap

// This file reads pcapng files (draft-ietf-opsawg-pcapng).

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"time"
)

// Block types.
const (
	blockInterface = 1
	blockPacket    = 2 // obsolete
	blockSimple    = 3
	blockEnhanced  = 6
	blockSection   = 0x0a0d0d0a
)

// Options of an interface.
const (
	optionEnd        = 0
	optionResolution = 9
	optionOffset     = 14
)

const (
	byteOrderMagic = 0x1a2b3c4d
	blockFrame     = 12 // type and length before a block's body, the length again after it
	sectionBody    = 16 // of a section header, without options
	// maxInterfaces of a section are kept: merged from as many files, and more than a
	// machine has. Gzip makes a million descriptions of a few kB.
	maxInterfaces = 1 << 16
)

// described is what an interface's description says of its packets.
type described struct {
	link       uint16
	snap       uint32 // 0: no limit
	resolution uint8  // units of a second: 10^-n, or 2^-n with the highest bit set
	offset     int64  // seconds to add to stamps
}

// ng is the state of a pcapng file.
type ng struct {
	order      binary.ByteOrder
	interfaces []described
	length     uint32 // of the block, as it says
	left       int64  // bytes of the block, its second length among them
	head       [24]byte
}

// newNG reads the first section's header.
func newNG(in *input) (*ng, error) {
	n := &ng{order: binary.LittleEndian}
	_, err := n.begin(in)
	if err != nil {
		return nil, err
	}
	return n, n.end(in)
}

func (n *ng) link() (int, bool) { return 0, false }

func (n *ng) next(in *input) (Packet, error) {
	for {
		kind, err := n.begin(in)
		if err != nil {
			return Packet{}, err
		}
		p, is, odd := Packet{}, true, error(nil)
		switch kind {
		case blockEnhanced, blockPacket:
			p, odd, err = n.packet(in, kind)
		case blockSimple:
			p, odd, err = n.simple(in)
		case blockInterface:
			is, err = false, n.describe(in)
		case blockSection: // begin has read what counts
			is = false
		default:
			is = false
			in.passed++
		}
		if err == nil {
			err = n.end(in)
		}
		if err != nil {
			return Packet{}, err
		}
		if is {
			return p, odd
		}
	}
}

// begin reads a block's type and length; of a section header also what it says of
// the section.
func (n *ng) begin(in *input) (kind uint32, err error) {
	b := n.head[:8]
	if err := in.begin(b); err != nil {
		return 0, err
	}
	kind = n.order.Uint32(b)
	if kind == blockSection { // the same in both orders
		return kind, n.section(in)
	}
	return kind, n.open(n.order.Uint32(b[4:]), blockFrame)
}

// open notes how long a block is.
func (n *ng) open(length, least uint32) error {
	if length < least {
		return fmt.Errorf("a block's length is %d, of %d bytes at least: the file is damaged", length, least)
	}
	n.length, n.left = length, int64(length)-8
	if odd := int64(length % 4); odd != 0 { // some writers do not count the padding
		n.left += 4 - odd
	}
	return nil
}

// take reads the next bytes of the block's body; false if it has fewer.
func (n *ng) take(in *input, b []byte) (bool, error) {
	if n.left-4 < int64(len(b)) {
		return false, nil
	}
	n.left -= int64(len(b))
	return true, in.read(b)
}

// pass passes over bytes of the block's body; false if it has fewer.
func (n *ng) pass(in *input, count int64) (bool, error) {
	if n.left-4 < count {
		return false, nil
	}
	n.left -= count
	return true, in.skip(count)
}

// end passes over the rest of a block. If its second length is another than its
// first, by which the next block is found, that is noted.
func (n *ng) end(in *input) error {
	if err := in.skip(n.left - 4); err != nil {
		return err
	}
	b := n.head[:4]
	if err := in.read(b); err != nil {
		return err
	}
	if last := n.order.Uint32(b); last != n.length && last != (n.length+3)&^3 && in.damage == nil {
		in.damage = fmt.Errorf("a block of length %d ends as one of %d: the file is damaged", n.length, last)
	}
	return nil
}

// section reads the rest of a section's header. A section says anew what its byte
// order and its interfaces are.
func (n *ng) section(in *input) error {
	b := n.head[8 : 8+sectionBody]
	if err := in.read(b); err != nil {
		return err
	}
	switch uint32(byteOrderMagic) {
	case binary.LittleEndian.Uint32(b):
		n.order = binary.LittleEndian
	case binary.BigEndian.Uint32(b):
		n.order = binary.BigEndian
	default:
		return errors.New("a section without a byte order: the file is damaged")
	}
	if major := n.order.Uint16(b[4:]); major != 1 {
		return fmt.Errorf("version %d.%d cannot be read: want 1", major, n.order.Uint16(b[6:]))
	}
	n.interfaces = n.interfaces[:0]
	err := n.open(n.order.Uint32(n.head[4:]), blockFrame+sectionBody)
	n.left -= sectionBody
	return err
}

// describe reads an interface's description. One that is too short is an interface
// of no known link type: those after it keep their numbers.
func (n *ng) describe(in *input) error {
	d := described{link: noLink, resolution: 6}
	b := n.head[:8]
	ok, err := n.take(in, b)
	if ok && err == nil {
		d.link, d.snap = n.order.Uint16(b), n.order.Uint32(b[4:])
		err = n.options(in, &d)
	}
	if len(n.interfaces) < maxInterfaces {
		n.interfaces = append(n.interfaces, d)
	}
	return err
}

// options reads those of an interface that say how its stamps are meant; what comes
// after one that is longer than the block is passed over.
func (n *ng) options(in *input, d *described) error {
	for {
		b := n.head[:4]
		if ok, err := n.take(in, b); !ok || err != nil {
			return err
		}
		code, length := n.order.Uint16(b), int64(n.order.Uint16(b[2:]))
		if code == optionEnd {
			return nil
		}
		rest := (length + 3) &^ 3
		value := n.head[:0]
		if code == optionResolution && length >= 1 || code == optionOffset && length >= 8 {
			value = n.head[:min(rest, 8)]
		}
		if ok, err := n.take(in, value); !ok || err != nil {
			return err
		}
		switch {
		case len(value) == 0:
		case code == optionResolution:
			d.resolution = value[0]
		case code == optionOffset:
			d.offset = int64(n.order.Uint64(value))
		}
		if ok, err := n.pass(in, rest-int64(len(value))); !ok || err != nil {
			return err
		}
	}
}

// noLink is the link type of an interface whose description cannot be read: one that
// is reserved, so that no file can mean it.
const noLink = 0xffff

var (
	errInterface = &PacketError{"their interface is not described"}
	errShort     = &PacketError{"their blocks are too short"}
)

// packet reads an enhanced packet or an obsolete packet block. odd is a
// [PacketError].
func (n *ng) packet(in *input, kind uint32) (p Packet, odd, err error) {
	b := n.head[:20]
	if ok, err := n.take(in, b); !ok || err != nil {
		return p, errShort, err
	}
	id := n.order.Uint32(b)
	if kind == blockPacket { // then a count of drops
		id = uint32(n.order.Uint16(b))
	}
	if int64(id) >= int64(len(n.interfaces)) {
		return p, errInterface, nil
	}
	units := uint64(n.order.Uint32(b[4:]))<<32 | uint64(n.order.Uint32(b[8:]))
	p.Length = wireLength(n.order.Uint32(b[16:]))
	p.Time, p.Timed = n.interfaces[id].time(units), true
	odd, err = n.data(in, &p, id, n.order.Uint32(b[12:]))
	return p, odd, err
}

// simple reads a simple packet block: of the first interface, as much of a packet as
// that keeps.
func (n *ng) simple(in *input) (p Packet, odd, err error) {
	b := n.head[:4]
	if ok, err := n.take(in, b); !ok || err != nil {
		return p, errShort, err
	}
	if len(n.interfaces) == 0 {
		return p, errInterface, nil
	}
	length := n.order.Uint32(b)
	captured := uint32(min(int64(length), n.left-4))
	if snap := n.interfaces[0].snap; snap > 0 {
		captured = min(captured, snap)
	}
	p.Length = wireLength(length)
	odd, err = n.data(in, &p, 0, captured)
	return p, odd, err
}

// data reads the captured bytes of a packet.
func (n *ng) data(in *input, p *Packet, id, captured uint32) (odd, err error) {
	if p.Link = int(n.interfaces[id].link); p.Link == noLink {
		return errInterface, nil
	}
	if int64(captured) > n.left-4 {
		return &PacketError{"they are longer than their blocks"}, nil
	}
	if captured > maxPacket {
		return &PacketError{fmt.Sprintf("they are longer than %d bytes", maxPacket)}, nil
	}
	n.left -= int64(captured)
	p.Data, err = in.captured(int(captured))
	return nil, err
}

// time is what a stamp of the interface means.
func (d *described) time(units uint64) time.Time {
	seconds, nanoseconds := d.scale(units)
	at := int64(min(seconds, math.MaxInt64/2)) // so that an offset can be added
	return stamp(at+min(max(d.offset, -math.MaxInt64/2), math.MaxInt64/2), int64(nanoseconds))
}

// scale turns units of the interface's resolution into seconds and nanoseconds,
// rounded down.
func (d *described) scale(units uint64) (seconds, nanoseconds uint64) {
	const second = 1e9
	n := uint(d.resolution & 0x7f)
	if d.resolution&0x80 == 0 {
		if n > 19 { // 64 bits are less than a second
			return 0, units / power10(n-9)
		}
		unit := power10(n)
		seconds = units / unit
		hi, lo := bits.Mul64(units%unit, second)
		nanoseconds, _ = bits.Div64(hi, lo, unit)
		return seconds, nanoseconds
	}
	fraction := units
	if n < 64 {
		seconds = units >> n
		fraction = units & (1<<n - 1)
	}
	hi, lo := bits.Mul64(fraction, second)
	if n >= 64 {
		return seconds, hi >> (n - 64)
	}
	return seconds, hi<<(64-n) | lo>>n
}

// power10 is 10^n, or what is more than 64 bits can hold.
func power10(n uint) uint64 {
	if n > 19 {
		return math.MaxUint64
	}
	return uint64(math.Pow10(int(n))) // exact up to 10^22
}
