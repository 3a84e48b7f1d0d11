// Package pcap reads capture files as other programs have written them: classic pcap
// of either byte order, in micro- or nanoseconds, of the versions 2.0 to 2.4 and in
// the variant that some routers write, and pcapng; each of them gzipped or not. In go
// bytes that nobody vouches for, out come packets; what cannot be read is passed over
// by its length and counted, as long as there is one. How much memory that takes does
// not depend on what a file claims.
package pcap

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

const (
	// maxPacket is the most that is captured of a packet: Linux makes super-packets of
	// 512 KiB at most (BIG TCP), capture programs keep 256 KiB.
	maxPacket = 1 << 20
	buffer    = 1 << 16
)

// The years of a stamp: what has no place in them is no time, and could not be
// written as text or added to another.
var (
	earliest = time.Date(1, time.January, 1, 0, 0, 0, 0, time.UTC).Unix()
	latest   = time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC).Unix()
)

// Packet is one packet of a file.
type Packet struct {
	Data   []byte    // what was captured, not more than Length; valid until the next call
	Length int       // its length on the wire
	Link   int       // LINKTYPE number (www.tcpdump.org/linktypes.html)
	Time   time.Time // UTC, in the years 1 to 9999
	Timed  bool      // false for pcapng's simple packets, which carry no time

	// Overlong is set when the file had more bytes of the packet than were on the wire
	// (padding, a check sequence); Data is without them.
	Overlong bool
}

// PacketError is why a packet was passed over; reading can go on after it.
type PacketError struct{ Reason string }

func (e *PacketError) Error() string { return e.Reason }

// Reader reads the packets of a file. It is not safe for concurrent use.
type Reader struct {
	format format
	in     input
}

// format is what classic pcap and pcapng have in common.
type format interface {
	// link is the link type of all packets; false when each has its own.
	link() (int, bool)
	next(*input) (Packet, error)
}

// NewReader opens a stream, which is unpacked if it is gzipped. The error says what
// the stream is when it is no capture.
func NewReader(in io.Reader) (*Reader, error) {
	stream, kind, gzipped, err := open(in)
	if err != nil {
		return nil, err
	}
	r := &Reader{in: input{stream: stream}}
	switch kind {
	case Classic:
		r.format, err = newClassic(&r.in)
	case NG:
		r.format, err = newNG(&r.in)
	default:
		return nil, noCapture(kind, gzipped)
	}
	if err != nil {
		return nil, fmt.Errorf("%v header: %w", kind, truncated(err))
	}
	return r, nil
}

// Link is the link type of all packets; false when each packet has its own (pcapng).
func (r *Reader) Link() (int, bool) { return r.format.link() }

// Passed is how many blocks without packets have been passed over (pcapng: statistics,
// names, keys, and what is not known).
func (r *Reader) Passed() uint64 { return r.in.passed }

// Damage is what was found wrong on the way without a packet being lost, or nil.
func (r *Reader) Damage() error { return r.in.damage }

// Next returns the next packet. The error is io.EOF when the file has ended where a
// packet may end, a [PacketError] when only this packet cannot be read; any other
// ends the reading.
func (r *Reader) Next() (Packet, error) {
	p, err := r.format.next(&r.in)
	if err != nil {
		return p, truncated(err)
	}
	if p.Length == 0 { // the writer did not know it
		p.Length = len(p.Data)
	}
	if p.Overlong = len(p.Data) > p.Length; p.Overlong {
		p.Data = p.Data[:p.Length]
	}
	return p, nil
}

// input is a stream with room for one packet.
type input struct {
	stream *bufio.Reader
	packet []byte
	passed uint64
	damage error
}

// begin reads what may be missing altogether: io.EOF if the stream ends before it.
func (in *input) begin(b []byte) error {
	_, err := io.ReadFull(in.stream, b)
	return err
}

// read reads what must be there.
func (in *input) read(b []byte) error { return inside(in.begin(b)) }

// skip passes n bytes over that must be there.
func (in *input) skip(n int64) error {
	for n > 0 {
		step := int(min(n, 1<<30))
		if _, err := in.stream.Discard(step); err != nil {
			return inside(err)
		}
		n -= int64(step)
	}
	return nil
}

// wireLength is a packet's length as an int of any machine.
func wireLength(n uint32) int { return int(min(n, math.MaxInt32)) }

// captured reads the n bytes of a packet, not more than maxPacket.
func (in *input) captured(n int) ([]byte, error) {
	if n > cap(in.packet) {
		in.packet = make([]byte, min(maxPacket, max(2*n, 2048)))
	}
	b := in.packet[:n]
	return b, in.read(b)
}

// inside makes an end of file one in the middle.
func inside(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// truncated says in words that a file ends in the middle; io.EOF is left.
func truncated(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("file ends in the middle: it is truncated")
	}
	return err
}

// stamp is a time that a file claims.
func stamp(seconds, nanoseconds int64) time.Time {
	return time.Unix(min(max(seconds, earliest), latest), nanoseconds).UTC()
}

// Kind is what a file is by its first bytes.
type Kind string

// The kinds that are told apart. All after Parquet are compressed.
const (
	Unknown Kind = "unknown"
	Empty   Kind = "empty"
	Classic Kind = "pcap"
	NG      Kind = "pcapng"
	Parquet Kind = "parquet"
	Gzip    Kind = "gzip"
	Bzip2   Kind = "bzip2"
	XZ      Kind = "xz"
	Zstd    Kind = "zstd"
	LZ4     Kind = "lz4"
	Zip     Kind = "zip"
	SevenZ  Kind = "7z"
)

var magics = []struct {
	bytes string
	kind  Kind
}{
	{"\xa1\xb2\xc3\xd4", Classic}, {"\xd4\xc3\xb2\xa1", Classic}, // microseconds
	{"\xa1\xb2\x3c\x4d", Classic}, {"\x4d\x3c\xb2\xa1", Classic}, // nanoseconds
	{"\xa1\xb2\xcd\x34", Classic}, {"\x34\xcd\xb2\xa1", Classic}, // with more in each packet's header
	{"\x0a\x0d\x0d\x0a", NG},
	{"PAR1", Parquet},
	{"\x1f\x8b", Gzip},
	{"BZh", Bzip2},
	{"\xfd7zXZ\x00", XZ},
	{"\x28\xb5\x2f\xfd", Zstd},
	{"\x04\x22\x4d\x18", LZ4},
	{"PK\x03\x04", Zip},
	{"7z\xbc\xaf\x27\x1c", SevenZ},
}

// IsCapture reports whether a Reader can read files of the kind.
func (k Kind) IsCapture() bool { return k == Classic || k == NG }

// Compressed reports whether files of the kind are others, made smaller.
func (k Kind) Compressed() bool {
	switch k {
	case Unknown, Empty, Classic, NG, Parquet:
		return false
	}
	return true
}

// Identify reads as much of a stream as tells what it is; of a gzipped one what is
// inside. The error is that of reading.
func Identify(in io.Reader) (kind Kind, gzipped bool, err error) {
	_, kind, gzipped, err = open(in)
	return kind, gzipped, err
}

// open tells what a stream is and gives it back from its start, unpacked once.
func open(in io.Reader) (stream *bufio.Reader, kind Kind, gzipped bool, err error) {
	stream = bufio.NewReaderSize(in, buffer)
	kind, err = first(stream)
	if kind != Gzip || err != nil {
		return stream, kind, false, err
	}
	unpacked, err := gzip.NewReader(stream)
	if err != nil {
		return nil, Gzip, true, fmt.Errorf("gzip: %w", truncated(inside(err)))
	}
	stream = bufio.NewReaderSize(unpacked, buffer)
	if kind, err = first(stream); err != nil {
		return nil, kind, true, fmt.Errorf("gzip content: %w", err)
	}
	return stream, kind, true, nil
}

// first looks at a stream's first bytes. One that ends within a magic number is cut.
func first(stream *bufio.Reader) (Kind, error) {
	head, err := stream.Peek(6)
	if len(head) == 0 && err == io.EOF {
		return Empty, nil
	}
	for _, m := range magics {
		switch {
		case bytes.HasPrefix(head, []byte(m.bytes)):
			return m.kind, nil
		case err != nil && bytes.HasPrefix([]byte(m.bytes), head):
			return Unknown, truncated(inside(err))
		}
	}
	if err != nil && err != io.EOF {
		return Unknown, truncated(err)
	}
	return Unknown, nil
}

// noCapture says what a stream is instead of a capture, and what to do.
func noCapture(kind Kind, gzipped bool) error {
	switch {
	case kind == Empty && gzipped:
		return errors.New("gzip content is empty: not a capture")
	case kind == Empty:
		return errors.New("file is empty: not a capture")
	case kind == Parquet && gzipped:
		return errors.New("a gzipped parquet file, not a capture: unpack it first")
	case kind == Parquet:
		return errors.New("a parquet file, not a capture: records are read from files that are named, not from standard input or a manifest")
	case kind.Compressed() && gzipped:
		return fmt.Errorf("compressed with %s inside gzip: unpack it first", kind)
	case kind.Compressed():
		return fmt.Errorf("compressed with %s: unpack it first", kind)
	}
	return errors.New("not a pcap or pcapng file")
}

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
