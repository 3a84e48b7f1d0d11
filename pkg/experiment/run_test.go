package experiment

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/train"
)

// notes is a Watcher that remembers.
type notes struct {
	warned, begun []string
	classified    int
}

func (n *notes) Warn(text string, args ...any) {
	n.warned = append(n.warned, text+" "+strings.TrimSuffix(fmt.Sprintln(args...), "\n"))
}
func (n *notes) Begins(line string)                             { n.begun = append(n.begun, line) }
func (n *notes) Opened(*dataset.Set)                            {}
func (n *notes) Files(string) (func(int, int, string), func())  { return nil, func() {} }
func (n *notes) Training(string) (func(train.Progress), func()) { return nil, func() {} }
func (n *notes) Saves(context.Context) error                    { return nil }
func (n *notes) Classified(dataset.CaptureSummary, *classify.Classifier, model.Bundle) {
	n.classified++
}

// labPlan is a short training on the device lab's traffic, and a directory to write to.
func labPlan(t *testing.T) (p Plan, dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := lab.WriteDataset(t.Context(), filepath.Join(dir, "lab"), 2, 2, 1); err != nil {
		t.Fatal(err)
	}
	p = mustPlan(t, "", "")
	p.Data.Manifest, p.Data.Splits = filepath.Join(dir, "lab", "manifest.csv"), []string{"train"}
	p.Train.Epochs, p.Train.MaxPerClass = 1, 10
	return p, dir
}

// A plan is trained and its model scored without any command; captures that can be read
// in part only give a score and an error.
func TestPlanIsTrainedAndScored(t *testing.T) {
	p, dir := labPlan(t)
	file := filepath.Join(dir, "m")
	var told notes
	bundle, reports, err := p.Run(t.Context(), file, &told)
	if err != nil || len(reports[""].Epochs) != 1 {
		t.Fatalf("%v, %+v", err, reports)
	}
	if text := strings.Join(told.warned, "\n"); !strings.Contains(text, "classes of fewer than 5 captures") {
		t.Errorf("warnings: %s", text)
	}
	kept, err := model.LoadBundle(file)
	if err != nil || kept[""].Training.Options["max-per-class"] != "10" {
		t.Fatalf("%v, %v", err, kept[""].Training.Options)
	}
	cut := filepath.Join(dir, "lab", "camera-0", "capture-0.pcap")
	if err := os.Truncate(cut, 20_000); err != nil {
		t.Fatal(err)
	}
	e := Evaluation{Model: file, Data: p.Data}
	e.Data.Capture.RecordSpec, e.Data.Capture.Locals = kept[""].Record.RecordSpec, flows.NewLocals(nil)
	result, err := e.Run(t.Context(), bundle, &told)
	if result == nil || err == nil || !strings.Contains(err.Error(), "capture-0.pcap") {
		t.Fatalf("%v, %v", result, err)
	}
	if result.Captures != told.classified || result.Windows == 0 {
		t.Errorf("%d captures scored, %d classified, %d windows", result.Captures, told.classified, result.Windows)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if result, err := e.Run(ctx, bundle, &told); result != nil || err == nil {
		t.Errorf("interrupted: %v, %v", result, err)
	}
}

// A series keeps nothing unless there is a report, and what its rows say trained them
// names the part that was learned from, and another that was scored on.
func TestSeriesWithoutReport(t *testing.T) {
	p, _ := labPlan(t)
	var told notes
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	x := &Series{Command: "ablation", Test: dataset.Part{Splits: []string{"test"}}, Seeds: SeedsFrom(4, 1), Watch: &told}
	chosen, err := ChooseVariants("-dropout", &p)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := x.Ablation(t.Context(), p, chosen, false)
	if err != nil || len(rows) != 2 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, r := range rows {
		if !strings.Contains(r.Trained, " --seed=4 ") || !strings.Contains(r.Trained, " --split=train ") || !strings.HasSuffix(r.Scored, " --split=test") {
			t.Errorf("trained by %s\nscored by %s", r.Trained, r.Scored)
		}
	}
	if len(told.begun) != 2 || !strings.HasPrefix(told.begun[1], "ablation: -dropout, model 2 of 2") {
		t.Errorf("told %q", told.begun)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if _, err := (&Series{Command: "ablation", Seeds: []int64{1}, Watch: &told}).Ablation(t.Context(), p, chosen, false); err == nil {
		t.Error("a series that scores on nothing")
	}
}
