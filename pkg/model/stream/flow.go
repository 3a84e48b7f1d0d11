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

// Numbers is how many numbers of a flow there are. In this order:
const (
	remoteAt  = 0                            // kind of remote address, one of five
	protoAt   = remoteAt + 5                 // TCP, UDP, ICMP or another
	totalsAt  = protoAt + 4                  // bytes and packets, scaled as the model says
	sizesAt   = totalsAt + 2                 // of packets, over a full one's
	logsAt    = sizesAt + flows.RowPackets   // the same, logarithms
	wayAt     = logsAt + flows.RowPackets    // 1 sent, -1 received
	offsetsAt = wayAt + flows.RowPackets     // of packets, logarithms
	ownAt     = offsetsAt + flows.RowPackets // one of the ports that the shape names, or another
	farAt     = ownAt + portNumbers + 1
	Numbers   = farAt + portNumbers + 1
)

// Ports above these are taken for drawn at random, not for a service's.
const (
	ownLimit    = 10_000
	remoteLimit = 32_768
	portNumbers = 24 // ports of either side with a number of their own, at most
)

// maxTokens is how many tokens a flow has at most: its packets and its ports.
const maxTokens = flows.RowPackets + 2

// Payload symbols beside the 256 bytes.
const (
	symbolStart = 256
	symbolEnd   = 257
)

// Divisors of a flow's numbers: those of a full packet, and of a record's life.
const fullPacket = 1500

var (
	logPacket = math.Log2(1 + fullPacket)
	logLife   = math.Log1p(float64(flows.Lifetime.Microseconds()))
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
	if i := model.NotFinite(f.Numbers[totalsAt:sizesAt]); i >= 0 {
		return fmt.Errorf("read flow: total %d is %v: check the model's scaling", i+1, f.Numbers[totalsAt+i])
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
		s = append(s, conv.Row(symbolStart))
		payload := packets[i].Payload
		payload = payload[:min(len(payload), r.spec.Prefix, left-1)]
		for _, b := range payload {
			s = append(s, conv.Row(int(b)))
		}
		if left -= 1 + len(payload); left > 0 {
			s = append(s, conv.Row(symbolEnd))
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
		n[remoteAt+remoteKind(rec)] = 1
	}
	n[protoAt+protoKind(rec.Proto)] = 1
	n[totalsAt] = float32(r.scaling.Bytes.Score(float64(rec.TotalBytes)))
	n[totalsAt+1] = float32(r.scaling.Packets.Score(float64(rec.PacketCount)))
	for i := range packets {
		p := &packets[i]
		n[sizesAt+i] = float32(float64(p.Size) / fullPacket)
		n[logsAt+i] = float32(math.Log2(1+float64(p.Size)) / logPacket)
		n[wayAt+i] = -1
		if p.Sent {
			n[wayAt+i] = 1
		}
		if !r.hidden[model.FieldTime] {
			n[offsetsAt+i] = float32(math.Log1p(float64(max(p.Offset, 0))) / logLife)
		}
	}
	if !r.hidden[model.FieldPorts] {
		setPort(n[ownAt:farAt], rec.DevPort, r.arch.OwnPorts)
		setPort(n[farAt:], rec.RemPort, r.arch.RemotePorts)
	}
}

// setPort sets the number of a port, the last one for those that have none.
func setPort(n []float32, port int32, known []int32) {
	if port == flows.Missing {
		return
	}
	at, found := slices.BinarySearch(known, port)
	if !found {
		at = portNumbers
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

func protoKind(proto uint8) int {
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

// Kinds of tokens.
const (
	tokenPacket = iota + 1
	tokenOwn
	tokenRemote
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
		f.Tokens = append(f.Tokens, r.bucket(tokenPacket, rec.Proto, uint64(packets[i].Size)<<1|sent))
	}
	if r.hidden[model.FieldPorts] {
		return
	}
	if p := rec.DevPort; p >= 0 && p < ownLimit {
		f.Tokens = append(f.Tokens, r.bucket(tokenOwn, rec.Proto, uint64(p)))
	}
	if p := rec.RemPort; p >= 0 && p < remoteLimit {
		f.Tokens = append(f.Tokens, r.bucket(tokenRemote, rec.Proto, uint64(p)))
	}
}

// bucket is where a token's row stands: its bits times the golden ratio's (Knuth's
// multiplicative hash), of which the upper half counts.
func (r *Reader) bucket(kind uint64, proto uint8, value uint64) int32 {
	hash := (value<<16 | uint64(proto)<<8 | kind) * 0x9E3779B97F4A7C15 >> 32
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
		if p := row.DevPort; p >= 0 && p < ownLimit {
			own[seen{p, stream}] = true
		}
		if p := row.RemPort; p >= 0 && p < remoteLimit {
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
		ports = ports[:min(len(ports), portNumbers)]
		slices.Sort(ports)
		return append([]int32{}, ports...) // JSON tells an empty list from none
	}
	a.OwnPorts, a.RemotePorts = commonest(own), commonest(remote)
}
