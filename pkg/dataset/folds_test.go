package dataset

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/flows"
)

// household is n captures of each of two units of two classes, and one of a lone
// device.
func household(n int) []found {
	var all []found
	for _, label := range []string{"plug", "camera"} {
		for unit := range 2 {
			for c := range n {
				name := fmt.Sprintf("%s-%d", label, unit)
				all = append(all, found{place{fmt.Sprintf("%s/%d", name, c), name}, label, name, int64(c)})
			}
		}
	}
	return append(all, found{place{"lone/0", "lone"}, "hub", "lone", 0})
}

func TestFoldsTestEachCaptureOnce(t *testing.T) {
	all := household(6)
	tested := map[place]int{}
	for fold := 1; fold <= 4; fold++ {
		f := Folds{By: ByCapture, Count: 4, Tested: fold, Seed: 1}
		d := &Dealt{f, f.deal(all), all}
		perClass := map[string]int{}
		for _, p := range all {
			if d.Tests(p.capture, p.device) {
				tested[p.place]++
				perClass[p.label]++
			}
			isTested := slices.ContainsFunc(d.TestedDevices(), func(s Source) bool {
				return s == Source{Device{Name: p.device, Label: p.label, Unit: p.unit}, p.capture}
			})
			if isTested != d.Tests(p.capture, p.device) {
				t.Errorf("fold %d: %v is tested and not among those tested, or the other way", fold, p)
			}
			if d.Tests(p.capture, p.device) == d.Trains(p.capture, p.device) {
				t.Errorf("fold %d: %v is both trained on and tested, or neither", fold, p)
			}
		}
		for _, label := range []string{"plug", "camera"} {
			if n := perClass[label]; n != 3 {
				t.Errorf("fold %d tests %d captures of %s, want a quarter of 12", fold, n, label)
			}
		}
	}
	for _, p := range all {
		want := 1
		if p.label == "hub" {
			want = 0 // alone in its class
		}
		if tested[p.place] != want {
			t.Errorf("%v is tested %d times, want %d", p, tested[p.place], want)
		}
	}
}

func TestFoldsFollowTheirSeed(t *testing.T) {
	deal := func(seed int64) string {
		return fmt.Sprint(Folds{By: ByCapture, Count: 4, Tested: 1, Seed: seed}.deal(household(6)))
	}
	first := deal(1)
	if again := deal(1); again != first {
		t.Error("one seed, two ways to deal")
	}
	if deal(2) == first {
		t.Error("two seeds deal the same")
	}
}

func TestFoldsByUnitKeepUnitsTogether(t *testing.T) {
	f := Folds{By: ByUnit, Count: 2, Tested: 1}
	folds, seen := f.deal(household(3)), map[string]int{}
	for p, fold := range folds {
		if before, ok := seen[p.device]; ok && before != fold {
			t.Errorf("unit %s is in folds %d and %d", p.device, before, fold)
		}
		seen[p.device] = fold
	}
	if seen["plug-0"] == seen["plug-1"] || seen["camera-0"] == seen["camera-1"] || seen["lone"] != 0 {
		t.Errorf("units are in folds %v: want each kind's two apart, the lone one in 0", seen)
	}
}

func TestFoldsByTimeTrainOnThePast(t *testing.T) {
	all := household(5)
	f := Folds{By: ByTime, Count: 5, Tested: 3}
	d := &Dealt{f, f.deal(all), all}
	for _, p := range all {
		tests, trains := p.label != "hub" && p.start == 2, p.label == "hub" || p.start < 2
		if d.Tests(p.capture, p.device) != tests || d.Trains(p.capture, p.device) != trains {
			t.Errorf("%v: tested %v, trained on %v", p, d.Tests(p.capture, p.device), d.Trains(p.capture, p.device))
		}
	}
}

func TestFoldsRefuse(t *testing.T) {
	for _, f := range []Folds{
		{By: "weather", Count: 5, Tested: 1}, {By: ByCapture, Count: 1, Tested: 1},
		{By: ByCapture, Count: 5, Tested: 0}, {By: ByUnit, Count: 5, Tested: 6}, {By: ByTime, Count: 5, Tested: 1},
	} {
		if f.Validate() == nil {
			t.Errorf("%+v is accepted", f)
		}
	}
	s := &Set{captures: []Capture{{Name: "a.pcap"}}}
	if _, err := s.Deal(context.Background(), Folds{By: ByCapture, Count: 2, Tested: 1}); err == nil {
		t.Error("a capture without devices is dealt")
	}
}

// Folds are of what the dates leave: the other days' captures would count as devices
// without a window.
func TestFoldsKeepToDates(t *testing.T) {
	path := recordsFile(t, nil, 4)
	for _, tt := range []struct {
		dates string
		want  int
	}{{"", 4}, {"2016-09-24..2016-09-25", 2}} {
		period, err := ParsePeriod(tt.dates)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(Options{Data: []string{path}, Period: period})
		if err != nil {
			t.Fatal(err)
		}
		tested := 0
		for fold := 1; fold <= 2; fold++ {
			d, err := s.Deal(context.Background(), Folds{By: ByCapture, Count: 2, Tested: fold})
			if err != nil {
				t.Fatal(err)
			}
			tested += len(d.TestedDevices())
		}
		if tested != tt.want {
			t.Errorf("dates %q: %d captures are tested, want %d", tt.dates, tested, tt.want)
		}
	}
}

// The captures that folds are of are those whose records are given.
func TestFoldsOfCapturesKeepToDates(t *testing.T) {
	period, err := ParsePeriod("2016-04-01..2016-06-30")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Manifest: filepath.Join(testenv.Data(t), "manifest.csv"), Period: period})
	if err != nil {
		t.Fatal(err)
	}
	given := 0
	err = s.Records(t.Context(), func(flows.LabelledRecord) error { return nil }, func(c CaptureSummary) error {
		given += len(c.Devices)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Deal(t.Context(), Folds{By: ByCapture, Count: 2, Tested: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(d.all) != given || given == 0 || len(s.captures) == given {
		t.Errorf("folds of %d devices, of %d that are given and %d listed", len(d.all), given, len(s.captures))
	}
}

// Captures of a whole household are dealt whichever of its devices is listed first.
func TestFoldsOfHouseholds(t *testing.T) {
	labels := []string{"camera", "hub", "plug"}
	var all []found
	for c := range labels {
		for i := range labels {
			label := labels[(c+i)%len(labels)]
			all = append(all, found{place{fmt.Sprintf("day-%d", c), label}, label, label, int64(c)})
		}
	}
	places := Folds{By: ByCapture, Count: 3, Tested: 1, Seed: 1}.deal(all)
	folds := map[int]string{}
	for p, fold := range places {
		if other, taken := folds[fold]; fold == 0 || taken && other != p.capture {
			t.Errorf("%s is in fold %d, with %q", p.capture, fold, other)
		}
		folds[fold] = p.capture
	}
	if len(folds) != 3 {
		t.Errorf("captures in folds %v, want one in each of three", folds)
	}
}
