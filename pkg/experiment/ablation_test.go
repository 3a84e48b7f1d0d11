package experiment

import (
	"slices"
	"testing"

	"github.com/iotsense/iotsense/pkg/model"
)

func TestPercent(t *testing.T) {
	for v, want := range map[float64]string{-0.4: "+0 %", 0.4: "+0 %", -49.2: "-49 %", 787.6: "+788 %"} {
		if got := percent(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}

// The window mode that is not the baseline's is a variant, its own is none.
func TestVariantsOfWindowMode(t *testing.T) {
	for mode, other := range map[string]string{"strict": "padded", "padded": "strict"} {
		p, err := NewPlan("", "", "")
		if err != nil {
			t.Fatal(err)
		}
		if mode == model.Strict.String() {
			if p, err = NewPlan(PresetPaper, "", ""); err != nil {
				t.Fatal(err)
			}
		}
		all, err := ChooseVariants("", &p)
		if err != nil {
			t.Fatal(err)
		}
		has := func(name string) bool {
			return slices.ContainsFunc(all, func(v Variant) bool { return v.Name == name })
		}
		if has(mode) || !has(other) || all[0].Name != Baseline {
			t.Errorf("beside a %s baseline: %v", mode, all)
		}
	}
}
