package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/api"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/recording"
)

// labelled is a sensor that has recorded devices with labels.
type labelled struct {
	api.Source
	recorder *recording.Recorder
	known    *facts.Collector
	devices  []v1.DeviceVerdict
	taken    int
	shelf    model.Shelf
}

func (l *labelled) ID() string { return "x" }

func (l *labelled) Devices() ([]v1.DeviceVerdict, error) { return l.devices, nil }

func (l *labelled) Facts(device string) ([]v1.Fact, error) {
	return l.known.Of(device).Lines(device, nil), nil
}

func (l *labelled) Events(uint64) ([]v1.Event, error) {
	var list []v1.Event
	for i, what := range []string{string(v1.Changed), v1.EventLabelled, v1.EventLabelled, string(v1.Changed), string(v1.Known)} {
		list = append(list, v1.Event{Seq: uint64(i), Event: what, Device: &l.devices[min(i/2+1, 2)].Device})
	}
	return list, nil
}

func (l *labelled) WriteRecording(context.Context) (v1.RecordingStats, error) {
	return l.recorder.Stats(), l.recorder.Close() // which waits for all that came
}

func (l *labelled) TakeModel(context.Context) (v1.ModelTaken, error) {
	l.taken++
	return v1.ModelTaken{Model: "learned", MemoriesKept: true}, nil
}

func (l *labelled) Model() (v1.Model, error) {
	m := v1.Model{Judges: &v1.Judge{Model: "one for a test", File: "embedded"}}
	var err error
	m.Learned, err = l.shelf.Noted()
	return m, err
}

func newLabelled(t *testing.T, dir string, kinds ...string) *labelled {
	t.Helper()
	spec := flows.DefaultRecordSpec()
	r, err := recording.Open(recording.Config{
		Dir: dir, Spec: spec, Spared: func(string) bool { return true }, Label: func(string) string { return "" }, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	l := &labelled{recorder: r, known: facts.NewCollector(0)}
	for _, kind := range kinds {
		capture, err := lab.Generate(kind, 0, 5, 8*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		mac, label := capture.Device.String(), "lab/"+kind
		locals := flows.NewLocals(nil).WithDevices(mac)
		table := flows.NewTable(spec, locals, flows.NewAssembler(flows.AssemblerConfig{Spec: spec, Locals: locals, Observe: l.known.Sample, Emit: r.Add}))
		for _, f := range capture.Frames {
			var p flows.Packet
			if flows.Parse(&p, flows.LinkEthernet, f.Data, len(f.Data)) == flows.Counted {
				table.Add(&p, f.Time.UnixMicro())
			}
		}
		table.Flush()
		l.devices = append(l.devices, v1.DeviceVerdict{
			Verdict: v1.Verdict{Device: mac, State: v1.Unknown, UserLabel: &label, Votes: map[string]int{}}, MACs: []string{mac}, Addresses: []string{}, SameAs: []string{},
		})
	}
	return l
}

// What is learned of a sensor's recordings and labels is handed to it; what was gone back from is
// not learned again.
func TestLearn(t *testing.T) {
	dir := t.TempDir()
	records, models := filepath.Join(dir, "records"), filepath.Join(dir, "models")
	sensor := newLabelled(t, records, "vacuum", "camera", "thermostat") // the last one has changed since
	learn := []string{"learn", "--json", "--record", records, "--models", models, "--socket", answer(t, sensor)}
	sensor.shelf = model.Shelf(models)
	state := []string{"learn", "--status", "--socket", learn[len(learn)-1]}
	if stdout, stderr, status := command(t, state...); status != 0 || !strings.Contains(stdout, "one for a test\n") || !strings.Contains(stdout, "nothing yet") {
		t.Errorf("before: status %d, %s%s", status, stdout, stderr)
	}
	stdout, stderr, status := command(t, learn...)
	if strings.Contains(stderr, "operation not supported") {
		t.Skip("linked with C: run it with CGO_ENABLED=0")
	}
	var r learned
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || status != 0 {
		t.Fatalf("status %d, %v: %s%s", status, err, stdout, stderr)
	}
	if !r.Taken || r.MemoriesKept == nil || !*r.MemoriesKept || sensor.taken != 1 || len(r.Classes) != 2 || len(r.Left) != 1 || !strings.Contains(r.Left[0].Why, "its state is changed") || r.MemoryMB > 300 {
		t.Errorf("taken %d times: %s", sensor.taken, stdout)
	}
	m, path, err := model.Shelf(models).Newest()
	if err != nil || r.Model == nil || path != *r.Model || m[""].Taxonomy["vacuum"] != "lab/vacuum" || m[""].Training.Options["add-class"] != "camera,vacuum" {
		t.Errorf("on the shelf: %s, %v", path, err)
	}
	var kept learned
	if note, err := model.Shelf(models).Noted(); err != nil || json.Unmarshal(note, &kept) != nil || !kept.Taken || kept.Time.IsZero() || kept.Left != nil || len(kept.Classes) != 2 {
		t.Errorf("beside the models: %s, %v", note, err)
	}
	if stdout, stderr, status := command(t, state...); status != 0 || !strings.Contains(stdout, r.Why) || !strings.Contains(stdout, "learned last: ") || !strings.Contains(stdout, "camera") {
		t.Errorf("status %d, %s%s", status, stdout, stderr)
	}
	if stdout, _, _ := command(t, append(state, "--json")...); !strings.Contains(stdout, `"judges":{"model":"one for a test"`) || !strings.Contains(stdout, `"learned":{"records"`) {
		t.Error(stdout)
	}
	back := append([]string{"model", "rollback"}, learn[4:]...)
	if stdout, stderr, status = command(t, back...); status != 0 || !strings.Contains(stdout, "back to the sensor's own model") || sensor.taken != 2 {
		t.Errorf("rollback: status %d, taken %d times: %s%s", status, sensor.taken, stdout, stderr)
	}
	if stdout, stderr, status = command(t, learn...); status != 0 || !strings.Contains(stdout, "was learned of these labels and gone back from") || sensor.taken != 2 {
		t.Errorf("again: status %d, taken %d times: %s%s", status, sensor.taken, stdout, stderr)
	}
	for _, tt := range []struct {
		args []string
		says string
	}{
		{back, "no learned model to go back from"},
		{append([]string{"learn", "--socket", "/nonexistent"}, learn[2:6]...), "/nonexistent"},
		{append([]string{"learn", "--record", dir}, learn[4:]...), "nothing is recorded there"},
		{append([]string{"learn", "--labels", "/nonexistent"}, learn[2:6]...), "labels: open /nonexistent"},
	} {
		if _, stderr, status := command(t, tt.args...); status != 1 || !strings.Contains(stderr, tt.says) {
			t.Errorf("%v: status %d, %s", tt.args, status, stderr)
		}
	}
}
