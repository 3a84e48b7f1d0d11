package experiment

import (
	"slices"
	"strings"
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

// Each network's own variants can be trained, and none is another network's.
func TestVariantsOfNetworks(t *testing.T) {
	for arch, want := range map[string]string{
		PaperArch:  "baseline -conv1 -conv2 -conv1&2 -maxpool -dropout -dense",
		StreamArch: "baseline -bytes -numbers -tokens -last -mean -maximum -dropout last only mean only maximum only",
	} {
		p, err := NewPlan("", "", arch)
		if err != nil {
			t.Fatal(err)
		}
		layers, err := ChooseVariants("layers", &p)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, v := range layers {
			names = append(names, v.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: %s, want %s", arch, got, want)
		}
		for _, v := range Variants(arch) {
			of := p
			v.change(&of)
			if err := of.Validate(); err != nil {
				t.Errorf("%s, %s: %v", arch, v.Name, err)
			}
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
