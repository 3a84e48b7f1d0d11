package terminal

// This file says which build this is.

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

var versionFlag = &cli.BoolFlag{Name: "version", Usage: "print the version of this program, of Go, of the kernel programs and the model inside, and of the kernel"}

// printVersion writes the version, then what a bug report needs beside it.
func (p *Program) printVersion(w io.Writer) {
	name, revision := p.versions()
	kernel := "unknown"
	var system unix.Utsname
	if err := unix.Uname(&system); err == nil {
		kernel = unix.ByteSliceToString(system.Sysname[:]) + " " + unix.ByteSliceToString(system.Release[:])
	}
	fmt.Fprintf(w, "%s %s\nrevision %s\ngo       %s %s/%s\nprograms sha256:%s\nmodel    sha256:%s\nkernel   %s\n",
		p.Name, name, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH, p.Programs(), p.Model(), kernel)
}

// versions are those of this program.
func (p *Program) versions() (name, revision string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return versions(p.Version, info)
}

// versions are the version and the revision of this build: what the linker was
// told, else what Go recorded of the module and the repository it was built in.
func versions(linked string, info *debug.BuildInfo) (name, revision string) {
	dirty := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if revision != "" {
		revision += dirty
	}
	return cmp.Or(linked, info.Main.Version, "unknown"), cmp.Or(revision, linked, info.Main.Version, "unknown")
}
