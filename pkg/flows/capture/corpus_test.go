package capture_test

import (
	"context"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/capture"
)

// Every file of tcpdump's own test suite is read, in both directions, to its end
// or to an error that says what stopped it: dozens of link types, both byte
// orders, pcapng, malformed packets of every kind.
func TestParserCorpus(t *testing.T) {
	dir := testenv.ParserCorpus(t)
	const noPacket = "no packet in it"
	var (
		digits   = regexp.MustCompile(`\d+`)
		outcomes = map[string][]string{}
		total    flows.PacketStats
		files    int
		largest  uint64
	)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files++
		name, _ := filepath.Rel(dir, path)
		for _, direction := range []flows.Direction{flows.Bi, flows.Uni} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			stats, records, read := readCorpusFile(t, path, direction)
			runtime.ReadMemStats(&after)
			largest = max(largest, after.TotalAlloc-before.TotalAlloc)
			checkAccounting(t, stats, records)
			if t.Failed() {
				t.Fatalf("in %s, %v", name, direction)
			}
			if direction == flows.Uni {
				continue
			}
			outcome := "read whole"
			switch {
			case read != nil:
				_, reason, _ := strings.Cut(read.Error(), path+": ")
				outcome = reason
				if !strings.Contains(reason, "link type") {
					outcome = digits.ReplaceAllString(reason, "N")
				}
			case stats.Seen == 0:
				outcome = noPacket
			}
			outcomes[outcome] = append(outcomes[outcome], name)
			total.Seen += stats.Seen
			total.Counted += stats.Counted
			total.NotIP += stats.NotIP
			total.Malformed += stats.Malformed
			total.Truncated += stats.Truncated
			total.Fragment += stats.Fragment
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	t.Logf("%d files, %d packets: %d counted, %d not IP, %d malformed; of the counted %d truncated, %d fragments; at most %d kB allocated for a file",
		files, total.Seen, total.Counted, total.NotIP, total.Malformed, total.Truncated, total.Fragment, largest>>10)
	order := slices.SortedFunc(maps.Keys(outcomes), func(x, y string) int { return len(outcomes[y]) - len(outcomes[x]) })
	for _, o := range order {
		t.Logf("%4d %s (%s)", len(outcomes[o]), o, outcomes[o][0])
	}
	if empty := outcomes[noPacket]; files != 829 || !slices.Equal(empty, []string{"tests_empty.pcapng"}) {
		t.Errorf("%d files, want 829; without a packet and without an error: %v", files, empty)
	}
	if largest > 2<<20 { // the largest file has 0.5 MB
		t.Errorf("%d MB allocated for one file", largest>>20)
	}
}

func readCorpusFile(t *testing.T, path string, direction flows.Direction) (capture.Stats, []*flows.Record, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var records []*flows.Record
	cfg := capture.Config{RecordSpec: flows.RecordSpec{Direction: direction}, Locals: flows.NewLocals(nil)}
	stats, err := capture.Read(ctx, path, cfg, func(r *flows.Record) { records = append(records, r) })
	if ctx.Err() != nil {
		t.Fatalf("%s: not read within 10 s", path)
	}
	return stats, records, err
}
