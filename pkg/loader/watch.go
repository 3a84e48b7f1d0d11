package loader

// This file keeps the programs on the configured interfaces, whatever happens to
// these, and counts for how long they were off.

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// lookEvery is how often interfaces are looked at when the kernel tells of no change.
const lookEvery = time.Second

// watch is one interface to watch: with our programs on it, or without for now. A
// configured name has more than one when the interface that had it was renamed and
// another one came.
type watch struct {
	configured string      // the name that was asked for
	name       string      // the interface's name now
	index      int         // 0: waiting for the interface
	at         *attachment // nil: our programs are not on it

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

// openWatches attaches to every configured interface that is there; the others are
// waited for.
func (s *Kernel) openWatches() error {
	return s.network.inside(func() error {
		for _, name := range s.cfg.Interfaces {
			l, err := s.network.find(name)
			if err != nil {
				return err
			}
			w := &watch{configured: name, name: name}
			s.watches = append(s.watches, w)
			if l == nil {
				s.log.Warn("interface does not exist, waiting for it (`ip link` lists those that do)", "interface", name)
				continue
			}
			if other := s.watchAt(l.Attrs().Index); other != nil {
				return fmt.Errorf("interface %s is named twice, as %s and as %s: give it once", l.Attrs().Name, other.configured, name)
			}
			if err := s.attachWatch(w, l); err != nil {
				return err
			}
		}
		return nil
	})
}

// watchAt is that of an interface; nil: there is none.
func (s *Kernel) watchAt(index int) *watch {
	for _, w := range s.watches {
		if index != 0 && w.index == index {
			return w
		}
	}
	return nil
}

// waiting is the watch of a configured name that waits for its interface, a new one
// if the others have theirs.
func (s *Kernel) waiting(name string) *watch {
	for _, w := range s.watches {
		if w.configured == name && w.index == 0 {
			return w
		}
	}
	w := &watch{configured: name}
	s.watches = append(s.watches, w)
	return w
}

// attachWatch attaches to the interface that w waits for, or was taken off.
func (s *Kernel) attachWatch(w *watch, l netlink.Link) (err error) {
	now := time.Now()
	if w.index == 0 {
		w.good = now
	}
	w.index, w.name = l.Attrs().Index, l.Attrs().Name
	if w.at, err = s.attach(l); err != nil {
		w.lose()
		return err
	}
	if w.off.IsZero() {
		s.log.Info("attached", "interface", w.name, "hook", w.at.hook)
	} else {
		s.log.Info("attached again", "interface", w.name, "hook", w.at.hook, "blind_s", now.Sub(w.off).Seconds())
	}
	w.regain(now)
	return nil
}

// look makes the best of what has changed: it detaches from interfaces that are
// gone, puts back what others have taken off, attaches to configured interfaces
// that are (back) there, stays with those that have another name now, and takes
// over new addresses. gone are interfaces that went since the last look, by index:
// another one can have got the index of an old one since.
func (s *Kernel) look(gone map[int]bool) error {
	for _, w := range s.watches {
		if w.index != 0 {
			s.leave(w, gone[w.index])
		}
	}
	s.forgetSpare()
	err := s.network.inside(func() error {
		for _, w := range s.watches {
			s.check(w)
		}
		s.retry()
		s.findNew()
		return nil
	})
	if err != nil {
		s.log.Error("interfaces cannot be watched again", "error", err)
	}
	return s.followHost()
}

// leave notes that an interface is gone or has another name.
func (s *Kernel) leave(w *watch, gone bool) {
	l, err := s.network.LinkByIndex(w.index)
	if err == nil && !gone {
		s.rename(w, l.Attrs().Name)
		return
	}
	if !gone && !errors.As(err, &netlink.LinkNotFoundError{}) {
		return // not known now
	}
	s.log.Warn("interface is gone, waiting for it", "interface", w.name)
	if err := errors.Join(w.detach(), s.freeDirections(w.index)); err != nil {
		s.log.Warn("left something behind", "error", err)
	}
	w.regain(time.Now())
	w.index, w.name = 0, w.configured
}

// detach takes our programs off the interface, if they are on it.
func (w *watch) detach() error {
	if w.at == nil {
		return nil
	}
	err := w.at.detach()
	w.at = nil
	return err
}

// forgetSpare drops a watch that waits for an interface whose name has another one.
func (s *Kernel) forgetSpare() {
	var kept []*watch
	for i, w := range s.watches {
		same := func(o *watch) bool { return o.configured == w.configured }
		if w.index == 0 && (slices.ContainsFunc(kept, same) || slices.ContainsFunc(s.watches[i+1:], same)) {
			continue
		}
		kept = append(kept, w)
	}
	s.watches = kept
}

// rename notes an interface's new name. The programs stay on it: whoever renames
// an interface does not mean to hide it.
func (s *Kernel) rename(w *watch, name string) {
	if name == w.name {
		return
	}
	s.log.Warn("interface has a new name, still watched", "interface", name, "before", w.name)
	w.name = name
}

// check looks whether the programs are still on an interface. What is left of them
// comes off, so that all go on again together.
func (s *Kernel) check(w *watch) {
	if w.at == nil {
		return
	}
	missing := w.at.missing()
	if len(missing) == 0 {
		w.good = time.Now()
		s.checkOrder(w)
		return
	}
	w.lose()
	s.log.Warn("somebody has taken the sensor off the interface, attaching again",
		"interface", w.name, "hook", w.at.hook, "missing", strings.Join(missing, ", "))
	if err := w.detach(); err != nil {
		s.log.Warn("left something behind", "error", err)
	}
}

// checkOrder warns when a program of another's goes before ours, which did not when
// ours was attached.
func (s *Kernel) checkOrder(w *watch) {
	after := strings.Join(w.at.behind(), ", ")
	if after != "" && after != w.after {
		s.log.Warn("another program goes before the sensor's now: what it drops, redirects or passes by itself is not seen; a restart of the sensor puts it first again",
			"interface", w.name, "behind", after)
	}
	w.after = after
}

// retry attaches to interfaces that are there without our programs.
func (s *Kernel) retry() {
	for _, w := range s.watches {
		if w.index == 0 || w.at != nil {
			continue
		}
		if l, err := s.network.LinkByIndex(w.index); err == nil {
			s.tryAttach(w, l)
		}
	}
}

// findNew attaches to interfaces that have a configured name and no watch.
func (s *Kernel) findNew() {
	for _, name := range s.cfg.Interfaces {
		if l, err := s.network.find(name); err == nil && l != nil && s.watchAt(l.Attrs().Index) == nil {
			s.tryAttach(s.waiting(name), l)
		}
	}
}

// tryAttach is attachWatch where a failure is logged, once while it stays the same.
func (s *Kernel) tryAttach(w *watch, l netlink.Link) {
	if err := s.attachWatch(w, l); err != nil && err.Error() != w.said {
		w.said = err.Error()
		s.log.Error("interface cannot be watched, tried again each second", "error", err)
	}
}

func (s *Kernel) detachAll() error {
	var err error
	for _, w := range s.watches {
		err = errors.Join(err, w.detach())
		w.regain(time.Now())
	}
	return err
}

// interfaces lists the watches in the order of the configuration.
func (s *Kernel) interfaces() []v1.Interface {
	var list []v1.Interface
	for _, name := range s.cfg.Interfaces {
		for _, w := range s.watches {
			if w.configured != name {
				continue
			}
			i := v1.Interface{Name: w.name, Hook: string(s.cfg.Hook), Gaps: w.gaps, GapS: w.blindUntil(time.Now()).Seconds()}
			if w.at != nil {
				i.Hook, i.Attached = string(w.at.hook), true
			}
			list = append(list, i)
		}
	}
	return list
}
