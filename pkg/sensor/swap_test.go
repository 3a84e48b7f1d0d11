package sensor

import (
	"errors"
	"io"
	"log/slog"
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

// A model that comes while flows are open judges them too; one that needs other records is
// refused by name, and the old one goes on.
func TestSetModel(t *testing.T) {
	first, err := embedded.Default()
	if err != nil {
		t.Fatal(err)
	}
	second, err := embedded.Lab()
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, first, 8)
	spec, err := first.Record()
	if err != nil {
		t.Fatal(err)
	}
	s := &Sensor{
		cfg:  Config{Model: first, ModelName: "first", Log: slog.New(slog.NewTextHandler(io.Discard, nil))},
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
		if _, err := s.SetModel(tt.next, "x"); err == nil || !strings.Contains(err.Error(), tt.says) || s.cfg.ModelName != "first" {
			t.Errorf("%v, want %q; by %s", err, tt.says, s.cfg.ModelName)
		}
	}
	if _, err := s.SetModel(second, "second"); err != nil {
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
	first, err := embedded.Default()
	if err != nil {
		t.Fatal(err)
	}
	second, err := embedded.Lab()
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, first, 8)
	spec, _ := first.Record()
	s := &Sensor{
		cfg:  Config{Model: first, ModelName: "first", Log: slog.New(slog.NewTextHandler(io.Discard, nil))},
		spec: spec, classifier: h.classifier, early: h.early,
	}
	refused := func(says string) {
		t.Helper()
		_, err := s.TakeModel(t.Context())
		var as *api.RefusedError
		if !errors.As(err, &as) || !strings.Contains(err.Error(), says) || s.cfg.ModelName != "first" {
			t.Errorf("%v, want %q refused", err, says)
		}
	}
	refused("--models DIR")
	next, name, wrong := second, "second", errors.New("damaged")
	s.cfg.Choose = func() (model.Bundle, string, error) { return next, name, wrong }
	refused("damaged")
	other := *second[""]
	other.Record.Packets = 5
	next, wrong = model.Bundle{"": &other}, nil
	refused("packets 5")
	next, name = first, "first"
	if taken, err := s.TakeModel(t.Context()); err != nil || !taken.MemoriesKept {
		t.Errorf("%+v, %v", taken, err)
	}
	next, name = second, "second"
	if taken, err := s.TakeModel(t.Context()); err != nil || taken.Model != "second" || taken.MemoriesKept || s.cfg.ModelName != "second" {
		t.Errorf("%+v, %v", taken, err)
	}
}
