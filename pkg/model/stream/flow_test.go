package stream_test

import (
	"bytes"
	"iter"
	"math"
	"net/netip"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/internal/conv"
	"github.com/iotsense/iotsense/pkg/model/stream"
	"github.com/iotsense/iotsense/pkg/model/stream/streamtest"
)

func row(remote string, proto uint8, own, far int32, packets ...flows.RowPacket) flows.Row {
	r := &flows.Record{Remote: netip.MustParseAddr(remote), Proto: proto, DevPort: own, RemPort: far, Packets: packets}
	for _, p := range packets {
		r.PacketCount++
		r.TotalBytes += uint64(p.Size)
	}
	return flows.Row{Record: r, Since: 5}
}

func read(t *testing.T, spec model.RecordSpec, r flows.Row) *stream.Flow {
	t.Helper()
	scaling := model.Scaling{Bytes: model.Moments{Mean: 1, Deviation: 2}, Packets: model.Moments{Deviation: 1}}
	var f stream.Flow
	f.Tokens = []int32{7} // of a flow before
	f.Numbers[50] = 7
	if err := stream.NewReader(streamtest.Architecture(), spec, scaling).Read(&f, r); err != nil {
		t.Fatal(err)
	}
	return &f
}

// set are the places of the numbers that are not 0.
func set(f *stream.Flow) map[int]float32 {
	out := map[int]float32{}
	for i, v := range f.Numbers {
		if v != 0 {
			out[i] = v
		}
	}
	return out
}

func TestNumbers(t *testing.T) {
	if stream.Numbers != 101 {
		t.Fatalf("%d numbers of a flow, the recipe has 101", stream.Numbers)
	}
	totals := func(size, packets float64) (float32, float32) {
		return float32((math.Log1p(size) - 1) / 2), float32(math.Log1p(packets))
	}
	size, count := totals(1540, 2)
	none, _ := totals(0, 0)
	sizeLog := func(n float64) float32 { return float32(math.Log2(1+n) / math.Log2(1501)) }
	spec := model.DefaultRecordSpec()
	for name, c := range map[string]struct {
		row  flows.Row
		want map[int]float32
	}{
		"two packets to a known port": {
			row("8.8.8.8", 17, 40000, 53, flows.RowPacket{Size: 40, Sent: true}, flows.RowPacket{Size: 1500, Offset: 60e6}),
			map[int]float32{4: 1, 6: 1, 9: size, 10: count, 11: float32(40 / 1500.0), 12: 1, 21: sizeLog(40), 22: 1, 31: 1, 32: -1, 42: 1, 75: 1, 76: 1},
		},
		"local, no ports":          {row("0.0.0.0", 1, flows.Missing, flows.Missing), map[int]float32{0: 1, 7: 1, 9: none}},
		"multicast, a port it has": {row("224.0.0.251", 17, 5353, 5353), map[int]float32{1: 1, 6: 1, 9: none, 53: 1, 100: 1}},
		"broadcast":                {row("255.255.255.255", 17, 68, 443), map[int]float32{2: 1, 6: 1, 9: none, 51: 1, 78: 1}},
		"IPv6":                     {row("2001:db8::1", 6, 123, 80), map[int]float32{3: 1, 5: 1, 9: none, 52: 1, 77: 1}},
		"local IPv6, any protocol": {row("::", 47, flows.Missing, flows.Missing), map[int]float32{0: 1, 8: 1, 9: none}},
	} {
		got := set(read(t, spec, c.row))
		for i, want := range c.want {
			if math.Abs(float64(got[i]-want)) > 1e-6 {
				t.Errorf("%s: number %d is %v, want %v", name, i, got[i], want)
			}
			delete(got, i)
		}
		if len(got) > 0 {
			t.Errorf("%s: numbers %v beside what is wanted", name, got)
		}
	}
}

// What a record's fields, its place in time or in the stream do not change, and what
// they do.
func TestHiddenFields(t *testing.T) {
	r := row("8.8.8.8", 17, 68, 53, flows.RowPacket{Size: 40, Offset: 9, Sent: true, Payload: []byte("ab")})
	whole := read(t, model.DefaultRecordSpec(), r)
	for field, c := range map[string]struct{ numbers, tokens, positions int }{
		model.FieldRemote:  {1, 0, 0},
		model.FieldPorts:   {2, 2, 0},
		model.FieldTime:    {1, 0, 0},
		model.FieldPayload: {0, 0, 2},
	} {
		spec := model.DefaultRecordSpec()
		spec.Without = []string{field}
		f := read(t, spec, r)
		got := struct{ numbers, tokens, positions int }{len(set(whole)) - len(set(f)), len(whole.Tokens) - len(f.Tokens), whole.Positions - f.Positions}
		if got != c {
			t.Errorf("without %s %+v fewer, want %+v", field, got, c)
		}
	}
	later := r
	later.Since = 1e9
	if again := read(t, model.DefaultRecordSpec(), later); again.Numbers != whole.Numbers || !slices.Equal(again.Tokens, whole.Tokens) {
		t.Error("a row is read otherwise when it comes later")
	}
}

// Symbols are the row's payload section, cut as it is, and zeros as far as the kernel
// reaches.
func TestSymbols(t *testing.T) {
	packets := []flows.RowPacket{{Size: 50, Payload: []byte("hello")}, {Size: 40}, {Size: 60, Payload: bytes.Repeat([]byte{255}, 30)}}
	r := row("8.8.8.8", 6, 40000, 80, packets...)
	for payload := range 45 {
		spec := model.DefaultRecordSpec()
		spec.Payload = payload
		f := read(t, spec, r)
		var want []uint32
		for _, v := range r.Tokens(nil, payload) {
			symbol := int(v)
			switch v {
			case flows.PayloadStart:
				symbol = 256
			case flows.PayloadEnd:
				symbol = 257
			}
			want = append(want, conv.Row(symbol))
		}
		if f.Positions != (len(want)+1)/2 {
			t.Errorf("%d values: %d positions", payload, f.Positions)
		}
		for len(want) < len(f.Symbols) {
			want = append(want, conv.Row(258))
		}
		if !slices.Equal(f.Symbols, want) || f.Positions > 0 && len(f.Symbols) != 2*f.Positions+6 {
			t.Errorf("%d values: symbols %v, want %v", payload, f.Symbols, want)
		}
	}
	spec := model.DefaultRecordSpec()
	spec.Packets, spec.Prefix = 1, 2
	if f := read(t, spec, r); f.Positions != 2 || len(f.Tokens) != 2 {
		t.Errorf("one packet of two bytes: %d positions, %d tokens", f.Positions, len(f.Tokens))
	}
}

// Tokens tell apart what differs, and are few.
func TestTokens(t *testing.T) {
	packets := make([]flows.RowPacket, 12)
	for i := range packets {
		packets[i] = flows.RowPacket{Size: uint32(40 + i), Sent: i%2 == 0}
	}
	f := read(t, model.DefaultRecordSpec(), row("8.8.8.8", 6, 9999, 32767, packets[:10]...))
	seen := map[int32]bool{}
	for _, b := range f.Tokens {
		if b < 0 || b >= 2048 {
			t.Errorf("token in bucket %d of 2048", b)
		}
		seen[b] = true
	}
	if len(f.Tokens) != stream.MaxTokens || len(seen) < 11 { // two of twelve may meet
		t.Errorf("tokens %v, want 12", f.Tokens)
	}
	if f := read(t, model.DefaultRecordSpec(), row("8.8.8.8", 6, 10000, 32768)); len(f.Tokens) != 0 {
		t.Errorf("tokens %v of ports drawn at random", f.Tokens)
	}
	one := func(proto uint8, size uint32, sent bool) int32 {
		return read(t, model.DefaultRecordSpec(), row("8.8.8.8", proto, -1, -1, flows.RowPacket{Size: size, Sent: sent})).Tokens[0]
	}
	if a := one(6, 40, true); a == one(6, 40, false) || a == one(17, 40, true) || a == one(6, 41, true) {
		t.Error("packets of another direction, protocol or size have the same token")
	}
}

// The ports with a number of their own are those of most streams, not of most flows.
func TestSurvey(t *testing.T) {
	var a stream.Architecture
	a.Survey(iter.Seq2[int, flows.Row](func(yield func(int, flows.Row) bool) {
		for range 100 { // one device, many flows
			yield(0, row("8.8.8.8", 6, 9999, 40000))
		}
		for s := range 30 {
			for p := range int32(24) {
				yield(s, row("8.8.8.8", 6, 30000, 100+p))
			}
			yield(s, row("8.8.8.8", 6, flows.Missing, int32(1000+s)))
		}
	}))
	if !slices.Equal(a.OwnPorts, []int32{9999}) {
		t.Errorf("own ports %v", a.OwnPorts)
	}
	if len(a.RemotePorts) != 24 || a.RemotePorts[0] != 100 || a.RemotePorts[23] != 123 {
		t.Errorf("remote ports %v, want 100 to 123", a.RemotePorts)
	}
}
