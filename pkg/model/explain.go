package model

// This file is the door for explanations: what a network must be for its outputs to be
// shared out among the values of the rows they rest on.

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"github.com/iotsense/iotsense/pkg/flows"
)

// Explainable is a [Net] whose outputs can be shared out.
type Explainable interface {
	Net
	// Reference is the name and shape of the model file's tensor of references, one
	// of them: what outputs are compared with.
	Reference(record RecordSpec) Tensor
	// Refer makes the reference of that number of a device's last rows, oldest first,
	// at least one. It holds nothing of their payloads but the lengths, and of their
	// addresses but the kind, see [StandIns].
	Refer(record RecordSpec, scaling Scaling, rows []flows.Row, number int) ([]float32, error)
	// Attributor prepares to share outputs out against references, one after the
	// other, at least one.
	Attributor(record RecordSpec, scaling Scaling, references []float32) (Attributor, error)
}

// Attributor shares a network's outputs out among the raw values of rows by DeepSHAP
// (Lundberg and Lee 2017; the rules are DeepLIFT's, Shrikumar et al. 2017): each
// nonlinear value's difference from its reference goes back to its inputs' in
// proportion (rescale), a maximum's to the strongest input of the greater side. It keeps
// buffers: one goroutine each.
type Attributor interface {
	// Attribute shares out the output that head describes, for the last of a device's
	// rows, oldest first, at least one. Rows that the network has forgotten are not
	// looked at.
	Attribute(rows []flows.Row, head Head) (*Attribution, error)
}

// Head says how an output depends on a network's logits: it writes the factors by which
// the logits' differences x - reference add up to the output's.
type Head func(x, reference, factors []float64)

// Attribution is an output shared out.
type Attribution struct {
	// Phi are the shares, [Rows x width of a row] in raw order, of the mean difference
	// from the references.
	Phi        []float64
	Rows       int         // that the output rests on; the last of them are those that were given, padding before them
	Logits     []float64   // before calibration
	References [][]float64 // the logits of each reference
}

// References is the set that explanations of the model compare with: as many as it has
// of the shape that its network's [Explainable.Reference] says. The error says why there is none.
func (m *Model) References() ([]float32, error) {
	e, ok := m.Net.(Explainable)
	if !ok {
		return nil, fmt.Errorf("explain: a network of kind %s does not tell what its outputs rest on", m.Net.Kind())
	}
	set := *m.referenceSet(e)
	if len(set) == 0 {
		return nil, errors.New("explain: the model has no background to compare with: train it anew with this program (`train` keeps one), explanations need it")
	}
	return set, nil
}

// SetReferences gives the model the set that its explanations compare with.
func (m *Model) SetReferences(references []float32) error {
	e, ok := m.Net.(Explainable)
	if !ok {
		return fmt.Errorf("explain: a network of kind %s takes no references", m.Net.Kind())
	}
	*m.referenceSet(e) = references
	return nil
}

// referenceSet is where the network's references are: its own inputs are the background,
// others have a tensor beside it.
func (m *Model) referenceSet(e Explainable) *[]float32 {
	if e.Reference(m.Record).Name == backgroundName {
		return &m.Background
	}
	return &m.Compared
}

// compared is the tensor that m.Compared becomes, of one reference; ok is false for
// networks that have none beside the background.
func (m *Model) compared() (t Tensor, ok bool) {
	e, ok := m.Net.(Explainable)
	if !ok {
		return Tensor{}, false
	}
	t = e.Reference(m.Record)
	return t, t.Name != backgroundName
}

func (m *Model) validateCompared() error {
	t, ok := m.compared()
	if !ok && len(m.Compared) > 0 {
		return fmt.Errorf("a network of kind %s has no references beside its background", m.Net.Kind())
	}
	if ok && len(m.Compared)%t.Size() != 0 {
		return fmt.Errorf("%s has %d values, not a multiple of one's %d", t.Name, len(m.Compared), t.Size())
	}
	if i := NotFinite(m.Compared); i >= 0 {
		return fmt.Errorf("%s[%d] is %v: must be finite", t.Name, i, m.Compared[i])
	}
	return nil
}

// Raw appends a row's values as records are written, nothing scaled (paper III-C):
// metadata and payload, as far as the model's records go.
func (s RecordSpec) Raw(dst []float64, row flows.Row) []float64 {
	end := len(dst) + s.Width()
	meta := row.Meta()
	dst = append(dst, meta[:10]...)
	for group := 10; group < len(meta); group += flows.RowPackets {
		dst = append(dst, meta[group:][:s.Packets]...)
	}
	cut := *row.Record
	cut.Packets = slices.Clone(cut.Packets[:min(s.Packets, len(cut.Packets))])
	for i, p := range cut.Packets {
		cut.Packets[i].Payload = p.Payload[:min(len(p.Payload), s.Prefix)]
	}
	for _, v := range cut.Tokens(nil, s.Payload) {
		dst = append(dst, float64(v))
	}
	for len(dst) < end {
		dst = append(dst, flows.PayloadPadding)
	}
	return dst
}

// StandIns are copies of rows whose payload bytes are [StandIn]s, for the reference of
// that number; so are the octets of remote addresses that are neither local nor of a
// group.
func StandIns(rows []flows.Row, number int) []flows.Row {
	out := slices.Clone(rows)
	for i := range out {
		rec := *out[i].Record
		rec.Packets = slices.Clone(rec.Packets)
		at := 0
		draw := func(b []byte) {
			for j := range b {
				b[j] = StandIn(number, i, at)
				at++
			}
		}
		if a := rec.Remote; !rec.IsLocal() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
			octets := a.AsSlice()
			first := octets[0]
			draw(octets)
			octets[0] = min(max(octets[0], 1), 223) // no group's
			if a.Is6() {
				octets[0] = first
			}
			rec.Remote, _ = netip.AddrFromSlice(octets)
		}
		for j := range rec.Packets {
			rec.Packets[j].Payload = make([]byte, len(rec.Packets[j].Payload))
			draw(rec.Packets[j].Payload)
		}
		out[i].Record = &rec
	}
	return out
}

// StandIn is a byte in place of a captured one: of a reference, by number, of a row of
// it, at a place there. It is the lowest byte of SplitMix64 (Steele et al. 2014) of
// the three.
func StandIn(reference, row, at int) byte {
	z := uint64(reference)<<32 | uint64(row)<<16 | uint64(at)
	z = (z + 1) * 0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return byte(z ^ z>>31)
}

// Rounded is a value to eight significant bits: finer than what a file keeps of several
// windows of a class lies apart, and packed into a third of the bytes.
func Rounded(v float32) float32 {
	const dropped = 16
	return math.Float32frombits((math.Float32bits(v) + 1<<(dropped-1)) &^ (1<<dropped - 1))
}
