package doctor

// This file looks at the BPF file system, where maps and programs are pinned.

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// pinDir is the default of --pin.
const pinDir = "/sys/fs/bpf/iotsense"

// pinState is what there is to know about the directory above the pins.
type pinState struct {
	mounted, readOnly, writable bool
}

func pinCheck(dir string) Check {
	parent := filepath.Dir(dir)
	var s pinState
	var stat unix.Statfs_t
	err := unix.Statfs(parent, &stat)
	if err == nil {
		s.mounted = stat.Type == unix.BPF_FS_MAGIC
		s.readOnly = stat.Flags&unix.ST_RDONLY != 0
		s.writable = unix.Access(parent, unix.W_OK|unix.X_OK) == nil
	} else if errors.Is(err, unix.EACCES) {
		s.mounted = true
	}
	return judgePins(parent, s)
}

func judgePins(parent string, s pinState) Check {
	const name = "bpffs"
	const without = "or run with --pin '' (no pins)"
	switch {
	case !s.mounted:
		return Check{name, Warn, "no BPF file system on " + parent,
			fmt.Sprintf("mount -t bpf bpf %s, %s", parent, without)}
	case s.readOnly:
		return Check{name, Warn, parent + " is read-only",
			"take ProtectKernelTunables= out of the systemd unit, or mount it read-write in the container, " + without}
	case !s.writable:
		return Check{name, Warn, parent + " is closed to this user",
			fmt.Sprintf("mkdir %s/iotsense and chown it to the sensor's user, %s", parent, without)}
	}
	return Check{Name: name, Status: OK, Found: "mounted on " + parent + ", writable"}
}
