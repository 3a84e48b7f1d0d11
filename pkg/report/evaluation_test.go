package report

import (
	"bytes"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/join"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/score"
	"github.com/iotsense/iotsense/pkg/taxonomy"
)

// scores are of two classes, one hostile, and one that the model lacks.
func scores(t *testing.T) *score.Result {
	t.Helper()
	return scored(t, score.Config{Labels: []string{"a", hostile}, Thresholds: model.Thresholds{Default: 0.8}, Resamples: 20},
		[]score.Device{{Name: "4", Capture: hostile, Label: "a"}},
		score.Output{Device: "1", Capture: "x", Label: "a", Window: told([]float32{0.9, 0.1}), Since: time.Second},
		score.Output{Device: "1", Capture: "y", Label: "a", Window: told([]float32{0.3, 0.7}), Since: time.Minute, Local: 3, Padded: true},
		score.Output{Device: "2", Capture: "z", Label: hostile, Window: told([]float32{0.4, 0.6}), Since: time.Hour},
		score.Output{Device: "3", Capture: "z", Label: "lacking", Window: told([]float32{0.4, 0.6}), Since: time.Second})
}

// scored scores windows, and devices in captures of two hours.
func scored(t *testing.T, cfg score.Config, devices []score.Device, windows ...score.Output) *score.Result {
	t.Helper()
	s, err := score.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range windows {
		if err := s.Add(w); err != nil {
			t.Fatal(err)
		}
	}
	s.Capture(devices, 2)
	r, err := s.Result()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEvaluation(t *testing.T) {
	tables := []Table{{"Changed", []string{"Change", "Right"}, [][]string{{"twice", "7"}, {hostile, "-"}}}, {Title: "Strangers"}}
	r, err := Evaluation(scores(t), tables...)
	if err != nil {
		t.Fatal(err)
	}
	html := string(r.HTML)
	selfContained(t, html)
	for what, want := range map[string]int{
		"<img ":            5,
		"never gives: lac": 1,
		"no window":        1, // device 4
		"bootstrap, 20":    1,
		"padded windows":   1,
		"strict windows":   1,
		"&lt;script&gt;":   7, // a class, device 4's capture, device 2's class, three verdicts, a change
		"<td>twice<td>7":   1,
		"<h2>Strangers":    1,
		"%!":               0,
	} {
		if got := strings.Count(html, what); got != want {
			t.Errorf("%q occurs %d times, want %d", what, got, want)
		}
	}
	if strings.Contains(html, "<h2>Levels") {
		t.Error("levels of classes that have one each")
	}
	leveled := scored(t, score.Config{Labels: []string{"a", "b"}, Thresholds: model.Thresholds{Default: 0.8}, Taxonomy: taxonomy.Taxonomy{"a": "x/a", "b": "x/b"}},
		nil, score.Output{Device: "1", Label: "a", Window: told([]float32{0.4, 0.6})})
	if page, err := Evaluation(leveled); err != nil || !strings.Contains(string(page.HTML), "<tr><td>1<td>100.0 %<td>1<td>0\n<tr><td>2<td>0.0 %<td>0<td>0\n") {
		t.Errorf("%v, no levels on the page\n%s", err, page.HTML)
	}
	var names []string
	for _, p := range r.Pictures {
		names = append(names, p.Name)
		if img, err := png.Decode(bytes.NewReader(p.Content)); err != nil || img.Bounds().Dx() < 200 {
			t.Errorf("%s is no picture: %v", p.Name, err)
		}
	}
	if got := strings.Join(names, " "); got != "confusion.png captures.png confidence.png local.png seconds.png" {
		t.Errorf("pictures %s", got)
	}
	again, err := Evaluation(scores(t), tables...)
	if err != nil || !bytes.Equal(again.HTML, r.HTML) {
		t.Errorf("the same scores give another page, %v", err)
	}
}

func TestEvaluationOfNothing(t *testing.T) {
	res := scored(t, score.Config{Labels: []string{"a"}, Mode: model.Strict}, []score.Device{{Name: "1", Capture: "x", Label: "a"}})
	dir := t.TempDir()
	if err := WriteEvaluation(dir, res); err != nil {
		t.Fatal(err)
	}
	html, err := os.ReadFile(filepath.Join(dir, "evaluate.html"))
	if err != nil || strings.Contains(string(html), "<img ") || !strings.Contains(string(html), "No window.") {
		t.Errorf("a page of nothing: %v\n%s", err, html)
	}
}

// The matrix leaves out classes that are neither true nor given.
func TestConfusionPicture(t *testing.T) {
	small, err := confusionPlot("c.png", []string{"a", "b"}, [][]int{{5, 0}, {0, 0}})
	if err != nil {
		t.Fatal(err)
	}
	large, err := confusionPlot("c.png", []string{"a", "b"}, [][]int{{5, 1}, {0, 0}})
	if err != nil {
		t.Fatal(err)
	}
	width := func(p *Picture) int {
		img, err := png.Decode(bytes.NewReader(p.Content))
		if err != nil {
			t.Fatal(err)
		}
		return img.Bounds().Dx()
	}
	if width(small) >= width(large) {
		t.Errorf("one column is %d wide, two are %d", width(small), width(large))
	}
}

func TestPercentText(t *testing.T) {
	for share, want := range map[float64]string{0.001: "<1", 0.005: "1", 0.5: "50", 1: "100"} {
		if got := percentText(share); got != want {
			t.Errorf("%v: %s, want %s", share, got, want)
		}
	}
}

// Long names take their room beside the cells of a matrix, not from them.
func TestConfusionOfLongNames(t *testing.T) {
	full := blue(1)
	cells := func(names ...string) (pixels int) {
		p, err := confusionPlot("c.png", names, [][]int{{1, 0}, {0, 1}})
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(bytes.NewReader(p.Content))
		if err != nil {
			t.Fatal(err)
		}
		for y := range img.Bounds().Dy() {
			for x := range img.Bounds().Dx() {
				if color.RGBAModel.Convert(img.At(x, y)) == full {
					pixels++
				}
			}
		}
		return pixels
	}
	side := int(cellSize.Dots(dpi))
	for _, length := range []int{1, 100, 400} {
		name := strings.Repeat("W", length)
		if got := cells(name+"1", name+"2"); got < 2*side*side {
			t.Errorf("names of %d characters: %d pixels of two cells, want at least %d", length, got, 2*side*side)
		}
	}
}

// told is a window of a device that says what it is: it may be named at once.
func told(probs []float32) join.Window {
	return join.Window{Probs: probs, Named: slices.Repeat([]bool{true}, len(probs))}
}
