package sensor

import (
	"testing"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/flows"
)

// Devices are dropped behind the lock of what packets change, whatever makes them go.
func TestWordsDropDevicesLocked(t *testing.T) {
	s := &Sensor{}
	dropped := 0
	s.assembler = flows.NewAssembler(flows.AssemblerConfig{})
	var err error
	s.classifier, err = classify.New(nil, classify.Options{MaxDevices: 1, Evicted: func(device string) {
		dropped++
		if s.mu.TryLock() {
			s.mu.Unlock()
			t.Errorf("%s is dropped while records may come", device)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.classifier.Record(&flows.Record{Device: "00:1d:aa:01:02:03", FirstSeen: 1, LastSeen: 2}); err != nil {
		t.Fatal(err)
	}
	for _, do := range []string{v1.DoLabel, v1.DoForget} {
		if _, err = s.say("00:1d:aa:01:02:04", do, v1.Correction{Label: "Kettle"}); err != nil {
			t.Error(err)
		}
	}
	if dropped != 2 {
		t.Errorf("%d devices dropped, want the one that made room and the one forgotten", dropped)
	}
}
