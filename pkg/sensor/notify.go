package sensor

// This file tells others of events, on the sensor's own account.

import (
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/notify"
	"github.com/iotsense/iotsense/pkg/registry"
)

const (
	// sinksSuffix is of the directory beside the registry's file where messages wait.
	sinksSuffix = ".sinks"
	// lastMessages is how long sinks may take for those of the end.
	lastMessages = 3 * time.Second
)

func (s *Sensor) openNotify() (*notify.Notifier, error) {
	dir := ""
	if s.cfg.State != "" {
		dir = s.cfg.State + sinksSuffix
	}
	return notify.New(dir, s.cfg.Sinks, toTell{s}, s.cfg.Log)
}

// SetSinks replaces who is told of events, [Config].Sinks. An error leaves what was.
func (s *Sensor) SetSinks(cfg notify.Config) error { return s.notify.Set(cfg) }

// toTell is a [notify.Source]: devices by what has ended of their flows.
type toTell struct{ sensor *Sensor }

func (t toTell) Device(name string) (v1.DeviceVerdict, bool) {
	d, ok := t.sensor.classifier.Registry().Device(name)
	if ok {
		t.name(&d)
	}
	return d, ok
}

func (t toTell) Devices() []v1.DeviceVerdict {
	list := t.sensor.classifier.Registry().Devices()
	for i := range list {
		t.name(&list[i])
	}
	suggestSame(list)
	return list
}

func (t toTell) Events() []v1.Event {
	return t.sensor.classifier.Registry().Events(0, registry.MaxEvents)
}

func (t toTell) name(d *v1.DeviceVerdict) {
	t.sensor.addFacts(&d.Verdict)
	d.Call()
}
