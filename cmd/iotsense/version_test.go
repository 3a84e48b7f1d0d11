package main

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/loader"
)

func TestVersions(t *testing.T) {
	_ = version // the variable that the linker flags below set
	flag := regexp.MustCompile(`-X (\S+)=\$`)
	for _, file := range []string{"Makefile", "Dockerfile"} {
		b, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		if match := flag.FindSubmatch(b); match == nil || string(match[1]) != "main.version" {
			t.Errorf("%s: the linker flag sets %q, want main.version: another name is no error, and sets nothing", file, match)
		}
	}
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

func TestVersionFlag(t *testing.T) {
	stdout, stderr, status := command(t, "--version")
	if status != 0 || stderr != "" || !strings.HasPrefix(stdout, "iotsense ") {
		t.Fatalf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	for _, want := range []string{"\nrevision ", runtime.Version(), "sha256:" + loader.ObjectDigest() + "\n"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in:\n%s", want, stdout)
		}
	}
}
