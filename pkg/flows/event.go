package flows

// This file holds what a source tells the Assembler, the events of a flow's lives, and the
// accounting that sources share.

import "github.com/iotsense/iotsense/pkg/api/v1"

// PacketStats says what became of every packet, in wire packets.
type PacketStats = v1.PacketStats

// AccountingError says which sum of [PacketStats] does not hold.
type AccountingError = v1.AccountingError

// Life names one life of one flow: the minute that begins with its first
// packet. Two lives of one flow never have the same generation while both are
// known to the Assembler.
type Life struct {
	Key        Key
	Generation uint64
}

// Sample is one of the first packets of a life, its metadata and payload prefix.
type Sample struct {
	Life    Life
	Index   uint8 // 0-based place among the life's first packets, both directions together
	Order   int64 // arrival order of the life's first packet in its source; ties go by delivery
	Stamp   int64 // time of the packet in us on the source's clock
	FromA   bool  // sent by Key.A
	Size    uint32
	Payload []byte // transport payload prefix; the Assembler copies what it keeps
}

// Close ends a life. Its totals cover every packet of the life, sampled or not.
type Close struct {
	Life      Life
	Order     int64     // as in Sample
	First     int64     // stamp of the first packet, us on the source's clock
	Last      int64     // stamp of the last packet, us on the source's clock
	Packets   [2]uint64 // wire packets sent by Key.A, by Key.B
	Bytes     [2]uint64 // IP bytes (IP total lengths) sent by Key.A, by Key.B
	Samples   uint8     // samples taken; more than were delivered makes the record incomplete
	Interface Interface // that carried it
}

// Interface is one of the machine's; the zero value: none is known.
type Interface struct {
	Index uint32
	Name  string
}
