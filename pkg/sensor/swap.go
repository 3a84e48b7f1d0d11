package sensor

// This file puts another model in the place of the one that judges.

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/iotsense/iotsense/pkg/api"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/explain"
)

// Named says which model it is.
type Named struct {
	Text string // in words
	File string // path, or the word of --model; empty: the embedded one
}

// SetModel has another model judge from the next record on, called name. Open flows
// go on; so does what the network remembers of each device, where the new one has the same
// memory, as one has that classes were added to. remembered tells whether it does, else each
// device is judged by what comes from now on. Names that were given stay until the new
// model has enough of a device to say something. On an error the old model goes on: the new
// one needs other records than are made, or cannot explain where that is asked for.
func (s *Sensor) SetModel(bundle model.Bundle, name Named) (remembered bool, err error) {
	if s.early == nil || bundle == nil {
		return false, errors.New("this sensor has no model to put another in the place of: it runs with --model none")
	}
	spec, err := bundle.Record()
	if err != nil {
		return false, err
	}
	if err := sameRecords(s.spec, spec); err != nil {
		return false, err
	}
	var by explainers
	if s.explaining != nil {
		if by, err = explain.All(bundle); err != nil {
			return false, err
		}
	}
	s.early.turn.Lock()
	defer s.early.turn.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if remembered, err = s.classifier.SetModel(bundle); err != nil {
		return false, err
	}
	if s.explaining != nil {
		s.explaining.by = by
	}
	s.cfg.Model, s.cfg.ModelName, s.judging = bundle, name, time.Now()
	s.early.end()
	s.early.renew()
	s.cfg.Log.Info("another model judges from now on", "model", name.Text, "memories_kept", remembered)
	return remembered, nil
}

// Judges reports whether a model is the one that judges now, by all that its file says but the
// weights.
func (s *Sensor) Judges(bundle model.Bundle) (bool, error) {
	s.mu.Lock()
	now := s.cfg.Model
	s.mu.Unlock()
	a, err := now.Metadata()
	if err != nil {
		return false, err
	}
	b, err := bundle.Metadata()
	return maps.EqualFunc(a, b, func(x, y json.RawMessage) bool { return bytes.Equal(x, y) }), err
}

// TakeModel implements api.Source.
func (s *Sensor) TakeModel(context.Context) (taken v1.ModelTaken, err error) {
	if s.cfg.Choose == nil {
		return taken, &api.RefusedError{Err: errors.New("this sensor takes no other model while it runs: start `iotsense run` with --models DIR")}
	}
	bundle, name, err := s.cfg.Choose()
	if err == nil {
		taken = v1.ModelTaken{Model: name.Text, MemoriesKept: true}
		var same bool
		if same, err = s.Judges(bundle); err == nil && !same {
			taken.MemoriesKept, err = s.SetModel(bundle, name)
		}
	}
	if err != nil {
		s.cfg.Log.Error("the old model goes on", "error", err)
		return v1.ModelTaken{}, &api.RefusedError{Err: err}
	}
	return taken, nil
}

// Model implements api.Source.
func (s *Sensor) Model() (v1.Model, error) {
	var answer v1.Model
	var err error
	s.mu.Lock()
	bundle, name, since := s.cfg.Model, s.cfg.ModelName, s.judging
	s.mu.Unlock()
	if bundle != nil {
		if since.IsZero() {
			since = s.started
		}
		if answer.Judges, err = s.judge(bundle, name, since); err != nil {
			return answer, err
		}
	}
	answer.Learned, err = s.cfg.Models.Noted()
	why := ""
	if err != nil {
		why = err.Error()
	}
	s.mu.Lock()
	said := s.unread == why
	s.unread = why
	s.mu.Unlock()
	if err != nil && !said {
		s.cfg.Log.Warn("what was learned last is not told: `iotsense learn` writes it anew", "error", err)
	}
	return answer, nil
}

// judge describes a model.
func (s *Sensor) judge(bundle model.Bundle, name Named, since time.Time) (*v1.Judge, error) {
	digest := sha256.New()
	if err := bundle.Write(digest); err != nil {
		return nil, err
	}
	j := &v1.Judge{
		Model: name.Text, File: cmp.Or(name.File, "embedded"), Since: v1.Time{Time: since},
		Learned: s.cfg.Models != "" && filepath.Dir(name.File) == filepath.Clean(string(s.cfg.Models)),
		Digest:  fmt.Sprintf("%x", digest.Sum(nil)), Labels: classify.Classes(bundle),
		Record: fmt.Sprintf("direction %v, the first %d packets with %d bytes of payload each, %d payload values, lifetime %v",
			s.spec.Direction, s.spec.Packets, s.spec.Prefix, s.spec.Payload, s.spec.Lifetime),
	}
	for _, service := range slices.Sorted(maps.Keys(bundle)) {
		if kind := bundle[service].Net.Kind(); !slices.Contains(j.Architecture, kind) {
			j.Architecture = append(j.Architecture, kind)
		}
	}
	return j, nil
}

// sameRecords names the first thing in which records that a model needs differ from those that
// are made.
func sameRecords(made, needed flows.RecordSpec) error {
	for _, f := range []struct {
		name         string
		made, needed any
	}{
		{"direction", made.Direction, needed.Direction},
		{"packets", made.Packets, needed.Packets},
		{"prefix", made.Prefix, needed.Prefix},
		{"payload", made.Payload, needed.Payload},
		{"lifetime", made.Lifetime, needed.Lifetime},
	} {
		if f.made != f.needed {
			return fmt.Errorf("the model needs records with %s %v, the sensor makes them with %v: start the sensor with that model", f.name, f.needed, f.made)
		}
	}
	return nil
}
