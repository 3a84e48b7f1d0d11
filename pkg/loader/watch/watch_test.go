package watch

import (
	"testing"

	"github.com/iotsense/iotsense/pkg/loader/attach"
)

// What is on as links everywhere needs no close watch; filters do, and what could not be
// attached is tried again soon. An interface that is not there is none to look at.
func TestLinked(t *testing.T) {
	on := func(h attach.Hook) *watch { return &watch{index: 1, at: &attach.Attachment{Hook: h}} }
	for _, tt := range []struct {
		name    string
		watches []*watch
		want    bool
	}{
		{"none", nil, true},
		{"TCX", []*watch{on(attach.HookTCX)}, true},
		{"XDP", []*watch{on(attach.HookXDP), on(attach.HookXDPGeneric)}, true},
		{"one that is waited for", []*watch{on(attach.HookTCX), {}}, true},
		{"a filter", []*watch{on(attach.HookTC)}, false},
		{"a filter beside a link", []*watch{on(attach.HookTCX), on(attach.HookTCIngress)}, false},
		{"one that could not be attached", []*watch{on(attach.HookTCX), {index: 2}}, false},
	} {
		if got := (&Watcher{watches: tt.watches}).Linked(); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
