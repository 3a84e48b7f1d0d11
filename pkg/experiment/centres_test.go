package experiment

import (
	"bytes"
	"encoding/csv"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A trained model says of devices how far they are from what it knows: of its classes' less
// than of another's, and those that validated it are within the threshold.
func TestTrainedModelsTellWhatIsFar(t *testing.T) {
	p := kindsPlan(t, "hub", "printer", "camera")
	p.Train.Epochs = 10
	all := p.Data.Manifest
	text, err := os.ReadFile(all)
	if err != nil {
		t.Fatal(err)
	}
	p.Data.Manifest = filepath.Join(filepath.Dir(all), "two.csv")
	two := slices.DeleteFunc(strings.SplitAfter(string(text), "\n"), func(line string) bool { return strings.Contains(line, ",camera,") })
	if err := os.WriteFile(p.Data.Manifest, []byte(strings.Join(two, "")), 0o644); err != nil {
		t.Fatal(err)
	}
	bundle, _, err := p.Bundle(t.Context(), &notes{})
	if err != nil {
		t.Fatal(err)
	}
	if c := bundle[""].Centres; c == nil || c.Captures != 2 || len(c.Vectors) == 0 {
		t.Fatalf("centres %+v", c)
	}
	var said bytes.Buffer
	e := Evaluation{Data: p.Data, Predictions: &said}
	e.Data.Manifest, e.Data.Splits, e.Data.Capture.RecordSpec = all, []string{"test"}, bundle[""].Record.RecordSpec
	if _, err := e.Run(t.Context(), bundle, &notes{}); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&said).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	furthest, nearest := 0., 1e9 // of the known, of the other
	for _, line := range lines[1:] {
		if line[4] != "0" {
			continue
		}
		d, err := strconv.ParseFloat(line[9], 64)
		if err != nil {
			t.Fatal(err)
		}
		if line[3] == "camera" {
			nearest = min(nearest, d)
		} else {
			furthest = max(furthest, d)
		}
	}
	if furthest >= nearest || nearest < 1 {
		t.Errorf("known devices are up to %v away, others from %v", furthest, nearest)
	}
}
