package explain_test

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/explain"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
	_ "github.com/iotsense/iotsense/pkg/model/networks"
)

var (
	dump   = flag.String("dump", "", "directory for what bench/peers/explain.py compares with Python's shap")
	dumped = flag.String("model", "", "model file that -dump explains")
)

// Of so many windows and references: those of all take Python's shap an hour.
const dumpWindows, dumpReferences = 100, 8

// TestDumpForShap explains windows of the test captures, each for its own label, and
// writes a model file with the references, the windows' raw rows and their shares.
func TestDumpForShap(t *testing.T) {
	if *dump == "" {
		t.Skip("needs -dump DIR and -model FILE; bench/peers/explain.py then does the comparing")
	}
	m, err := model.Load(*dumped)
	if err != nil {
		t.Fatal(err)
	}
	references, err := m.References()
	if err != nil {
		t.Fatal(err)
	}
	tensor := m.Net.(model.Explainable).Reference(m.Record)
	size := tensor.Size()
	var few []float32
	step := max(1, len(references)/size/dumpReferences)
	for i := range dumpReferences {
		few = append(few, references[i*step*size:][:size]...)
	}
	if err := m.SetReferences(few); err != nil {
		t.Fatal(err)
	}
	m.Facts = nil
	e, err := explain.New(m)
	if err != nil {
		t.Fatal(err)
	}
	windows := modeltest.RealWindows(t, flows.StreamSpec{}, m.Net.Span())
	var about []*v1.Explanation
	var raw []float64
	for i := range dumpWindows {
		rows := windows[i*len(windows)/dumpWindows]
		x, err := e.Explain(explain.Request{Rows: rows})
		if err != nil {
			t.Fatal(err)
		}
		x.Fields = nil
		about = append(about, x)
		for range len(x.Phi) - len(rows) {
			missing := make([]float64, m.Record.Width())
			for j := range missing {
				missing[j] = flows.Missing
			}
			raw = append(raw, missing...)
		}
		for _, row := range rows {
			raw = m.Record.Raw(raw, row)
		}
	}
	save(t, m, about, raw)
}

func save(t *testing.T, m *model.Model, about []*v1.Explanation, raw []float64) {
	t.Helper()
	if err := m.Save(filepath.Join(*dump, "model.safetensors")); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(about)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*dump, "explanations.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	bytes, err := binary.Append(nil, binary.LittleEndian, raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*dump, "rows.f64"), bytes, 0o600); err != nil {
		t.Fatal(err)
	}
}
