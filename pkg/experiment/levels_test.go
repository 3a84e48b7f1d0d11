package experiment

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/taxonomy"
)

// A model trained with a taxonomy has it in its file, whose weights are those without;
// its score has levels, of which the last is the class's, and no verdict is less sure
// above. Classes without a path are told of.
func TestTaxonomy(t *testing.T) {
	p, dir := labPlan(t)
	var told notes
	plain, _, err := p.Run(t.Context(), filepath.Join(dir, "plain"), &told)
	if err != nil || strings.Contains(strings.Join(told.warned, "\n"), "taxonomy") {
		t.Fatalf("%v, %q", err, told.warned)
	}
	paths := taxonomy.Taxonomy{}
	classes := plain[""].Classes()
	for i, l := range classes[1:] {
		paths[l] = []string{"odd/", "even/"}[i%2] + l
	}
	p.Taxonomy = Taxonomy{"kinds.csv", paths}
	file := filepath.Join(dir, "m")
	if _, _, err := p.Run(t.Context(), file, &told); err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(told.warned, "\n"); strings.Count(text, "no path") != 1 || !strings.Contains(text, "kinds.csv classes "+classes[0]) {
		t.Errorf("told %q", told.warned)
	}
	bundle, err := model.LoadBundle(file)
	if err != nil || len(bundle[""].Taxonomy) != len(classes)-1 {
		t.Fatalf("%v, %v", err, bundle)
	}
	e := Evaluation{Model: "m", Data: p.Data}
	e.Data.Capture.RecordSpec, e.Data.Capture.Locals = bundle[""].Record.RecordSpec, flows.NewLocals(nil)
	r, err := e.Run(t.Context(), bundle, &told)
	if err != nil {
		t.Fatal(err)
	}
	flat, err := e.Run(t.Context(), plain, &told)
	if err != nil {
		t.Fatal(err)
	}
	if *flat.MacroF1 != *r.MacroF1 || flat.Devices.NamedRight != r.Devices.NamedRight || flat.Confidence.Threshold != r.Confidence.Threshold {
		t.Errorf("another score of classes: %+v, without a taxonomy %+v", r.Devices, flat.Devices)
	}
	if len(flat.Levels) != 1 || len(r.Levels) != 2 || *r.Levels[1].Accuracy != *r.Devices.Accuracy || *flat.Levels[0].Accuracy != *r.Devices.Accuracy ||
		*r.Levels[0].Accuracy <= *r.Levels[1].Accuracy || r.Levels[0].Named < r.Levels[1].Named {
		t.Errorf("levels %+v, without a taxonomy %+v", r.Levels, flat.Levels)
	}
	p.Taxonomy.Paths = taxonomy.Taxonomy{model.NoneLabel: "x/" + model.NoneLabel}
	if err := p.Validate(); err == nil || !strings.Contains(err.Error(), "no class to give a path") {
		t.Errorf("a path of none of them: %v", err)
	}
	p.Taxonomy.Paths = taxonomy.Taxonomy{"another": "camera/another"}
	if _, _, err := p.Run(t.Context(), file, &told); err == nil || !strings.Contains(err.Error(), "is a level above") {
		t.Errorf("a class without a path that is a level: %v", err)
	}
}

// The repetitions of a cross-validation are scored by level, named from the threshold
// that its models have.
func TestCrossvalLevels(t *testing.T) {
	p, _ := labPlan(t)
	p.Taxonomy = Taxonomy{"kinds.csv", taxonomy.Taxonomy{"camera": "any/camera"}}
	var told notes
	r, err := (&Crossval{Plan: p, By: dataset.ByCapture, Folds: 2, Seeds: 1}).Run(t.Context(), &told)
	if err != nil {
		t.Fatal(err)
	}
	s := r.Seeds[0]
	if len(s.Levels) != 2 || math.Abs(*s.Levels[1].Accuracy-*s.Devices.Accuracy) > 1e-12 || s.Devices.Refused == 0 {
		t.Errorf("%+v, devices %+v", s.Levels, s.Devices)
	}
	if text := strings.Join(told.warned, "\n"); strings.Count(text, "no path") != 1 || strings.Contains(text, "classes camera") {
		t.Errorf("told %q", told.warned)
	}
}
