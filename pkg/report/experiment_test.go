package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/model/score"
)

func TestExperiment(t *testing.T) {
	dir := t.TempDir()
	nothing := scored(t, score.Config{Labels: []string{"a"}}, nil)
	err := WriteExperiment(dir, "strategies.html", Experiment{
		Table: Table{"Strategies", []string{"model", "macro-F1"}, [][]string{{"tcp/80", "0.5"}, {hostile, "-"}}},
		Notes: []string{"One seed."},
		Models: []Scored{
			{Title: "tcp/80 (Fig. 9a)", Name: "bi-tcp/80", Commands: []string{"iotsense train", "iotsense evaluate"}, Score: scores(t)},
			{Title: "udp/123", Name: "bi-udp/123", Score: nothing},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "strategies.html"))
	if err != nil {
		t.Fatal(err)
	}
	html := string(text)
	selfContained(t, html)
	for what, want := range map[string]int{
		"<h1>Strategies</h1>":         1,
		"<td>":                        4,
		"<img ":                       1,
		"No window":                   1,
		"<code>iotsense train</code>": 1,
		"&lt;script&gt;":              1, // a row
		"%!":                          0,
	} {
		if got := strings.Count(html, what); got != want {
			t.Errorf("%q occurs %d times, want %d", what, got, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "bi-tcp_80.png")); err != nil {
		t.Error(err)
	}
}
