package capturebench

// This file lists what traffic there is to watch.

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/iotsense/iotsense/pkg/lab"
)

// Scenario is one kind of traffic.
type Scenario struct {
	Name  string `json:"name"`
	Title string `json:"title"` // in words
	// Group is idle, loopback, veth (the paper's first experiment, near and far), length
	// (its second), offloads (frames of several packets) or home (what a gateway sees).
	Group string `json:"group"`
	// Limited: the traffic has a rate of its own, which the machine can take.
	Limited bool `json:"limited"`

	iperf   []string // the client's arguments; nil: none
	length  bool     // the traffic ends by itself, not after a time
	devices int      // whose frames are played; 0: none
	speed   float64  // at which they are; 0: as fast as it goes
}

// Groups of scenarios.
const (
	groupIdle     = "idle"
	groupLoopback = "loopback"
	groupVeth     = "veth"
	groupLength   = "length"
	groupOffloads = "offloads"
	groupHome     = "home"
)

// Scenarios are all there are, in the order of the paper's figures. What is idle comes
// first: no traffic at all, to say what a tool uses for nothing.
func Scenarios() []Scenario {
	list := []Scenario{{Name: "idle", Title: "no traffic", Group: groupIdle, Limited: true}}
	for _, group := range []string{groupLoopback, groupVeth} {
		add := func(name, title string, limited bool, iperf ...string) {
			list = append(list, Scenario{Name: group + "-" + name, Title: title + ", " + group, Group: group, Limited: limited, iperf: iperf})
		}
		for _, mbit := range []int{1, 2, 3, 4, 5, 10} {
			rate := fmt.Sprintf("%dM", mbit)
			add("udp-"+strconv.Itoa(mbit), fmt.Sprintf("UDP %d Mb/s", mbit), true, "-u", "-b", rate)
		}
		add("udp-max", "UDP unlimited", false, "-u", "-b", "0")
		add("tcp-max", "TCP unlimited", false, "-b", "0")
	}
	for _, packets := range []int{1000, 4000} {
		for _, size := range []int{148, 724, 1448} {
			list = append(list, Scenario{
				Name:  fmt.Sprintf("length-%d-%d", packets, size),
				Title: fmt.Sprintf("%d packets of %d bytes at 2 Mb/s", packets, size), Group: groupLength, Limited: true, length: true,
				iperf: []string{"-u", "-b", "2M", "-k", strconv.Itoa(packets), "-l", strconv.Itoa(size)},
			})
		}
	}
	list = append(list, Scenario{Name: "offloads-tcp-max", Title: "TCP unlimited, veth with offloads: frames, not packets", Group: groupOffloads, iperf: []string{"-b", "0"}})
	for _, devices := range []int{50, 500} {
		for _, speed := range []float64{1, 10, 100, 0} {
			name := fmt.Sprintf("%gx", speed)
			if speed == 0 {
				name = "top"
			}
			list = append(list, Scenario{
				Name:  fmt.Sprintf("home-%d-%s", devices, name),
				Title: fmt.Sprintf("a home of %d devices, %s", devices, name), Group: groupHome, Limited: speed > 0 && speed < 100,
				devices: devices, speed: speed,
			})
		}
	}
	return list
}

// NeedFrames reports whether one of the scenarios plays captures.
func NeedFrames(list []Scenario) bool {
	return slices.ContainsFunc(list, func(s Scenario) bool { return s.devices > 0 })
}

// ParseScenarios takes names and groups of scenarios, with a comma between two; "all" is
// every one. What is asked for comes in the order of [Scenarios].
func ParseScenarios(list string) ([]Scenario, error) {
	return pick(list, Scenarios(), func(s *Scenario) []string { return []string{s.Name, s.Group, "all"} })
}

// pick is what of all goes by one of the names listed.
func pick[T any](list string, all []T, names func(*T) []string) (picked []T, err error) {
	wanted := map[string]bool{}
	for _, w := range strings.Split(list, ",") {
		wanted[strings.TrimSpace(w)] = false
	}
	var known []string
	for i := range all {
		n := names(&all[i])
		known = append(known, n[0])
		if !slices.ContainsFunc(n, func(name string) bool { _, ok := wanted[name]; return ok }) {
			continue
		}
		picked = append(picked, all[i])
		for _, name := range n {
			if _, ok := wanted[name]; ok {
				wanted[name] = true
			}
		}
	}
	for w, found := range wanted {
		if !found {
			return nil, fmt.Errorf("%q: want all or some of %s", w, strings.Join(known, ", "))
		}
	}
	return picked, nil
}

// Frames are what is played for a number of devices: a home's, in order of time.
type Frames func(devices int) ([]lab.Frame, error)
