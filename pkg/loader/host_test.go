package loader

import (
	"log/slog"
	"net/netip"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/gen"
)

// Local ranges that do not fit change nothing in the kernel, and are logged once.
func TestLocalRangesThatDoNotFit(t *testing.T) {
	log := &logged{}
	k := newKernel(t, Config{Log: slog.New(slog.NewTextHandler(log, nil))})
	m := k.maps[gen.IotsenseMapLocalPrefixes]
	most := int(m.MaxEntries())
	builtIn := k.cfg.Local
	ranges := func(n int, third byte) []netip.Prefix {
		list := slices.Clone(builtIn)
		for i := range n {
			list = append(list, netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18 + byte(i>>8), third, byte(i)}), 32))
		}
		return list
	}
	listed := func() (n int) {
		var key gen.IotsensePrefixKey
		var value uint8
		it := m.Iterate()
		for it.Next(&key, &value) {
			n++
		}
		k.must(it.Err())
		return n
	}
	for _, tt := range []struct {
		name           string
		foreign        int // entries of the map beside the sensor's
		wanted         []netip.Prefix
		listed, errors int
	}{
		{"too many", 0, ranges(most+1, 0), 0, 1},
		{"others, too many", 0, ranges(most+1, 1), 0, 2},
		{"the kernel takes only the first", most - 5, ranges(10, 0), most - 5, 3},
		{"as many as fit", 0, ranges(most, 0), most, 3},
		{"one less", 0, ranges(most-1, 0), most - 1, 3},
		{"none", 0, builtIn, 0, 3},
	} {
		for i := range tt.foreign {
			k.must(m.Put(prefixKey(netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 32)), uint8(1)))
		}
		k.cfg.Local = tt.wanted
		for range 3 {
			k.must(k.followHost())
		}
		if got := listed(); got != tt.listed || log.lines("stay as they were") != tt.errors {
			t.Errorf("%s: %d ranges in the kernel, %d errors so far, want %d and %d", tt.name, got, log.lines("stay as they were"), tt.listed, tt.errors)
		}
		for i := range tt.foreign {
			k.must(m.Delete(prefixKey(netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 32))))
		}
	}
	if n := log.lines("have changed"); n != 3 {
		t.Errorf("%d changes logged, want 3: those that were made", n)
	}
}

// Local ranges can be others while the sensor runs, all but those that the programs are
// made with; what is refused changes nothing.
func TestSetLocal(t *testing.T) {
	var now Host
	lab := netip.MustParsePrefix("198.18.0.0/15")
	k := newKernel(t, Config{HostChanged: func(h Host) { now = h }})
	before := k.Host()
	wide := append(slices.Clone(before.Local), lab)
	k.must(k.SetLocal(wide, false))
	if !slices.Contains(now.Local, lab) || !k.Host().equal(now) {
		t.Errorf("%v, told %v", k.Host(), now)
	}
	var value uint8
	k.must(k.maps[gen.IotsenseMapLocalPrefixes].Lookup(prefixKey(lab), &value))
	tooMany := slices.Clone(wide)
	for i := range k.maps[gen.IotsenseMapLocalPrefixes].MaxEntries() + 1 {
		tooMany = append(tooMany, netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 32))
	}
	for _, refused := range [][]netip.Prefix{{lab}, tooMany} {
		if err := k.SetLocal(refused, false); err == nil || !slices.Equal(k.cfg.Local, wide) || !k.Host().equal(now) {
			t.Errorf("%d ranges: %v, %v", len(refused), err, k.Host())
		}
	}
	k.must(k.SetLocal(nil, false))
	if err := k.maps[gen.IotsenseMapLocalPrefixes].Lookup(prefixKey(lab), &value); err == nil || !k.Host().equal(before) {
		t.Errorf("%v: %v is still there", k.Host(), lab)
	}
}
