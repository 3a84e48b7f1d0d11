package sensor

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/api"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/embedded"
)

// twoModels are two that need the same records.
func twoModels(t *testing.T) (first, second model.Bundle) {
	t.Helper()
	first, err := embedded.Default()
	if err != nil {
		t.Fatal(err)
	}
	if second, err = embedded.Lab(); err != nil {
		t.Fatal(err)
	}
	return first, second
}

// A model that comes while flows are open judges them too; one that needs other records is
// refused by name, and the old one goes on.
func TestSetModel(t *testing.T) {
	first, second := twoModels(t)
	h := newHouse(t, first, 8)
	spec, err := first.Record()
	if err != nil {
		t.Fatal(err)
	}
	s := &Sensor{
		cfg:  Config{Model: first, ModelName: Named{Text: "first"}, Log: slog.New(slog.NewTextHandler(io.Discard, nil))},
		spec: spec, classifier: h.classifier, early: h.early,
	}
	r, err := lab.Generate("camera", 3, 5, 2*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	name := r.Device.String()
	half := len(r.Frames) / 2
	h.add(r.Frames[:half])
	if told := h.ask(); len(told) == 0 || told[0].Known {
		t.Fatalf("the first model: %v", told)
	}
	open := h.assembler.IsOpen(name)
	other := *first[""]
	other.Record.Direction = flows.Uni
	for _, tt := range []struct {
		next model.Bundle
		says string
	}{{model.Bundle{"": &other}, "direction uni"}, {nil, "--model none"}, {model.Bundle{"": {}}, "records with"}} {
		if _, err := s.SetModel(tt.next, Named{}); err == nil || !strings.Contains(err.Error(), tt.says) || s.cfg.ModelName.Text != "first" {
			t.Errorf("%v, want %q; by %s", err, tt.says, s.cfg.ModelName.Text)
		}
	}
	if _, err := s.SetModel(second, Named{Text: "second"}); err != nil {
		t.Fatal(err)
	}
	if !open || !h.assembler.IsOpen(name) {
		t.Error("no flow is open")
	}
	h.add(r.Frames[half:])
	told := h.ask()
	if !slices.ContainsFunc(told, func(v v1.Verdict) bool { return v.Device == name && v.Known && *v.Label == "camera" && v.Provisional }) {
		t.Errorf("the second model: %v", told)
	}
	h.table.Flush()
	if v := h.classifier.Registry().Verdict(name); !v.Known || *v.Label != "camera" {
		t.Errorf("of flows that ended: %s", line(t, v))
	}
}

// A model that was learned is taken when somebody says so; one that cannot be, or is the one that
// judges already, changes nothing.
func TestTakeModel(t *testing.T) {
	first, second := twoModels(t)
	h := newHouse(t, first, 8)
	spec, _ := first.Record()
	s := &Sensor{
		cfg:  Config{Model: first, ModelName: Named{Text: "first"}, Log: slog.New(slog.NewTextHandler(io.Discard, nil))},
		spec: spec, classifier: h.classifier, early: h.early,
	}
	refused := func(says string) {
		t.Helper()
		_, err := s.TakeModel(t.Context())
		var as *api.RefusedError
		if !errors.As(err, &as) || !strings.Contains(err.Error(), says) || s.cfg.ModelName.Text != "first" {
			t.Errorf("%v, want %q refused", err, says)
		}
	}
	refused("--models DIR")
	next, name, wrong := second, Named{Text: "second"}, errors.New("damaged")
	s.cfg.Choose = func() (model.Bundle, Named, error) { return next, name, wrong }
	refused("damaged")
	other := *second[""]
	other.Record.Packets = 5
	next, wrong = model.Bundle{"": &other}, nil
	refused("packets 5")
	next, name = first, Named{Text: "first"}
	if taken, err := s.TakeModel(t.Context()); err != nil || !taken.MemoriesKept {
		t.Errorf("%+v, %v", taken, err)
	}
	next, name = second, Named{Text: "second"}
	if taken, err := s.TakeModel(t.Context()); err != nil || taken.Model != "second" || taken.MemoriesKept || s.cfg.ModelName.Text != "second" {
		t.Errorf("%+v, %v", taken, err)
	}
}

// What judges is told with its file's digest, as of when it began; what learning left beside the
// models too, unless it is damaged.
func TestModel(t *testing.T) {
	bundle, err := embedded.Lab()
	if err != nil {
		t.Fatal(err)
	}
	shelf := model.Shelf(t.TempDir())
	path, err := shelf.Put(bundle, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	s := &Sensor{cfg: Config{Log: slog.New(slog.NewTextHandler(&log, nil))}, started: time.Unix(1, 0)}
	tell := func() v1.Model {
		t.Helper()
		m, err := s.Model()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if m := tell(); m.Judges != nil || m.Learned != nil {
		t.Errorf("without a model: %+v", m)
	}
	s.cfg.Model, s.cfg.ModelName = bundle, Named{Text: "the lab's"}
	if j := tell().Judges; j.File != "embedded" || j.Learned || !j.Since.Equal(s.started) || j.Architecture[0] != bundle[""].Net.Kind() || !slices.Equal(j.Labels, bundle[""].Classes()) {
		t.Errorf("%+v", j)
	}
	s.cfg.Models, s.cfg.ModelName.File, s.judging = shelf, path, time.Unix(2, 0)
	if j := tell().Judges; j.File != path || !j.Learned || !j.Since.Equal(s.judging) || j.Digest != fmt.Sprintf("%x", sha256.Sum256(file)) {
		t.Errorf("%+v", j)
	}
	if err := shelf.Note(map[string]bool{"taken": true}); err != nil {
		t.Fatal(err)
	}
	if m := tell(); string(m.Learned) != `{"taken":true}` || log.Len() > 0 {
		t.Errorf("learned %s; log: %s", m.Learned, &log)
	}
	note := filepath.Join(string(shelf), "learned.json")
	for _, damaged := range []string{"", `{"taken":`, "null", "[]", strings.Repeat(" ", 1<<20) + "{}", `{"x":"` + strings.Repeat("x", 1<<20) + `"}`} {
		if err := os.WriteFile(note, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if m := tell(); m.Learned != nil || m.Judges == nil {
			t.Errorf("of %.20q: %.20s", damaged, m.Learned)
		}
	}
	tell()
	if n := strings.Count(log.String(), "level=WARN"); n != 2 {
		t.Errorf("%d lines for no object and for too many bytes:\n%s", n, &log)
	}
}
