package embedded_test

import (
	"testing"

	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/embedded"
	"github.com/iotsense/iotsense/pkg/taxonomy"
)

// read is a bundle that comes along.
func read(t *testing.T, file func() (model.Bundle, error)) model.Bundle {
	t.Helper()
	bundle, err := file()
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

// What a training of today gives a model of streams, the files have: facts, references to
// explain by, centres to tell by what is far.
func TestFilesAreWhole(t *testing.T) {
	for name, file := range map[string]func() (model.Bundle, error){"default": embedded.Default, "lab": embedded.Lab} {
		if m := read(t, file)[""]; m.Facts == nil || m.Centres == nil || len(m.Compared) == 0 || len(m.Background) == 0 {
			t.Errorf("%s: facts %v, centres %v, %d values of references, %d of the background", name, m.Facts != nil, m.Centres != nil, len(m.Compared), len(m.Background))
		}
	}
}

// The taxonomy that `make model` trains with has each class of the default model, at
// maker, kind and class, and twins under one kind.
func TestTaxonomy(t *testing.T) {
	tax, err := taxonomy.Load("taxonomy.csv")
	if err != nil {
		t.Fatal(err)
	}
	bundle := read(t, embedded.Default)
	classes := bundle[""].Classes()
	if len(tax) != len(classes) {
		t.Errorf("paths of %d labels for %d classes", len(tax), len(classes))
	}
	for _, l := range classes {
		if levels := tax.Levels(l); len(levels) != 3 {
			t.Errorf("%s: levels %q, want maker, kind and class", l, levels)
		}
	}
	for kind, twins := range map[string][]string{
		"Smarter/kitchen": {"SmarterCoffee", "iKettle2"}, "TP-Link/plug": {"TP-LinkPlugHS100", "TP-LinkPlugHS110"},
		"D-Link/sensor": {"D-LinkSiren", "D-LinkWaterSensor", "D-LinkSensor"}, "Edimax/plug": {"EdimaxPlug1101W", "EdimaxPlug2101W"},
		"Philips/lighting": {"HueBridge", "HueSwitch"},
	} {
		for _, l := range twins {
			if tax[l] != kind+"/"+l {
				t.Errorf("%s is %s, want it below %s", l, tax[l], kind)
			}
		}
	}
}
