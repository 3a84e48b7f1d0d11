package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// listed is a bus that publishes nothing, and looks at how many devices its file lists.
type listed struct {
	*bus
	seen []int
}

func (l *listed) look() {
	var e exhibition
	text, err := os.ReadFile(l.file)
	if err == nil {
		err = json.Unmarshal(text, &e)
	}
	if err != nil {
		panic(err)
	}
	l.seen = append(l.seen, len(e.Devices))
}

func (l *listed) show(context.Context, *v1.DeviceVerdict) error {
	l.look()
	return nil
}

func (l *listed) remove(_ context.Context, device string) error {
	l.look()
	delete(l.published, device)
	return nil
}

// However many devices come and go at once, the list of those that a server knows of is written
// once before they are shown, and once when they are gone.
func TestListedAtOnce(t *testing.T) {
	h := &house{}
	b, err := newBus(NATS{URL: "nats://127.0.0.1:1", Subject: "house"}, filepath.Join(t.TempDir(), "nats.json"), h, &counts{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l := &listed{bus: b}
	b.screen = l
	const n = mostChanged / 2
	for i := range n {
		h.put(fmt.Sprintf("02:00:00:00:00:%02x", i), func(d *v1.DeviceVerdict) { d.ID = uint64(i + 1) })
	}
	if err := b.showAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name := range h.devices {
		b.changed(name)
	}
	h.devices = nil
	if err := b.showChanged(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(l.seen) != 2*n {
		t.Fatalf("%d looks", len(l.seen))
	}
	for i, seen := range l.seen {
		if seen != n {
			t.Errorf("look %d: %d devices, want %d", i, seen, n)
		}
	}
	if l.look(); l.seen[2*n] != 0 {
		t.Errorf("%d devices are left", l.seen[2*n])
	}
}

// Of a sink that there is no longer no list of devices stays either: forget would not reach it.
func TestDiscardsList(t *testing.T) {
	for _, kind := range []string{mqttKind, natsKind} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, kind+shownSuffix)
			if err := os.WriteFile(path, []byte(`{"At":["house"],"Devices":{"50:c7:bf:00:00:01":{"ID":1}}}`), 0o600); err != nil {
				t.Fatal(err)
			}
			notifier(t, dir, Config{}, &house{})
			if _, err := os.Stat(path); !os.IsNotExist(err) {
				t.Errorf("it stays: %v", err)
			}
		})
	}
}
