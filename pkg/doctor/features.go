package doctor

// This file turns the probed features into findings, one for each kind.

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/loader/probe"
)

const seePrivileges = "see capabilities and system calls"

// askKernel probes the kernel; what could not be asked is a finding.
func askKernel() ([]probe.Feature, []Check) {
	features, err := probe.Features()
	if err != nil {
		return nil, []Check{{"features", Fail, err.Error(), "build iotsense anew: make build"}}
	}
	return features, nil
}

func featureChecks(root fs.FS, features []probe.Feature) []Check {
	var list []Check
	for _, kind := range []string{probe.ProgramTypes, probe.MapTypes, probe.Helpers, probe.Instructions, probe.Programs} {
		if c, ok := kindCheck(kind, features); ok {
			list = append(list, c)
		}
	}
	for _, f := range features {
		if f.Kind == probe.Hooks {
			list = append(list, hookCheck(root, f, features))
		}
	}
	return list
}

// kindCheck joins the features of a kind that has to be complete.
func kindCheck(kind string, features []probe.Feature) (Check, bool) {
	var there, lacking, denied, unclear []string
	for _, f := range features {
		switch {
		case f.Kind != kind || f.Name == probe.FeatureJIT:
		case f.Err == nil:
			there = append(there, f.Name)
		case f.NotSupported():
			lacking = append(lacking, f.Name)
		case f.NotPermitted():
			denied = append(denied, f.Name)
		default:
			unclear = append(unclear, fmt.Sprintf("%s (%v)", f.Name, f.Err))
		}
	}
	switch {
	case len(lacking) > 0:
		return Check{kind, Fail, "not supported: " + strings.Join(lacking, ", "), "use Linux 6.1 or newer with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_BPF"}, true
	case len(denied) > 0:
		return Check{kind, Fail, fmt.Sprintf("%d could not be tried: not permitted", len(denied)), seePrivileges}, true
	case len(unclear) > 0 && kind == probe.Programs:
		return Check{kind, Fail, "refused: " + strings.Join(unclear, ", "), "report this line with the kernel's version"}, true
	case len(unclear) > 0:
		return Check{kind, Warn, "unclear: " + strings.Join(unclear, ", "), "try `iotsense run`; if it fails, report this line"}, true
	case len(there) == 0:
		return Check{}, false
	}
	found := strings.Join(grouped(there), ", ")
	if kind == probe.Programs {
		found = "loaded " + found
	}
	return Check{Name: kind, Status: OK, Found: found}, true
}

// grouped joins "f in x", "f in y" to "f (x, y)"; the names are sorted.
func grouped(names []string) []string {
	var list []string
	users := map[string][]string{}
	for _, name := range names {
		helper, user, found := strings.Cut(name, " in ")
		if !slices.Contains(list, helper) {
			list = append(list, helper)
		}
		if found {
			users[helper] = append(users[helper], user)
		}
	}
	for i, helper := range list {
		if len(users[helper]) > 0 {
			list[i] = fmt.Sprintf("%s (%s)", helper, strings.Join(users[helper], ", "))
		}
	}
	return list
}

// hookCheck judges a way to see packets: one that is missing is bad only when no
// other is left.
func hookCheck(root fs.FS, f probe.Feature, features []probe.Feature) Check {
	c := Check{Name: "hook " + f.Name}
	lost := Warn
	if chooseHook(features, true) == "" {
		lost = Fail
	}
	switch {
	case f.Err == nil:
		c.Status, c.Found = OK, "works"
		return c
	case f.NotSupported():
		c.Status, c.Found = lost, "not supported by this kernel"
	case f.NotPermitted() && f.Name == probe.FeatureClsact:
		return clsactFromFiles(root)
	case f.NotPermitted():
		c.Status, c.Found = lost, "could not be tried: not permitted"
		c.Advice = seePrivileges
		return c
	default:
		c.Status, c.Found = lost, f.Err.Error()
	}
	c.Advice = withoutHook[f.Name]
	return c
}

// withoutHook is what to do where a hook does not work.
var withoutHook = map[string]string{
	probe.FeatureTCX:    "nothing: --hook auto takes clsact (tc) instead; TCX comes with Linux 6.6",
	probe.FeatureClsact: "nothing where TCX works; else modprobe sch_ingress cls_bpf",
	probe.FeatureXDP:    "nothing: --hook tcx and tc do without",
}

// clsactFromFiles says what the file system knows of the module that holds
// clsact, for processes that may not try it.
func clsactFromFiles(root fs.FS) Check {
	c := Check{Name: "hook " + probe.FeatureClsact, Status: OK}
	if _, err := fs.Stat(root, "sys/module/sch_ingress"); err == nil {
		c.Found = "module sch_ingress is loaded"
		return c
	}
	version, _ := read(root, "proc/sys/kernel/osrelease")
	for file, found := range map[string]string{
		"modules.builtin": "sch_ingress is built in", "modules.dep": "module sch_ingress can be loaded",
	} {
		if list, ok := read(root, "lib/modules/"+version+"/"+file); ok && strings.Contains(list, "/sch_ingress.ko") {
			c.Found = found
			return c
		}
	}
	return Check{c.Name, Warn, "unknown: trying it needs CAP_SYS_ADMIN, and no file names the module sch_ingress",
		"nothing where TCX works; else run doctor as root"}
}

// chooseHook is what `run --hook auto` takes: TCX, else clsact; "" is none.
// Where a probe was not permitted, hopeful counts it as working.
func chooseHook(features []probe.Feature, hopeful bool) attach.Hook {
	works := func(name string) bool {
		return slices.ContainsFunc(features, func(f probe.Feature) bool {
			return f.Name == name && (f.Err == nil || hopeful && f.NotPermitted())
		})
	}
	switch {
	case works(probe.FeatureTCX):
		return attach.HookTCX
	case works(probe.FeatureClsact):
		return attach.HookTC
	}
	return ""
}
