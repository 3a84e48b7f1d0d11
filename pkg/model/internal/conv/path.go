package conv

// This file says which implementations of the loops there are.

// Path is one implementation of the loops.
type Path uint8

const (
	Go   Path = iota // plain Go, on every CPU
	AVX2             // amd64 with AVX2 and FMA
	NEON             // arm64
)

// String is the path's name in `bench inference`.
func (p Path) String() string {
	switch p {
	case AVX2:
		return "avx2"
	case NEON:
		return "neon"
	}
	return "go"
}

var fastest = detect()

// Fastest is the path to use: vector code where this CPU has what it needs. A
// build with the tag purego has plain Go only.
func Fastest() Path { return fastest }

// Paths are the paths that run here, plain Go first.
func Paths() []Path {
	if fastest == Go {
		return []Path{Go}
	}
	return []Path{Go, fastest}
}
