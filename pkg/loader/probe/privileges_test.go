package probe

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/internal/testenv"
)

func TestRefusedDespiteCapabilities(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answer  error
		refused bool
	}{
		{"the call gets there", unix.EINVAL, false},
		{"podman 4's default filter", unix.EPERM, true},
		{"a filter that denies that there is such a call", unix.ENOSYS, true},
	} {
		err := refused(tt.answer)
		if (err != nil) != tt.refused {
			t.Errorf("%s: %v, want an error: %v", tt.name, err, tt.refused)
		}
		if err != nil && (!errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "seccomp")) {
			t.Errorf("%s: %v, want a permission error that names seccomp", tt.name, err)
		}
	}
}

func TestBPFAnswersRoot(t *testing.T) {
	testenv.Root(t)
	if err := AskBPF(); !errors.Is(err, unix.EINVAL) {
		t.Errorf("%v, want %v", err, unix.EINVAL)
	}
}
