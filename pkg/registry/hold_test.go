package registry

import (
	"slices"
	"testing"

	"github.com/iotsense/iotsense/pkg/join"
)

// What is lost is taken back at once, what comes back waits; what comes first does not.
func TestHold(t *testing.T) {
	paths := map[byte]join.Verdict{
		'-': {}, 'A': {Level: 1, Path: "A"}, 'B': {Level: 1, Path: "B"}, 'p': {Level: 2, Path: "A/p"}, 'q': {Level: 2, Path: "A/q"}, 'c': {Level: 3, Path: "A/p/c"},
	}
	for _, tt := range []struct{ safe, said string }{
		{"-Apc", "-Apc"}, // deeper and deeper, for the first time
		{"c-c-c-c-c-c-", "c-----------"},
		{"cpcccccc", "cpppppcc"},
		{"pqqqqqqq", "pAAAAAqq"},
		{"AB-BBBBBB", "A------BB"},
		{"cpcccpcccccc", "cpppppppppcc"},
		{"cA-AAAAApppp", "cA-----Apppp"},
	} {
		var h hold
		var said []byte
		for i := range len(tt.safe) {
			v := paths[tt.safe[i]]
			said = append(said, "-Apc"[h.say(&v)])
		}
		want := []byte(tt.said)
		for i := range want { // as many parts
			want[i] = "-Apc"[paths[want[i]].Level]
		}
		if !slices.Equal(said, want) {
			t.Errorf("safe %s: said %s, want %s", tt.safe, said, want)
		}
	}
}

func TestParts(t *testing.T) {
	for _, tt := range []struct {
		a, b   string
		shared int
	}{{"", "", 0}, {"A", "", 0}, {"A", "A", 1}, {"A/p", "A", 1}, {"A/p", "A/q", 1}, {"A/p/c", "A/p/d", 2}, {"AB", "A", 0}} {
		if got := sharedParts(tt.a, tt.b); got != tt.shared {
			t.Errorf("%q and %q share %d", tt.a, tt.b, got)
		}
	}
	for n, want := range []string{"", "A", "A/p", "A/p/c", "A/p/c"} {
		if got := firstParts("A/p/c", n); got != want || parted(got) != min(n, 3) {
			t.Errorf("%d of A/p/c: %q", n, got)
		}
	}
}
