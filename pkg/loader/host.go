package loader

// This file keeps what the sensor's own machine is on the watched interfaces: its
// addresses there, and which ranges are local because of them. Both change while
// the sensor runs (DHCP, a re-created interface).

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/iotsense/iotsense/gen"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/loader/object"
)

// Host is what the sensor's machine is on the watched interfaces.
type Host struct {
	Local []netip.Prefix             // Config.Local and, with Config.LocalInterfaces, their networks; sorted
	Own   map[flows.MAC][]netip.Addr // the addresses behind the MAC of each interface; sorted
}

func (h Host) equal(other Host) bool {
	return slices.Equal(h.Local, other.Local) && maps.EqualFunc(h.Own, other.Own, slices.Equal[[]netip.Addr])
}

// Host is what it is now; Config.HostChanged says when that changes.
func (k *Kernel) Host() Host {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.host
}

// openHost writes the local ranges at the start.
func (k *Kernel) openHost() error {
	k.builtIn = object.PrivateLocal(k.cfg.Local)
	k.host = k.readHost()
	listed, err := k.prefixes()
	if err != nil {
		return err
	}
	return k.setPrefixes(listed, k.listedPrefixes(k.host.Local))
}

// prefixes are the local ranges that the programs look up: those of the sensor before.
func (k *Kernel) prefixes() (list []netip.Prefix, err error) {
	var key gen.IotsensePrefixKey
	var value uint8
	it := k.maps[gen.IotsenseMapLocalPrefixes].Iterate()
	for it.Next(&key, &value) {
		a := netip.AddrFrom16(key.Addr)
		if key.Version == 4 {
			a = netip.AddrFrom4([4]byte(key.Addr[:4]))
		}
		list = append(list, netip.PrefixFrom(a, int(key.Bits)-32))
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read the local ranges: %w", err)
	}
	return list, nil
}

// SetLocal replaces Config.Local (nil: the default) and Config.LocalInterfaces. An error
// leaves what was.
func (k *Kernel) SetLocal(local []netip.Prefix, interfaces bool) error {
	if local == nil {
		local = flows.DefaultLocal()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.builtIn && !object.PrivateLocal(local) {
		return errors.New("the private ranges are built into the programs that run, and go with these alone: it takes a restart to leave them out")
	}
	before, had := k.cfg.Local, k.cfg.LocalInterfaces
	k.cfg.Local, k.cfg.LocalInterfaces = local, interfaces
	err := k.changeHost(k.readHost())
	if err != nil {
		k.cfg.Local, k.cfg.LocalInterfaces = before, had
	}
	return err
}

// followHost takes over what has changed of the interfaces.
func (k *Kernel) followHost() error {
	before, now := k.host, k.readHost()
	if now.equal(before) {
		return nil
	}
	var unfit unfitError
	if err := k.changeHost(now); errors.As(err, &unfit) {
		if !slices.Equal(now.Local, k.unfit) {
			k.log.Error("the local ranges stay as they were", "error", err)
		}
		k.unfit = now.Local
		return nil
	} else if err != nil {
		return err
	}
	k.unfit = nil
	if slices.Equal(now.Local, before.Local) {
		k.log.Info("the sensor's own addresses have changed", "own", now.Own, "before", before.Own)
	} else {
		k.log.Info("the local ranges have changed", "local", now.Local, "before", before.Local)
	}
	return nil
}

// unfitError says that local ranges cannot be added.
type unfitError struct{ error }

// changeHost makes the programs and the sink know of another Host. Every event is delivered
// under the Host that its packet was parsed under, or one that has the packet's range too:
// ranges that come are in the kernel first, those that go leave it last.
func (k *Kernel) changeHost(now Host) error {
	before := k.host
	old, wanted := k.listedPrefixes(before.Local), k.listedPrefixes(now.Local)
	both := slices.Concat(old, without(wanted, old))
	if err := k.setPrefixes(old, both); err != nil {
		return unfitError{err}
	}
	if err := k.grace.wait(); err != nil {
		return err
	}
	if k.sink != nil { // else nobody takes events yet
		if err := k.readAside(); err != nil {
			return err
		}
	}
	k.host = now
	if k.cfg.HostChanged != nil {
		k.cfg.HostChanged(now)
	}
	return k.setPrefixes(both, wanted)
}

// readHost asks for the addresses of every configured interface that is there.
func (k *Kernel) readHost() Host {
	h := Host{Local: slices.Clone(k.cfg.Local), Own: map[flows.MAC][]netip.Addr{}}
	for _, name := range k.watcher.Names() {
		l, err := k.network.LinkByName(name)
		if err != nil {
			continue
		}
		list, err := k.network.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			k.log.Warn("addresses cannot be read", "interface", name, "error", err)
			continue
		}
		var mac flows.MAC
		copy(mac[:], l.Attrs().HardwareAddr)
		own := h.Own[mac]
		for _, a := range list {
			p, err := netip.ParsePrefix(a.IPNet.String())
			if err != nil {
				continue
			}
			if k.cfg.LocalInterfaces {
				h.Local = append(h.Local, p.Masked())
			}
			own = append(own, p.Addr())
		}
		if !mac.IsZero() {
			h.Own[mac] = own
		}
	}
	slices.SortFunc(h.Local, netip.Prefix.Compare)
	h.Local = slices.Compact(h.Local)
	for _, addrs := range h.Own {
		slices.SortFunc(addrs, netip.Addr.Compare)
	}
	return h
}

// listedPrefixes are those of the local ranges that the programs have to look up.
func (k *Kernel) listedPrefixes(local []netip.Prefix) []netip.Prefix {
	var list []netip.Prefix
	for _, p := range local {
		if !k.builtIn || !covered(p, flows.DefaultLocal()) {
			list = append(list, p.Masked())
		}
	}
	return list
}

// setPrefixes changes the local ranges that the programs look up, and how many of
// each version they know of: without any they do not look. Where one cannot be
// added, none is.
func (k *Kernel) setPrefixes(before, after []netip.Prefix) error {
	m, added := k.maps[gen.IotsenseMapLocalPrefixes], without(after, before)
	if most := int(m.MaxEntries()); len(after) > most {
		return fmt.Errorf("%d local ranges at once beside the built-in ones, want at most %d", len(after), most)
	}
	for i, p := range added {
		if err := m.Put(prefixKey(p), uint8(1)); err != nil {
			err = fmt.Errorf("local range %v: %w", p, err)
			for _, p := range added[:i] {
				err = errors.Join(err, m.Delete(prefixKey(p)))
			}
			return err
		}
	}
	for _, p := range without(before, after) {
		if err := m.Delete(prefixKey(p)); err != nil {
			return fmt.Errorf("remove local range %v: %w", p, err)
		}
	}
	v4, v6 := uint32(0), uint32(len(after))
	for _, p := range after {
		if p.Addr().Is4() {
			v4, v6 = v4+1, v6-1
		}
	}
	if err := errors.Join(k.variables["prefixes_v4"].Set(v4), k.variables["prefixes_v6"].Set(v6)); err != nil {
		return fmt.Errorf("local ranges: %w", err)
	}
	return nil
}

func without(list, others []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(list), func(p netip.Prefix) bool { return slices.Contains(others, p) })
}

func prefixKey(p netip.Prefix) gen.IotsensePrefixKey {
	if a := p.Addr(); a.Is4() {
		key := gen.IotsensePrefixKey{Bits: uint32(32 + p.Bits()), Version: 4}
		b := a.As4()
		copy(key.Addr[:], b[:])
		return key
	}
	return gen.IotsensePrefixKey{Bits: uint32(32 + p.Bits()), Version: 6, Addr: p.Addr().As16()}
}
