package ring

import "testing"

// With pages of any size and any ring the window can be mapped, and holds the event that it
// was moved for.
func TestPlace(t *testing.T) {
	const event = 2 << 10 // more than any takes
	for _, page := range []uint64{4 << 10, 16 << 10, 64 << 10} {
		for _, size := range []uint64{64 << 10, 128 << 10, 1 << 20, 8 << 20} {
			for _, round := range []uint64{0, 1 << 40} {
				for position := round; position < round+size; position += page/2 - 8 {
					from, at, n := place(position, size, page)
					switch end := 2*page + 2*size; {
					case from%page != 0 || at%page != 0 || uint64(n)%page != 0:
						t.Fatalf("pages of %d, ring of %d: %d bytes at %d for %d are not whole pages", page, size, n, at, from)
					case at < 2*page || at+uint64(n) > end:
						t.Fatalf("pages of %d, ring of %d: %d bytes at %d are not in %d to %d", page, size, n, at, 2*page, end)
					case from%size != at-2*page || position < from || position+event > from+uint64(n):
						t.Fatalf("pages of %d, ring of %d: %d bytes from %d, at %d, have no event at %d", page, size, n, from, at, position)
					}
				}
			}
		}
	}
}
