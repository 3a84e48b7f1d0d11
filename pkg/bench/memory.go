package bench

// This file measures this process's resident memory.

import (
	"bufio"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// Memory is what is resident of this process, in bytes.
type Memory struct {
	Total int64
	File  int64 // of it, pages of files: the program itself, embedded models included
}

// MB is bytes as the reports have them.
func MB(bytes int64) float64 { return float64(bytes) / 1e6 }

// Settled is what is resident once garbage has gone back to the system.
func Settled() (Memory, error) {
	debug.FreeOSMemory()
	return Resident()
}

// Resident reads /proc/self/smaps_rollup, which counts pages; the counters of
// /proc/self/status lag behind.
func Resident() (Memory, error) {
	f, err := os.Open("/proc/self/smaps_rollup")
	if err != nil {
		return Memory{}, fmt.Errorf("resident memory: %w", err)
	}
	defer f.Close()
	bytes := map[string]int64{}
	for in := bufio.NewScanner(f); in.Scan(); {
		fields := strings.Fields(in.Text()) // "Rss:  1234 kB"
		if len(fields) != 3 || fields[2] != "kB" {
			continue
		}
		n, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return Memory{}, fmt.Errorf("resident memory: %q: %w", in.Text(), err)
		}
		bytes[fields[0]] = n << 10
	}
	total, ok := bytes["Rss:"]
	if !ok {
		return Memory{}, fmt.Errorf("resident memory: no Rss in %s", f.Name())
	}
	return Memory{Total: total, File: total - bytes["Anonymous:"]}, nil
}
