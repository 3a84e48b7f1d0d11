package experiment

// This file warns of data that a model learns the wrong thing from.

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/model"
)

// Below these a class is hardly learned, or its score says nothing.
const (
	fewCaptures = 5 // with four, one is validated on and one capture is a quarter of a class
	fewWindows  = 5
)

// manyAddresses is how many IPv4 addresses a device has in one capture that is taken
// for a router or repeater. One that is set up has two, its own and then the network's.
const manyAddresses = 4

// watch sees the rows that a model is to learn, capture by capture.
type watch struct {
	addresses map[dataset.Device]map[netip.Addr]bool // of the devices of the capture that is read
	shared    []string                               // devices of many
	unseen    map[dataset.Source]bool                // listed, and without a packet
}

func newWatch() *watch {
	return &watch{addresses: map[dataset.Device]map[netip.Addr]bool{}, unseen: map[dataset.Source]bool{}}
}

// example takes a row; records files hold no addresses.
func (w *watch) example(e dataset.Example) {
	addr := e.DeviceAddr
	known := w.addresses[e.Device]
	if !addr.Is4() || addr.IsUnspecified() || addr.IsLinkLocalUnicast() || len(known) == manyAddresses {
		return
	}
	if known == nil {
		known = map[netip.Addr]bool{}
		w.addresses[e.Device] = known
	}
	known[addr] = true
}

// capture takes what was found in the capture that was read.
func (w *watch) capture(c dataset.CaptureSummary) {
	for d, known := range w.addresses {
		if text := fmt.Sprintf("%s (%s)", d.Name, d.Label); len(known) == manyAddresses && !slices.Contains(w.shared, text) {
			w.shared = append(w.shared, text)
		}
	}
	clear(w.addresses)
	for _, d := range c.Unseen {
		w.unseen[dataset.Source{Device: d, Capture: c.Name}] = true
	}
}

// warn says what was seen. without are the listed devices that have no window, which
// is worth a word only if every flow counts.
func (w *watch) warn(to Watcher, without []dataset.Source, everyFlow bool) {
	var unseen, idle []dataset.Source
	for _, d := range without {
		if w.unseen[d] {
			unseen = append(unseen, d)
		} else if everyFlow {
			idle = append(idle, d)
		}
	}
	for _, found := range []struct {
		text    string
		sources []dataset.Source
	}{
		{"listed devices that sent no packet in their capture: is the MAC right?", unseen},
		{"listed devices without a window", idle},
	} {
		if len(found.sources) > 0 {
			first := found.sources[0]
			to.Warn(found.text, "devices", len(found.sources), "first", first.Name, "label", first.Label, "capture", first.Capture)
		}
	}
	if len(w.shared) > 0 {
		slices.Sort(w.shared)
		to.Warn(fmt.Sprintf("devices of %d addresses or more in one capture: the MAC of a router or repeater, whose traffic is that of others", manyAddresses), "devices", firstOf(w.shared))
	}
}

// warnFew names the classes that a model is trained on with too little to be relied on.
func warnFew(w Watcher, service string, store *dataset.Store, learn, held []int) {
	captures := map[string]map[string]bool{} // by class
	for _, i := range slices.Concat(learn, held) {
		from := store.Source(i)
		if from.Label == model.NoneLabel {
			continue
		}
		if captures[from.Label] == nil {
			captures[from.Label] = map[string]bool{}
		}
		captures[from.Label][from.Capture] = true
	}
	windows, checked := map[string]int{}, map[string]bool{}
	for _, i := range learn {
		windows[store.Label(i)]++
	}
	for _, i := range held {
		checked[store.Label(i)] = true
	}
	var one, few, short, unchecked []string
	for _, label := range slices.Sorted(maps.Keys(captures)) {
		switch n := len(captures[label]); {
		case n == 1:
			one = append(one, label)
		case n < fewCaptures:
			few = append(few, fmt.Sprintf("%s (%d)", label, n))
		}
		if n := windows[label]; n < fewWindows {
			short = append(short, fmt.Sprintf("%s (%d)", label, n))
		}
		if !checked[label] && label != model.NoneLabel {
			unchecked = append(unchecked, label)
		}
	}
	for _, found := range []struct {
		text    string
		classes []string
	}{
		{"classes of one capture: the model learns that recording, and is validated on its end", one},
		{fmt.Sprintf("classes of fewer than %d captures: few to learn and to validate on", fewCaptures), few},
		{fmt.Sprintf("classes of fewer than %d training windows", fewWindows), short},
		{"classes without a window to validate on: they have no say in the epoch and the temperature", unchecked},
	} {
		if len(found.classes) == 0 {
			continue
		}
		w.Warn(found.text, ofService(service, "classes", strings.Join(found.classes, ", "))...)
	}
}

// check names the classes of examples that a taxonomy has no path for, and refuses one by
// which the name of such a class is a level.
func (t Taxonomy) check(w Watcher, service string, store *dataset.Store, examples []int) error {
	without := map[string]bool{}
	for _, i := range examples {
		label := store.Label(i)
		if _, ok := t.Paths[label]; !ok && label != model.NoneLabel {
			without[label] = true
		}
	}
	labels := slices.Sorted(maps.Keys(without))
	if len(t.Paths) > 0 && len(labels) > 0 {
		w.Warn("classes that the taxonomy has no path for: each is its only level", ofService(service, "taxonomy", t.File, "classes", strings.Join(labels, ", "))...)
	}
	return model.CheckTaxonomy(t.Paths, labels)
}

// firstOf lists the first few names.
func firstOf(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
