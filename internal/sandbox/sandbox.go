// Package sandbox takes from the running process what it no longer needs: capabilities,
// files, system calls. What it takes is gone for good, and from every thread.
package sandbox

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// Config says what a sensor still needs once it is attached.
type Config struct {
	Read    []string // directories whose files it reads, or files
	Write   []string // directories whose files it makes, writes and removes
	Emptied []string // directories below which it removes empty ones
	Promisc bool     // it turns promiscuous mode on, with packet sockets that receive nothing
	Connect bool     // it connects to others, over TCP and UDP
}

// State is how a process is confined.
type State struct {
	Capabilities string // that are left, as in cap_from_text(3)
	Landlock     int    // version of its interface; 0: the kernel has none
	Seccomp      bool
}

// Available is what this kernel has to confine a process with.
func Available() State {
	version, err := ll.LandlockGetABIVersion()
	if err != nil {
		version = 0
	}
	return State{Landlock: version, Seccomp: hasSeccomp()}
}

// Enter confines the process with what the kernel has. After an error it may be confined
// in part.
func Enter(cfg Config) (State, error) {
	state := Available()
	left, err := dropCapabilities(cfg)
	if err != nil {
		return state, fmt.Errorf("drop capabilities: %w", err)
	}
	state.Capabilities = left.String()
	if _, err := cap.Prctlw(unix.PR_SET_NO_NEW_PRIVS, 1); err != nil {
		return state, fmt.Errorf("no_new_privs: %w", err)
	}
	if state.Landlock > 0 {
		if cfg.Connect {
			keepServers()
		}
		if err := restrictFiles(cfg); err != nil {
			return state, fmt.Errorf("landlock: %w", err)
		}
	}
	if state.Seccomp {
		if err := filterCalls(cfg); err != nil {
			return state, fmt.Errorf("seccomp: %w", err)
		}
	}
	return state, nil
}

// dropCapabilities keeps, of what the process holds, NET_ADMIN, which attaches again and
// asks who else is on an interface; with promiscuous mode NET_RAW, which packet sockets
// want; and DAC_OVERRIDE where files that it needs are another user's, as under sudo.
// Programs that are loaded run, and are attached, without BPF and PERFMON.
func dropCapabilities(cfg Config) (*cap.Set, error) {
	keep := []cap.Value{cap.NET_ADMIN}
	if cfg.Promisc {
		keep = append(keep, cap.NET_RAW)
	}
	held := cap.GetProc()
	left, err := reduced(held, keep, []cap.Value{cap.DAC_OVERRIDE})
	if err != nil {
		return nil, err
	}
	if !accessible(cfg) {
		keep = append(keep, cap.DAC_OVERRIDE)
	}
	return reduced(left, keep, nil)
}

// reduced leaves the process, of what it holds, the effective ones, and those that it may
// only make effective.
func reduced(held *cap.Set, effective, permitted []cap.Value) (*cap.Set, error) {
	left := cap.NewSet()
	for _, v := range append(permitted, effective...) {
		if on, err := held.GetFlag(cap.Permitted, v); err != nil || !on {
			continue
		}
		if err := left.SetFlag(cap.Permitted, true, v); err != nil {
			return nil, err
		}
		if err := left.SetFlag(cap.Effective, slices.Contains(effective, v), v); err != nil {
			return nil, err
		}
	}
	return left, left.SetProc()
}

// accessible reports whether the process may use all that it needs; what is missing, it may.
func accessible(cfg Config) bool {
	may := func(path string, mode uint32) bool {
		return !errors.Is(unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS), unix.EACCES)
	}
	for _, path := range cfg.Read {
		if !may(path, unix.R_OK) {
			return false
		}
	}
	for _, path := range cfg.Write {
		if !may(path, unix.R_OK|unix.W_OK|unix.X_OK) {
			return false
		}
	}
	return true
}

const (
	readFiles  = ll.AccessFSReadFile | ll.AccessFSReadDir
	writeFiles = readFiles | ll.AccessFSWriteFile | ll.AccessFSTruncate | ll.AccessFSRemoveFile |
		ll.AccessFSMakeReg | ll.AccessFSMakeDir | ll.AccessFSMakeSock | ll.AccessFSRemoveDir
	ofFile = ll.AccessFSReadFile
)

// always are what a process reads of the system: its own state and that of who holds an
// interface, which processors there are, the local time.
var always = []string{"/proc", "/sys/devices/system/cpu", "/etc/localtime", "/usr/share/zoneinfo"}

// toConnect are what names and certificates of others are found with.
var toConnect = []string{
	"/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/etc/hosts", "/etc/nsswitch.conf", "/etc/services",
	"/etc/ssl", "/etc/pki", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
}

// restrictFiles leaves the process the files that cfg names, and processes outside of
// signals from it. A rule is for a file or directory that is there now: one that comes in
// the place of a file is another.
func restrictFiles(cfg Config) error {
	var rules []landlock.Rule
	allow := func(access landlock.AccessFSSet, paths ...string) {
		for _, path := range paths {
			info, err := os.Stat(path)
			if err != nil {
				continue // what is not there, or closed to this process, stays so
			}
			rights := access
			if !info.IsDir() {
				rights &= ofFile
			}
			rules = append(rules, landlock.PathAccess(rights, path))
		}
	}
	read := slices.Concat(cfg.Read, always)
	if cfg.Connect {
		read = append(append(read, resolvConf), toConnect...)
	}
	allow(readFiles, read...)
	allow(writeFiles, cfg.Write...)
	allow(ll.AccessFSRemoveDir, cfg.Emptied...)
	handled := landlock.Config{HandledAccessFS: landlock.V5.HandledAccessFS, Scoped: landlock.V6.Scoped & ll.ScopeSignal}
	return handled.BestEffort().RestrictPaths(rules...)
}
