package sensor

// This file tells which devices may be one that goes by another random MAC now.

import (
	"cmp"
	"slices"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// suggestSame notes of devices which others they may be: they give the same host name, one of the
// two has a random MAC, and the one was silent before the other came. It is for the operator
// to say so.
func suggestSame(list []v1.DeviceVerdict) {
	byName := map[string][]*v1.DeviceVerdict{}
	for i := range list {
		if name := list[i].HostName(); name != "" {
			byName[name] = append(byName[name], &list[i])
		}
	}
	for _, same := range byName {
		slices.SortFunc(same, func(a, b *v1.DeviceVerdict) int {
			return cmp.Or(a.FirstSeen.Compare(b.FirstSeen.Time), cmp.Compare(a.Device, b.Device))
		})
		for i, later := range same {
			for _, d := range same[:i] {
				if (d.RandomMAC || later.RandomMAC) && d.LastSeen.Before(later.FirstSeen.Time) {
					d.SameAs = append(d.SameAs, later.Device)
					later.SameAs = append(later.SameAs, d.Device)
				}
			}
		}
	}
}
