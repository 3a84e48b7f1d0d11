package page

// This file puts devices in the order that the reader wants.

import (
	"cmp"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// column is one that a list can be sorted by.
type column struct {
	Name, key string
	compare   func(a, b *v1.DeviceVerdict) int
}

// columns are those of a list, in their order. The one without a key has what wants somebody's
// eyes first.
var columns = []column{
	{"Device", "name", func(a, b *v1.DeviceVerdict) int {
		return strings.Compare(strings.ToLower(cmp.Or(Name(a), a.Device)), strings.ToLower(cmp.Or(Name(b), b.Device)))
	}},
	{"What it is", "what", func(a, b *v1.DeviceVerdict) int {
		x, _ := what(&a.Verdict)
		y, _ := what(&b.Verdict)
		return strings.Compare(x, y)
	}},
	{"Sure", "sure", func(a, b *v1.DeviceVerdict) int { return cmp.Compare(surely(a), surely(b)) }},
	{"State", "", StrangersFirst},
	{"Maker", "maker", func(a, b *v1.DeviceVerdict) int { return strings.Compare(maker(a), maker(b)) }},
	{"Last seen", "seen", func(a, b *v1.DeviceVerdict) int { return b.LastSeen.Compare(a.LastSeen.Time) }},
	{"Traffic", "traffic", func(a, b *v1.DeviceVerdict) int { return cmp.Compare(b.Bytes, a.Bytes) }},
}

// StrangersFirst compares devices for a list that has those first which want somebody's eyes,
// the newest of them before the others.
func StrangersFirst(a, b *v1.DeviceVerdict) int {
	return cmp.Or(cmp.Compare(slices.Index(ranked, a.State), slices.Index(ranked, b.State)), b.FirstSeen.Compare(a.FirstSeen.Time))
}

// surely is how sure a verdict is, for who sorts by that: the least sure first.
func surely(d *v1.DeviceVerdict) float64 {
	switch _, sure := what(&d.Verdict); {
	case sure != nil:
		return *sure
	case d.State == v1.Unknown:
		return 0
	}
	return 2
}

// maker is that of a device, behind all others where it is not known.
func maker(d *v1.DeviceVerdict) string {
	if d.Vendor == nil {
		return "\U0010ffff"
	}
	return strings.ToLower(*d.Vendor)
}

// order is a column as its head has it.
type order struct {
	Name, Link string
	Chosen     bool
}

// sort sorts devices, and says how else they could be.
func (f Filter) sort(found []*v1.DeviceVerdict) (heads []order) {
	by := columns[slices.IndexFunc(columns, func(c column) bool { return c.key == "" })]
	for _, c := range columns {
		if c.key == f.Sort {
			by = c
		}
	}
	slices.SortStableFunc(found, by.compare)
	for _, c := range columns {
		heads = append(heads, order{c.Name, Filter{f.Text, f.State, c.key}.query(), c.key == by.key})
	}
	return heads
}
