package conv

// This file is the convolution over embedded symbols, as a table: what a symbol adds
// to each filter at each tap of the kernel. Additions are all that is left of it.

import "math"

// Sizes of the convolution over symbols.
const (
	ByteTaps    = 8   // width of the kernel
	ByteStride  = 2   // symbols from one position to the next
	ByteFilters = 48  // vector code keeps one sum of each in registers
	Symbols     = 259 // of which the last adds nothing: it stands behind the end
)

// ByteTable is [tap][symbol][filter].
type ByteTable [ByteTaps * Symbols * ByteFilters]float32

// tapSize is how many values of a table belong to one tap.
const tapSize = Symbols * ByteFilters

// At is the row of a symbol at a tap.
func (t *ByteTable) At(tap, symbol int) *[ByteFilters]float32 {
	return (*[ByteFilters]float32)(t[tap*tapSize+symbol*ByteFilters:])
}

// Row is a symbol as [Path.Strongest] takes it: where its rows begin in a tap's part
// of the table.
func Row(symbol int) uint32 { return uint32(symbol * ByteFilters) }

// Overflows reports whether sums of the table's values may be no numbers.
func (t *ByteTable) Overflows() bool {
	for _, v := range t {
		if !(max(v, -v) < math.MaxFloat32/(2*ByteTaps)) {
			return true
		}
	}
	return false
}

// Positions is how many positions of the kernel begin at one of n symbols.
func Positions(n int) int { return (n + ByteStride - 1) / ByteStride }

// ByteReach is how many symbols the kernel reads at that many positions.
func ByteReach(positions int) int {
	if positions == 0 {
		return 0
	}
	return (positions-1)*ByteStride + ByteTaps
}

// Strongest raises best, which is 0 or more, to what each filter comes to at its
// strongest position. rows are the symbols, see [Row], [ByteReach](positions) of them.
// A position's values are added tap by tap: every path gives the same bits.
func (p Path) Strongest(best *[ByteFilters]float32, table *ByteTable, rows []uint32, positions int) {
	if positions == 0 {
		return
	}
	rows = rows[:ByteReach(positions)]
	if p == Go {
		strongestGo(best, table, rows)
		return
	}
	for _, r := range rows {
		_ = table[(ByteTaps-1)*tapSize+int(r)+ByteFilters-1] // vector code has no bounds checks of its own
	}
	strongest(best, table, rows, positions)
}

// strongestGo is [Path.Strongest].
func strongestGo(best *[ByteFilters]float32, table *ByteTable, rows []uint32) {
	for ; len(rows) >= ByteTaps; rows = rows[ByteStride:] {
		r := (*[ByteTaps]uint32)(rows)
		t0, t1 := (*[ByteFilters]float32)(table[r[0]:]), (*[ByteFilters]float32)(table[tapSize+r[1]:])
		t2, t3 := (*[ByteFilters]float32)(table[2*tapSize+r[2]:]), (*[ByteFilters]float32)(table[3*tapSize+r[3]:])
		t4, t5 := (*[ByteFilters]float32)(table[4*tapSize+r[4]:]), (*[ByteFilters]float32)(table[5*tapSize+r[5]:])
		t6, t7 := (*[ByteFilters]float32)(table[6*tapSize+r[6]:]), (*[ByteFilters]float32)(table[7*tapSize+r[7]:])
		for f := range best {
			v := t0[f] + t1[f] + t2[f] + t3[f] + t4[f] + t5[f] + t6[f] + t7[f]
			best[f] = larger(best[f], v)
		}
	}
}
