//go:build !purego

package conv

import "golang.org/x/sys/cpu"

func detect() Path {
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		return AVX2
	}
	return Go
}
