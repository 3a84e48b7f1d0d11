package measure

import (
	"testing"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/loader/attach"
)

func TestBenchCases(t *testing.T) {
	ns := map[string]float64{"empty": 10, "reference": 30, "known": 70, "sample_1000": 110}
	list, err := benchCases(attach.HookTC, ns)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"empty": 0, "reference": 1, "known": 3, "sample_1000": 5}
	if len(list) != len(benchNames) {
		t.Fatalf("%d cases, want %d", len(list), len(benchNames))
	}
	for _, c := range list {
		if over, ok := want[c.Name]; ok && c.OverReference != over {
			t.Errorf("%s: %v over the reference, want %v", c.Name, c.OverReference, over)
		}
	}
	if _, err := benchCases(attach.HookTC, map[string]float64{"empty": 30, "reference": 30}); err == nil {
		t.Error("a reference as fast as nothing was taken")
	}
}

// What a round has to have done is checked by bench.least itself.
func TestBench(t *testing.T) {
	testenv.Root(t)
	if testing.Short() {
		t.Skip("measures time, which says nothing on an emulated machine")
	}
	list, err := Run()
	if err != nil {
		t.Fatal(err)
	}
	got := map[attach.Hook]map[string]float64{attach.HookTC: {}, attach.HookXDP: {}}
	for _, c := range list {
		got[c.Hook][c.Name] = c.NSPerPacket
	}
	for hook, ns := range got {
		for _, order := range [][2]string{
			{"empty", "reference"}, {"empty", "known"}, {"known", "sample_0"}, {"known", "new_flow"},
		} {
			if ns[order[0]] <= 0 || ns[order[0]] >= ns[order[1]] {
				t.Errorf("%s: %s %.1f ns, %s %.1f ns: want the first to cost less", hook, order[0], ns[order[0]], order[1], ns[order[1]])
			}
		}
	}
}

func TestBenchRefusesARoundThatDidSomethingElse(t *testing.T) {
	testenv.Root(t)
	b, err := openBench(attach.HookTC, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := b.least(b.count, benchFrame(0), 10, tally{counted: 10, opened: 10}, nil); err == nil {
		t.Error("packets of one flow passed for ten new flows")
	}
}
