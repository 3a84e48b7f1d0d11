package conv

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// byteTable is a random table whose last symbol adds nothing.
func byteTable(r *rand.Rand) *ByteTable {
	t := &ByteTable{}
	copy(t[:], random(r, len(t)))
	for tap := range ByteTaps {
		clear(t.At(tap, Symbols-1)[:])
	}
	return t
}

// The strongest sums are those of the definition, on every path with the same bits,
// at every number of positions; negative ones never win.
func TestStrongest(t *testing.T) {
	onEachPath(t, func(t *testing.T, p Path) {
		r := rand.New(rand.NewPCG(1, 1))
		table := byteTable(r)
		for _, n := range []int{0, 1, 2, 3, 7, 8, 9, 100, 3000} {
			rows := make([]uint32, ByteReach(Positions(n)))
			for i := range rows {
				symbol := Symbols - 1
				if i < n {
					symbol = r.IntN(Symbols - 1)
				}
				rows[i] = Row(symbol)
			}
			var got, want [ByteFilters]float32
			got[3], want[3] = 2, 2
			for at := 0; at < n; at += ByteStride {
				for f := range want {
					sum := table[int(rows[at])+f]
					for tap := 1; tap < ByteTaps; tap++ {
						sum += table[tap*Symbols*ByteFilters+int(rows[at+tap])+f]
					}
					want[f] = max(want[f], sum)
				}
			}
			p.Strongest(&got, table, rows, Positions(n))
			for f := range want {
				if math.Float32bits(got[f]) != math.Float32bits(want[f]) {
					t.Fatalf("%d symbols, filter %d: %v, want %v", n, f, got[f], want[f])
				}
			}
		}
	})
}

func TestStrongestRefusesWhatIsNoSymbol(t *testing.T) {
	onEachPath(t, func(t *testing.T, p Path) {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		rows := slices.Repeat([]uint32{0}, ByteTaps)
		rows[ByteTaps-1] = Row(Symbols)
		p.Strongest(&[ByteFilters]float32{}, &ByteTable{}, rows, 1)
	})
}

func TestByteTableOverflows(t *testing.T) {
	table := &ByteTable{}
	for _, c := range []struct {
		value float32
		want  bool
	}{{1e30, false}, {math.MaxFloat32, true}, {-math.MaxFloat32 / 4, true}, {float32(math.NaN()), true}, {float32(math.Inf(-1)), true}} {
		table[12345] = c.value
		if got := table.Overflows(); got != c.want {
			t.Errorf("%v: overflows %v", c.value, got)
		}
	}
}

func BenchmarkStrongest(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	table := byteTable(r)
	rows := make([]uint32, ByteReach(Positions(665)))
	for i := range rows {
		rows[i] = Row(r.IntN(Symbols))
	}
	for _, p := range Paths() {
		b.Run(p.String(), func(b *testing.B) {
			var best [ByteFilters]float32
			for b.Loop() {
				p.Strongest(&best, table, rows, Positions(665))
			}
		})
	}
}
