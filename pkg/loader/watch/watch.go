// Package watch keeps the programs on the configured interfaces, whatever happens to
// these, and counts for how long they were off.
package watch

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/loader/network"
)

// Watcher keeps the programs on interfaces. It is for one goroutine at a time.
type Watcher struct {
	attacher attach.Attacher
	network  *network.Network
	names    []string // as configured
	left     func(ifindex int) error
	watches  []*watch
}

// New makes a watcher of the interfaces named, which attaches to nothing yet. left is
// called when an interface has gone for good.
func New(n *network.Network, a attach.Attacher, names []string, left func(ifindex int) error) *Watcher {
	a.Handle = n.Handle
	return &Watcher{attacher: a, network: n, names: names, left: left}
}

// watch is one interface to watch: with our programs on it, or without for now. A
// configured name has more than one when the interface that had it was renamed and
// another one came.
type watch struct {
	configured string             // the name that was asked for
	name       string             // the interface's name now
	index      int                // 0: waiting for the interface
	at         *attach.Attachment // nil: our programs are not on it

	good  time.Time // when they were last known to be on it, or the interface came
	off   time.Time // since when they are not; zero: they are, or there is no interface
	gaps  uint64
	blind time.Duration // of the gaps that have ended
	said  string        // the error that was logged last
	after string        // the programs that others go before, as logged last
}

// lose notes that the programs are not on an interface that is there.
func (w *watch) lose() {
	if w.off.IsZero() {
		w.off = w.good
		w.gaps++
	}
}

// regain notes that they are on it again, or that there is nothing to be on.
func (w *watch) regain(now time.Time) {
	w.blind, w.off, w.good, w.said = w.blindUntil(now), time.Time{}, now, ""
}

func (w *watch) blindUntil(now time.Time) time.Duration {
	if w.off.IsZero() {
		return w.blind
	}
	return w.blind + now.Sub(w.off)
}

// Open attaches to every configured interface that is there; the others are waited for.
func (wr *Watcher) Open() error {
	return wr.network.Inside(func() error {
		for _, name := range wr.names {
			l, err := wr.network.Find(name)
			if err != nil {
				return err
			}
			w := &watch{configured: name, name: name}
			wr.watches = append(wr.watches, w)
			if l == nil {
				wr.attacher.Log.Warn("interface does not exist, waiting for it (`ip link` lists those that do)", "interface", name)
				continue
			}
			if other := wr.watchAt(l.Attrs().Index); other != nil {
				return fmt.Errorf("interface %s is named twice, as %s and as %s: give it once", l.Attrs().Name, other.configured, name)
			}
			if err := wr.attachWatch(w, l); err != nil {
				return err
			}
		}
		return nil
	})
}

// watchAt is that of an interface; nil: there is none.
func (wr *Watcher) watchAt(index int) *watch {
	for _, w := range wr.watches {
		if index != 0 && w.index == index {
			return w
		}
	}
	return nil
}

// waiting is the watch of a configured name that waits for its interface, a new one
// if the others have theirs.
func (wr *Watcher) waiting(name string) *watch {
	for _, w := range wr.watches {
		if w.configured == name && w.index == 0 {
			return w
		}
	}
	w := &watch{configured: name}
	wr.watches = append(wr.watches, w)
	return w
}

// attachWatch attaches to the interface that w waits for, or was taken off.
func (wr *Watcher) attachWatch(w *watch, l netlink.Link) (err error) {
	now := time.Now()
	if w.index == 0 {
		w.good = now
	}
	w.index, w.name = l.Attrs().Index, l.Attrs().Name
	if w.at, err = wr.attacher.Attach(l); err != nil {
		w.lose()
		return err
	}
	if w.off.IsZero() {
		wr.attacher.Log.Info("attached", "interface", w.name, "hook", w.at.Hook)
	} else {
		wr.attacher.Log.Info("attached again", "interface", w.name, "hook", w.at.Hook, "blind_s", now.Sub(w.off).Seconds())
	}
	w.regain(now)
	return nil
}

// Unmoved reports whether the programs are still on every interface that there is to
// watch, and nobody else's have come before them. It is the cheap part of a Look, which
// has nothing to do then but to see which interfaces there are.
func (wr *Watcher) Unmoved() (unmoved bool) {
	// To ask which namespace this is costs more than to look. Ours are in one alone: where
	// they are found is the right one.
	if wr.unmoved() {
		return true
	}
	err := wr.network.Inside(func() error { unmoved = wr.unmoved(); return nil })
	return unmoved && err == nil
}

func (wr *Watcher) unmoved() bool {
	all := true
	for _, w := range wr.watches {
		if w.at == nil {
			return false
		}
		missing, behind := w.at.Look()
		all = all && len(missing) == 0 && strings.Join(behind, ", ") == w.after
		if len(missing) == 0 {
			w.good = time.Now()
		}
	}
	return all
}

// Linked reports whether the programs are, as links, on every interface that there is to watch.
func (wr *Watcher) Linked() bool {
	return !slices.ContainsFunc(wr.watches, func(w *watch) bool {
		return w.index != 0 && (w.at == nil || !w.at.Hook.IsLink())
	})
}

// Look makes the best of what has changed: it detaches from interfaces that are
// gone, puts back what others have taken off, attaches to configured interfaces
// that are (back) there, and stays with those that have another name now. gone are interfaces that went since the last look, by index:
// another one can have got the index of an old one since.
func (wr *Watcher) Look(gone map[int]bool) {
	for _, w := range wr.watches {
		if w.index != 0 {
			wr.leave(w, gone[w.index])
		}
	}
	wr.forgetSpare()
	err := wr.network.Inside(func() error {
		for _, w := range wr.watches {
			wr.check(w)
		}
		wr.retry()
		wr.findNew()
		return nil
	})
	if err != nil {
		wr.attacher.Log.Error("interfaces cannot be watched again", "error", err)
	}
}

// leave notes that an interface is gone or has another name.
func (wr *Watcher) leave(w *watch, gone bool) {
	l, err := wr.network.LinkByIndex(w.index)
	if err == nil && !gone {
		// The programs stay on it: whoever renames an interface does not mean to hide it.
		if name := l.Attrs().Name; name != w.name {
			wr.attacher.Log.Warn("interface has a new name, still watched", "interface", name, "before", w.name)
			w.name = name
		}
		return
	}
	if !gone && !errors.As(err, &netlink.LinkNotFoundError{}) {
		return // not known now
	}
	wr.attacher.Log.Warn("interface is gone, waiting for it", "interface", w.name)
	if err := errors.Join(w.detach(), wr.left(w.index)); err != nil {
		wr.attacher.Log.Warn("left something behind", "error", err)
	}
	w.regain(time.Now())
	w.index, w.name = 0, w.configured
}

// detach takes our programs off the interface, if they are on it.
func (w *watch) detach() error {
	if w.at == nil {
		return nil
	}
	err := w.at.Detach()
	w.at = nil
	return err
}

// forgetSpare drops a watch that waits for an interface whose name has another one.
func (wr *Watcher) forgetSpare() {
	var kept []*watch
	for i, w := range wr.watches {
		same := func(o *watch) bool { return o.configured == w.configured }
		if w.index == 0 && (slices.ContainsFunc(kept, same) || slices.ContainsFunc(wr.watches[i+1:], same)) {
			continue
		}
		kept = append(kept, w)
	}
	wr.watches = kept
}

// check looks whether the programs are still on an interface. What is left of them
// comes off, so that all go on again together.
func (wr *Watcher) check(w *watch) {
	if w.at == nil {
		return
	}
	missing, behind := w.at.Look()
	if len(missing) == 0 {
		w.good = time.Now()
		wr.checkOrder(w, strings.Join(behind, ", "))
		return
	}
	w.lose()
	wr.attacher.Log.Warn("somebody has taken the sensor off the interface, attaching again",
		"interface", w.name, "hook", w.at.Hook, "missing", strings.Join(missing, ", "))
	if err := w.detach(); err != nil {
		wr.attacher.Log.Warn("left something behind", "error", err)
	}
}

// checkOrder warns when a program of another's goes before ours, which did not when
// ours was attached.
func (wr *Watcher) checkOrder(w *watch, after string) {
	if after != "" && after != w.after {
		wr.attacher.Log.Warn("another program goes before the sensor's now: what it drops, redirects or passes by itself is not seen; a restart of the sensor puts it first again",
			"interface", w.name, "behind", after)
	}
	w.after = after
}

// retry attaches to interfaces that are there without our programs.
func (wr *Watcher) retry() {
	for _, w := range wr.watches {
		if w.index == 0 || w.at != nil {
			continue
		}
		if l, err := wr.network.LinkByIndex(w.index); err == nil {
			wr.tryAttach(w, l)
		}
	}
}

// findNew attaches to interfaces that have a configured name and no watch.
func (wr *Watcher) findNew() {
	for _, name := range wr.names {
		if l, err := wr.network.Find(name); err == nil && l != nil && wr.watchAt(l.Attrs().Index) == nil {
			wr.tryAttach(wr.waiting(name), l)
		}
	}
}

// tryAttach is attachWatch where a failure is logged, once while it stays the same.
func (wr *Watcher) tryAttach(w *watch, l netlink.Link) {
	if err := wr.attachWatch(w, l); err != nil && err.Error() != w.said {
		w.said = err.Error()
		wr.attacher.Log.Error("interface cannot be watched, tried again each second", "error", err)
	}
}

// Detach takes the programs off all interfaces.
func (wr *Watcher) Detach() error {
	var err error
	for _, w := range wr.watches {
		err = errors.Join(err, w.detach())
		w.regain(time.Now())
	}
	return err
}

// Leave has the programs stay on all interfaces, for the next sensor.
func (wr *Watcher) Leave() error {
	var err error
	for _, w := range wr.watches {
		if w.at != nil {
			err = errors.Join(err, w.at.Leave())
			w.at = nil
		}
	}
	return err
}

// Interfaces lists what is watched in the order of the configuration.
func (wr *Watcher) Interfaces() []v1.Interface {
	var list []v1.Interface
	for _, name := range wr.names {
		for _, w := range wr.watches {
			if w.configured != name {
				continue
			}
			i := v1.Interface{Name: w.name, Hook: string(wr.attacher.Hook), Gaps: w.gaps, GapS: w.blindUntil(time.Now()).Seconds()}
			if w.at != nil {
				i.Hook, i.Attached = string(w.at.Hook), true
			}
			list = append(list, i)
		}
	}
	return list
}

// Names are the present names of what is watched, or is to be.
func (wr *Watcher) Names() []string {
	if wr.watches == nil {
		return wr.names
	}
	names := make([]string, len(wr.watches))
	for i, w := range wr.watches {
		names[i] = w.name
	}
	return names
}

// ByIndex are the present names of the interfaces that are there, by index.
func (wr *Watcher) ByIndex() map[uint32]string {
	names := map[uint32]string{}
	for _, w := range wr.watches {
		if w.index != 0 {
			names[uint32(w.index)] = w.name
		}
	}
	return names
}
