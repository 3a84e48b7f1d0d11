package capturebench

// This file accounts for the CPU time of whole process trees.

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Group is a cgroup: a process and all that it starts, to the end of the last of them.
type Group struct {
	path string
	v2   bool
}

// CPU is what a group has used. Total is the scheduler's and exact; User and System are by where
// the kernel's ticks met the processes, and of cgroup v1 not adjusted to the total.
type CPU struct{ Total, User, System time.Duration }

// minus is what has been used since o, divided as ticks have met the processes since then;
// where none has, it is all User.
func (c CPU) minus(o CPU) CPU {
	d := CPU{c.Total - o.Total, c.User - o.User, c.System - o.System}
	if ticks := d.User + d.System; ticks > 0 {
		d.System = time.Duration(float64(d.Total) * float64(d.System) / float64(ticks))
	}
	d.User = d.Total - d.System
	return d
}

var groupPattern = regexp.MustCompile(`^iotsense-bench-([0-9]+)-`)

// NewGroup makes a group, of cgroup v2 where that is mounted, else of v1's cpuacct. It
// needs root; the caller must Close it.
func NewGroup(name string) (*Group, error) {
	root, v2, err := hierarchy("/proc/mounts")
	if err != nil {
		return nil, err
	}
	return newGroup(root, v2, name)
}

func newGroup(root string, v2 bool, name string) (*Group, error) {
	g := &Group{filepath.Join(root, fmt.Sprintf("iotsense-bench-%d-%s", os.Getpid(), name)), v2}
	if err := os.Mkdir(g.path, 0o755); err != nil {
		return nil, fmt.Errorf("make a cgroup: %w", err)
	}
	return g, nil
}

// hierarchy is where groups are made: a mount of cgroup v2, whose groups have cpu.stat
// even where v1 holds the controllers, or one of v1's cpuacct.
func hierarchy(mounts string) (root string, v2 bool, err error) {
	text, err := os.ReadFile(mounts)
	if err != nil {
		return "", false, fmt.Errorf("look for cgroups: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		switch {
		case len(f) < 4:
		case f[2] == "cgroup2":
			return f[1], true, nil
		case f[2] == "cgroup" && strings.Contains(","+f[3]+",", ",cpuacct,"):
			root = f[1]
		}
	}
	if root == "" {
		return "", false, fmt.Errorf("neither cgroup v2 nor v1's cpuacct is mounted: mount -t cgroup2 none /sys/fs/cgroup")
	}
	return root, false, nil
}

// Wrap makes cmd, not yet started, begin in the group.
func (g *Group) Wrap(cmd *exec.Cmd) {
	cmd.Args = append([]string{"/bin/sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(g.path, "cgroup.procs"), cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
}

// CPU is what the group's processes have used so far, those that have ended included.
func (g *Group) CPU() (CPU, error) {
	if g.v2 {
		text, err := os.ReadFile(filepath.Join(g.path, "cpu.stat"))
		if err != nil {
			return CPU{}, fmt.Errorf("CPU time of a cgroup: %w", err)
		}
		return parseCPUStat(text)
	}
	var c CPU
	for name, into := range map[string]*time.Duration{"cpuacct.usage": &c.Total, "cpuacct.usage_user": &c.User, "cpuacct.usage_sys": &c.System} {
		text, err := os.ReadFile(filepath.Join(g.path, name))
		if err != nil {
			return CPU{}, fmt.Errorf("CPU time of a cgroup: %w", err)
		}
		ns, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			return CPU{}, fmt.Errorf("CPU time of a cgroup: %s: %w", name, err)
		}
		*into = time.Duration(ns)
	}
	return c, nil
}

// parseCPUStat reads v2's cpu.stat.
func parseCPUStat(text []byte) (CPU, error) {
	var c CPU
	fields := map[string]*time.Duration{"usage_usec": &c.Total, "user_usec": &c.User, "system_usec": &c.System}
	for in := bufio.NewScanner(bytes.NewReader(text)); in.Scan(); {
		key, value, _ := strings.Cut(in.Text(), " ")
		into := fields[key]
		if into == nil {
			continue
		}
		us, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return CPU{}, fmt.Errorf("cpu.stat: %s: %w", key, err)
		}
		*into = time.Duration(us) * time.Microsecond
		delete(fields, key)
	}
	if len(fields) > 0 {
		return CPU{}, fmt.Errorf("cpu.stat has no usage_usec, user_usec or system_usec")
	}
	return c, nil
}

// processes are those in the group now.
func (g *Group) processes() ([]int, error) {
	text, err := os.ReadFile(filepath.Join(g.path, "cgroup.procs"))
	if err != nil {
		return nil, fmt.Errorf("processes of a cgroup: %w", err)
	}
	var list []int
	for _, f := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			return nil, fmt.Errorf("processes of a cgroup: %w", err)
		}
		list = append(list, pid)
	}
	return list, nil
}

// PeakRSS is the sum of the most that each process now in the group has held in memory,
// in bytes. Pages that several of them share count once for each.
func (g *Group) PeakRSS() (int64, error) {
	list, err := g.processes()
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, pid := range list {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue // it has ended
		}
		sum += statusKB(text, "VmHWM:") << 10
	}
	return sum, nil
}

// statusKB is a field of /proc/PID/status; 0 where there is none: a kernel thread, a zombie.
func statusKB(text []byte, key string) int64 {
	_, after, _ := bytes.Cut(text, []byte("\n"+key))
	f := bytes.Fields(after)
	if len(f) == 0 {
		return 0
	}
	kb, err := strconv.ParseInt(string(f[0]), 10, 64)
	if err != nil {
		return 0
	}
	return kb
}

// Close kills what is left in the group and removes it.
func (g *Group) Close() error {
	const patience = 5 * time.Second
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if list, err := g.processes(); err == nil {
			for _, pid := range list {
				_ = unix.Kill(pid, unix.SIGKILL) // it may have ended by now
			}
		}
		err := os.Remove(g.path)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("remove a cgroup: %w", err)
		}
	}
}

// RemoveStale ends and removes the groups of measurements whose process no longer runs.
func RemoveStale() error {
	root, v2, err := hierarchy("/proc/mounts")
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return fmt.Errorf("look for what killed measurements have left: %w", err)
	}
	var errs []error
	for _, e := range entries {
		m := groupPattern.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		if pid, err := strconv.Atoi(m[1]); err == nil && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			errs = append(errs, (&Group{filepath.Join(root, e.Name()), v2}).Close())
		}
	}
	return errors.Join(errs...)
}
