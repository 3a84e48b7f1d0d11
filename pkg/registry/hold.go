package registry

// This file keeps names from coming and going with each window.

import (
	"strings"

	"github.com/iotsense/iotsense/pkg/join"
)

// hold is the path that is said of a device. A part of it that is no longer safe is taken
// back at once; another one is said once it has been safe for Windows windows in a row, but
// for the first.
type hold struct {
	path string
	wait uint8 // windows until a longer path is said
}

// say gives how many parts of a verdict's path may be said now.
func (h *hold) say(v *join.Verdict) (parts int) {
	had, shared := parted(h.path), sharedParts(h.path, v.Path)
	switch {
	case shared < had: // some of it is lost
		h.wait = Windows
	case shared == v.Level && h.wait > 0: // no more than is said
		h.wait = Windows
	case h.wait > 0:
		h.wait--
	}
	if h.wait == 0 {
		shared = v.Level
	}
	h.path = firstParts(v.Path, shared)
	return shared
}

// parted is how many parts a path has.
func parted(path string) int {
	if path == "" {
		return 0
	}
	return strings.Count(path, "/") + 1
}

// sharedParts is how many parts two paths begin with alike.
func sharedParts(a, b string) (n int) {
	for a != "" && b != "" {
		x, restA, _ := strings.Cut(a, "/")
		y, restB, _ := strings.Cut(b, "/")
		if x != y {
			break
		}
		n, a, b = n+1, restA, restB
	}
	return n
}

// firstParts is a path's beginning.
func firstParts(path string, n int) string {
	at := 0
	for range n {
		if i := strings.IndexByte(path[at:], '/'); i >= 0 {
			at += i + 1
			continue
		}
		return path
	}
	return strings.TrimSuffix(path[:at], "/")
}
