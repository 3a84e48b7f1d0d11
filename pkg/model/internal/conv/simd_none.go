//go:build purego || !(amd64 || arm64)

package conv

// This file stands in for the vector code where there is none. None of it is
// reached: the only path is plain Go.

func detect() Path { return Go }

func correlateOne(dst []float32, xs, ws [][]float32, taps int) { panic(noVector) }

func correlatePair(dst0, dst1 []float32, xs [][]float32, w []float32, taps int, bias0, bias1 float32) {
	panic(noVector)
}

func correlateRows(dst0, dst1 []float32, xs [][]float32, cols []int, w, shares []float32, planes, taps int, bias0, bias1 float32) {
	panic(noVector)
}

func dense(dst, w []float32, index []int32, value []float32) { panic(noVector) }

func list(index []int32, value, x []float32, first, stride int) int { panic(noVector) }

func maxInto(dst, src []float32) { panic(noVector) }

func poolThree(dst, src []float32) { panic(noVector) }

func scaleOctets(dst []float32, src []byte) { panic(noVector) }

func strongest(best *[ByteFilters]float32, table *ByteTable, rows []uint32, positions int) {
	panic(noVector)
}

const noVector = "conv: this build has no vector code"
