package capturebench

// This file reads what the kernel says of the machine and its interfaces.

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of CPU time in /proc (USER_HZ), alike on amd64 and arm64.
const tick = time.Second / 100

// Machine is what a measurement ran on.
type Machine struct {
	Arch   string `json:"arch"`
	Kernel string `json:"kernel"`
	CPUs   int    `json:"cpus"`
	Model  string `json:"cpu_model"`
	// LoadBefore and LoadAfter are /proc/loadavg's first figure: how many wanted a CPU.
	LoadBefore float64 `json:"load_before"`
	LoadAfter  float64 `json:"load_after"`
}

func thisMachine() Machine {
	m := Machine{Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), LoadBefore: load()}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	text, _ := os.ReadFile("/proc/cpuinfo")
	m.Model = cpuModel(text)
	if board, err := os.ReadFile("/proc/device-tree/model"); err == nil {
		m.Model = strings.TrimRight(string(board), "\x00")
	}
	return m
}

func cpuModel(cpuinfo []byte) string {
	for line := range strings.Lines(string(cpuinfo)) {
		key, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// load is how many processes wanted a CPU in the last minute; 0: the kernel does not say.
func load() float64 {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	l, _ := strconv.ParseFloat(first, 64)
	return l
}

// machineTime is what all CPUs together have spent, as their ticks met it.
type machineTime struct{ busy, softirq time.Duration }

func readMachineTime() (machineTime, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return machineTime{}, fmt.Errorf("CPU time of the machine: %w", err)
	}
	return parseStat(text)
}

// parseStat reads the first line of /proc/stat (proc(5)): user, nice, system, idle,
// iowait, irq, softirq; steal, which follows, is nobody's here, and guest time in user time
// already.
func parseStat(text []byte) (t machineTime, err error) {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := strings.Fields(string(line))
	if len(fields) < 9 || fields[0] != "cpu" {
		return t, fmt.Errorf("CPU time of the machine: /proc/stat begins with %.40q", line)
	}
	for i, f := range fields[1:8] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return t, fmt.Errorf("CPU time of the machine: %w", err)
		}
		spent := time.Duration(n) * tick
		switch i {
		case 3, 4: // idle
		case 6:
			t.softirq = spent
			fallthrough
		default:
			t.busy += spent
		}
	}
	return t, nil
}

// linkCounts are an interface's own counters.
type linkCounts struct {
	packets uint64 // received and sent; on loopback, where these are the same, once
	dropped uint64 // of those received, by the kernel, for whatever reason
	queue   uint64 // dropped by the machine for a full queue between driver and network code
}

// readLink reads the counters of an interface of the calling thread's namespace.
func readLink(name string) (c linkCounts, err error) {
	text, err := os.ReadFile("/proc/thread-self/net/dev")
	if err == nil {
		c, err = parseDev(text, name)
	}
	if err != nil {
		return c, fmt.Errorf("counters of %s: %w", name, err)
	}
	if text, err = os.ReadFile("/proc/thread-self/net/softnet_stat"); err == nil {
		c.queue, err = parseSoftnet(text)
	}
	if err != nil {
		return c, fmt.Errorf("dropped packets: %w", err)
	}
	return c, nil
}

// parseDev reads /proc/net/dev: bytes, packets, errors, dropped and four more received,
// then the same sent.
func parseDev(text []byte, name string) (c linkCounts, err error) {
	for in := bufio.NewScanner(bytes.NewReader(text)); in.Scan(); {
		key, rest, _ := strings.Cut(in.Text(), ":")
		if strings.TrimSpace(key) != name {
			continue
		}
		f := strings.Fields(rest)
		if len(f) < 10 {
			return c, fmt.Errorf("%d fields", len(f))
		}
		var sent uint64
		for at, into := range map[int]*uint64{1: &c.packets, 3: &c.dropped, 9: &sent} {
			if *into, err = strconv.ParseUint(f[at], 10, 64); err != nil {
				return c, err
			}
		}
		if name != loopback {
			c.packets += sent
		}
		return c, nil
	}
	return c, fmt.Errorf("there is no such interface")
}

// parseSoftnet sums the second column of /proc/net/softnet_stat over the CPUs.
func parseSoftnet(text []byte) (dropped uint64, err error) {
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			return 0, fmt.Errorf("softnet_stat has a line %.40q", line)
		}
		n, err := strconv.ParseUint(f[1], 16, 64)
		if err != nil {
			return 0, fmt.Errorf("softnet_stat: %w", err)
		}
		dropped += n
	}
	return dropped, nil
}

// since are the packets that have reached the network code since before, where every tool
// can see them: a veth counts those too that then find the queue full.
func (c linkCounts) since(before linkCounts) (packets, dropped uint64) {
	dropped = min(c.dropped-before.dropped, c.queue-before.queue)
	return c.packets - before.packets - dropped, dropped
}

// hasPacketSocket reports whether a packet socket that takes every protocol is bound to
// the interface with that index, or to all, in the calling thread's namespace.
func hasPacketSocket(index int) (bool, error) {
	text, err := os.ReadFile("/proc/thread-self/net/packet")
	if err != nil {
		return false, fmt.Errorf("packet sockets: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line) // sk RefCnt Type Proto Iface R ...
		if len(f) > 5 && f[3] == "0003" && slices.Contains([]string{strconv.Itoa(index), "0"}, f[4]) && f[5] == "1" {
			return true, nil
		}
	}
	return false, nil
}

// listens reports whether a TCP socket listens at the port in the calling thread's
// namespace.
func listens(port int) (bool, error) {
	const state = "0A" // TCP_LISTEN
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile("/proc/thread-self/net/" + table)
		if err != nil {
			continue // no IPv6
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) > 3 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) && f[3] == state {
				return true, nil
			}
		}
	}
	return false, nil
}
