package recording

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/recordfile"
)

const hourUS = int64(time.Hour / time.Microsecond)

// begin is when recordings of tests begin: with a period.
var begin = time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC).UnixMicro()

func record(device string, at int64, payload int) *flows.Record {
	return &flows.Record{
		Device: device, Remote: netip.MustParseAddr("192.0.2.7"), Proto: 17, DevPort: 5000, RemPort: 53, FirstSeen: at, LastSeen: at + 9,
		TotalBytes: uint64(payload) + 28, PacketCount: 1,
		Packets: []flows.RowPacket{{Size: uint32(payload) + 28, Sent: true, Payload: bytes.Repeat([]byte{7}, payload)}},
	}
}

func mac(i int) string { return fmt.Sprintf("02:00:00:00:%02x:%02x", i>>8, i&255) }

// open is a recorder, and its log.
func open(t *testing.T, cfg Config) (*Recorder, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	cfg.Spec, cfg.Log = flows.DefaultRecordSpec(), slog.New(slog.NewTextHandler(&log, nil))
	if cfg.Spared == nil {
		cfg.Spared = func(string) bool { return false }
	}
	cfg.Label = func(device string) string { return map[string]string{mac(1): "Kettle"}[device] }
	r, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, &log
}

// read is what a directory holds, by file.
func read(t *testing.T, dir string) (files [][]flows.LabelledRecord) {
	t.Helper()
	names, err := Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		var list []flows.LabelledRecord
		err := recordfile.Read(t.Context(), name, nil, func(r flows.LabelledRecord) error {
			list = append(list, r)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, list)
	}
	return files
}

// What was added is in files, in order of time, a file for each six hours, each for its owner
// and group alone.
func TestRecorder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "recordings")
	r, _ := open(t, Config{Dir: dir})
	var want []*flows.Record
	for i := range 40 {
		rec := record(mac(i%3), begin+int64(i)*hourUS/2, 10+i)
		want = append(want, rec)
		r.Add(rec)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	files := read(t, dir)
	if n := len(files); n != 4 {
		t.Fatalf("%d files of 20 hours, want 4", n)
	}
	for i, got := range slices.Concat(files...) {
		if got.FirstSeen != want[i].FirstSeen || got.Device != want[i].Device || !reflect.DeepEqual(got.Packets, want[i].Packets) {
			t.Fatalf("record %d is %+v, want %+v", i, got.Record, want[i])
		}
		if label := map[bool]string{true: "Kettle"}[got.Device == mac(1)]; got.Label != label || got.Unit != got.Device || got.Capture != "" {
			t.Errorf("record %d of %s: label %q, unit %q, capture %q", i, got.Device, got.Label, got.Unit, got.Capture)
		}
	}
	names, _ := Files(dir)
	total := uint64(0)
	for path, mode := range map[string]os.FileMode{dir: 0o750, names[0]: 0o640, names[3]: 0o640} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v, %v", path, info.Mode(), err)
		}
	}
	for _, name := range names {
		info, _ := os.Stat(name)
		total += uint64(info.Size())
	}
	if s := r.Stats(); s.Written != 40 || s.Failures != 0 || s.Dropped != 0 || s.Bytes != total {
		t.Errorf("%+v of %d bytes", s, total)
	}
	var none *Recorder
	none.Add(want[0])
	if none.Flush() != nil || none.Close() != nil || none.Forget(nil) != nil || none.Stats().Written != 0 {
		t.Error("a nil recorder keeps something")
	}
}

// Of a full pool each device and each hour keeps as much as others, as far as it has any; the
// devices spared have half of it, whoever comes.
func TestBalance(t *testing.T) {
	const kettle, camera, strangers = 1, 2, 1000
	tests := []struct {
		name   string
		spared []int
		fill   func(add func(device, hour, n int))
		check  func(of func(device, hour int) int) error
	}{
		{"a camera and a kettle", nil, func(add func(device, hour, n int)) {
			for hour := range 6 {
				add(camera, hour, 5000)
				add(kettle, hour, 3)
			}
		}, func(of func(device, hour int) int) error {
			least, most := anHour, 0
			for hour := range 6 {
				if n := of(kettle, hour); n != 3 {
					return fmt.Errorf("%d of 3 of the kettle's hour %d", n, hour)
				}
				least, most = min(least, of(camera, hour)), max(most, of(camera, hour))
			}
			if least == 0 || most > 2*least {
				return fmt.Errorf("between %d and %d records of the camera's hours", least, most)
			}
			return nil
		}},
		{"a flood of devices", []int{kettle, camera}, func(add func(device, hour, n int)) {
			add(kettle, 0, 20)
			add(camera, 0, 100)
			for i := range 3000 {
				add(strangers+i, i%6, 1)
			}
			add(kettle, 5, 20)
		}, func(of func(device, hour int) int) error {
			if a, b, c := of(kettle, 0), of(kettle, 5), of(camera, 0); a != 20 || b != 20 || c < 60 {
				return fmt.Errorf("%d and %d of the kettle, %d of the camera", a, b, c)
			}
			return nil
		}},
		{"a device that floods", nil, func(add func(device, hour, n int)) {
			for i := range 30 {
				add(strangers+i, 0, 4)
			}
			for range 500 {
				add(camera, 0, 40)
				add(camera, 1, 40)
			}
		}, func(of func(device, hour int) int) error {
			for i := range 30 {
				if n := of(strangers+i, 0); n != 4 {
					return fmt.Errorf("%d of 4 of device %d", n, i)
				}
			}
			return nil
		}},
	}
	for _, tt := range tests {
		p := newPool(200_000, func(device string) bool {
			return slices.ContainsFunc(tt.spared, func(i int) bool { return device == mac(i) })
		})
		at := map[int]int64{}
		tt.fill(func(device, hour, n int) {
			for range n {
				p.add(record(mac(device), begin+int64(hour)*hourUS+at[hour], 600))
				at[hour]++
				if p.bytes > p.room {
					t.Fatalf("%s: %d bytes in %d", tt.name, p.bytes, p.room)
				}
			}
		})
		if len(p.devices) > 400 {
			t.Errorf("%s: %d devices are held", tt.name, len(p.devices))
		}
		count, bytes := map[[2]int]int{}, 0
		index := map[string]int{}
		for i := range 8192 {
			index[mac(i)] = i
		}
		for _, rec := range p.drain() {
			count[[2]int{index[rec.Device], int((rec.FirstSeen - begin) / hourUS)}]++
			bytes += size(rec)
		}
		if err := tt.check(func(device, hour int) int { return count[[2]int{device, hour}] }); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if p.bytes != 0 || len(p.devices) != 0 || bytes > 200_000 {
			t.Errorf("%s: %d bytes drained, %d left", tt.name, bytes, p.bytes)
		}
	}
}

// The directory holds no more bytes than it may, and nothing older than two weeks; what is not
// the recorder's stays.
func TestBounds(t *testing.T) {
	dir := t.TempDir()
	for name, size := range map[string]int{
		"records-20260301T000000.000000Z.parquet": 6 << 20, "records-20260309T000000.000000Z.parquet": 9 << 20,
		"records-20260314T000000.000000Z.parquet": 9 << 20, "mine.parquet": 30 << 20, ".records-2026.parquet.abc": 5,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	names := func() string {
		entries, _ := os.ReadDir(dir)
		list := []string{}
		for _, e := range entries {
			list = append(list, strings.TrimSuffix(strings.TrimPrefix(e.Name(), "records-"), "T000000.000000Z.parquet"))
		}
		return strings.Join(list, " ")
	}
	r, _ := open(t, Config{Dir: dir, Size: 20 << 20})
	if got := names(); got != "mine.parquet 20260309 20260314" {
		t.Fatalf("there is %s", got)
	}
	r.Add(record(mac(1), time.Date(2026, 3, 24, 0, 0, 0, 0, time.UTC).UnixMicro(), 9))
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got := names(); got != "mine.parquet 20260314 20260324" {
		t.Errorf("there is %s", got)
	}
}

// Of who is forgotten nothing is left: of records that wait, that are held, that are in files; not
// after the process was killed in between either.
func TestForget(t *testing.T) {
	dir := t.TempDir()
	r, _ := open(t, Config{Dir: dir})
	fill := func(at int64) {
		for i := range 30 {
			r.Add(record(mac(i%3), begin+at+int64(i), 9))
		}
		r.Add(record(mac(7), begin+at+50, 9))
	}
	fill(0)
	fill(7 * hourUS)
	r.queue.Close(time.Minute) // all have been taken
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	alone := record(mac(1), begin+20*hourUS, 9)
	r.pool.add(alone)
	r.Flush()
	r.pool.add(record(mac(1), begin+20*hourUS+5, 9))
	if err := r.Forget([]string{mac(1), mac(7)}); err != nil {
		t.Fatal(err)
	}
	if r.take(numbered{record(mac(1), begin+20*hourUS+7, 9), r.number.Load()}) != nil || r.take(numbered{record(mac(2), begin+20*hourUS+6, 9), 1}) != nil {
		t.Error("not taken")
	}
	r.voiding.Wait()
	r.Close()
	files := read(t, dir)
	of := map[string]int{}
	for _, rec := range slices.Concat(files...) {
		of[rec.Device]++
	}
	if want := map[string]int{mac(0): 20, mac(2): 21}; !reflect.DeepEqual(of, want) || len(files) != 3 {
		t.Errorf("%v in %d files, want %v in 3", of, len(files), want)
	}
	if _, err := os.Stat(filepath.Join(dir, voidName)); err == nil {
		t.Error("the list of those forgotten is left")
	}
	os.WriteFile(filepath.Join(dir, "records-2026.parquet"), []byte("damaged"), 0o600)
	list, _ := json.Marshal([]string{mac(0)})
	if err := os.WriteFile(filepath.Join(dir, voidName), list, 0o600); err != nil {
		t.Fatal(err)
	}
	again, _ := open(t, Config{Dir: dir})
	again.voiding.Wait()
	for _, rec := range slices.Concat(read(t, dir)...) {
		if rec.Device != mac(2) {
			t.Errorf("a record of %s is left", rec.Device)
		}
	}
}

// A disk that takes nothing costs records, which are counted; that is said once, and the
// recorder goes on.
func TestFailures(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	r, log := open(t, Config{Dir: dir})
	os.Remove(dir)
	for i := range 2 {
		r.pool.add(record(mac(i), begin, 9))
		if err := r.Flush(); err == nil {
			t.Fatal("written to a directory that is not there")
		}
	}
	if n := strings.Count(log.String(), "records are lost"); n != 1 || r.Stats().Failures != 2 {
		t.Errorf("said %d times, %d failures", n, r.Stats().Failures)
	}
	os.Mkdir(dir, 0o750)
	r.pool.add(record(mac(1), begin, 9))
	if err := r.Flush(); err != nil || len(read(t, dir)) != 1 {
		t.Errorf("does not go on: %v", err)
	}
	for _, path := range []string{"/dev/null/x", "/proc"} {
		if _, err := Open(Config{Dir: path}); err == nil || !strings.HasPrefix(err.Error(), "recording: ") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// Where a clock that was ahead is set back, what comes from then on is in files in its time too,
// and what came before is still there.
func TestClockSetBack(t *testing.T) {
	dir := t.TempDir()
	r, _ := open(t, Config{Dir: dir})
	const year = 365 * 24 * hourUS
	for _, at := range []int64{begin - 24*hourUS, begin + year, begin, begin - 9, begin + 6*hourUS, begin + 6*hourUS - 9, begin + 12*hourUS} {
		r.Add(record(mac(1), at, 1))
	}
	r.queue.Close(time.Minute)
	want := [][]int64{{begin - 24*hourUS}, {begin - 9, begin}, {begin + 6*hourUS - 9, begin + 6*hourUS}, {begin + year}}
	files := read(t, dir)
	got := make([][]int64, len(files))
	for i := range files {
		for _, rec := range files[i] {
			got[i] = append(got[i], rec.FirstSeen)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("files of %v, want %v", got, want)
	}
}
