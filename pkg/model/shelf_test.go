package model_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/embedded"
)

// A shelf has the last three models; whoever goes back finds the one before, and neither
// loses what else is in the directory.
func TestShelf(t *testing.T) {
	bundle, err := embedded.Lab()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "models")
	s := model.Shelf(dir)
	if b, path, err := s.Newest(); b != nil || path != "" || err != nil {
		t.Errorf("of no shelf: %v, %s, %v", b, path, err)
	}
	if _, _, err := s.Back(); err == nil {
		t.Error("back from nothing")
	}
	day := time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)
	for i := range 5 {
		if _, err := s.Put(bundle, day.AddDate(0, 0, i)); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			os.WriteFile(filepath.Join(dir, "mine.safetensors"), nil, 0o600)
		}
	}
	days := func(list func() ([]string, error)) string {
		paths, err := list()
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, p := range paths {
			names = append(names, filepath.Base(p)[12:14])
		}
		return strings.Join(names, " ")
	}
	if got := days(s.Models); got != "05 04 03" {
		t.Errorf("there is %s", got)
	}
	b, path, err := s.Newest()
	if err != nil || !strings.Contains(path, "20260305") || !slices.Equal(b[""].Labels, bundle[""].Labels) {
		t.Errorf("newest %s, %v", path, err)
	}
	for i, want := range []string{"04", "03", ""} {
		from, to, err := s.Back()
		if err != nil || filepath.Base(from)[12:14] != []string{"05", "04", "03"}[i] || to != "" && filepath.Base(to)[12:14] != want || (to == "") != (want == "") {
			t.Errorf("back from %s to %s, want %s; %v", from, to, want, err)
		}
	}
	if got := days(s.Refused); got != "05 04 03" || days(s.Models) != "" {
		t.Errorf("refused %s, left %s", got, days(s.Models))
	}
	bad, _ := s.Put(bundle, day.AddDate(0, 1, 0))
	os.Truncate(bad, 1000)
	if _, _, err := s.Newest(); err == nil || !strings.Contains(err.Error(), bad) {
		t.Errorf("a damaged model: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "mine.safetensors")); err != nil {
		t.Error(err)
	}
}

// The model that was put last is the newest, though the clock has been set back.
func TestShelfOfClockSetBack(t *testing.T) {
	bundle, err := embedded.Lab()
	if err != nil {
		t.Fatal(err)
	}
	s := model.Shelf(t.TempDir())
	day := time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)
	for i := range 4 {
		path, err := s.Put(bundle, day.AddDate(0, 0, -i))
		if err != nil {
			t.Fatal(err)
		}
		if models, err := s.Models(); err != nil || len(models) == 0 || models[0] != path {
			t.Errorf("put %s, there are %q, %v", path, models, err)
		}
	}
}
