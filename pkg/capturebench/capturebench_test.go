package capturebench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/lab"
)

// What each tool says at its end is read, and what is no count is none.
func TestCounts(t *testing.T) {
	for _, tt := range []struct {
		tool, output string
		want         Count
		fails        bool
	}{
		{tool: Pypcap, output: "packets 7 tcp 3 udp 3 other 1\n", want: Count{7, 3, 3, 1}},
		{tool: "scapy", output: "a warning\npackets 1 tcp 1 udp 0 other 0\npackets 9 tcp 4 udp 5 other 0", want: Count{9, 4, 5, 0}},
		{tool: "libpcap", output: "packets 99999999999999999999 tcp 0 udp 0 other 0\n", fails: true},
		{tool: "gopacket", output: "Traceback (most recent call last):\n", fails: true},
		{tool: "tcpdump", output: "tcpdump: listening on lo\n12 packets captured\n24 packets received by filter\n0 packets dropped by kernel\n", want: Count{Packets: 12}},
		{tool: "tcpdump", output: "tcpdump: listening on lo\n1 packet captured\n", want: Count{Packets: 1}},
		{tool: "tcpdump", output: "tcpdump: no such device\n", fails: true},
		{tool: "softflowd", output: "softflowd[1]: Accumulated statistics since 2026-01-01T00:00:00 UTC:\nNumber of active flows: 2\nPackets processed: 31\n", want: Count{Packets: 31}},
		{tool: "softflowd", output: "Exiting now...\n", fails: true},
		{tool: Counter, output: `level=INFO msg=stopped packets.seen=12 packets.counted=11 protocols.tcp=4 protocols.udp=6 protocols.icmp=1 protocols.other=0`, want: Count{12, 4, 6, 1}},
		{tool: Counter, output: "level=ERROR msg=x\n", fails: true},
	} {
		tools, err := ParseTools(tt.tool)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tools[0].count(tt.output)
		if got != tt.want || (err != nil) != tt.fails {
			t.Errorf("%s, %q: %+v, %v", tt.tool, tt.output, got, err)
		}
	}
}

func TestParseScenarios(t *testing.T) {
	for _, tt := range []struct{ list, want string }{
		{"veth-udp-10,idle", "idle veth-udp-10"},
		{"length", "length-1000-148 length-1000-724 length-1000-1448 length-4000-148 length-4000-724 length-4000-1448"},
		{" idle , home-50-top", "idle home-50-top"},
	} {
		got, err := ParseScenarios(tt.list)
		var names []string
		for _, s := range got {
			names = append(names, s.Name)
		}
		if err != nil || strings.Join(names, " ") != tt.want {
			t.Errorf("%q: %v, %v", tt.list, names, err)
		}
	}
	if _, err := ParseScenarios("idle,odd"); err == nil || !strings.Contains(err.Error(), `"odd"`) {
		t.Errorf("%v, want the name that is none", err)
	}
	if all, err := ParseScenarios("all"); err != nil || len(all) != len(Scenarios()) {
		t.Errorf("%d of %d, %v", len(all), len(Scenarios()), err)
	}
}

func TestMachineFiles(t *testing.T) {
	stat, err := parseStat([]byte("cpu  10 1 20 400 5 2 7 3 9 9\ncpu0 1 1 1 1\n"))
	if want := (machineTime{40 * tick, 7 * tick}); err != nil || stat != want {
		t.Errorf("%+v, %v, want %+v", stat, err, want)
	}
	if _, err := parseStat([]byte("intr 1 2\n")); err == nil {
		t.Error("no CPU, no error")
	}
	dev := []byte("Inter-|   Receive\n face |bytes\n    lo:  100 4 0 0 0 0 0 0 100 4 0 0 0 0 0 0\nsensor0: 9 7 0 3 0 0 0 0 9 5 0 0 0 0 0 0\n")
	for name, want := range map[string]linkCounts{"lo": {packets: 4}, "sensor0": {packets: 12, dropped: 3}} {
		if got, err := parseDev(dev, name); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, want)
		}
	}
	if _, err := parseDev(dev, "sensor"); err == nil {
		t.Error("no interface, no error")
	}
	if dropped, err := parseSoftnet([]byte("0000ffff 00000010 0 0\n00000001 00000001 0 0\n")); err != nil || dropped != 17 {
		t.Errorf("%d dropped, %v, want 17", dropped, err)
	}
	packets, dropped := linkCounts{100, 7, 5}.since(linkCounts{10, 3, 3})
	if packets != 88 || dropped != 2 {
		t.Errorf("%d packets and %d dropped, want 88 and 2: the others were dropped by who had seen them", packets, dropped)
	}
	c, err := parseCPUStat([]byte("usage_usec 30\nuser_usec 20\nsystem_usec 10\nnice_usec 0\n"))
	if want := (CPU{30 * time.Microsecond, 20 * time.Microsecond, 10 * time.Microsecond}); err != nil || c != want {
		t.Errorf("%+v, %v, want %+v", c, err, want)
	}
	if _, err := parseCPUStat([]byte("usage_usec 30\n")); err == nil {
		t.Error("half a cpu.stat, no error")
	}
	if got := statusKB([]byte("Name:\tx\nVmHWM:\t    1234 kB\n"), "VmHWM:"); got != 1234 {
		t.Errorf("%d kB, want 1234", got)
	}
}

func TestHierarchy(t *testing.T) {
	for _, tt := range []struct {
		mounts, root string
		v2, fails    bool
	}{
		{mounts: "cgroup /c/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\ncgroup2 /c/unified cgroup2 rw 0 0\n", root: "/c/unified", v2: true},
		{mounts: "cgroup /c/cpu cgroup rw,cpu 0 0\ncgroup /c/cpuacct cgroup rw,cpuacct 0 0\n", root: "/c/cpuacct"},
		{mounts: "proc /proc proc rw 0 0\n", fails: true},
	} {
		root, v2, err := hierarchy(mountsFile(t, tt.mounts))
		if root != tt.root || v2 != tt.v2 || (err != nil) != tt.fails {
			t.Errorf("%q: %s, %v, %v", tt.mounts, root, v2, err)
		}
	}
}

// mountsFile is a file of that text, for hierarchy.
func mountsFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mounts")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Medians are of the middle, differences are to no tool and to no traffic, and runs with
// the kernel's statistics are apart.
func TestSummary(t *testing.T) {
	tools, err := ParseTools("none,count,pypcap,scapy,softflowd")
	if err != nil {
		t.Fatal(err)
	}
	scenarios, err := ParseScenarios("idle,loopback-udp-10")
	if err != nil {
		t.Fatal(err)
	}
	const s = "loopback-udp-10"
	kernel := 300.0
	r := &Result{Repetitions: 3, Scenarios: scenarios, Runs: []Run{
		{Scenario: "idle", Tool: "count", CPUS: 0.01, WindowS: 10, TrafficS: 10},
		{Scenario: s, Tool: None, OnInterface: 1000, TrafficCPUS: 0.1, TrafficS: 10, WindowS: 10},
		{Scenario: s, Tool: "count", OnInterface: 1000, Count: Count{Packets: 1000}, CPUS: 0.03, WindowS: 20, TrafficS: 10, TrafficCPUS: 0.12},
		{Scenario: s, Tool: "count", OnInterface: 1000, Count: Count{Packets: 1000}, CPUS: 0.05, WindowS: 20, TrafficS: 10, TrafficCPUS: 0.13},
		{Scenario: s, Tool: "count", OnInterface: 1000, Count: Count{Packets: 1000}, CPUS: 0.04, WindowS: 20, TrafficS: 10, TrafficCPUS: 0.11},
		{Scenario: s, Tool: "count", Repetition: 3, OnInterface: 1000, Count: Count{Packets: 1000}, CPUS: 9, WindowS: 20, TrafficS: 10, KernelNS: &kernel},
		{Scenario: "idle", Tool: Pypcap, CPUS: 0, WindowS: 10, TrafficS: 10},
		{Scenario: s, Tool: Pypcap, OnInterface: 1000, Count: Count{Packets: 1000}, CPUS: 0.06, WindowS: 20, TrafficS: 10},
		{Scenario: s, Tool: "scapy", OnInterface: 1000, Count: Count{Packets: 1500}, Lost: 250, CPUS: 0.75, WindowS: 10, TrafficS: 10, TrafficCPUS: 0.1},
		{Scenario: s, Tool: "scapy", Failed: "it fell over"},
		{Scenario: s, Tool: "softflowd", OnInterface: 1000, Count: Count{Packets: 10}, Lost: 990, CPUS: 0.1, WindowS: 10, TrafficS: 10},
	}}
	r.summarise(tools)
	near := func(what string, got *Range, low, median, high float64) {
		t.Helper()
		if got == nil || math.Abs(got.Low-low) > 1e-9 || math.Abs(got.Median-median) > 1e-9 || math.Abs(got.High-high) > 1e-9 {
			t.Errorf("%s: %+v, want %v (%v-%v)", what, got, median, low, high)
		}
	}
	count := r.Row(s, "count")
	near("us a packet", count.PerPacketUS, 20, 30, 40)
	near("less idle", count.NetUS, 10, 20, 30)
	near("others", count.OthersUS, 10, 20, 30)
	near("kernel", count.KernelUS, 0.3, 0.3, 0.3)
	near("CPU, %", count.CPUPercent, 0.2, 0.3, 0.4)
	scapy := r.Row(s, "scapy")
	near("us a packet counted twice", scapy.PerPacketUS, 1000, 1000, 1000)
	near("loss", scapy.LossPercent, 25, 25, 25)
	if scapy.NetUS != nil || scapy.Runs != 1 || scapy.Failed != 1 || count.Runs != 3 {
		t.Errorf("scapy %+v, count %d runs", scapy, count.Runs)
	}
	if count.OfPypcap == nil || math.Abs(*count.OfPypcap-30.3/60) > 1e-9 || count.NetOfPypcap == nil || math.Abs(*count.NetOfPypcap-20.3/60) > 1e-9 {
		t.Errorf("of pypcap's: %v, net %v", count.OfPypcap, count.NetOfPypcap)
	}
	lagging := r.Row(s, "softflowd")
	near("us a packet that is not counted yet", lagging.PerPacketUS, 100, 100, 100)
	if lagging.LossPercent != nil {
		t.Errorf("loss %+v by a count that lags", lagging.LossPercent)
	}
	if idle := r.Row("idle", "count"); idle.PerPacketUS != nil || idle.CPUPercent == nil {
		t.Errorf("idle %+v", idle)
	}
}

// The order is the seed's, and each run is made once.
func TestPlan(t *testing.T) {
	scenarios, _ := ParseScenarios("idle,veth-udp-1,veth-udp-2")
	tools, _ := ParseTools("none,count,tcpdump")
	names := func(seed uint64) (list []string) {
		cfg := Config{Scenarios: scenarios, Tools: tools, Repetitions: 3, Seed: seed}
		for _, p := range cfg.plan(tools) {
			list = append(list, strings.Join([]string{p.scenario.Name, p.tool.Name, strconv.Itoa(p.repetition)}, " "))
		}
		return list
	}
	a, again, b := names(1), names(1), names(2)
	if !slices.Equal(a, again) || slices.Equal(a, b) {
		t.Error("the order is not the seed's")
	}
	slices.Sort(a)
	if n := len(slices.Compact(a)); n != 3*3*3+2 || len(b) != n {
		t.Errorf("%d different runs, %d in all, want 29", n, len(b))
	}
}

func TestCheck(t *testing.T) {
	home, _ := ParseScenarios("home-50-1x")
	offloads, _ := ParseScenarios("offloads")
	for want, cfg := range map[string]Config{
		"repetitions 0":       {Duration: time.Second},
		"duration 1ms":        {Repetitions: 1, Duration: time.Millisecond},
		"go together":         {Repetitions: 1, Duration: time.Second, Interface: "eth0"},
		"scenario home-50-1x": {Repetitions: 1, Duration: time.Second, Interface: "eth0", Far: "10.0.0.2", Scenarios: home},
		"offloads-tcp-max":    {Repetitions: 1, Duration: time.Second, Interface: "eth0", Far: "10.0.0.2", Scenarios: offloads},
	} {
		if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// burnEnv makes this test's own program use burnt of CPU time and end.
const (
	burnEnv = "IOTSENSE_TEST_BURN"
	burnt   = 300 * time.Millisecond
)

// burn uses CPU time until the process has used burnt in all, by the scheduler's clock.
func burn(t *testing.T) {
	for {
		var used unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &used); err != nil {
			t.Fatal(err)
		}
		if time.Duration(used.Nano()) >= burnt {
			return
		}
	}
}

// A group has the CPU time of its process's children, of those that have ended too.
func TestGroupCountsTheTree(t *testing.T) {
	if os.Getenv(burnEnv) != "" {
		burn(t)
		return
	}
	testenv.Root(t)
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"cgroup2", "cgroup"} { // of one machine, maybe one of them
		t.Run(kind, func(t *testing.T) {
			var only strings.Builder
			for line := range strings.Lines(string(mounts)) {
				if f := strings.Fields(line); len(f) > 2 && f[2] == kind {
					only.WriteString(line)
				}
			}
			root, v2, err := hierarchy(mountsFile(t, only.String()))
			if err != nil {
				t.Skip(err)
			}
			countTree(t, root, v2)
		})
	}
}

func countTree(t *testing.T, root string, v2 bool) {
	g, err := newGroup(root, v2, "busy")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}()
	cmd := exec.Command("sh", "-c", `"$0" -test.run='^TestGroupCountsTheTree$'; exit 0`, os.Args[0])
	cmd.Env = append(os.Environ(), burnEnv+"=1")
	g.Wrap(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c, err := g.CPU()
	if err != nil {
		t.Fatal(err)
	}
	// The rest is of the shells and of the end of the process.
	if c.Total < burnt || c.Total > 2*burnt {
		t.Errorf("a loop of %v used %v", burnt, c.Total)
	}
	if ticks := c.User + c.System; ticks < c.Total/2 || ticks > 2*c.Total { // a process is met by chance
		t.Errorf("%v in all, %v in user space, %v in the kernel", c.Total, c.User, c.System)
	}
	if rss, err := g.PeakRSS(); err != nil || rss != 0 {
		t.Errorf("%d bytes of a group without a process, %v", rss, err)
	}
}

// What has been used meanwhile is divided as the ticks of that time are, and adds up.
func TestCPUMinus(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct{ now, then, want CPU }{
		{CPU{100 * ms, 70 * ms, 30 * ms}, CPU{}, CPU{100 * ms, 70 * ms, 30 * ms}},
		{CPU{100 * ms, 12 * ms, 4 * ms}, CPU{}, CPU{100 * ms, 75 * ms, 25 * ms}},
		{CPU{100 * ms, 96 * ms, 8 * ms}, CPU{96 * ms, 96 * ms, 4 * ms}, CPU{4 * ms, 0, 4 * ms}},
		{CPU{97 * ms, 96 * ms, 4 * ms}, CPU{96 * ms, 96 * ms, 4 * ms}, CPU{ms, ms, 0}},
	} {
		if got := tt.now.minus(tt.then); got != tt.want {
			t.Errorf("%v - %v: %v, want %v", tt.now, tt.then, got, tt.want)
		}
	}
}

// Close ends what is left, and whatever it has started.
func TestGroupCloses(t *testing.T) {
	testenv.Root(t)
	g, err := NewGroup("left")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", "sleep 1000 & echo; sleep 1000")
	g.Wrap(cmd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	list, err := g.processes()
	if err != nil || len(list) < 2 {
		t.Fatalf("%v, %v", list, err)
	}
	if rss, err := g.PeakRSS(); err != nil || rss < 100<<10 {
		t.Errorf("%d bytes, %v", rss, err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if _, err := os.Stat(g.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left: %v", g.path, err)
	}
}

func TestFramesFrom(t *testing.T) {
	at := func(seconds int) lab.Frame { return lab.Frame{Time: time.Unix(int64(seconds), 0)} }
	got := framesFrom([]lab.Frame{at(0), at(4), at(5), at(9), at(10)})
	if len(got) != 3 || !got[0].Time.Equal(time.Unix(5, 0)) {
		t.Errorf("%v", got)
	}
	if got := framesFrom(nil); len(got) != 0 {
		t.Error(got)
	}
}

// One scenario from end to end: no packet lost by tcpdump or by the sensor, which is this
// test's own build of it, and nothing left behind.
func TestMeasure(t *testing.T) {
	testenv.Root(t)
	testenv.Tool(t, "tcpdump")
	iperf3 := testenv.Tool(t, "iperf3")
	sensor := filepath.Join(t.TempDir(), "iotsense-box")
	if out, err := exec.Command("go", "build", "-o", sensor, "../../cmd/iotsense-box").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cfg := Config{Repetitions: 1, Seed: 1, Duration: time.Second, Hook: "auto", Sensor: sensor, Iperf3: iperf3}
	var err error
	if cfg.Scenarios, err = ParseScenarios("veth-udp-2"); err != nil {
		t.Fatal(err)
	}
	if cfg.Tools, err = ParseTools("none,count,tcpdump"); err != nil {
		t.Fatal(err)
	}
	r, err := Measure(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Runs) != 4 || len(r.Rows) != 3 {
		t.Fatalf("%d runs, %d rows, want 4 and 3", len(r.Runs), len(r.Rows))
	}
	for _, run := range r.Runs {
		const datagrams = 172 // of 1,448 bytes in a second of 2 Mb/s
		if run.Failed != "" || run.OnInterface < datagrams {
			t.Errorf("%+v", run)
		}
		if run.Tool == None {
			continue
		}
		if run.Count.Packets != run.OnInterface || run.CPUS <= 0 || run.PeakRSSMB < 1 {
			t.Errorf("%+v", run)
		}
		if run.Tool == Counter && (run.Count.UDP < datagrams || run.Count.TCP == 0 || run.Count.UDP+run.Count.TCP != run.Count.Packets) {
			t.Errorf("by protocol %+v", run.Count)
		}
	}
	if row := r.Row("veth-udp-2", Counter); row.KernelUS == nil || row.KernelUS.Median <= 0 {
		t.Errorf("%+v: no cost in the kernel", row)
	}
}

// A measurement that is called off leaves no process, group or network.
func TestMeasureCalledOff(t *testing.T) {
	testenv.Root(t)
	testenv.Tool(t, "tcpdump")
	iperf3 := testenv.Tool(t, "iperf3")
	cfg := Config{Repetitions: 1, Duration: time.Minute, Iperf3: iperf3}
	cfg.Scenarios, _ = ParseScenarios("veth-udp-1")
	cfg.Tools, _ = ParseTools("tcpdump")
	root, _, err := hierarchy("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	ours := filepath.Join(root, fmt.Sprintf("iotsense-bench-%d-", os.Getpid()))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		for ctx.Err() == nil {
			if _, err := os.Stat(ours + "traffic"); err == nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	if _, err := Measure(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
	for _, pattern := range []string{ours + "*", fmt.Sprintf("/run/iotsense-replay-capture-%d", os.Getpid())} {
		if left, _ := filepath.Glob(pattern); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}
