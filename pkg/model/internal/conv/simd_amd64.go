//go:build !purego

package conv

import "golang.org/x/sys/cpu"

func detect() Path {
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		return AVX2
	}
	return Go
}

// compact says, for each set of lanes, which lanes they are, in order.
var compact = func() (order [1 << Lanes][Lanes]uint8) {
	for set := range order {
		n := 0
		for lane := range Lanes {
			if set>>lane&1 != 0 {
				order[set][n] = uint8(lane)
				n++
			}
		}
	}
	return order
}()

// list appends the values of x that are not zero to value and their rows, first,
// first+stride, ..., to index, and returns their number. len(x) is a multiple of
// Lanes and not 0; index and value have room for all of x and Lanes more.
func list(index []int32, value, x []float32, first, stride int) int {
	return listLanes(index, value, x, first, stride, &compact)
}

//go:noescape
func listLanes(index []int32, value, x []float32, first, stride int, order *[1 << Lanes][Lanes]uint8) int
