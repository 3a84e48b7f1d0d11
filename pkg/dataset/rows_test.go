package dataset

import "testing"

// Rows in a file that cannot be read any more are an error, those in the middle of
// a chunk and the last one of it, whose end is not known.
func TestRowsOfAFileThatFails(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var s rowBytes
	for range 3 * chunkSize / maxRow {
		if _, err := s.add(make([]byte, maxRow)); err != nil {
			t.Fatal(err)
		}
	}
	if s.file == nil {
		t.Fatal("all rows are in memory")
	}
	if err := s.file.Close(); err != nil {
		t.Fatal(err)
	}
	for _, i := range []uint32{0, chunkSize/maxRow - 1} {
		if row, err := s.row(i, make([]byte, maxRow)); err == nil {
			t.Errorf("row %d: %d bytes and no error, want one", i, len(row))
		}
	}
}
