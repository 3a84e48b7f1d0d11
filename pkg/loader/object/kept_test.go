package object

import (
	"strings"
	"testing"

	"github.com/iotsense/iotsense/gen"
)

// A build has one layout, and every map is either taken over or holds nothing from one packet
// to the next.
func TestLayout(t *testing.T) {
	a, err := Layout()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := Layout(); err != nil || a != b || len(a) != 64 {
		t.Errorf("%q, %q, %v", a, b, err)
	}
	spec, err := gen.LoadIotsense()
	if err != nil {
		t.Fatal(err)
	}
	for name := range spec.Maps {
		switch name {
		case gen.IotsenseMapScratch, gen.IotsenseMapRest, gen.IotsenseMapRestXdp, gen.IotsenseMapWakes, gen.IotsenseMapWakesXdp, Constants:
			continue
		}
		if !IsKept(name) {
			t.Errorf("the map %s is not taken over", name)
		}
	}
	for _, v := range spec.Variables {
		if section := v.SectionName; section != Variables && section != Constants {
			t.Errorf("the variable %s is in %s", v.Name, section)
		}
	}
	if err := new(Config).Adopt(nil); err == nil || !strings.Contains(err.Error(), "the map .rodata is missing") {
		t.Error(err)
	}
}
