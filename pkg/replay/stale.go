package replay

// This file names networks' directories, and removes those that a killed process
// has left.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"golang.org/x/sys/unix"
)

const runDir = "/run"

var dirPattern = regexp.MustCompile(`^iotsense-replay-.+-([0-9]+)$`)

func dirName(purpose string, pid int) string {
	return fmt.Sprintf("iotsense-replay-%s-%d", purpose, pid)
}

// RemoveStale removes the directories of networks whose process no longer runs;
// they are all that a killed process leaves of a network.
func RemoveStale() error {
	entries, err := os.ReadDir(runDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for what killed processes have left: %w", err)
	}
	var errs []error
	for _, e := range entries {
		m := dirPattern.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		pid, err := strconv.Atoi(m[1])
		if err == nil && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			errs = append(errs, os.RemoveAll(filepath.Join(runDir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
