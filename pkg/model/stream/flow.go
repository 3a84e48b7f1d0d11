package stream

// This file says what the network sees of a flow: payload symbols, numbers, tokens.
// No address, no clock, and nothing of where the flow stands in its stream.

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/conv"
)

// Numbers is how many numbers of a flow there are. Where each kind of them begins:
const (
	RemoteAt     = 0                               // kind of remote address, one of five
	ProtocolAt   = RemoteAt + 5                    // TCP, UDP, ICMP or another, see [ProtocolKind]
	TotalsAt     = ProtocolAt + 4                  // bytes and packets, scaled as the model says
	SizesAt      = TotalsAt + 2                    // of packets, over FullPacket
	LogSizesAt   = SizesAt + flows.RowPackets      // the same, logarithms over LogPacket
	DirectionsAt = LogSizesAt + flows.RowPackets   // 1 sent, -1 received
	OffsetsAt    = DirectionsAt + flows.RowPackets // of packets, logarithms over LogLife
	OwnPortAt    = OffsetsAt + flows.RowPackets    // one of the ports that the shape names, or another
	RemotePortAt = OwnPortAt + PortNumbers + 1
	Numbers      = RemotePortAt + PortNumbers + 1
)

// Ports from these on are taken for drawn at random, not for a service's.
const (
	OwnPortLimit    = 10_000
	RemotePortLimit = 32_768
	PortNumbers     = 24 // ports of either side with a number of their own, at most
)

// maxTokens is how many tokens a flow has at most: its packets and its ports.
const maxTokens = flows.RowPackets + 2

// Payload symbols beside the 256 bytes: the ends of a packet's payload.
const (
	SymbolStart = 256
	SymbolEnd   = 257
)

// FullPacket is what packet sizes are divided by, bytes.
const FullPacket = 1500

// LogPacket and LogLife divide logarithms: log2(1 + size), log(1 + offset in us).
var (
	LogPacket = math.Log2(1 + FullPacket)
	LogLife   = math.Log1p(float64(flows.Lifetime.Microseconds()))
)

// Flow is one flow as the network sees it.
type Flow struct {
	// Symbols are the payload's, see [conv.Row], and what the last position reads
	// behind them.
	Symbols   []uint32
	Positions int // of the convolution's kernel
	Numbers   [Numbers]float32
	Tokens    []int32 // buckets
}

// Reader makes flows of rows. It is never written once built.
type Reader struct {
	arch    Architecture
	spec    model.RecordSpec
	scaling model.Scaling
	hidden  map[string]bool // fields
}

// NewReader reads rows of the records for networks of the architecture.
func NewReader(a Architecture, spec model.RecordSpec, scaling model.Scaling) *Reader {
	r := &Reader{arch: a, spec: spec, scaling: scaling, hidden: map[string]bool{}}
	for _, field := range spec.Without {
		r.hidden[field] = true
	}
	return r
}

// Read makes f the flow of a row. It refuses rows without a record, and scaling by
// which the totals are no numbers.
func (r *Reader) Read(f *Flow, row flows.Row) error {
	if row.Record == nil {
		return errors.New("read flow: no record")
	}
	packets := row.Packets[:min(len(row.Packets), r.spec.Packets)]
	r.symbols(f, packets)
	r.numbers(&f.Numbers, row.Record, packets)
	r.tokens(f, row.Record, packets)
	if i := model.NotFinite(f.Numbers[TotalsAt:SizesAt]); i >= 0 {
		return fmt.Errorf("read flow: total %d is %v: check the model's scaling", i+1, f.Numbers[TotalsAt+i])
	}
	return nil
}

// symbols reads what [flows.Record.Tokens] lists, of the model's packets and prefixes.
func (r *Reader) symbols(f *Flow, packets []flows.RowPacket) {
	s, left := f.Symbols[:0], r.spec.Payload
	if r.hidden[model.FieldPayload] {
		left = 0
	}
	for i := range packets {
		if left == 0 {
			break
		}
		s = append(s, conv.Row(SymbolStart))
		payload := packets[i].Payload
		payload = payload[:min(len(payload), r.spec.Prefix, left-1)]
		for _, b := range payload {
			s = append(s, conv.Row(int(b)))
		}
		if left -= 1 + len(payload); left > 0 {
			s = append(s, conv.Row(SymbolEnd))
			left--
		}
	}
	f.Positions = conv.Positions(len(s))
	for len(s) < conv.ByteReach(f.Positions) {
		s = append(s, conv.Row(Symbols))
	}
	f.Symbols = s
}

func (r *Reader) numbers(n *[Numbers]float32, rec *flows.Record, packets []flows.RowPacket) {
	clear(n[:])
	if !r.hidden[model.FieldRemote] {
		n[RemoteAt+remoteKind(rec)] = 1
	}
	n[ProtocolAt+ProtocolKind(rec.Proto)] = 1
	n[TotalsAt] = float32(r.scaling.Bytes.Score(float64(rec.TotalBytes)))
	n[TotalsAt+1] = float32(r.scaling.Packets.Score(float64(rec.PacketCount)))
	for i := range packets {
		p := &packets[i]
		n[SizesAt+i] = float32(float64(p.Size) / FullPacket)
		n[LogSizesAt+i] = float32(math.Log2(1+float64(p.Size)) / LogPacket)
		n[DirectionsAt+i] = -1
		if p.Sent {
			n[DirectionsAt+i] = 1
		}
		if !r.hidden[model.FieldTime] {
			n[OffsetsAt+i] = float32(math.Log1p(float64(max(p.Offset, 0))) / LogLife)
		}
	}
	if !r.hidden[model.FieldPorts] {
		setPort(n[OwnPortAt:RemotePortAt], rec.DevPort, r.arch.OwnPorts)
		setPort(n[RemotePortAt:], rec.RemPort, r.arch.RemotePorts)
	}
}

// setPort sets the number of a port, the last one for those that have none.
func setPort(n []float32, port int32, known []int32) {
	if port == flows.Missing {
		return
	}
	at, found := slices.BinarySearch(known, port)
	if !found {
		at = PortNumbers
	}
	n[at] = 1
}

// remoteKind is what kind of address the remote one is.
func remoteKind(r *flows.Record) int {
	switch {
	case r.IsLocal():
		return 0
	case r.Remote.IsMulticast():
		return 1
	case r.Remote.Is4() && r.Remote.As4() == [4]byte{255, 255, 255, 255}:
		return 2
	case r.IsIPv6():
		return 3
	}
	return 4
}

// IP protocol numbers.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)

// ProtocolKind is which of the four numbers of a protocol is 1.
func ProtocolKind(proto uint8) int {
	switch proto {
	case protoTCP:
		return 0
	case protoUDP:
		return 1
	case protoICMP, protoICMPv6:
		return 2
	}
	return 3
}

// Kinds of tokens, and the factor that hashes them: the golden ratio's 64 bits.
const (
	TokenPacket = iota + 1
	TokenOwnPort
	TokenRemotePort

	TokenHash uint64 = 0x9E3779B97F4A7C15
)

// tokens are (protocol, size, direction) of the packets and (protocol, port) of the
// ports that may be a service's.
func (r *Reader) tokens(f *Flow, rec *flows.Record, packets []flows.RowPacket) {
	f.Tokens = f.Tokens[:0]
	for i := range packets {
		sent := uint64(0)
		if packets[i].Sent {
			sent = 1
		}
		f.Tokens = append(f.Tokens, r.bucket(TokenPacket, rec.Proto, uint64(packets[i].Size)<<1|sent))
	}
	if r.hidden[model.FieldPorts] {
		return
	}
	if p := rec.DevPort; p >= 0 && p < OwnPortLimit {
		f.Tokens = append(f.Tokens, r.bucket(TokenOwnPort, rec.Proto, uint64(p)))
	}
	if p := rec.RemPort; p >= 0 && p < RemotePortLimit {
		f.Tokens = append(f.Tokens, r.bucket(TokenRemotePort, rec.Proto, uint64(p)))
	}
}

// bucket is where a token's row stands: its bits times the golden ratio's (Knuth's
// multiplicative hash), of which the upper half counts.
func (r *Reader) bucket(kind uint64, proto uint8, value uint64) int32 {
	hash := (value<<16 | uint64(proto)<<8 | kind) * TokenHash >> 32
	return int32(hash * uint64(r.arch.Buckets) >> 32)
}

// Survey gives the architecture numbers of their own for the ports that most streams
// of the rows have; of those that as many have, the lower.
func (a *Architecture) Survey(rows iter.Seq2[int, flows.Row]) {
	type seen struct {
		port   int32
		stream int
	}
	own, remote := map[seen]bool{}, map[seen]bool{}
	for stream, row := range rows {
		if p := row.DevPort; p >= 0 && p < OwnPortLimit {
			own[seen{p, stream}] = true
		}
		if p := row.RemPort; p >= 0 && p < RemotePortLimit {
			remote[seen{p, stream}] = true
		}
	}
	commonest := func(in map[seen]bool) []int32 {
		streams := map[int32]int{}
		for s := range in {
			streams[s.port]++
		}
		ports := slices.SortedFunc(maps.Keys(streams), func(x, y int32) int {
			return cmp.Or(cmp.Compare(streams[y], streams[x]), cmp.Compare(x, y))
		})
		ports = ports[:min(len(ports), PortNumbers)]
		slices.Sort(ports)
		return append([]int32{}, ports...) // JSON tells an empty list from none
	}
	a.OwnPorts, a.RemotePorts = commonest(own), commonest(remote)
}
