package replay

// This file names namespaces and directories, and removes those that a killed
// process has left.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	runDir = "/run"
	// namespaceDir is where named network namespaces are mounted (ip-netns(8)).
	namespaceDir = "/run/netns"
)

var resourcePattern = regexp.MustCompile(`^iotsense-.+-([0-9]+)-(dir|device|sensor)$`)

func resourceName(purpose string, pid int, part string) string {
	return fmt.Sprintf("iotsense-%s-%d-%s", purpose, pid, part)
}

// RemoveStale removes the namespaces of networks whose process no longer runs,
// with all that is in them, and their directories, and returns the names of what
// it has removed: a killed process cannot clean up behind itself.
func RemoveStale() ([]string, error) {
	var removed []string
	var errs []error
	for dir, remove := range map[string]func(name string) error{
		namespaceDir: removeNamespace,
		runDir:       func(name string) error { return os.RemoveAll(filepath.Join(runDir, name)) },
	} {
		names, err := stale(dir)
		errs = append(errs, err)
		for _, name := range names {
			if err := remove(name); err != nil {
				errs = append(errs, err)
				continue
			}
			removed = append(removed, name)
		}
	}
	return removed, errors.Join(errs...)
}

// stale lists what networks of ended processes have left in dir.
func stale(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for what killed processes have left: %w", err)
	}
	var names []string
	for _, e := range entries {
		m := resourcePattern.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		pid, err := strconv.Atoi(m[1])
		if err == nil && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// removeNamespace removes a named namespace and the interfaces in it. The kernel
// would keep them for as long as a process or socket holds the namespace.
func removeNamespace(name string) error {
	if ns, err := netns.GetFromName(name); err == nil {
		removeLink(ns)
		_ = ns.Close() // it was open for reading only
	}
	err := netns.DeleteNamed(name)
	if errors.Is(err, unix.EINVAL) { // the file is there, but nothing is mounted on it
		err = os.Remove(filepath.Join(namespaceDir, name))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove network namespace %s: %w", name, err)
	}
	return nil
}

// removeLink removes the pair; one end takes the other with it.
func removeLink(ns netns.NsHandle) {
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return
	}
	defer h.Close()
	for _, name := range []string{Interface, DeviceInterface} {
		if link, err := h.LinkByName(name); err == nil {
			_ = h.LinkDel(link) // the namespace's end removes it too
		}
	}
}
