package registry

// This file takes the operator's word on devices. A verdict changes none of it.

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/internal/plaintext"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
)

// ErrRefused is why what the operator says is not taken.
var ErrRefused = errors.New("refused")

// ErrUnknown is why what is said of a device that is not known is refused.
var ErrUnknown = fmt.Errorf("%w: the device is not known", ErrRefused)

// MaxLabel is how many bytes a label has at most.
const MaxLabel = 128

// MaxMACs is how many MACs are merged into a device at most.
const MaxMACs = 64

// word is what the operator has said of a device.
type word struct {
	macs     []string // others that are the device's; replaced, never changed
	label    string
	labelled int64 // us since the Unix epoch
	locked   bool
	ignored  bool
}

// spoken reports whether the operator has said something of a device.
func (d *device) spoken() bool {
	return d.word.label != "" || d.word.locked || d.word.ignored || len(d.word.macs) > 0
}

// names are all that a device goes by, its own first.
func (d *device) names() []string { return append([]string{d.name}, d.word.macs...) }

// seen finds a device that the operator speaks of.
func (r *Registry) seen(name string) (*device, error) {
	d := r.find(name)
	if d == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	return d, nil
}

// of finds a device that the operator speaks of, and may.
func (r *Registry) of(name string) (*device, error) {
	d, err := r.seen(name)
	if err == nil && d.word.locked {
		return nil, fmt.Errorf("%w: device %s is locked: unlock it before", ErrRefused, d.name)
	}
	return d, err
}

// Label gives a device a name, a path of a taxonomy or any other, at a time, us since the Unix
// epoch; an empty one takes it back. One that was not seen is known from then on.
func (r *Registry) Label(name, label string, at int64) error {
	if err := CheckLabel(label); err != nil && label != "" {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if label != "" {
		if err := r.introduce(name); err != nil {
			return err
		}
	}
	d, err := r.of(name)
	if err != nil {
		return err
	}
	v := r.verdict(d)
	e := v1.Event{Time: v1.UnixMicro(at), Event: v1.EventLabelled, Device: &v.Device, Label: v.Label, Path: v.Path}
	if label != "" {
		e.New = &label
	}
	if old := d.word.label; old != "" {
		e.Old = &old
	}
	d.word.label, d.word.labelled = label, at
	r.changedWord(d)
	r.note(e)
	return nil
}

// introduce makes a device known that the operator speaks of before it was seen.
func (r *Registry) introduce(name string) error {
	switch {
	case !IsName(name):
		return fmt.Errorf("%w: %q is neither a MAC nor ip:ADDR", ErrRefused, name)
	case r.devices[name] != nil:
	case r.kept.Len() >= r.cfg.MaxDevices:
		return fmt.Errorf("%w: %d devices are labelled, as many as are remembered: raise --max-devices", ErrRefused, r.kept.Len())
	default:
		r.add(name)
	}
	return nil
}

// changedWord has a device kept as what is said of it now wants.
func (r *Registry) changedWord(d *device) {
	d.changed = true
	to := r.unknown
	if d.in == r.known || d.in == r.kept && r.verdict(d).Known {
		to = r.known
	}
	r.move(d, to)
}

// Names are labels that the operator may want to give: what the model knows, by its paths, and
// what other devices were called, most at most.
func (r *Registry) Names(most int) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	for d := range r.each {
		if d.word.label != "" && len(list) < most {
			list = append(list, d.word.label)
		}
	}
	paths := r.cfg.Levels.Paths()
	list = append(list, paths[:min(len(paths), most-len(list))]...)
	slices.Sort(list)
	return slices.Compact(list)
}

// CheckLabel says what is wrong with a label.
func CheckLabel(label string) error {
	if err := plaintext.Check(label); err != nil {
		return fmt.Errorf("label: %w", err)
	}
	switch {
	case len(label) > MaxLabel:
		return fmt.Errorf("label of %d bytes: want %d at most", len(label), MaxLabel)
	case slices.ContainsFunc(strings.Split(label, "/"), func(part string) bool { return part == "" || strings.TrimSpace(part) != part }):
		return fmt.Errorf("label %q: want a name, or a path of them like TP-Link/plug/HS110", label)
	}
	return nil
}

// IsName reports whether a device can have a name: a MAC, or ip:ADDR, as verdicts have it.
func IsName(name string) bool {
	if mac, err := flows.ParseMAC(name); err == nil {
		return mac.String() == name
	}
	text, isIP := strings.CutPrefix(name, "ip:")
	addr, err := netip.ParseAddr(text)
	return isIP && err == nil && addr.Zone() == "" && addr.String() == text // a zone may be any text
}

// Merge makes one device of two: other's MACs are the device's from now on, and what is known
// of both is known of it.
func (r *Registry) Merge(name, other string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, err := r.of(name)
	if err != nil {
		return err
	}
	o, err := r.of(other)
	if err != nil {
		return err
	}
	if d == o {
		return fmt.Errorf("%w: %s and %s are one device already", ErrRefused, name, other)
	}
	if n := len(d.word.macs) + len(o.names()); n > MaxMACs {
		return fmt.Errorf("%w: %s would have %d MACs beside its own: want %d at most", ErrRefused, name, n, MaxMACs)
	}
	r.take(o)
	r.take(d)
	if o.stored {
		r.gone = append(r.gone, Gone{ID: o.id})
	}
	d.word.macs = slices.Concat(d.word.macs, o.names())
	if d.word.label == "" {
		d.word.label, d.word.labelled = o.word.label, o.word.labelled
	}
	d.absorb(o)
	if d.isIgnored() {
		d.void()
	}
	d.in = r.kept
	d.changed = true
	r.put(d)
	return nil
}

// absorb adds what is known of another device.
func (d *device) absorb(o *device) {
	if d.first == 0 || o.first != 0 && o.first < d.first {
		d.first = o.first
	}
	if o.last > d.last {
		d.Presence = o.Presence
	}
	if o.newest > d.newest {
		d.joined.last, d.joined.lastP = o.joined.last, o.joined.lastP
	}
	d.last, d.newest = max(d.last, o.last), max(d.newest, o.newest)
	if d.traffic == nil {
		d.traffic = o.traffic
	} else if o.traffic != nil {
		d.traffic.merge(o.traffic)
	}
	d.flows, d.ipv6, d.packets, d.bytes = d.flows+o.flows, d.ipv6+o.ipv6, d.packets+o.packets, d.bytes+o.bytes
	all := slices.SortedStableFunc(slices.Values(slices.Concat(d.addresses, o.addresses)), func(a, b address) int { return cmp.Compare(b.last, a.last) })
	d.addresses = nil
	for _, a := range all {
		if !slices.ContainsFunc(d.addresses, func(have address) bool { return have.addr == a.addr }) && len(d.addresses) < MaxAddresses {
			d.addresses = append(d.addresses, a)
		}
	}
	d.joined.Merge(o.joined.Mean)
	d.joined.windows += o.joined.windows
	if d.joined.votes == nil {
		d.joined.votes = map[int]int{}
	}
	for class, n := range o.joined.votes {
		d.joined.votes[class] += n
	}
}

// Split gives a MAC that was merged into a device back: it is one of its own again, of which
// nothing is known yet.
func (r *Registry) Split(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, err := r.of(name)
	if err != nil {
		return err
	}
	at := slices.Index(d.word.macs, name)
	switch {
	case at < 0 && len(d.word.macs) > 0:
		return fmt.Errorf("%w: %s is the device itself: split off %s", ErrRefused, name, strings.Join(d.word.macs, " or "))
	case at < 0:
		return fmt.Errorf("%w: device %s has no other MAC", ErrRefused, name)
	}
	d.word.macs = slices.Delete(slices.Clone(d.word.macs), at, at+1)
	delete(r.devices, name)
	r.anew(name)
	r.changedWord(d)
	return nil
}

// anew has devices judged as if they had had no window.
func (r *Registry) anew(names ...string) {
	if r.cfg.Anew == nil {
		return
	}
	for _, name := range names {
		r.cfg.Anew(name)
	}
}

// Lock keeps what the operator has said of a device as it is, until that is taken back.
func (r *Registry) Lock(name string, on bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, err := r.seen(name)
	if err != nil {
		return err
	}
	d.word.locked = on
	r.changedWord(d)
	return nil
}

// Ignore has a device counted and not judged, from a time, us since the Unix epoch, until that is
// taken back; then it is judged anew. One that was not seen is known from then on.
func (r *Registry) Ignore(name string, on bool, at int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if on {
		if err := r.introduce(name); err != nil {
			return err
		}
	}
	d, err := r.of(name)
	switch {
	case err != nil:
		return err
	case d.ignored && !on:
		return fmt.Errorf("%w: device %s is ignored by the sensor's own --ignore", ErrRefused, d.name)
	case d.isIgnored() == on:
		return nil
	}
	d.word.ignored = on
	d.void()
	r.anew(d.names()...)
	v := r.verdict(d)
	now := saidIn(&v)
	r.note(v1.Event{Time: v1.UnixMicro(at), Event: string(v.State), Device: &v.Device, Old: d.said.text(), New: now.text()})
	d.said = now
	r.changedWord(d)
	return nil
}

// isIgnored reports whether the device is not judged.
func (d *device) isIgnored() bool { return d.ignored || d.word.ignored }

// Ignores reports whether a device is not judged.
func (r *Registry) Ignores(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.find(name)
	return d != nil && d.isIgnored()
}

// Erase forgets a device and all that happened to it, and returns the names it went by. Of one
// that had to make room there may be what happened, which goes; [ErrUnknown] where there is not
// even that.
func (r *Registry) Erase(name string) (names []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, err := r.of(name)
	switch {
	case err == nil:
		names = d.names()
		r.drop(d, true)
	case errors.Is(err, ErrUnknown) && IsName(name):
		names = []string{name}
		r.gone = append(r.gone, Gone{Names: names, Said: true})
	default:
		return nil, err
	}
	kept := r.events[:0]
	for _, e := range r.events {
		if e.Device == nil || !slices.Contains(names, *e.Device) {
			kept = append(kept, e)
		}
	}
	if len(kept) < len(r.events) {
		err = nil
	}
	clear(r.events[len(kept):])
	r.events = kept
	return names, err
}
