// Package doctor looks at the machine the sensor is to run on: kernel,
// privileges, memory, and each interface with its driver. What goes in is the
// running system, what comes out is a list of findings, each with what to do
// about it. It changes nothing: it attaches to no interface, loads only probes
// that end at once, and writes no file.
package doctor

import (
	"io/fs"
	"os"
	"strings"
)

// Status says whether a finding stands in the way.
type Status string

// The three statuses.
const (
	OK   Status = "ok"   // nothing to do; advice, if any, is for special cases
	Warn Status = "warn" // the sensor runs, but not with every option or at full accuracy
	Fail Status = "fail" // the sensor cannot run
)

// Check is one finding.
type Check struct {
	Name   string `json:"name"`   // what was looked at; interface checks begin with the interface's name
	Status Status `json:"status"` // ok, warn or fail
	Found  string `json:"found"`  // how it is
	Advice string `json:"advice"` // what to do; empty only when Status is ok
}

// Run looks at the machine and at one interface, or at every interface that is
// up and no loopback when name is empty.
func Run(name string) []Check {
	root := os.DirFS("/")
	features, failed := askKernel()
	list := kernelChecks(root, features)
	list = append(list, failed...)
	list = append(list, featureChecks(root, features)...)
	list = append(list, privilegeChecks(root)...)
	list = append(list, pinCheck(pinDir), memoryCheck(root))
	return append(list, interfaceChecks(root, name, features)...)
}

// Failed lists the names of the checks that failed.
func Failed(list []Check) []string {
	var names []string
	for _, c := range list {
		if c.Status == Fail {
			names = append(names, c.Name)
		}
	}
	return names
}

// read returns a small file of /proc or /sys without the space around it; ok is
// false when it cannot be read.
func read(root fs.FS, path string) (text string, ok bool) {
	b, err := fs.ReadFile(root, path)
	return strings.TrimSpace(string(b)), err == nil
}

// field returns what follows a name at the beginning of a line of such a file.
func field(root fs.FS, path, name string) (value string, ok bool) {
	text, _ := read(root, path)
	for line := range strings.Lines(text) {
		if value, ok = strings.CutPrefix(line, name); ok {
			return strings.TrimSpace(value), true
		}
	}
	return "", false
}
