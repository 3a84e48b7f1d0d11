//go:build !purego

package loops

import "golang.org/x/sys/cpu"

// fast: the assembly may run.
var fast = cpu.X86.HasAVX2 && cpu.X86.HasFMA

//go:noescape
func keepMaxAVX2(best *float32, from *int32, x *float32, keep *byte, first int32, n int)

//go:noescape
func scatterAVX2(gw, d, x, w *float32, stride, taps, rows int, v float32)

//go:noescape
func maskSumAVX2(d, a *float32, n int) float32

//go:noescape
func kernelGradientAVX2(grad, d, x *float32, n int)

//go:noescape
func adamAVX2(s *AdamStep, w, m, v, grad *float32, n int)

//go:noescape
func tileAVX2(k int, a *float32, row, column int, b, c *float32, ldc int)
