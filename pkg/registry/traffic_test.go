package registry

import (
	"math"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
)

const minute = int64(time.Minute / time.Microsecond)

// Bytes stand in the minute of their flow's last packet, for an hour, whatever comes late.
func TestTraffic(t *testing.T) {
	type flow struct {
		at             int64 // minute
		sent, received uint64
	}
	tests := []struct {
		name  string
		flows []flow
		now   int64
		want  map[int]uint64 // sent, by minutes ago
	}{
		{"none", nil, 1000, nil},
		{"two in one", []flow{{1000, 1, 0}, {1000, 2, 0}}, 1000, map[int]uint64{0: 3}},
		{"a pause", []flow{{1000, 1, 0}, {1010, 2, 0}}, 1010, map[int]uint64{0: 2, 10: 1}},
		{"late", []flow{{1010, 2, 0}, {1005, 4, 0}}, 1010, map[int]uint64{0: 2, 5: 4}},
		{"too late", []flow{{1060, 2, 0}, {1000, 4, 0}}, 1060, map[int]uint64{0: 2}},
		{"an hour ago", []flow{{1000, 1, 0}}, 1060, nil},
		{"the last of an hour", []flow{{1000, 1, 0}}, 1059, map[int]uint64{59: 1}},
		{"after years", []flow{{1000, 1, 0}, {1_000_000, 2, 0}}, 1_000_000, map[int]uint64{0: 2}},
		{"more than fits", []flow{{1000, 1 << 40, 0}, {1000, 5, 0}}, 1000, map[int]uint64{0: math.MaxUint32}},
		{"at the beginning of time", []flow{{0, 7, 0}}, 3, map[int]uint64{3: 7}},
		{"before it", []flow{{-5, 7, 0}, {0, 1, 0}}, 3, map[int]uint64{3: 1}},
	}
	for _, tt := range tests {
		r := New(Config{})
		for _, f := range tt.flows {
			r.Record(&flows.Record{Device: "a", LastSeen: f.at*minute + 5, SentBytes: f.sent, TotalBytes: f.sent + 3})
		}
		got := r.Traffic("a", tt.now*minute+7)
		want := make([]uint64, TrafficMinutes)
		for ago, n := range tt.want {
			want[TrafficMinutes-1-ago] = n
		}
		if !slices.Equal(got.Sent, want) || got.Until != v1.UnixMicro((tt.now+1)*minute) {
			t.Errorf("%s: %v until %v, want %v", tt.name, got.Sent, got.Until, want)
		}
	}
}

// What two devices sent is what the one sent that they become.
func TestTrafficMerges(t *testing.T) {
	r := New(Config{})
	for i, at := range []int64{1000, 1030, 1059} {
		r.Record(&flows.Record{Device: []string{"02:00:00:00:00:01", "02:00:00:00:00:02"}[i%2], LastSeen: at * minute, SentBytes: 2, TotalBytes: 5})
	}
	if err := r.Merge("02:00:00:00:00:01", "02:00:00:00:00:02"); err != nil {
		t.Fatal(err)
	}
	got := r.Traffic("02:00:00:00:00:02", 1059*minute)
	for ago, n := range map[int]uint64{0: 2, 29: 2, 59: 2, 30: 0} {
		if at := TrafficMinutes - 1 - ago; got.Sent[at] != n || got.Received[at] != n*3/2 {
			t.Errorf("%d minutes ago: %d and %d", ago, got.Sent[at], got.Received[at])
		}
	}
}

// It takes half a kilobyte of a device.
func TestTrafficIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(traffic{}); size > 512 {
		t.Errorf("%d bytes of a device", size)
	}
}
