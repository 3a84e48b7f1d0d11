package sensor

import (
	"io"
	"log/slog"
	"net/netip"
	"os"
	"testing"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/recording"
)

// Records are kept of the devices that are not ignored, and of those forgotten none, though they
// had to make room before.
func TestRecording(t *testing.T) {
	const ignored, forgotten, evicted = "00:1d:aa:01:02:03", "00:1d:aa:01:02:04", "00:1d:aa:01:02:05"
	dir := t.TempDir()
	s := &Sensor{cfg: Config{
		Recording: dir, Hurry: t.Context(), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Ignored: func(r *flows.Record) bool { return r.Device == ignored },
	}, spec: flows.DefaultRecordSpec()}
	s.assembler = flows.NewAssembler(flows.AssemblerConfig{Locals: flows.NewLocals(nil), Emit: s.record})
	var err error
	if s.classifier, err = classify.New(nil, classify.Options{MaxDevices: 1}); err != nil {
		t.Fatal(err)
	}
	if err := s.startRecording(); err != nil {
		t.Fatal(err)
	}
	for i, device := range []string{ignored, evicted, forgotten, forgotten} {
		s.record(&flows.Record{Device: device, Remote: netip.IPv4Unspecified(), FirstSeen: int64(i) + 1, LastSeen: int64(i) + 2})
	}
	if err := s.recorder.Close(); err != nil {
		t.Fatal(err)
	}
	if n := s.recorder.Stats().Written; n != 3 {
		t.Errorf("%d records written, want those of two devices", n)
	}
	for _, device := range []string{forgotten, evicted} {
		if _, err := s.Correct(t.Context(), device, v1.DoForget, v1.Correction{}); err != nil {
			t.Fatal(err)
		}
	}
	s.recorder.Close()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left of it: %v, %v", left, err)
	}
	if files, err := recording.Files(dir); err != nil || len(files) > 0 {
		t.Errorf("%v, %v", files, err)
	}
}
