package pcap

// This file reads classic pcap files (draft-ietf-opsawg-pcap; pcap-savefile(5)).

import (
	"encoding/binary"
	"fmt"
)

// Magic numbers of classic files, in the file's byte order.
const (
	magicMicro    = 0xa1b2c3d4
	magicNano     = 0xa1b23c4d
	magicModified = 0xa1b2cd34 // Kuznetsov's tcpdump, FRITZ!Box routers
)

const (
	classicHeader  = 24
	packetHeader   = 16
	modifiedHeader = packetHeader + 8 // interface, protocol and packet type after it
	linkMask       = 0x03ffffff       // above: the length of a check sequence
)

// swap says whether a packet's two lengths stand the other way round.
type swap uint8

const (
	never   swap = iota
	ifLower      // version 2.3 was written in both ways
	always       // before 2.3, and 543.0
)

// classic is the header of a classic file.
type classic struct {
	order    binary.ByteOrder
	scale    int64 // ns of the fraction's unit
	linkType int
	swap     swap
	header   []byte // of a packet
}

// newClassic reads the file's header; its magic number is known.
func newClassic(in *input) (*classic, error) {
	var b [classicHeader]byte
	if err := in.read(b[:]); err != nil {
		return nil, err
	}
	c := &classic{order: binary.LittleEndian, scale: 1000, header: make([]byte, packetHeader)}
	if b[0] == magicMicro>>24 {
		c.order = binary.BigEndian
	}
	switch c.order.Uint32(b[:]) {
	case magicNano:
		c.scale = 1
	case magicModified:
		c.header = make([]byte, modifiedHeader)
	}
	major, minor := c.order.Uint16(b[4:]), c.order.Uint16(b[6:])
	switch {
	case major == 543 && minor == 0, major == 2 && minor < 3:
		c.swap = always
	case major == 2 && minor == 3:
		c.swap = ifLower
	case major != 2 || minor > 4:
		return nil, fmt.Errorf("version %d.%d cannot be read: want 2.0 to 2.4", major, minor)
	}
	c.linkType = int(c.order.Uint32(b[20:]) & linkMask)
	return c, nil
}

func (c *classic) link() (int, bool) { return c.linkType, true }

func (c *classic) next(in *input) (Packet, error) {
	if err := in.begin(c.header); err != nil {
		return Packet{}, err
	}
	captured, length := c.order.Uint32(c.header[8:]), c.order.Uint32(c.header[12:])
	if c.swap == always || c.swap == ifLower && captured > length {
		captured, length = length, captured
	}
	if captured > maxPacket { // not a packet's header: nothing says where the next one is
		return Packet{}, fmt.Errorf("capture length exceeds that of any packet: %d > %d", captured, maxPacket)
	}
	data, err := in.captured(int(captured))
	if err != nil {
		return Packet{}, inside(err)
	}
	at := stamp(int64(c.order.Uint32(c.header)), int64(c.order.Uint32(c.header[4:]))*c.scale)
	return Packet{Data: data, Length: wireLength(length), Link: c.linkType, Time: at, Timed: true}, nil
}
