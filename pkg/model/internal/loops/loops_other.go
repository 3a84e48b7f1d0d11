//go:build !amd64 || purego

package loops

// fast: the assembly may run. There is none here.
var fast = false

func keepMaxAVX2(*float32, *int32, *float32, *byte, int32, int)  {}
func scatterAVX2(_, _, _, _ *float32, _, _, _ int, _ float32)    {}
func maskSumAVX2(_, _ *float32, _ int) float32                   { return 0 }
func kernelGradientAVX2(_, _, _ *float32, _ int)                 {}
func adamAVX2(_ *AdamStep, _, _, _, _ *float32, _ int)           {}
func tileAVX2(_ int, _ *float32, _, _ int, _, _ *float32, _ int) {}
