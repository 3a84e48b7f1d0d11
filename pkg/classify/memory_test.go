package classify

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/join"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/embedded"
	"github.com/iotsense/iotsense/pkg/registry"
)

// deviceBytes is what all but the facts of a device may take, factsBytes what these may, with
// whom it talks.
const deviceBytes, factsBytes = 24 << 10, 14 << 10

// All that is held of a device stays within its bound: the network's memory, what was like
// its flows, facts and what they say, addresses, votes for every class, a past of both parts
// of the model, a level that is held; each of them full. Rows that explanations rest on are
// not among it: the cache bounds those of all devices.
func TestDeviceStaysWithinItsBound(t *testing.T) {
	const devices = 64
	bundle, err := embedded.Default()
	if err != nil {
		t.Fatal(err)
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	known := facts.NewCollector(devices + 1)
	c, err := New(bundle, Options{MaxDevices: devices + 1, Facts: known.Of})
	if err != nil {
		t.Fatal(err)
	}
	say(known, "02:00:00:01:00:00")
	act(t, c, bundle[""], "02:00:00:01:00:00") // what all share is there
	name := func(i int) string { return fmt.Sprintf("02:00:00:00:00:%02x", i) }
	for _, part := range []struct {
		name string
		fill func(device string)
		most uint64
	}{
		{"facts", func(device string) { say(known, device) }, factsBytes},
		{"all else", func(device string) { act(t, c, bundle[""], device) }, deviceBytes},
	} {
		before := heap()
		for i := range devices {
			part.fill(name(i))
		}
		each := (heap() - before) / devices
		t.Logf("%s: %d bytes a device", part.name, each)
		if each > part.most || each < part.most/3 {
			t.Errorf("%s: %d bytes a device, want %d at most, and all of the bounds full", part.name, each, part.most)
		}
	}
	for _, d := range c.Registry().Devices() {
		if n := len(known.Of(d.Device).All()); n != facts.MaxFacts || len(d.Addresses) != registry.MaxAddresses || len(d.Votes) != len(bundle[""].Labels) || d.Path == nil {
			t.Fatalf("%s: %d facts, %d addresses, %d votes, path %v", d.Device, n, len(d.Addresses), len(d.Votes), d.Path)
		}
	}
	runtime.KeepAlive(c)
}

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

// say has a device say all that is kept of it.
func say(known *facts.Collector, device string) {
	for i := range 300 {
		request := fmt.Appendf(nil, "GET / HTTP/1.1\r\nHost: %d.%s\r\nUser-Agent: %d.%s\r\n\r\n", i, strings.Repeat("h", i%130), i, strings.Repeat("a", 120))
		life := flows.Life{Key: flows.Key{Proto: 6, HasPorts: true,
			A: flows.End{Addr: netip.AddrFrom4([4]byte{192, 168, 0, 1}), Port: uint16(40000 + i)},
			B: flows.End{Addr: netip.AddrFrom4([4]byte{198, 51, 100, 1}), Port: uint16(i)}}}
		known.Sample(device, true, start+int64(i), &flows.Sample{Life: life, FromA: true, Payload: request})
	}
}

// act has it do all that is.
func act(t *testing.T, c *Classifier, m *model.Model, device string) {
	t.Helper()
	var r *flows.Record
	for i := range 64 {
		r = &flows.Record{
			Device: device, FirstSeen: start + int64(i)*time.Minute.Microseconds(), Remote: netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}),
			Proto: 6, DevPort: 40000, RemPort: int32(1 + i), TotalBytes: 9000, PacketCount: 10,
			DeviceAddr: netip.AddrFrom16([16]byte{0xfe, 0x80, 15: byte(1 + i)}),
		}
		r.LastSeen = r.FirstSeen + 1e6
		for j := range 10 {
			r.Packets = append(r.Packets, flows.RowPacket{Size: uint32(100 + 16*i), Sent: j%2 == 0, Payload: []byte(strings.Repeat("payload of a flow ", 50))})
		}
		if err := c.Record(r); err != nil {
			t.Fatal(err)
		}
	}
	all := slices.Repeat([]bool{true}, len(m.Labels))
	for other := range m.Labels { // each once, between many of the first class
		for i := range 20 {
			sure := make([]float32, len(m.Labels))
			sure[other*max(0, 1-i)] = 1
			r.FirstSeen += time.Hour.Microseconds()
			r.LastSeen = r.FirstSeen
			c.Registry().Window(r, &registry.Window{Window: join.Window{Probs: sure, Named: all}, Network: sure, Facts: sure})
		}
	}
}
