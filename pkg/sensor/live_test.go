package sensor_test

// This file holds the test that live equals offline: traffic is replayed past a
// sensor while tcpdump records on the sensor's own interface. What the sensor
// makes of the packets must be what capture.ReadPackets makes of the recording.

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/capture"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/replay"
)

// longEnv asks for every test capture at its own speed (make live).
const longEnv = "IOTSENSE_LIVE_LONG"

// tolerance is how far an offset may be from the recording's, in time as it
// passed: two stamps of one packet are taken at two places in the kernel. An
// emulated machine (make vmtest) may stand still between the two.
var tolerance = func() time.Duration {
	if os.Getenv("IOTSENSE_TEST_VM") != "" {
		return 200 * time.Millisecond
	}
	return time.Millisecond
}()

// rolloverMargin is how near to its flow's rollover a packet may fall on either
// side of it.
var rolloverMargin = 2 * tolerance

const (
	shortCaptures = 14
	shortLength   = 100 * time.Second // of the captures of the short test
	shortSpeed    = 5
)

// liveCase is one way to attach.
type liveCase struct {
	hook      attach.Hook
	direction flows.Direction
}

func liveCases() []liveCase {
	var cases []liveCase
	for _, hook := range []attach.Hook{attach.HookTCX, attach.HookTC, attach.HookXDP} {
		for _, direction := range []flows.Direction{flows.Bi, flows.Uni} {
			cases = append(cases, liveCase{hook, direction})
		}
	}
	return cases
}

func (c liveCase) String() string { return fmt.Sprintf("%s-%v", c.hook, c.direction) }

func TestLiveEqualsOffline(t *testing.T) {
	testenv.Root(t)
	testenv.Tool(t, "tcpdump")
	speed := float64(shortSpeed)
	if os.Getenv(longEnv) != "" {
		speed = 1
	}
	// All at once, however few processors there are: most of the time is waiting.
	var running sync.WaitGroup
	defer running.Wait()
	for name, frames := range map[string]func(*testing.T) []lab.Frame{
		"lab": labFrames, "captures": captureFrames, "crafted": craftedFrames,
	} {
		running.Go(func() {
			t.Run(name, func(t *testing.T) {
				frames := frames(t)
				var running sync.WaitGroup
				defer running.Wait()
				for _, c := range liveCases() {
					running.Go(func() {
						t.Run(c.String(), func(t *testing.T) { compareLive(t, "live-"+name+"-"+c.String(), c, frames, speed) })
					})
				}
			})
		})
	}
}

// labFrames is a unit of every kind in one home.
func labFrames(t *testing.T) []lab.Frame {
	t.Helper()
	var lists [][]lab.Frame
	for _, kind := range lab.Kinds() {
		c, err := lab.Generate(kind, 0, 1, shortLength)
		if err != nil {
			t.Fatal(err)
		}
		list := make([]lab.Frame, len(c.Frames))
		for i, f := range c.Frames {
			list[i] = lab.Frame(f)
		}
		lists = append(lists, list)
	}
	return replay.Merge(0, lists...)
}

// captureFrames is real captures of the test split, all or some short ones of
// different units.
func captureFrames(t *testing.T) []lab.Frame {
	t.Helper()
	captures, err := dataset.ReadManifest(filepath.Join(testenv.Data(t), "manifest.csv"))
	if err != nil {
		t.Fatal(err)
	}
	long := os.Getenv(longEnv) != ""
	units := map[string]bool{}
	var lists [][]lab.Frame
	for _, c := range captures {
		d := c.Devices[0]
		if d.Split != "test" || !long && (units[d.Unit] || len(lists) == shortCaptures) {
			continue
		}
		mac, err := flows.ParseMAC(d.Name)
		if err != nil {
			t.Fatal(err)
		}
		list, err := replay.ReadCapture(c.Path, mac)
		if err != nil {
			t.Fatal(err)
		}
		if !long && list[len(list)-1].Time.Sub(list[0].Time) > shortLength {
			continue
		}
		units[d.Unit] = true
		lists = append(lists, list)
	}
	if len(lists) < 10 {
		t.Fatalf("%d captures to play, want at least 10", len(lists))
	}
	return replay.Merge(0, lists...)
}

// compareLive replays the frames past a sensor and compares its records with
// those of the recording and of the frames themselves.
func compareLive(t *testing.T, purpose string, c liveCase, frames []lab.Frame, speed float64) {
	n, err := replay.NewNetwork(purpose)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}()
	recorder := startRecorder(t, n)
	sensor := startSensor(t, n, sensorConfig{Hook: c.hook, Direction: c.direction, Speed: speed})
	played, err := n.Play(t.Context(), frames, replay.PlayOptions{Speed: speed, FarEnd: c.hook == attach.HookXDP})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Duration(float64(flows.Lifetime)/speed) + time.Second) // the last flows live out their time
	recording := scale(recorder.stop(), speed)
	live := sensor.stop()

	offline := offlineRecords(t, recording, c.direction, flows.Lifetime)
	if got, want := live.Stats.Packets.Seen, played.Frames; got != want {
		t.Errorf("%d packets seen, %d played", got, want)
	}
	checkAccounting(t, live.Stats.Packets, offline.stats)
	exact := exactKeys(t, recording, c.direction, speed)
	compared := compareExact(t, live.Records, offline.records, exact, speed)
	compareTotals(t, "recording", live.Records, offline.records)
	compareFacts(t, live.Facts, offline.facts)
	comparePeers(t, live.Peers, offline.facts)
	compareTotals(t, "original", live.Records, offlineRecords(t, frames, c.direction, flows.Lifetime).records)
	devices := map[string]bool{}
	for i := range live.Records {
		devices[live.Records[i].Device] = true
	}
	if len(live.Early)*2 < len(devices) {
		t.Errorf("provisional verdicts on %d of %d devices", len(live.Early), len(devices))
	}
	rollovers := len(live.Records) - len(byFlow(live.Records))
	t.Logf("%d packets, %d records, %d of them after a rollover, %d compared one by one; latest frame %v late",
		played.Frames, len(live.Records), rollovers, compared, played.Latest)
	if rollovers == 0 {
		t.Error("no flow outlived its minute: rollover was not tested")
	}
	if compared < len(live.Records)*9/10 {
		t.Errorf("%d of %d records were away from a rollover: too few to prove anything", compared, len(live.Records))
	}
}

// compareFacts holds what the sensor knows of the devices to what the recording says. A
// packet that a rollover puts into another life may be one of its first ten, or not.
func compareFacts(t *testing.T, live []v1.Fact, offline *facts.Collector) {
	t.Helper()
	counted := map[string]int{}
	text := func(f v1.Fact) string { return strings.Join([]string{f.Device, f.Kind, f.Source, f.Value}, " ") }
	for _, f := range live {
		counted[text(f)]++
	}
	for name, set := range offline.Each {
		for _, f := range set.Lines(name, nil) {
			counted[text(f)]--
		}
	}
	maps.DeleteFunc(counted, func(_ string, n int) bool { return n == 0 })
	if len(live) == 0 || len(counted) > len(live)/100 {
		t.Errorf("%d facts, other than the recording's (1: live alone): %v", len(live), counted)
	}
}

// comparePeers does the same with whom they talk with.
func comparePeers(t *testing.T, live []v1.Peers, offline *facts.Collector) {
	t.Helper()
	counted, all := map[string]int{}, 0
	count := func(device v1.Peers, by int) {
		for _, p := range device.Peers {
			opened := ""
			if p.OpenedBy != nil {
				opened = *p.OpenedBy
			}
			counted[fmt.Sprint(device.Device, p.Peer, p.IPVersion, p.Proto, p.Port, opened)] += by
		}
	}
	for _, device := range live {
		all += len(device.Peers)
		count(device, 1)
	}
	for name := range offline.Each {
		count(offline.Peers(name), -1)
	}
	maps.DeleteFunc(counted, func(_ string, n int) bool { return n == 0 })
	if all == 0 || len(counted) > all/50 {
		t.Errorf("%d peers, other than the recording's (1: live alone): %v", all, counted)
	}
}

// scale makes the times of a recording those of traffic at its own speed.
func scale(frames []lab.Frame, speed float64) []lab.Frame {
	for i := range frames {
		since := frames[i].Time.Sub(frames[0].Time)
		if i > 0 {
			frames[i].Time = frames[0].Time.Add(time.Duration(float64(since) * speed))
		}
	}
	return frames
}

type offlineResult struct {
	records []flows.Record
	facts   *facts.Collector
	stats   flows.PacketStats
}

// offlineRecords is what extract makes of the frames.
func offlineRecords(t *testing.T, frames []lab.Frame, direction flows.Direction, lifetime time.Duration) offlineResult {
	t.Helper()
	var file bytes.Buffer
	w := pcapgo.NewWriter(&file)
	if err := w.WriteFileHeader(1<<18, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		info := gopacket.CaptureInfo{Timestamp: f.Time, CaptureLength: len(f.Data), Length: len(f.Data)}
		if err := w.WritePacket(info, f.Data); err != nil {
			t.Fatal(err)
		}
	}
	result := offlineResult{facts: facts.NewCollector(0)}
	cfg := capture.Config{
		RecordSpec: flows.RecordSpec{Direction: direction, Lifetime: lifetime}, Locals: flows.NewLocals(nil),
		Observe: result.facts.Sample,
	}
	stats, err := capture.ReadPackets(t.Context(), &file, cfg, func(r *flows.Record) { result.records = append(result.records, *r) })
	if err != nil {
		t.Fatal(err)
	}
	result.stats = stats.PacketStats
	return result
}

// checkAccounting checks the identities of flows.PacketStats, and each counter
// that does not depend on time against the recording's.
func checkAccounting(t *testing.T, live, offline flows.PacketStats) {
	t.Helper()
	checkIdentities(t, live)
	live.Late = 0 // a file has no late packets
	live.InClosed += live.InOpen
	live.InOpen = 0
	if live != offline {
		t.Errorf("counters\n live    %+v\n offline %+v", live, offline)
	}
}

func checkIdentities(t *testing.T, p flows.PacketStats) {
	t.Helper()
	for _, broken := range brokenIdentities(p) {
		t.Errorf("%s: %+v", broken, p)
	}
	if p.Duplicate != 0 {
		t.Errorf("%d duplicates with one interface attached", p.Duplicate)
	}
}

// brokenIdentities are those of flows.PacketStats that do not hold.
func brokenIdentities(p flows.PacketStats) []string {
	var broken []string
	for _, i := range []struct {
		name       string
		total, sum uint64
	}{
		{"seen = counted + not_ip + malformed + table_full + duplicate", p.Seen, p.Counted + p.NotIP + p.Malformed + p.TableFull + p.Duplicate},
		{"counted = in_closed + in_open", p.Counted, p.InClosed + p.InOpen},
		{"in_closed = with_device + no_device", p.InClosed, p.WithDevice + p.NoDevice},
	} {
		if i.total != i.sum {
			broken = append(broken, fmt.Sprintf("%s does not hold: %d, %d", i.name, i.total, i.sum))
		}
	}
	return broken
}

// flowKey names the records of one flow of a device.
type flowKey struct {
	device           string
	own, remote      netip.Addr
	proto            uint8
	devPort, remPort int32
}

func keyOf(r *flows.Record) flowKey {
	return flowKey{r.Device, r.DeviceAddr, r.RemoteAddr, r.Proto, r.DevPort, r.RemPort}
}

// byFlow groups records by flow, in order of time.
func byFlow(records []flows.Record) map[flowKey][]*flows.Record {
	groups := map[flowKey][]*flows.Record{}
	for i := range records {
		k := keyOf(&records[i])
		groups[k] = append(groups[k], &records[i])
	}
	for _, g := range groups {
		slices.SortStableFunc(g, func(x, y *flows.Record) int { return cmp.Compare(x.FirstSeen, y.FirstSeen) })
	}
	return groups
}

// exactKeys are the flows without a packet near a rollover: a lifetime that is a
// margin shorter or longer makes the same records of them.
func exactKeys(t *testing.T, frames []lab.Frame, direction flows.Direction, speed float64) map[flowKey]bool {
	t.Helper()
	margin := time.Duration(float64(rolloverMargin) * speed)
	shape := func(lifetime time.Duration) map[flowKey]string {
		shapes := map[flowKey]string{}
		for k, g := range byFlow(offlineRecords(t, frames, direction, lifetime).records) {
			for _, r := range g {
				shapes[k] += fmt.Sprintf("%d ", r.PacketCount)
			}
		}
		return shapes
	}
	shorter, longer := shape(flows.Lifetime-margin), shape(flows.Lifetime+margin)
	exact := map[flowKey]bool{}
	for k, s := range shorter {
		exact[k] = longer[k] == s
	}
	return exact
}

// compareExact compares the records of the exact flows one by one and returns
// how many those were.
func compareExact(t *testing.T, live, offline []flows.Record, exact map[flowKey]bool, speed float64) int {
	t.Helper()
	liveFlows, offlineFlows := byFlow(live), byFlow(offline)
	liveStart, offlineStart := earliest(live), earliest(offline)
	compared := 0
	var differences []string
	for k, want := range offlineFlows {
		if !exact[k] {
			continue
		}
		got := liveFlows[k]
		if len(got) != len(want) {
			differences = append(differences, fmt.Sprintf("%v: %d records live, %d offline", k, len(got), len(want)))
			continue
		}
		for i := range want {
			compared++
			if d := difference(got[i], want[i], got[i].FirstSeen-liveStart, want[i].FirstSeen-offlineStart, speed); d != "" {
				differences = append(differences, fmt.Sprintf("%v, record %d: %s", k, i, d))
			}
		}
	}
	report(t, "recording, one by one", differences)
	return compared
}

// difference says in what two records differ; empty if in nothing that counts.
func difference(live, offline *flows.Record, liveSince, offlineSince int64, speed float64) string {
	within := func(x, y int64, times float64) bool {
		return float64(max(x-y, y-x)) <= float64(tolerance.Microseconds())*speed*times+speed // + the recording's rounding
	}
	switch {
	case live.PacketCount != offline.PacketCount || live.TotalBytes != offline.TotalBytes:
		return fmt.Sprintf("%d packets, %d bytes live; %d, %d offline", live.PacketCount, live.TotalBytes, offline.PacketCount, offline.TotalBytes)
	case live.Remote != offline.Remote:
		return fmt.Sprintf("remote %v live, %v offline", live.Remote, offline.Remote)
	case live.Incomplete:
		return "incomplete live"
	case len(live.Packets) != len(offline.Packets):
		return fmt.Sprintf("%d samples live, %d offline", len(live.Packets), len(offline.Packets))
	case !within(liveSince, offlineSince, 2): // two stamps, each with its tolerance
		return fmt.Sprintf("first seen %d us after the first record live, %d offline", liveSince, offlineSince)
	}
	for i := range offline.Packets {
		x, y := &live.Packets[i], &offline.Packets[i]
		switch {
		case x.Size != y.Size || x.Sent != y.Sent:
			return fmt.Sprintf("sample %d: size %d, sent %v live; %d, %v offline", i, x.Size, x.Sent, y.Size, y.Sent)
		case !bytes.Equal(x.Payload, y.Payload):
			return fmt.Sprintf("sample %d: payload %x live, %x offline", i, x.Payload, y.Payload)
		case !within(x.Offset, y.Offset, 1):
			return fmt.Sprintf("sample %d: offset %d us live, %d offline", i, x.Offset, y.Offset)
		}
	}
	return ""
}

// compareTotals compares packets and bytes of each flow over all its records.
func compareTotals(t *testing.T, what string, live, want []flows.Record) {
	t.Helper()
	totals := func(records []flows.Record) map[flowKey][2]uint64 {
		m := map[flowKey][2]uint64{}
		for i := range records {
			sum := m[keyOf(&records[i])]
			m[keyOf(&records[i])] = [2]uint64{sum[0] + records[i].PacketCount, sum[1] + records[i].TotalBytes}
		}
		return m
	}
	got, wanted := totals(live), totals(want)
	var differences []string
	for k := range maps.Keys(wanted) {
		if got[k] != wanted[k] {
			differences = append(differences, fmt.Sprintf("%v: packets, bytes %v live, %v in the %s", k, got[k], wanted[k], what))
		}
	}
	for k := range maps.Keys(got) {
		if _, ok := wanted[k]; !ok {
			differences = append(differences, fmt.Sprintf("%v: %v live, not in the %s", k, got[k], what))
		}
	}
	report(t, what+", totals", differences)
}

func earliest(records []flows.Record) int64 {
	if len(records) == 0 {
		return 0
	}
	return slices.MinFunc(records, func(x, y flows.Record) int { return cmp.Compare(x.FirstSeen, y.FirstSeen) }).FirstSeen
}

// report fails with the first few differences.
func report(t *testing.T, what string, differences []string) {
	t.Helper()
	if len(differences) == 0 {
		return
	}
	slices.Sort(differences)
	t.Errorf("live differs from the %s in %d places:\n%s", what, len(differences), strings.Join(differences[:min(10, len(differences))], "\n"))
}
