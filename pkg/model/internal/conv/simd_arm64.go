//go:build !purego

package conv

import "golang.org/x/sys/cpu"

func detect() Path {
	if cpu.ARM64.HasASIMD {
		return NEON
	}
	return Go
}

// list is listGo: NEON has no instruction that packs lanes.
func list(index []int32, value, x []float32, first, stride int) int {
	return listGo(index, value, x, first, stride)
}
