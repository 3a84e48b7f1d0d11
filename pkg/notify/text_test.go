package notify

import (
	"testing"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// A line says what is now, and what was, once.
func TestLine(t *testing.T) {
	for _, tt := range []struct {
		event, now, name, want string
	}{
		{"known", "HS110", "kitchen", "Device recognised: kitchen (50:c7:bf:00:00:01), HS110, was gathering"},
		{"known", "kitchen", "kitchen", "Device recognised: kitchen (50:c7:bf:00:00:01), was gathering"},
		{"unknown", "unknown", "kitchen", "Unknown device: kitchen (50:c7:bf:00:00:01), was gathering"},
	} {
		n := v1.Notice{Event: v1.Event{Event: tt.event, Device: ptr(plug), Old: ptr("gathering"), New: &tt.now}, Name: &tt.name}
		if got := line(&n); got != tt.want {
			t.Errorf("%s of %s: %q, want %q", tt.event, tt.now, got, tt.want)
		}
	}
}
