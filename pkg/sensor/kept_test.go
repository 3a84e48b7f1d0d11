package sensor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/client"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/loader"
	"github.com/iotsense/iotsense/pkg/model/embedded"
	"github.com/iotsense/iotsense/pkg/notify"
	"github.com/iotsense/iotsense/pkg/replay"
	"github.com/iotsense/iotsense/pkg/sensor"
	"github.com/iotsense/iotsense/pkg/store"
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
	dir := t.TempDir()
	state, socket := filepath.Join(dir, "registry.db"), filepath.Join(dir, "s.sock")
	ask := client.New(socket)
	const unseen = "fe:00:00:00:0f:0f"
	told := make(chan v1.Notice, 1000)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var n v1.Notice
		if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
			t.Error(err)
		}
		told <- n
	}))
	defer hook.Close()
	run := func(during func(context.Context)) []v1.DeviceVerdict {
		t.Helper()
		s := openIn(t, n, sensor.Config{
			Loader: loader.Config{Interfaces: []string{replay.Interface}, MaxFlows: 1024}, Model: bundle, Speed: 60, State: state, Socket: socket,
			Sinks: notify.Config{Webhook: notify.HTTP{URL: hook.URL, Events: []string{v1.EventLabelled}}},
			Log:   slog.New(slog.DiscardHandler),
		})
		defer s.Close()
		runWhile(t, s, during)
		list, err := s.Devices()
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	before := run(func(ctx context.Context) {
		if _, err := n.Play(ctx, replay.Merge(0, lists...), replay.PlayOptions{Speed: 60}); err != nil {
			t.Fatal(err)
		}
		if done, err := ask.Correct(ctx, unseen, v1.DoLabel, v1.Correction{Label: "Kettle"}); err != nil || !done.Kept {
			t.Errorf("%+v, %v", done, err)
		}
		if n := <-told; n.Event.Event != v1.EventLabelled || *n.Device != unseen || *n.Name != "Kettle" {
			t.Errorf("the webhook is told %+v", n)
		}
		if _, err := ask.Correct(ctx, unseen, v1.DoLabel, v1.Correction{Label: "a//b"}); err == nil || !strings.Contains(err.Error(), "a path of them") {
			t.Errorf("a label that is none: %v", err)
		}
	})
	after := run(func(context.Context) {})
	last := run(func(ctx context.Context) {
		if done, err := ask.Correct(ctx, before[0].Device, v1.DoForget, v1.Correction{}); err != nil || !done.Kept {
			t.Errorf("%+v, %v", done, err)
		}
		events, err := ask.Events(ctx, 0)
		if err != nil {
			t.Error(err)
		}
		happened := map[string]bool{}
		for _, e := range events {
			happened[e.Event] = true
			if *e.Device == before[0].Device {
				t.Errorf("an event of the forgotten: %s", e.Event)
			}
		}
		if !happened[v1.EventNew] || !happened[v1.EventLabelled] {
			t.Errorf("events of two starts before: %v", happened)
		}
	})
	if len(last) != len(before)-1 || last[0].Device == before[0].Device {
		t.Errorf("after one was forgotten, %d devices of %d", len(last), len(before))
	}
	for _, name := range []string{state, state + store.SnapshotSuffix} {
		if text, err := os.ReadFile(name); err != nil || bytes.Contains(text, []byte(before[0].Device)) {
			t.Errorf("%s, of the forgotten: %v", name, err)
		}
	}
	judged := 0
	for _, d := range before {
		if d.Windows > 0 && len(d.Facts) > 0 {
			judged++
		}
	}
	if judged < 4 {
		t.Fatalf("%d of %d devices were judged", judged, len(before))
	}
	if d := before[slices.IndexFunc(before, func(d v1.DeviceVerdict) bool { return d.Device == unseen })]; d.UserLabel == nil || *d.UserLabel != "Kettle" || *d.NameFrom != "user" {
		t.Errorf("labelled: %+v", d)
	}
	for i := range min(len(before), len(after)) { // probabilities are kept to seven digits
		b, a := &before[i], &after[i]
		for _, p := range [][2]*float64{{b.Confidence, a.Confidence}, {b.PathConfidence, a.PathConfidence}, {b.WindowConfidence, a.WindowConfidence}, {b.Distance, a.Distance}} {
			if p[0] != nil && p[1] != nil && math.Abs(*p[0]-*p[1]) <= 1e-6**p[0] {
				*p[1] = *p[0]
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
