package recordfile

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
)

// A block begins at any row, also in the middle of a page, and takes every column
// from there.
func TestReadBlock(t *testing.T) {
	const rows = 300 // more than a batch of values
	var file bytes.Buffer
	w := NewWriter(&file, nil)
	for i := range rows {
		r := flows.LabelledRecord{Record: &flows.Record{
			Device: "02:00:00:00:00:01", FirstSeen: int64(i), Remote: netip.IPv4Unspecified(), Proto: 17, TotalBytes: uint64(i),
			Packets: []flows.RowPacket{{Size: uint32(i + 40), Sent: true, Payload: bytes.Repeat([]byte{byte(i)}, i)}},
		}, Label: "L"}
		if err := w.Write(&r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f := bytes.NewReader(file.Bytes())
	meta, err := readFooter(f, f.Size())
	if err != nil {
		t.Fatal(err)
	}
	all, err := leaves(meta)
	if err != nil {
		t.Fatal(err)
	}
	columns, err := mapColumns(all)
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []int64{0, 1, 63, 64, 150, rows - 1} {
		i := int(from)
		err := (&recordsFile{file: f, meta: meta, columns: columns, names: names{}}).readBlock(t.Context(), 0, from, func(r flows.LabelledRecord) error {
			p := r.Packets[0]
			if r.FirstSeen != int64(i) || r.TotalBytes != uint64(i) || p.Size != uint32(i+40) || !bytes.Equal(p.Payload, bytes.Repeat([]byte{byte(i)}, i)) {
				t.Fatalf("from %d: row %d is %+v", from, i, r.Record)
			}
			i++
			return nil
		})
		if err != nil || i != rows {
			t.Errorf("from %d: came to row %d of %d: %v", from, i, rows, err)
		}
	}
}
