package interchange_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/embedded"
	"github.com/iotsense/iotsense/pkg/model/interchange"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
	"github.com/iotsense/iotsense/pkg/model/stream/streamtest"
)

// streams are stream networks for several kinds of records.
func streams() map[string]*model.Model {
	r := rand.New(rand.NewPCG(61, 62))
	list := map[string]*model.Model{"default": streamtest.Model(r, streamtest.Architecture(), 27)}
	odd := streamtest.Architecture()
	odd.Units, odd.Buckets, odd.Width, odd.Flows, odd.Hidden = 13, 1<<17-1, 7, 1, 11
	list["odd"] = streamtest.Model(r, odd, 1)
	list["odd"].Record.Packets, list["odd"].Record.Payload, list["odd"].Record.Prefix = 3, 101, 60
	list["IPv6, no payload"] = streamtest.Model(r, streamtest.Architecture(), 5)
	list["IPv6, no payload"].Record.IPv6, list["IPv6, no payload"].Record.Payload = true, 0
	list["without"] = streamtest.Model(r, streamtest.Architecture(), 5)
	list["without"].Record.Without = model.Fields
	list["temperature"] = streamtest.Model(r, streamtest.Architecture(), 5)
	list["temperature"].Calibration.Temperature = 0.4
	return list
}

// diverse are streams whose records differ in all that the network looks at.
func diverse(r *rand.Rand, ipv6 bool) [][]flows.Row {
	remotes := []string{"0.0.0.0", "224.0.0.251", "239.255.255.250", "255.255.255.255", "192.0.2.1", "240.0.0.1", "223.255.0.1", "255.0.0.251"}
	if ipv6 {
		remotes = append(remotes, "::", "ff02::fb", "2001:db8::1", "e000::1", "ef00::2", "64:ff9b::1")
	}
	ports := []int32{flows.Missing, 0, 53, 68, 80, 443, 9999, 10000, 32767, 32768, 65535}
	out := make([][]flows.Row, 5)
	for s := range out {
		out[s] = modeltest.Stream(r, 1+12*s)
		for i := range out[s] {
			rec := out[s][i].Record
			rec.Remote = netip.MustParseAddr(remotes[r.IntN(len(remotes))])
			rec.Proto = []uint8{1, 6, 17, 58, 2, 255}[r.IntN(6)]
			rec.DevPort, rec.RemPort = ports[r.IntN(len(ports))], ports[r.IntN(len(ports))]
			rec.TotalBytes <<= r.IntN(20)
			for j := range rec.Packets {
				if r.IntN(4) == 0 {
					rec.Packets[j].Offset, rec.Packets[j].Size = 0, uint32(r.IntN(1<<16))
				}
			}
		}
	}
	return out
}

// rawRow is a row's raw values (docs/MODEL.md), as far as the model's records go.
func rawRow(m *model.Model, row flows.Row) []float32 {
	meta, n := row.Meta(), m.Record.Packets
	values := make([]float32, 0, m.Record.Width())
	for i, v := range meta {
		if i < 10 || (i-10)%flows.RowPackets < n {
			values = append(values, float32(v))
		}
	}
	cut := *row.Record
	cut.Packets = slices.Clone(cut.Packets[:min(n, len(cut.Packets))])
	for i, p := range cut.Packets {
		cut.Packets[i].Payload = p.Payload[:min(len(p.Payload), m.Record.Prefix)]
	}
	for _, v := range cut.Tokens(nil, m.Record.Payload) {
		values = append(values, float32(v))
	}
	for len(values) < m.Record.Width() {
		values = append(values, flows.PayloadPadding)
	}
	return values
}

// checkStep holds ONNX Runtime's steps over whole streams against the engine's.
func checkStep(t *testing.T, m *model.Model, devices [][]flows.Row) {
	t.Helper()
	e, err := model.NewEngine(m)
	if err != nil {
		t.Fatal(err)
	}
	var rows, ipv6, want []float32
	var lengths []string
	for _, device := range devices {
		memory := e.Memory()
		for _, row := range device {
			probs := make([]float32, e.Classes())
			if err := e.Next(memory, row, probs); err != nil {
				t.Fatal(err)
			}
			rows, want = append(rows, rawRow(m, row)...), append(want, probs...)
			if m.Record.IPv6 {
				ipv6 = append(ipv6, map[bool]float32{true: 1}[row.IsIPv6()])
			}
		}
		lengths = append(lengths, fmt.Sprint(len(device)))
	}
	var about struct {
		Inputs, Outputs map[string][]any
		Metadata        map[string]string
	}
	out := filed(t, nil)
	python(t, &about, "run_step.py", append([]string{export(t, m), filed(t, rows), out, filed(t, ipv6)}, lengths...)...)
	got := values(t, out)
	if d := farthest(t, got, want); d > tolerance {
		t.Errorf("ONNX Runtime is %g away from the engine, want %g", d, tolerance)
	} else {
		t.Logf("%d rows of %d streams: ONNX Runtime is at most %g away", len(want)/e.Classes(), len(devices), d)
	}
	a := streamtest.Net(m).Arch
	memory := fmt.Sprintf("[N %d %d]", a.Flows, a.Flow()+1)
	ends := fmt.Sprint(about.Inputs["rows"], about.Inputs["memory"], about.Outputs["next_memory"], about.Outputs["probabilities"])
	if want := fmt.Sprintf("[N %d] %s %s [N %d]", m.Record.Width(), memory, memory, e.Classes()); ends != want {
		t.Errorf("rows, memory, next_memory and probabilities are %s, want %s", ends, want)
	}
	checkMetadata(t, m, about.Metadata)
}

// A step graph does what the engine does over whole streams, from the raw row on.
func TestONNXStepEqualsEngine(t *testing.T) {
	for name, m := range streams() {
		t.Run(name, func(t *testing.T) {
			checkStep(t, m, diverse(rand.New(rand.NewPCG(63, 64)), m.Record.IPv6))
		})
	}
}

// The same over whole captures of the test split: all of them were compared once
// (docs/MODEL.md), here some.
func TestONNXStepOverCaptures(t *testing.T) {
	bundle, err := embedded.Default()
	if err != nil {
		t.Fatal(err)
	}
	m := bundle[""]
	checkStep(t, m, captures(t, m, 11))
}

// captures are whole streams of the test split, one of every so many.
func captures(t *testing.T, m *model.Model, every int) (devices [][]flows.Row) {
	t.Helper()
	n := 0
	for _, w := range modeltest.RealWindows(t, m.Record.Stream(), 1<<20) {
		if len(w) == 1 { // a stream begins
			n++
		}
		switch {
		case n%every != 0:
		case len(w) == 1:
			devices = append(devices, w)
		default:
			devices[len(devices)-1] = w
		}
	}
	return devices
}

// What an exported step graph is, import says, whatever it is asked to make of it.
func TestStepGraphIsNotImported(t *testing.T) {
	_, err := interchange.Read(t.Context(), export(t, streams()["default"]))
	if err == nil || !strings.Contains(err.Error(), "stream network") || strings.Contains(err.Error(), "outputs") {
		t.Errorf("error %v, want one that names the stream network", err)
	}
}
