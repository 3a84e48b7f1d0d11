package bench_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/bench"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/embedded"
)

func labModel(t *testing.T) *model.Model {
	t.Helper()
	bundle, err := embedded.Lab()
	if err != nil {
		t.Fatal(err)
	}
	return bundle[""]
}

// labStreams are the rows of a few devices of the lab.
func labStreams(t *testing.T, m *model.Model) []bench.Stream {
	t.Helper()
	captures, err := bench.LabHouseholds()
	if err != nil {
		t.Fatal(err)
	}
	var streams []bench.Stream
	for i := range captures[:6] {
		streams = append(streams, captures[i].Streams(m.Record.RecordSpec, m.Record.Stream())...)
	}
	return streams
}

func TestInference(t *testing.T) {
	m := labModel(t)
	traffic, err := bench.NewTraffic(labStreams(t, m), 5, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []bench.Mode{bench.Cold, bench.Sliding} {
		for _, threads := range []int{1, 2} {
			b := bench.NewInference(bench.InferenceConfig{
				Mode: mode, Batches: []int{1, 7}, Threads: threads, Runs: 2, Time: 5 * time.Millisecond,
			}, traffic)
			figures, err := b.Run(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			if figures.Loaded <= 0 || len(figures.Batches) != 2 {
				t.Fatalf("%s, %d threads: %+v", mode, threads, figures)
			}
			for i, want := range []int{1, 7} {
				f := figures.Batches[i]
				if f.Batch != want || f.PerSecond <= 0 || f.P50 <= 0 || f.P99 < f.P50 || f.RSS <= 0 {
					t.Errorf("%s, %d threads: %+v, want batch %d", mode, threads, f, want)
				}
			}
		}
	}
}

func TestInferenceStopsWithItsContext(t *testing.T) {
	m := labModel(t)
	traffic, err := bench.NewTraffic(labStreams(t, m), 5, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := bench.NewInference(bench.InferenceConfig{Mode: bench.Cold, Batches: []int{1}, Threads: 1, Runs: 1, Time: time.Hour}, traffic)
	if _, err := b.Run(ctx, m); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
}

func TestNewTraffic(t *testing.T) {
	if _, err := bench.NewTraffic([]bench.Stream{nil, {}}, 5, 0, 0); err == nil {
		t.Error("streams without a window were taken")
	}
	m := labModel(t)
	streams, windows := labStreams(t, m), 0
	for _, s := range streams {
		windows += len(s)
	}
	for most, want := range map[int]int{0: windows, 5: 5, windows + 1: windows} {
		traffic, err := bench.NewTraffic(streams, 5, 0, most)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(traffic.Windows()); got != want {
			t.Errorf("at most %d windows of %d: %d, want %d", most, windows, got, want)
		}
	}
}

func TestFullRows(t *testing.T) {
	m := labModel(t)
	streams := labStreams(t, m)
	full := bench.FullRows(m.Record, streams)
	traffic, err := bench.NewTraffic(full, 5, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	lengths := bench.RowLengths(m.Record, traffic)
	if want := m.Record.Width(); lengths.P10 != want || lengths.Max != want {
		t.Errorf("row lengths %+v, want %d everywhere", lengths, want)
	}
}

// A strict model's windows begin where its first output does; a network that rests on
// all of a stream has longer ones.
func TestTrafficWindows(t *testing.T) {
	stream := make(bench.Stream, 7)
	for _, tt := range []struct {
		span, first int
		want        []int // rows of the windows, sorted
	}{
		{5, 0, []int{1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5}}, {5, 4, []int{5, 5, 5}}, {0, 4, []int{5, 6, 7}},
	} {
		traffic, err := bench.NewTraffic([]bench.Stream{stream, stream[:4]}, tt.span, tt.first, 0)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, w := range traffic.Windows() {
			got = append(got, len(w))
		}
		slices.Sort(got)
		if !slices.Equal(got, tt.want) {
			t.Errorf("span %d from %d: windows of %v rows, want %v", tt.span, tt.first, got, tt.want)
		}
	}
}

func TestRowLengths(t *testing.T) {
	m := labModel(t)
	var s bench.Stream
	for payload := range 10 { // rows of 42, 43, ... 51 values
		r := &flows.Record{Remote: flows.DefaultLocal()[0].Addr(), Packets: []flows.RowPacket{{Payload: make([]byte, payload)}}}
		s = append(s, flows.Row{Record: r})
	}
	traffic, err := bench.NewTraffic([]bench.Stream{s}, 5, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := bench.RowLengths(m.Record, traffic)
	if want := (bench.Lengths{P10: 42, P50: 46, P90: 50, P99: 51, Max: 51, Mean: 46}); got != want {
		t.Errorf("row lengths %+v, want %+v", got, want)
	}
}

// Memory that is written to is resident, and is not once it has been freed.
func TestResident(t *testing.T) {
	const size = 64 << 20
	before, err := bench.Settled()
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, size)
	for i := 0; i < len(block); i += 4096 {
		block[i] = 1
	}
	with, err := bench.Resident()
	if err != nil {
		t.Fatal(err)
	}
	runtime.KeepAlive(block)
	if grown := with.Total - before.Total; grown < size*3/4 { // other memory may have gone back meanwhile
		t.Errorf("%d bytes written, resident memory has grown by %d", size, grown)
	}
	after, err := bench.Settled()
	if err != nil {
		t.Fatal(err)
	}
	if after.Total > with.Total-size/2 || after.File <= 0 || after.File > after.Total {
		t.Errorf("resident %+v after the memory was freed, %+v before", after, with)
	}
}
