package sensor

// This file puts another model in the place of the one that judges.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/iotsense/iotsense/pkg/api"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/explain"
)

// SetModel has another model judge from the next record on, called name in words. Open flows
// go on; so does what the network remembers of each device, where the new one has the same
// memory, as one has that classes were added to. remembered tells whether it does, else each
// device is judged by what comes from now on. Names that were given stay until the new
// model has enough of a device to say something. On an error the old model goes on: the new
// one needs other records than are made, or cannot explain where that is asked for.
func (s *Sensor) SetModel(bundle model.Bundle, name string) (remembered bool, err error) {
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
	s.cfg.Model, s.cfg.ModelName = bundle, name
	s.early.end()
	s.early.renew()
	s.cfg.Log.Info("another model judges from now on", "model", name, "memories_kept", remembered)
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
		taken = v1.ModelTaken{Model: name, MemoriesKept: true}
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
