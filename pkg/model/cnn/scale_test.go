package cnn_test

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
)

// dhcp is a record with every kind of value: ports, two packets of ten, payload.
var dhcp = flows.Row{Since: 43_200e6, Record: &flows.Record{
	Remote: netip.MustParseAddr("255.255.0.51"), Proto: 17, DevPort: 68, RemPort: flows.Missing,
	TotalBytes: 1000, PacketCount: 2,
	Packets: []flows.RowPacket{
		{Offset: 0, Size: 300, Sent: true, Payload: []byte{0, 51, 255}},
		{Offset: 30e6, Size: 750},
	},
}}

var unit = model.Scaling{
	Bytes:   model.Moments{Mean: 1, Deviation: 2},
	Packets: model.Moments{Mean: 0, Deviation: 1},
}

// rowValues are those of a row of the paper.
const rowValues = flows.MetaValues + flows.PayloadTokens

func TestRowValues(t *testing.T) {
	const none = -1
	meta := []float64{
		0.5, 1, 1, 0, 0.2, 17. / 255, 68. / 65535, none,
		(math.Log(1001) - 1) / 2, math.Log(3),
		0, 0.5, none, none, none, none, none, none, none, none,
		0.2, 0.5, none, none, none, none, none, none, none, none,
		1, 0, none, none, none, none, none, none, none, none,
	}
	for _, c := range []struct {
		name string
		spec func(*model.RecordSpec)
		want []float64
	}{
		{"default", func(*model.RecordSpec) {}, append(meta[:40:40], -4, 0, 0.2, 1, -8, -4, -8)},
		{"delimiters scaled", func(s *model.RecordSpec) { s.ScaleDelimiters = true },
			append(meta[:40:40], -4./255, 0, 0.2, 1, -8./255, -4./255, -8./255)},
		{"hard cut", func(s *model.RecordSpec) { s.Payload = 3 }, append(meta[:40:40], -4, 0, 0.2)},
		{"short prefix", func(s *model.RecordSpec) { s.Prefix = 1 }, append(meta[:40:40], -4, 0, -8, -4, -8)},
		{"without remote and ports", func(s *model.RecordSpec) { s.Without = []string{model.FieldRemote, model.FieldPorts} },
			append(append(append([]float64{0.5, none, none, none, none}, meta[5]), none, none), append(meta[8:40:40], -4, 0, 0.2, 1, -8, -4, -8)...)},
		{"without time", func(s *model.RecordSpec) { s.Without = []string{model.FieldTime} },
			append(append(append([]float64{none}, meta[1:10]...), repeat(none, 10)...), append(meta[20:40:40], -4, 0, 0.2, 1, -8, -4, -8)...)},
		{"without payload", func(s *model.RecordSpec) { s.Without = []string{model.FieldPayload} }, meta},
		{"one packet", func(s *model.RecordSpec) { s.Packets = 1 },
			append(meta[:10:10], 0, 0.2, 1, -4, 0, 0.2, 1, -8)},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := model.DefaultRecordSpec()
			c.spec(&spec)
			dst := make([]float32, spec.Width())
			n, err := cnn.NewScaler(spec, unit).Row(dst, dhcp)
			if err != nil {
				t.Fatal(err)
			}
			if n != len(c.want) {
				t.Fatalf("%d values, want %d", n, len(c.want))
			}
			for i, want := range c.want {
				if math.Abs(float64(dst[i])-want) > 1e-6 {
					t.Errorf("value %d is %v, want %v", i+1, dst[i], want)
				}
			}
		})
	}
}

func repeat(v float64, n int) []float64 {
	list := make([]float64, n)
	for i := range list {
		list[i] = v
	}
	return list
}

func TestWindowFillsMissingRowsAndPadding(t *testing.T) {
	spec := model.DefaultRecordSpec()
	dst := make([]float32, 5*rowValues)
	for i := range dst {
		dst[i] = 99 // whatever stood there before
	}
	if err := cnn.NewScaler(spec, unit).Window(dst, 5, []flows.Row{dhcp, dhcp}); err != nil {
		t.Fatal(err)
	}
	for i, v := range dst {
		row, col := i/rowValues, i%rowValues
		known := row >= 3 && col < flows.MetaValues+7
		if !known && v != -1 {
			t.Fatalf("row %d value %d is %v, want -1", row, col+1, v)
		}
	}
	if got := dst[3*rowValues]; got != 0.5 {
		t.Errorf("the window's first row begins with %v, want 0.5", got)
	}
}

// The payload's values are the scaled tokens of the record form.
func TestRowPayloadIsTheRecordsTokens(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	spec := model.DefaultRecordSpec()
	scaler := cnn.NewScaler(spec, unit)
	dst := make([]float32, spec.Width())
	for i, row := range modeltest.Stream(r, 100) {
		n, err := scaler.Row(dst, row)
		if err != nil {
			t.Fatal(err)
		}
		tokens := row.Tokens(nil, spec.Payload)
		if n != flows.MetaValues+len(tokens) {
			t.Fatalf("row %d: %d values, want %d", i, n, flows.MetaValues+len(tokens))
		}
		for j, token := range tokens {
			want := float32(token)
			if token >= 0 {
				want = float32(float64(token) / 255)
			}
			if got := dst[flows.MetaValues+j]; got != want {
				t.Fatalf("row %d payload value %d is %v, want %v", i, j+1, got, want)
			}
		}
	}
}
