package gen

import (
	"os/exec"
	"strings"
	"testing"
)

// The kernel half does not compile for a big-endian machine, where it would count
// flows under keys that user space reads as others.
func TestBigEndianIsRefused(t *testing.T) {
	clang, err := exec.LookPath("clang")
	if err != nil {
		t.Skip("needs clang: `make generate` installs it")
	}
	for target, refused := range map[string]bool{"bpfeb": true, "bpfel": false} {
		out, err := exec.Command(clang, "-target", target, "-O2", "-mcpu=v3", "-fsyntax-only", "-idirafter", "/usr/include/x86_64-linux-gnu",
			"-idirafter", "/usr/include/aarch64-linux-gnu", "../bpf/iotsense.bpf.c").CombinedOutput()
		if (err != nil) != refused || refused && !strings.Contains(string(out), "little-endian only") {
			t.Errorf("%s: %v\n%s", target, err, out)
		}
	}
}
