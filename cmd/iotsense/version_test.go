package main

import (
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/loader/object"
	"github.com/iotsense/iotsense/pkg/model/embedded"
)

func TestVersionFlag(t *testing.T) {
	stdout, stderr, status := command(t, "--version")
	if status != 0 || stderr != "" || !strings.HasPrefix(stdout, "iotsense ") {
		t.Fatalf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	for _, want := range []string{"\nrevision ", runtime.Version(), "sha256:" + object.Digest() + "\n", "\nmodel    sha256:" + embedded.Digest() + "\n", "\nkernel   Linux "} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in:\n%s", want, stdout)
		}
	}
}

// The linker sets the variable that there is.
func TestVersionIsLinked(t *testing.T) {
	_ = version // the variable that the linker flag below sets
	b, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	if match := regexp.MustCompile(`-X (\S+)=\$`).FindSubmatch(b); match == nil || string(match[1]) != "main.version" {
		t.Errorf("the linker flag sets %q, want main.version: another name is no error, and sets nothing", match)
	}
}
