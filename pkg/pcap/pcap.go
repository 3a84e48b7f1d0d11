// Package pcap reads capture files as other programs have written them: classic pcap
// of either byte order, in micro- or nanoseconds, of the versions 2.0 to 2.4 and in
// the variant that some routers write, and pcapng; each of them gzipped or not. In go
// bytes that nobody vouches for, out come packets; what cannot be read is passed over
// by its length and counted, as long as there is one. How much memory that takes does
// not depend on what a file claims.
package pcap

import (
	"bufio"
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
