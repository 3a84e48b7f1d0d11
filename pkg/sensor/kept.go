package sensor

// This file has the registry outlast the process.

import (
	"context"
	"errors"
	"sync"

	"github.com/iotsense/iotsense/pkg/api"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/recording"
	"github.com/iotsense/iotsense/pkg/store"
)

// kept writes what changes to the file of Config.State. A nil one keeps nothing.
type kept struct {
	store  *store.Store
	keeper *store.Keeper
	stop   context.CancelFunc // nil: it has not begun
	ended  chan struct{}
	once   sync.Once
	err    error
}

// keep opens the file, and takes back what it holds.
func (s *Sensor) keep() (*kept, error) {
	if s.cfg.State == "" {
		return nil, nil
	}
	file, opened, err := store.Open(s.cfg.State)
	if err != nil {
		return nil, err
	}
	if opened.Damage != "" {
		s.cfg.Log.Error("registry: " + opened.Damage)
	}
	r := s.classifier.Registry()
	r.RestoreEvents(opened.Events)
	if n := r.Restore(opened.Devices); n > 0 {
		s.cfg.Log.Info("registry: another model judged devices, or another version: they begin anew", "devices", n, "of", len(opened.Devices))
	}
	source := store.Source{Registry: r}
	if s.facts != nil {
		for i := range opened.Devices {
			for _, mac := range opened.Devices[i].Names() {
				s.facts.Restore(mac, opened.Facts[mac])
			}
		}
		source.Facts = s.factsToKeep
	}
	return &kept{store: file, keeper: store.NewKeeper(file, opened, source, s.cfg.Log), ended: make(chan struct{})}, nil
}

// factsToKeep are a device's facts as a [store.Source] gives them.
func (s *Sensor) factsToKeep(device string) (changes uint32, list []facts.Fact) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.facts.Kept(device)
}

// startRecording has records kept to learn from, if that is wanted.
func (s *Sensor) startRecording() (err error) {
	if s.cfg.Recording == "" {
		return nil
	}
	r := s.classifier.Registry()
	s.recorder, err = recording.Open(recording.Config{
		Dir: s.cfg.Recording, Size: s.cfg.RecordingSize, Spec: s.spec, Spared: r.Knows, Log: s.cfg.Log,
		Label: func(device string) string {
			if label := r.Verdict(device).UserLabel; label != nil {
				return *label
			}
			return ""
		},
	})
	return err
}

// WriteRecording implements api.Source.
func (s *Sensor) WriteRecording(context.Context) (v1.RecordingStats, error) {
	if s.recorder == nil {
		return v1.RecordingStats{}, &api.RefusedError{Err: errors.New("this sensor records nothing: start `iotsense run` with --record DIR")}
	}
	err := s.recorder.Flush()
	return s.recorder.Stats(), err
}

// run writes until close.
func (k *kept) run(ctx context.Context) {
	if k == nil {
		return
	}
	ctx, k.stop = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(k.ended)
		k.err = k.keeper.Run(ctx)
	}()
}

// close writes what is left, and closes the file.
func (k *kept) close() error {
	if k == nil {
		return nil
	}
	var err error
	k.once.Do(func() {
		if k.stop == nil {
			err = k.store.Close()
			return
		}
		k.stop()
		<-k.ended
		err = k.err
	})
	return err
}

func (k *kept) noted() {
	if k != nil {
		k.keeper.Noted()
	}
}

func (k *kept) stats() v1.RegistryStats {
	if k == nil {
		return v1.RegistryStats{}
	}
	return k.keeper.Stats()
}
