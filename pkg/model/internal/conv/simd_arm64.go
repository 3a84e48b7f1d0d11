//go:build !purego

package conv

import "golang.org/x/sys/cpu"

func detect() Path {
	if cpu.ARM64.HasASIMD {
		return NEON
	}
	return Go
}
