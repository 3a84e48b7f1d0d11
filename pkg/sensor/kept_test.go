package sensor_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/loader"
	"github.com/iotsense/iotsense/pkg/model/embedded"
	"github.com/iotsense/iotsense/pkg/replay"
	"github.com/iotsense/iotsense/pkg/sensor"
)

// A sensor that begins again says of devices what it said when it ended, without a packet.
func TestRegistryOutlastsTheSensor(t *testing.T) {
	testenv.Root(t)
	bundle, err := embedded.Lab()
	if err != nil {
		t.Fatal(err)
	}
	n, err := replay.NewNetwork("kept")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	var lists [][]lab.Frame
	for _, kind := range lab.Kinds()[:4] {
		c, err := lab.Generate(kind, 0, 1, 3*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		lists = append(lists, c.Frames)
	}
	state := filepath.Join(t.TempDir(), "registry.db")
	run := func(during func(context.Context, *sensor.Sensor)) []v1.DeviceVerdict {
		t.Helper()
		var s *sensor.Sensor
		err := n.Do(func() (err error) {
			s, err = sensor.Open(sensor.Config{
				Loader: loader.Config{Interfaces: []string{replay.Interface}, MaxFlows: 1024}, Model: bundle, Speed: 60, State: state,
				Log: slog.New(slog.DiscardHandler),
			})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		during(ctx, s)
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		list, err := s.Devices()
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	before := run(func(ctx context.Context, _ *sensor.Sensor) {
		if _, err := n.Play(ctx, replay.Merge(0, lists...), replay.PlayOptions{Speed: 60}); err != nil {
			t.Fatal(err)
		}
	})
	after := run(func(context.Context, *sensor.Sensor) {})
	judged := 0
	for _, d := range before {
		if d.Windows > 0 && len(d.Facts) > 0 {
			judged++
		}
	}
	if judged < 4 {
		t.Fatalf("%d of %d devices were judged", judged, len(before))
	}
	for i := range before { // probabilities are kept to seven digits
		for _, d := range []*v1.DeviceVerdict{&before[i], &after[i]} {
			for _, p := range []*float64{d.Confidence, d.PathConfidence, d.WindowConfidence, d.Distance} {
				if p != nil {
					*p = float64(int(*p*1e5+.5)) / 1e5
				}
			}
		}
	}
	a, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(after)
	if err != nil {
		t.Fatal(err)
	}
	if string(a) != string(b) {
		t.Errorf("after the restart\n%s\nwant\n%s", b, a)
	}
}
