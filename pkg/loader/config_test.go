package loader

import (
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/flows"
)

// Sweeps are a sixtieth of a lifetime apart: a second by default.
func TestSweepEvery(t *testing.T) {
	for _, tt := range []struct{ lifetime, want time.Duration }{
		{time.Millisecond, minSweep},
		{6 * time.Second, 100 * time.Millisecond},
		{flows.Lifetime, time.Second},
		{time.Hour, time.Second},
	} {
		if got := (Config{Lifetime: tt.lifetime}).sweepEvery(); got != tt.want {
			t.Errorf("lifetime %v: a sweep every %v, want %v", tt.lifetime, got, tt.want)
		}
	}
}
