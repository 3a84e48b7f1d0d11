package flows

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/internal/packet"
)

// The 40 metadata values stand in the paper's order, raw; what is missing is -1.
func TestRowMeta(t *testing.T) {
	r := &Record{
		Remote: netip.MustParseAddr("1.2.3.4"), Proto: 6, DevPort: 5000, RemPort: 443, TotalBytes: 9_000_000_000, PacketCount: 7,
		Packets: []RowPacket{{0, 60, true, nil}, {59_999_999, 1500, false, nil}},
	}
	want := [MetaValues]float64{12345, 1, 2, 3, 4, 6, 5000, 443, 9e9, 7}
	for i := range RowPackets {
		want[10+i], want[20+i], want[30+i] = -1, -1, -1
	}
	want[10], want[20], want[30] = 0, 60, 1
	want[11], want[21], want[31] = 59_999_999, 1500, 0
	if got := (Row{Record: r, Since: 12345}).Meta(); got != want {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	r.DevPort, r.RemPort, r.Packets = Missing, Missing, nil
	if got := (Row{Record: r}).Meta(); got[6] != -1 || got[7] != -1 || got[10] != -1 {
		t.Errorf("missing values: %v", got)
	}
}

// Tokens are cut hard at the limit, wherever it falls.
func TestRecordTokens(t *testing.T) {
	r := &Record{Packets: []RowPacket{{Payload: []byte{7, 0, 255}}, {}, {Payload: []byte{1}}}}
	whole := []int16{-4, 7, 0, 255, -8, -4, -8, -4, 1, -8}
	for limit := range len(whole) + 3 {
		want := whole[:min(limit, len(whole))]
		if got := r.Tokens(nil, limit); !slices.Equal(got, want) {
			t.Errorf("limit %d: %v, want %v", limit, got, want)
		}
	}
	if got := r.Tokens([]int16{5}, 2); !slices.Equal(got, []int16{5, -4, 7}) {
		t.Errorf("appended: %v", got)
	}
	long := &Record{Packets: []RowPacket{{Payload: packet.Payload(1000)}, {Payload: packet.Payload(1000)}, {Payload: packet.Payload(1000)}, {}}}
	got := long.Tokens(nil, PayloadTokens)
	if len(got) != PayloadTokens || got[PayloadTokens-1] != int16(packet.Payload(1000)[994]) {
		t.Errorf("%d tokens, last %d", len(got), got[len(got)-1])
	}
	if (&Record{}).Tokens(nil, PayloadTokens) != nil {
		t.Error("tokens of no packets")
	}
}

func TestAsksForRouter(t *testing.T) {
	asks := Record{Proto: 58, Remote: netip.MustParseAddr("ff02::2"), Packets: []RowPacket{{}, {Sent: true}}}
	if !asks.AsksForRouter() {
		t.Error("one that asks does not")
	}
	for name, change := range map[string]func(*Record){
		"is asked":      func(r *Record) { r.Packets = r.Packets[:1] },
		"another group": func(r *Record) { r.Remote = netip.MustParseAddr("ff02::16") },
		"UDP":           func(r *Record) { r.Proto = 17 },
	} {
		r := asks
		if change(&r); r.AsksForRouter() {
			t.Error(name)
		}
	}
}

func TestLastDescribed(t *testing.T) {
	r := &Record{FirstSeen: 1_000_000, Packets: []RowPacket{{Offset: 0}, {Offset: 2_500_000}}}
	if got := r.LastDescribed(); got != 3_500_000 {
		t.Errorf("%d, want 3500000", got)
	}
	r.Packets = nil
	if got := r.LastDescribed(); got != r.FirstSeen {
		t.Errorf("without a packet: %d, want %d", got, r.FirstSeen)
	}
}
