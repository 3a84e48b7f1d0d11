package main

// This file chooses what the demo plays, and knows what is truly in it.

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/iotsense/iotsense/pkg/bench"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/replay"
)

const (
	demoSplit     = "test"
	labUnits      = 2    // of each kind
	firstLabUnit  = 1000 // far from those that any model was trained on
	labLength     = 2 * time.Minute
	demoApart     = 2 * time.Second  // from one device's start to the next one's
	demoTarget    = 90 * time.Second // how long a demo takes when no speed is asked for
	demoBlindTime = 5 * time.Second  // of that, before and after the traffic
)

// demoTraffic is what a demo plays side by side.
type demoTraffic struct {
	data   string            // what it is, in words
	truth  map[string]string // label of each device under observation
	frames []lab.Frame       // of all devices, in order of time
}

// length is how long the traffic takes at speed 1.
func (t *demoTraffic) length() time.Duration {
	return t.frames[len(t.frames)-1].Time.Sub(t.frames[0].Time)
}

// speed makes the traffic, and the lifetime that its last flows still have,
// fit into the target.
func (t *demoTraffic) speed() float64 {
	whole := t.length() + flows.Lifetime
	fit := demoTarget - demoBlindTime
	return float64((whole + fit - 1) / fit)
}

// captureTraffic is one capture of each unit in dir/manifest.csv, of the test
// split where there is one. Two captures of one MAC never play together.
func captureTraffic(dir string) (*demoTraffic, error) {
	path := filepath.Join(dir, "manifest.csv")
	captures, err := dataset.ReadManifest(path)
	if err != nil {
		return nil, err
	}
	chosen, listed := inSplit(captures, demoSplit)
	t := &demoTraffic{truth: map[string]string{}}
	units, blocked := map[string]bool{}, map[string]bool{}
	var lists [][]lab.Frame
	for _, c := range chosen {
		unit := c.Devices[0].Unit
		if unit == "" {
			unit = c.Devices[0].Name
		}
		if units[unit] {
			continue
		}
		if slices.ContainsFunc(c.Devices, func(d dataset.Device) bool { return t.truth[d.Name] != "" }) {
			blocked[unit] = true
			continue
		}
		capture, err := captureFrames(c)
		if err != nil {
			return nil, err
		}
		units[unit] = true
		for _, d := range c.Devices {
			t.truth[d.Name] = d.Label
		}
		lists = append(lists, capture.Frames)
	}
	if len(lists) == 0 {
		return nil, fmt.Errorf("manifest %s lists no capture: nothing to play", path)
	}
	t.frames = replay.Merge(demoApart, lists...)
	if len(t.frames) == 0 {
		return nil, fmt.Errorf("the captures of %s hold no frame: nothing to play", path)
	}
	t.data = fmt.Sprintf("%d of %d real captures (%s), one of each unit", len(lists), len(chosen), listed)
	if len(blocked) > 0 {
		t.data += fmt.Sprintf("; %d more units left out, as their MAC is one of a unit that plays", len(blocked))
	}
	return t, nil
}

// inSplit is the captures of a split, or all when the manifest has no such split.
func inSplit(captures []dataset.Capture, split string) (chosen []dataset.Capture, listed string) {
	for _, c := range captures {
		if slices.ContainsFunc(c.Devices, func(d dataset.Device) bool { return d.Split == split }) {
			chosen = append(chosen, c)
		}
	}
	if len(chosen) == 0 {
		return captures, "the manifest has no split=" + split
	}
	return chosen, "split=" + split
}

// captureFrames are a capture's frames of its devices, and these.
func captureFrames(c dataset.Capture) (one bench.Household, err error) {
	for _, d := range c.Devices {
		mac, err := flows.ParseMAC(d.Name)
		if err != nil {
			return one, fmt.Errorf("capture %s: device %s cannot be replayed: want a MAC", c.Name, d.Name)
		}
		one.Devices = append(one.Devices, mac)
	}
	one.Frames, err = replay.ReadCapture(c.Path, one.Devices...)
	return one, err
}

// labTraffic is the device lab's: units of every kind in one home, all new to
// any model.
func labTraffic(seed int64) (*demoTraffic, error) {
	t := &demoTraffic{truth: map[string]string{}}
	var lists [][]lab.Frame
	for _, kind := range lab.Kinds() {
		for unit := firstLabUnit; unit < firstLabUnit+labUnits; unit++ {
			c, err := lab.Generate(kind, unit, seed, labLength)
			if err != nil {
				return nil, err
			}
			lists = append(lists, c.Frames)
			t.truth[c.Device.String()] = c.Label
		}
	}
	t.frames = replay.Merge(demoApart, lists...)
	t.data = fmt.Sprintf("the device lab: %d kinds, %d units of each, seed %d (generated, no real device)", len(lab.Kinds()), labUnits, seed)
	return t, nil
}
