package dataset_test

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
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

// filled is a store of the streams of two devices, each row an example, and what
// their last five rows are.
func filled(t *testing.T, memory int64, rows int) (*dataset.Store, [][]flows.Row) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	s := dataset.NewStore(memory)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	var all [][]flows.Row
	for _, device := range []string{"02:00:00:00:00:01", "02:00:00:00:00:02"} {
		var list []flows.Row
		for i := range rows {
			list = append(list, randomRow(r, r.IntN(6)))
			all = append(all, slices.Clone(list[max(0, len(list)-5):]))
			e := dataset.Example{Step: flows.Step{Row: list[i], Number: i}, Device: dataset.Device{Name: device, Label: "plug"}, Capture: "c"}
			if err := s.Add(e, true); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s, all
}

// check compares the store's rows with those that went in, from two goroutines at
// once.
func check(t *testing.T, s *dataset.Store, want [][]flows.Row) {
	t.Helper()
	var wg sync.WaitGroup
	for from := range 2 {
		wg.Go(func() {
			var b dataset.Buffer
			for i := from; i < len(want); i += 2 {
				got, err := s.Read(i, 5, &b)
				if err != nil {
					t.Error(err)
					return
				}
				if !slices.EqualFunc(got, want[i], sameRow) {
					t.Errorf("example %d is %+v, want %+v", i, got, want[i])
					return
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
	for _, tt := range []struct {
		span int
		want []uint32
	}{
		{5, []uint32{1, 2, 3, 4, 5, 0}}, // rows 1..5, then 0..3
		{2, []uint32{4, 5, 2, 3}},
		{0, []uint32{0, 1, 2, 3, 4, 5}},
	} {
		if got := slices.Collect(s.Distinct([]int{5, 3, 5}, tt.span)); !slices.Equal(got, tt.want) {
			t.Errorf("span %d: rows %v, want %v", tt.span, got, tt.want)
		}
	}
}

// Rows that are not judged are what later examples rest on. A stream that is begun
// again, and one of a capture that has ended, has nothing of the one before.
func TestStoreStreams(t *testing.T) {
	s := dataset.NewStore(dataset.DefaultMemory)
	r := rand.New(rand.NewPCG(1, 2))
	add := func(number int, judged bool) error {
		return s.Add(dataset.Example{Step: flows.Step{Row: randomRow(r, 1), Number: number}, Device: dataset.Device{Name: "d"}, Capture: "c"}, judged)
	}
	for _, step := range []struct {
		number int
		judged bool
	}{{0, false}, {1, true}, {0, true}, {1, true}} {
		if err := add(step.number, step.judged); err != nil {
			t.Fatal(err)
		}
	}
	s.End("c")
	if err := add(0, true); err != nil {
		t.Fatal(err)
	}
	want := [][]uint32{{0, 1}, {2}, {2, 3}, {4}}
	for i, w := range want {
		if got := s.Members(i, 5); !slices.Equal(got, w) {
			t.Errorf("example %d rests on rows %v, want %v", i, got, w)
		}
	}
	if s.Len() != len(want) || s.Rows() != 5 {
		t.Errorf("%d examples of %d rows, want %d of 5", s.Len(), s.Rows(), len(want))
	}
	if err := add(3, true); err == nil {
		t.Error("a row comes after others that are missing")
	}
	if err := s.Add(dataset.Example{}, true); err == nil {
		t.Error("a row without a record is kept")
	}
}

func TestStoreSaysWhereItCannotKeepRows(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	t.Setenv("TMPDIR", dir)
	s := dataset.NewStore(0)
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		if err := s.Add(dataset.Example{Step: flows.Step{Row: randomRow(r, 2)}}, true); err != nil {
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
	for name, row := range map[string]flows.Row{
		"a row of nothing": {},
		"too many packets": randomRow(r, 30),
	} {
		if err := dataset.NewStore(0).Add(dataset.Example{Step: flows.Step{Row: row}}, true); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
