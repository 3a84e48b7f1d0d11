// Package loops holds the inner loops of training: slices of numbers in, slices
// of numbers out, no allocation, no goroutine. Each is written in plain Go and,
// where the processor has AVX2 and FMA, in assembly. Which of the two runs
// changes the last bits of a result; the length of a slice or the number of
// threads never does.
package loops

import "math"

// Lanes is the number of values that a loop works on at once. Lengths that must
// be a multiple of it say so.
const Lanes = 8

// KeepMax raises best to x where x is larger and kept, and notes where from:
// column j of x has the place first+j. Values are compared as the bits of
// floats that are 0 or more; a negative x never wins. Bit j%8 of keep[j/8] says
// whether column j is kept. len(x) is a multiple of [Lanes]; best, from and
// 8*keep are at least as long.
func KeepMax(best []float32, from []int32, x []float32, keep []byte, first int32) {
	n := len(x)
	best, from, keep = best[:n], from[:n], keep[:n/Lanes]
	if n == 0 {
		return
	}
	if fast {
		keepMaxAVX2(&best[0], &from[0], &x[0], &keep[0], first, n)
		return
	}
	for j, v := range x {
		kept := -int32(keep[j/Lanes] >> (j % Lanes) & 1)
		if b := int32(math.Float32bits(v)) & kept; b > int32(math.Float32bits(best[j])) {
			best[j], from[j] = math.Float32frombits(uint32(b)), first+int32(j)
		}
	}
}

// Scatter sends the gradient v of one output column of a correlation back: to
// the gradient gw of its kernel w, and to the gradient d of its input x. The
// kernel has len(w)/taps rows of taps values, a multiple of [Lanes]; row p meets
// x and d at p*stride.
func Scatter(gw, d, x, w []float32, stride, taps int, v float32) {
	rows := len(w) / taps
	if rows == 0 {
		return
	}
	reach := (rows-1)*stride + taps
	gw, d, x = gw[:rows*taps], d[:reach], x[:reach]
	if fast {
		scatterAVX2(&gw[0], &d[0], &x[0], &w[0], stride, taps, rows, v)
		return
	}
	for p := range rows {
		g, k := gw[p*taps:][:taps], w[p*taps:][:taps]
		dp, xp := d[p*stride:][:taps], x[p*stride:][:taps]
		for t := range taps {
			g[t] += v * xp[t]
			dp[t] += v * k[t]
		}
	}
}

// MaskSum sets d to 0 where a is, and returns the sum of what is left. The
// lengths are equal and a multiple of [Lanes].
func MaskSum(d, a []float32) float32 {
	a = a[:len(d)]
	if len(d) == 0 {
		return 0
	}
	if fast {
		return maskSumAVX2(&d[0], &a[0], len(d))
	}
	var sum [Lanes]float32
	for j, v := range a {
		if v == 0 {
			d[j] = 0
		}
		sum[j%Lanes] += d[j]
	}
	return (sum[0] + sum[4]) + (sum[1] + sum[5]) + (sum[2] + sum[6]) + (sum[3] + sum[7])
}

// block is the number of kernel columns that [KernelGradient] sums at once.
const block = 40

// KernelGradient adds to g the gradient of a kernel row: g[t] += sum over j of
// d[j]*x[j+t]. len(d) is a multiple of [Lanes]; x has len(d)+len(g) values.
func KernelGradient(g, d, x []float32) {
	n := len(d)
	if n == 0 {
		return
	}
	x = x[:n+len(g)]
	t := 0
	if fast {
		for ; t+block <= len(g); t += block {
			kernelGradientAVX2(&g[t], &d[0], &x[t], n)
		}
	}
	for ; t < len(g); t++ {
		var even, odd float32
		xt := x[t:]
		for j := 0; j < n; j += 2 {
			even += d[j] * xt[j]
			odd += d[j+1] * xt[j+1]
		}
		g[t] += even + odd
	}
}

// AdamStep are the factors of one step of Adam (Kingma and Ba, algorithm 1).
type AdamStep struct {
	Beta1, OneMinusBeta1 float32
	Beta2, OneMinusBeta2 float32
	Rate                 float32 // learning rate over 1-Beta1^t
	Scale                float32 // 1 over the root of 1-Beta2^t
	Epsilon              float32
}

// Adam moves the weights w against the gradient g, with its running mean m and
// mean square v, and sets g to 0. All four are as long as each other.
func Adam(s *AdamStep, w, m, v, g []float32) {
	n := len(w)
	m, v, g = m[:n], v[:n], g[:n]
	i := 0
	if whole := n / Lanes * Lanes; fast && whole > 0 {
		adamAVX2(s, &w[0], &m[0], &v[0], &g[0], whole)
		i = whole
	}
	for ; i < n; i++ {
		m[i] = s.Beta1*m[i] + s.OneMinusBeta1*g[i]
		v[i] = s.Beta2*v[i] + s.OneMinusBeta2*(g[i]*g[i])
		root := float32(math.Sqrt(float64(v[i])))
		w[i] -= s.Rate * m[i] / (root*s.Scale + s.Epsilon)
		g[i] = 0
	}
}
