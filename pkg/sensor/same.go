package sensor

// This file tells which devices may be one that goes by another random MAC now.

import (
	"cmp"
	"slices"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// A flood of invented devices may all say the same: of those before it a device is compared with
// so many, the nearest in time, and said to be so many of them at most.
const mostCompared, mostSame = 64, 8

// suggestSame notes of devices which others they may be: they say the same of themselves by
// which one is told from others ([v1.DeviceVerdict.SameBy]), one of the two has a random MAC,
// and the one was silent before the other came. It is for the operator to say so.
func suggestSame(list []v1.DeviceVerdict) {
	by := map[v1.Identity][]int{} // in list
	order := make([]int, len(list))
	for i := range list {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(list[a].FirstSeen.Compare(list[b].FirstSeen.Time), cmp.Compare(list[a].Device, list[b].Device))
	})
	for _, i := range order {
		later := &list[i]
		n := 0
		for _, identity := range later.Identities() {
			before := by[identity]
			for _, j := range slices.Backward(before[max(0, len(before)-mostCompared):]) {
				d := &list[j]
				if n < mostSame && (d.RandomMAC || later.RandomMAC) && d.LastSeen.Before(later.FirstSeen.Time) &&
					(identity.By == v1.SameClientID || !d.OtherClient(later)) && !slices.Contains(later.SameAs, d.Device) {
					d.SameAs, later.SameAs = append(d.SameAs, later.Device), append(later.SameAs, d.Device)
					n++
				}
			}
			by[identity] = append(before, i)
		}
	}
}
