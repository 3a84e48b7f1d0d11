package dataset_test

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
)

// randomRow is a row of n packets.
func randomRow(r *rand.Rand, n int) flows.Row {
	rec := &flows.Record{
		Remote: netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(256))}), Proto: uint8(r.IntN(256)),
		DevPort: r.Int32N(65536), RemPort: flows.Missing, TotalBytes: r.Uint64N(1e9), PacketCount: r.Uint64N(1e5),
	}
	if n == 1 {
		rec.Remote = netip.MustParseAddr("2001:db8::1")
	}
	for range n {
		p := flows.RowPacket{Offset: r.Int64N(60e6), Size: r.Uint32N(1500), Sent: r.IntN(2) == 1, Payload: make([]byte, 500+r.IntN(500))}
		for i := range p.Payload {
			p.Payload[i] = byte(r.Uint32())
		}
		rec.Packets = append(rec.Packets, p)
	}
	return flows.Row{Record: rec, Since: r.Int64N(120e6)}
}

// filled is a store of the windows of two devices, and the windows.
func filled(t *testing.T, memory int64, rows int) (*dataset.Store, []flows.Window) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	s := dataset.NewStore(5, memory)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	var all []flows.Window
	for _, device := range []string{"02:00:00:00:00:01", "02:00:00:00:00:02"} {
		var list []flows.Row
		for range rows {
			list = append(list, randomRow(r, r.IntN(6)))
			w := flows.Window{Device: device, Rows: slices.Clone(list[max(0, len(list)-5):])}
			all = append(all, w)
			if err := s.Add(dataset.Example{Window: w, Device: dataset.Device{Name: device, Label: "plug"}, Capture: "c"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s, all
}

// check compares the store's windows with those that went in, from two
// goroutines at once.
func check(t *testing.T, s *dataset.Store, want []flows.Window) {
	t.Helper()
	var wg sync.WaitGroup
	for from := range 2 {
		wg.Go(func() {
			var b dataset.Buffer
			for i := from; i < len(want); i += 2 {
				got, err := s.Window(i, &b)
				if err != nil {
					t.Error(err)
					return
				}
				if len(got.Rows) != len(want[i].Rows) || got.Device != want[i].Device {
					t.Errorf("window %d: %d rows of %s", i, len(got.Rows), got.Device)
					return
				}
				for j, row := range got.Rows {
					if !sameRow(row, want[i].Rows[j]) {
						t.Errorf("window %d row %d is %+v, want %+v", i, j, row, want[i].Rows[j])
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

func sameRow(a, b flows.Row) bool {
	if a.Meta() != b.Meta() || a.Remote != b.Remote || len(a.Packets) != len(b.Packets) {
		return false
	}
	for i, p := range a.Packets {
		if string(p.Payload) != string(b.Packets[i].Payload) {
			return false
		}
	}
	return true
}

func TestStoreGivesBackWhatWentIn(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	for name, memory := range map[string]int64{"in memory": dataset.DefaultMemory, "in a file": 0} {
		t.Run(name, func(t *testing.T) {
			s, want := filled(t, memory, 2000)
			if s.Len() != 4000 || s.Rows() != 4000 {
				t.Errorf("%d windows of %d rows, want each row once: 4000", s.Len(), s.Rows())
			}
			check(t, s, want)
			if files, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(files) > 0 {
				t.Errorf("left behind: %v %v", files, err)
			}
		})
	}
}

func TestStoreDistinctRowsComeOnce(t *testing.T) {
	s, _ := filled(t, dataset.DefaultMemory, 6)
	var ids []uint32
	for id := range s.Distinct([]int{5, 3, 5}) { // rows 1..5, then 0..3
		ids = append(ids, id)
	}
	if want := []uint32{1, 2, 3, 4, 5, 0}; !reflect.DeepEqual(ids, want) {
		t.Errorf("rows %v, want %v", ids, want)
	}
}

func TestStoreSaysWhereItCannotKeepRows(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	t.Setenv("TMPDIR", dir)
	s := dataset.NewStore(5, 0)
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		w := flows.Window{Rows: []flows.Row{{Record: randomRow(r, 2).Record}}}
		if err := s.Add(dataset.Example{Window: w}); err != nil {
			if !errors.Is(err, os.ErrNotExist) {
				t.Errorf("got %v", err)
			}
			return
		}
	}
	t.Error("2 MB of rows went nowhere")
}

func TestStoreRefuses(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	row := randomRow(r, 1)
	for name, rows := range map[string][]flows.Row{
		"no row":           nil,
		"too many rows":    {row, row, row, row, row, row},
		"a row of nothing": {{}},
		"too many packets": {randomRow(r, 30)},
	} {
		if err := dataset.NewStore(5, 0).Add(dataset.Example{Window: flows.Window{Rows: rows}}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
