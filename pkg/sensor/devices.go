package sensor

// This file lists devices with what flows that are still open tell of them: a
// record comes when its flow has ended, a minute after its first packet.

import (
	"cmp"
	"errors"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/registry"
)

// Devices implements api.Source.
func (s *Sensor) Devices() ([]v1.DeviceVerdict, error) {
	open, _, err := s.kernel.OpenFlows(math.MaxInt)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	locals := s.locals // is replaced, never changed
	s.mu.Unlock()
	l := listing{
		list: s.classifier.Registry().Devices(), most: cmp.Or(s.cfg.MaxDevices, registry.DefaultMaxDevices),
		at: map[string]int{}, ignored: s.cfg.Ignored,
	}
	for i := range l.list {
		for _, mac := range l.list[i].MACs {
			l.at[mac] = i
		}
	}
	for i := range open {
		f := &open[i]
		first, last := s.kernel.Epoch(f.First), s.kernel.Epoch(f.Last)
		for _, end := range locals.Devices(f.Life.Key, s.cfg.Loader.Direction) {
			d := l.seen(end.Name, end.End.Addr, first, last)
			if sent, all := sentBytes(f, end), f.Bytes[0]+f.Bytes[1]; d != nil {
				d.Open[0], d.Open[1] = d.Open[0]+sent, d.Open[1]+all-sent
			}
		}
	}
	for i := range l.list {
		d := &l.list[i]
		s.early.overlay(&d.Verdict)
		s.addFacts(&d.Verdict)
		d.Call()
	}
	suggestSame(l.list)
	slices.SortFunc(l.list, func(a, b v1.DeviceVerdict) int { return strings.Compare(a.Device, b.Device) })
	return l.list, nil
}

// addFacts tells in a verdict what the device says of itself.
func (s *Sensor) addFacts(v *v1.Verdict) {
	if s.facts == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.facts.Of(v.Device).Tell(v)
	for _, mac := range v.Others {
		var o v1.Verdict
		s.facts.Of(mac).Tell(&o)
		for kind, value := range o.Facts {
			if v.Facts[kind] == "" {
				v.Facts[kind] = value
			}
		}
	}
}

var errNoFacts = errors.New("this sensor keeps no facts: it runs with --no-facts")

// Peers implements api.Source.
func (s *Sensor) Peers(device string) (v1.Peers, error) {
	if s.facts == nil {
		return v1.Peers{}, errNoFacts
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.classifier.Registry().Verdict(device)
	return s.facts.Peers(append([]string{v.Device}, v.Others...)...), nil
}

// Facts implements api.Source.
func (s *Sensor) Facts(device string) ([]v1.Fact, error) {
	if s.facts == nil {
		return nil, errNoFacts
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := []v1.Fact{}
	v := s.classifier.Registry().Verdict(device)
	for _, mac := range append([]string{v.Device}, v.Others...) {
		lines = append(lines, s.facts.Of(mac).Lines(mac, nil)...)
	}
	return lines, nil
}

// listing is a list of devices that grows to the most there may be.
type listing struct {
	list    []v1.DeviceVerdict
	at      map[string]int // by device
	most    int
	ignored func(*flows.Record) bool
}

// seen notes a device that was seen with an address from first to last, us since the
// Unix epoch; nil: it is one too many.
func (l *listing) seen(device string, addr netip.Addr, first, last int64) *v1.DeviceVerdict {
	i, listed := l.at[device]
	if !listed {
		if len(l.list) >= l.most {
			return nil
		}
		i = len(l.list)
		l.at[device] = i
		l.list = append(l.list, l.gathering(device, addr, first))
	}
	d := &l.list[i]
	if t := v1.UnixMicro(first); d.FirstSeen.IsZero() || t.Before(d.FirstSeen.Time) { // flows come in no order
		d.FirstSeen = t
	}
	if t := v1.UnixMicro(last); t.After(d.LastSeen.Time) {
		d.LastSeen = t
	}
	if text := addr.String(); !addr.IsUnspecified() && !slices.Contains(d.Addresses, text) {
		all := slices.Insert(d.Addresses, 0, text)
		d.Addresses = all[:min(len(all), registry.MaxAddresses)]
	}
	return d
}

// sentBytes are those of a flow that the device at an end of it sent.
func sentBytes(f *flows.Close, end flows.DeviceEnd) uint64 {
	if end.A {
		return f.Bytes[0]
	}
	return f.Bytes[1]
}

// gathering is a device without a record yet.
func (l *listing) gathering(device string, addr netip.Addr, first int64) v1.DeviceVerdict {
	d := v1.DeviceVerdict{
		Verdict:   v1.Verdict{Device: device, State: v1.Gathering, Votes: map[string]int{}},
		Addresses: []string{}, SameAs: []string{}, FirstSeen: v1.UnixMicro(first), MACs: []string{device},
		RandomMAC: registry.RandomMAC(device),
	}
	if l.ignored != nil && l.ignored(&flows.Record{Device: device, DeviceAddr: addr}) {
		d.State = v1.Ignored
	}
	return d
}
