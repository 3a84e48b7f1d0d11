package doctor

// This file looks at what this process may do, and says how to grant the rest.

import (
	"fmt"
	"io/fs"
	"os"
	"strings"

	"kernel.org/pub/linux/libs/security/libcap/cap"

	"github.com/iotsense/iotsense/internal/sandbox"
	"github.com/iotsense/iotsense/pkg/loader/probe"
)

const sysAdmin = cap.SYS_ADMIN

// need is a capability of the sensor and why it needs it.
type need struct {
	value cap.Value
	why   string
}

var needs = []need{
	{cap.BPF, "loads programs and maps"},
	{cap.NET_ADMIN, "attaches them"},
	{cap.PERFMON, "lets the verifier accept them"},
}

func privilegeChecks(root fs.FS) []Check {
	binary, err := os.Executable()
	if err != nil {
		binary = "/path/of/iotsense"
	}
	return []Check{
		capabilityCheck(effective(), bounding(), binary), systemCallFilter(root, effective(), probe.AskBPF()),
		sandboxCheck(sandbox.Available()), userNamespace(root), unprivilegedBPF(root), memlock(root),
	}
}

// effective is the set of capabilities that this process holds now.
func effective() *cap.Set {
	set, err := cap.GetPID(0)
	if err != nil {
		return cap.NewSet()
	}
	return set
}

func has(set *cap.Set, value cap.Value) bool {
	on, err := set.GetFlag(cap.Effective, value)
	return err == nil && on
}

// bounding lists the needed capabilities that this process can never gain.
func bounding() (barred []cap.Value) {
	for _, n := range needs {
		if can, err := cap.GetBound(n.value); err == nil && !can {
			barred = append(barred, n.value)
		}
	}
	return barred
}

// holds reports whether set is as good as value: the kernel takes SYS_ADMIN for
// BPF and PERFMON, not for attaching to interfaces.
func holds(set *cap.Set, value cap.Value) bool {
	return has(set, value) || value != cap.NET_ADMIN && has(set, sysAdmin)
}

func capabilityCheck(set *cap.Set, barred []cap.Value, binary string) Check {
	const name = "capabilities"
	var there, missing, names []string
	for _, n := range needs {
		names = append(names, upper(n.value))
		if holds(set, n.value) {
			there = append(there, upper(n.value))
		} else {
			missing = append(missing, fmt.Sprintf("%s (%s)", upper(n.value), n.why))
		}
	}
	if len(missing) == 0 {
		return optionCheck(set, Check{Name: name, Status: OK, Found: strings.Join(there, ", ") + " present"}, binary)
	}
	found := "missing: " + strings.Join(missing, ", ")
	if len(there) > 0 {
		found += "; present: " + strings.Join(there, ", ")
	}
	advice := fmt.Sprintf("run as root, or: setcap cap_bpf,cap_net_admin,cap_perfmon+ep %s, or in the systemd unit: AmbientCapabilities=%s",
		binary, strings.Join(names, " "))
	if len(barred) > 0 {
		var outside []string
		for _, v := range barred {
			outside = append(outside, upper(v))
		}
		advice = fmt.Sprintf("this service or container bars %s, which setcap cannot undo: add them to CapabilityBoundingSet= (docker: --cap-add; a Docker that knows no CAP_BPF: SYS_ADMIN and NET_ADMIN); then %s",
			strings.Join(outside, ", "), advice)
	}
	return Check{name, Fail, found, advice}
}

// options are capabilities that only a flag needs.
var options = []need{
	{cap.NET_RAW, "--promisc, the default with --hook xdp"},
	{sysAdmin, "--kernel-stats, and the names of other programs"},
}

// optionCheck adds to c what is missing for flags that the sensor does without.
func optionCheck(set *cap.Set, c Check, binary string) Check {
	var lines []string
	for _, o := range options {
		if has(set, o.value) {
			continue
		}
		c.Found += fmt.Sprintf("; missing: %s (%s)", upper(o.value), o.why)
		lines = append(lines, fmt.Sprintf("for %s: setcap cap_bpf,cap_net_admin,cap_perfmon,%s+ep %s, or AmbientCapabilities= with %s too",
			o.why, o.value, binary, upper(o.value)))
	}
	c.Advice = strings.Join(lines, "; ")
	return c
}

func upper(v cap.Value) string { return strings.ToUpper(v.String()) }

// userNamespace tells when capabilities are worth nothing: bpf(2) asks for those
// of the first user namespace.
func userNamespace(root fs.FS) Check {
	const name = "user namespace"
	if !probe.FirstUserNamespace(root) {
		return Check{name, Fail, "not the first one: capabilities held here do not reach bpf(2)",
			"run outside of the rootless container (podman, docker: as root, without userns-remap)"}
	}
	return Check{Name: name, Status: OK, Found: "the first one"}
}

func unprivilegedBPF(root fs.FS) Check {
	const name = "unprivileged BPF"
	switch value, ok := read(root, "proc/sys/kernel/unprivileged_bpf_disabled"); {
	case !ok:
		return Check{Name: name, Status: OK, Found: "no kernel.unprivileged_bpf_disabled; not needed"}
	case value == "0":
		return Check{name, Warn, "allowed to every user; the sensor does not need it",
			"sysctl -w kernel.unprivileged_bpf_disabled=2"}
	}
	return Check{Name: name, Status: OK, Found: "disabled; the sensor does not need it"}
}

// memlock is there because the kernel's own errors point to it, misleadingly.
func memlock(root fs.FS) Check {
	limit := "unknown"
	if limits, ok := field(root, "proc/self/limits", "Max locked memory"); ok {
		limit, _, _ = strings.Cut(limits, " ")
	}
	return Check{Name: "locked memory", Status: OK,
		Found: "limit " + limit + " bytes; not used: since Linux 5.11 maps count as the control group's memory"}
}
