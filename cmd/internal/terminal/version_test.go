package terminal

import (
	"runtime/debug"
	"testing"
)

func TestVersions(t *testing.T) {
	recorded := func(version string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: version}, Settings: settings}
	}
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "0a1b2c"}
	modified := debug.BuildSetting{Key: "vcs.modified", Value: "true"}
	tests := []struct {
		built          string
		linked         string
		info           *debug.BuildInfo
		name, revision string
	}{
		{"make build", "v1.2-3-g0a1b2c", recorded("(devel)"), "v1.2-3-g0a1b2c", "v1.2-3-g0a1b2c"},
		{"go build", "", recorded("v1.2.1-0.2026", revision), "v1.2.1-0.2026", "0a1b2c"},
		{"go build of a changed clone", "", recorded("(devel)", revision, modified), "(devel)", "0a1b2c-dirty"},
		{"go install", "", recorded("v1.2.0"), "v1.2.0", "v1.2.0"},
		{"without module or repository", "", &debug.BuildInfo{}, "unknown", "unknown"},
	}
	for _, tt := range tests {
		if name, revision := versions(tt.linked, tt.info); name != tt.name || revision != tt.revision {
			t.Errorf("%s: %q, %q, want %q, %q", tt.built, name, revision, tt.name, tt.revision)
		}
	}
}
