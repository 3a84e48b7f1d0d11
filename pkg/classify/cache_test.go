package classify

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model/embedded"
)

func newClassifier(t testing.TB, opts Options) *Classifier {
	t.Helper()
	bundle, err := embedded.Paper()
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(bundle, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// records are n records of devices in turn, with payloads of random length.
func records(n, devices int) []*flows.Record {
	r := rand.New(rand.NewPCG(1, 2))
	list := make([]*flows.Record, n)
	for i := range list {
		payload := make([]byte, r.IntN(1000))
		for j := range payload {
			payload[j] = byte(r.IntN(256))
		}
		list[i] = &flows.Record{
			Device: fmt.Sprintf("02:00:00:00:00:%02x", i%devices), FirstSeen: int64(i) * 1e6,
			Remote: netip.AddrFrom4([4]byte{1, 1, 1, byte(i)}), Proto: 17, DevPort: 1000, RemPort: 53,
			TotalBytes: 900, PacketCount: 1, Packets: []flows.RowPacket{{Size: 900, Sent: true, Payload: payload}},
		}
	}
	return list
}

// However little is kept of devices, and whatever is dropped, every window has
// the same probabilities to the bit.
func TestCacheLimitChangesNoVerdict(t *testing.T) {
	const devices = 6
	run := func(limit int) (probabilities [][]float32, dropped bool) {
		c := newClassifier(t, Options{CacheBytes: limit, Judged: func(j Judged) {
			probabilities = append(probabilities, slices.Clone(j.Probs))
		}})
		for _, r := range records(120, devices) {
			if err := c.Record(r); err != nil {
				t.Fatal(err)
			}
			if limit > 0 && c.cache.bytes > limit {
				t.Fatalf("%d bytes kept, limit %d", c.cache.bytes, limit)
			}
		}
		return probabilities, c.cache.order.Len() < devices
	}
	want, dropped := run(0)
	if dropped {
		t.Error("the default limit trims memories")
	}
	for _, limit := range []int{1, 40_000} {
		got, dropped := run(limit)
		if !dropped {
			t.Errorf("limit %d trims no memory", limit)
		}
		for i := range want {
			if !slices.Equal(got[i], want[i]) {
				t.Fatalf("limit %d: window %d has other probabilities", limit, i)
			}
		}
	}
}

// The device least recently active is trimmed first; one that the registry
// drops leaves nothing behind.
func TestCacheTrimsTheLeastRecentlyActive(t *testing.T) {
	c := newClassifier(t, Options{MaxDevices: 3})
	list := records(15, 3)
	for _, r := range list {
		if err := c.Record(r); err != nil {
			t.Fatal(err)
		}
	}
	active := func() (names []string) {
		for e := c.cache.order.Front(); e != nil; e = e.Next() {
			for key, v := range c.cache.entries {
				if v == e.Value {
					names = append(names, strings.TrimPrefix(key.device, "02:00:00:00:00:"))
				}
			}
		}
		return names
	}
	if got := active(); !slices.Equal(got, []string{"02", "01", "00"}) {
		t.Errorf("memories of %v, most recent first, want 02 01 00", got)
	}
	c.cache.limit = c.cache.bytes - 1
	again := *list[14] // of 02
	again.FirstSeen += 60e6
	if err := c.Record(&again); err != nil {
		t.Fatal(err)
	}
	if got := active(); got[0] != "02" || slices.Contains(got, "00") && c.cache.bytes > c.cache.limit {
		t.Errorf("memories of %v and %d bytes, limit %d", got, c.cache.bytes, c.cache.limit)
	}
	c.forget("02:00:00:00:00:02")
	if slices.Contains(active(), "02") || len(c.cache.entries) != 2 {
		t.Error("a forgotten device has a memory")
	}
	for _, v := range c.cache.entries {
		c.cache.trim(v)
	}
	if c.cache.bytes != 0 {
		t.Errorf("%d bytes left with all memories trimmed", c.cache.bytes)
	}
}

// BenchmarkTenThousandDevices gives the memory of 10,000 devices that each send
// the records of one device of a real capture, and how much of it is state:
//
//	go test -run '^$' -bench TenThousand -benchtime 1x ./pkg/classify
func BenchmarkTenThousandDevices(b *testing.B) {
	const devices = 10_000
	set, err := dataset.Open(dataset.Options{Manifest: filepath.Join(testenv.Data(b), "manifest.csv"), Splits: []string{"test"}})
	if err != nil {
		b.Fatal(err)
	}
	var streams [][]*flows.Record // by device and capture
	last := ""
	err = set.Records(context.Background(), func(r flows.LabelledRecord) error {
		if key := r.Capture + r.Device; key != last {
			last = key
			streams = append(streams, nil)
		}
		i := len(streams) - 1
		streams[i] = append(streams[i], r.Record)
		return nil
	}, func(dataset.CaptureSummary) error { return nil })
	if err != nil {
		b.Fatal(err)
	}
	debug.FreeOSMemory()
	base := rss(b)
	for b.Loop() {
		c := newClassifier(b, Options{MaxDevices: devices})
		for d := range devices {
			for _, r := range streams[d%len(streams)] {
				own := *r
				own.Device = fmt.Sprintf("02:00:00:00:%02x:%02x", d>>8, d&255)
				own.Packets = slices.Clone(r.Packets)
				for i := range own.Packets {
					own.Packets[i].Payload = slices.Clone(own.Packets[i].Payload)
				}
				if err := c.Record(&own); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(rss(b)-base)/1e6, "RSS-MB")
		b.ReportMetric(float64(c.cache.bytes)/float64(c.cache.order.Len()), "state-B/device")
		b.ReportMetric(float64(c.cache.order.Len()), "states")
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapAlloc)/1e6, "heap-MB")
		runtime.KeepAlive(c)
	}
}

// rss is the process's resident memory in bytes.
func rss(b *testing.B) int {
	b.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "VmRSS:")
	kb, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		b.Fatal(err)
	}
	return kb << 10
}

// Classifiers of one model share its engine, know nothing of each other's devices, and
// leave nothing behind when they end.
func TestAnotherSharesTheEngine(t *testing.T) {
	var probabilities []float32
	opts := Options{Judged: func(j Judged) { probabilities = slices.Clone(j.Probs) }}
	one := newClassifier(t, opts)
	list := records(24, 2)
	last := func(c *Classifier) []float32 {
		for _, r := range list {
			if err := c.Record(r); err != nil {
				t.Fatal(err)
			}
		}
		return probabilities
	}
	want := last(newClassifier(t, opts))
	for range 3 {
		c := one.Another()
		for service, s := range c.streams {
			if s.engine != one.streams[service].engine {
				t.Fatal("it has an engine of its own")
			}
		}
		if n := len(c.Registry().Devices()); n != 0 {
			t.Errorf("it begins with %d devices", n)
		}
		if got := last(c); !slices.Equal(got, want) {
			t.Error("its last window has other probabilities")
		}
		if c.End(); len(one.cache.entries) != 0 || one.cache.bytes != 0 {
			t.Errorf("%d memories, %d bytes are left", len(one.cache.entries), one.cache.bytes)
		}
		if n := len(c.Registry().Devices()); n != 2 {
			t.Errorf("%d verdicts are left of 2", n)
		}
	}
}

// Whoever keeps something of devices is told of those that are dropped, whichever
// Classifier of a model drops them.
func TestEvicted(t *testing.T) {
	var dropped []string
	c := newClassifier(t, Options{MaxDevices: 2, Evicted: func(device string) { dropped = append(dropped, device) }}).Another()
	for _, r := range records(3, 3) {
		if err := c.Record(r); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"02:00:00:00:00:00"}; !slices.Equal(dropped, want) {
		t.Errorf("dropped %v, want %v", dropped, want)
	}
}
