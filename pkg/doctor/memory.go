package doctor

// This file compares what the maps will take with what there is.

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/iotsense/iotsense/pkg/loader/object"
)

// The configuration for small boxes.
const (
	smallFlows = 16384
	smallRing  = 1 << 20
)

var smallFlags = fmt.Sprintf("--max-flows %d --ring-size %dMiB", smallFlows, smallRing>>20)

func memoryCheck(root fs.FS) Check {
	const name = "memory"
	normal, err := object.TableMemory(object.DefaultMaxFlows, object.DefaultRingSize)
	if err != nil {
		return Check{name, Fail, err.Error(), "report this line"}
	}
	small, err := object.TableMemory(smallFlows, smallRing)
	if err != nil {
		return Check{name, Fail, err.Error(), "report this line"}
	}
	free, where, ok := available(root)
	if !ok {
		return Check{name, Warn, fmt.Sprintf("tables take %s; what is free cannot be read", megabytes(normal)), "mount /proc"}
	}
	return judgeMemory(normal, small, free, where)
}

// judgeMemory wants as much again as the tables take: the process needs some too.
func judgeMemory(normal, small, free int64, where string) Check {
	const name = "memory"
	found := fmt.Sprintf("tables take %s (with %s: %s), %s %s", megabytes(normal), smallFlags, megabytes(small), megabytes(free), where)
	switch {
	case free >= 2*normal:
		return Check{Name: name, Status: OK, Found: found}
	case free >= small:
		return Check{name, Warn, found, "run with " + smallFlags}
	}
	return Check{name, Fail, found, "free memory or raise the limit, then run with " + smallFlags}
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// available is the least of what the machine and the control groups above this
// process (version 2) leave, in bytes, and which of them it was.
func available(root fs.FS) (free int64, where string, ok bool) {
	memory, _ := field(root, "proc/meminfo", "MemAvailable:")
	if kb, err := strconv.ParseInt(strings.TrimSuffix(memory, " kB"), 10, 64); err == nil {
		free, where, ok = kb<<10, "available", true
	}
	own, more := field(root, "proc/self/cgroup", "0::/")
	for group := path.Clean(own); more; group = path.Dir(group) {
		if left, limited := groupLeaves(root, path.Join("sys/fs/cgroup", group)); limited && (!ok || left < free) {
			free, where, ok = left, "left by control group /"+group, true
		}
		more = group != "." && !strings.HasPrefix(group, "..")
	}
	return free, where, ok
}

// groupLeaves is the difference between a control group's limit and its use.
func groupLeaves(root fs.FS, dir string) (left int64, limited bool) {
	limit, _ := read(root, dir+"/memory.max")
	used, _ := read(root, dir+"/memory.current")
	most, err := strconv.ParseInt(limit, 10, 64) // "max" is no number
	if err != nil {
		return 0, false
	}
	now, err := strconv.ParseInt(used, 10, 64)
	return max(most-now, 0), err == nil
}
