package recordfile

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// described is a file that holds a description alone.
func described(t testing.TB, m *format.FileMetaData) []byte {
	t.Helper()
	text, err := thrift.Marshal(new(thrift.CompactProtocol), m)
	if err != nil {
		t.Fatal(err)
	}
	file := append([]byte(magic), text...)
	return append(binary.LittleEndian.AppendUint32(file, uint32(len(text))), magic...)
}

func TestFooterRefuses(t *testing.T) {
	group := format.SchemaElement{Name: "g", NumChildren: thrift.New[int32](1)}
	deep := &format.FileMetaData{}
	for range 2 * maxNesting {
		deep.Schema = append(deep.Schema, group)
	}
	endless := &format.FileMetaData{Schema: []format.SchemaElement{{Name: "root", NumChildren: thrift.New[int32](1 << 30)}}}
	missing := &format.FileMetaData{Schema: []format.SchemaElement{{Name: "root"}}, RowGroups: []format.RowGroup{{Columns: make([]format.ColumnChunk, 1)}}}
	good := described(t, &format.FileMetaData{Schema: []format.SchemaElement{{Name: "root"}}})
	longer := bytes.Clone(good)
	binary.LittleEndian.PutUint32(longer[len(longer)-8:], uint32(len(longer)))
	claim := slices.Concat([]byte{0x29, 0xfc}, binary.AppendUvarint(nil, math.MaxInt32), make([]byte, 64)) // a list of structs is field 2, the schema
	for _, tt := range []struct {
		name string
		file []byte
		want string // empty: it is taken
	}{
		{"good", good, ""},
		{"empty", nil, "0 bytes are no parquet file"},
		{"another kind", []byte("Device,FirstSeen,RemIP"), "begins with"},
		{"cut", good[:len(good)-1], "ends with"},
		{"longer than the file", longer, "a description of"},
		{"more columns than bytes", slices.Concat([]byte(magic), claim, binary.LittleEndian.AppendUint32(nil, uint32(len(claim))), []byte(magic)), "a list of 2147483647 items in 64 bytes"},
		{"too deep", described(t, deep), "too deep"},
		{"endless", described(t, endless), "does not end"},
		{"columns missing", described(t, missing), "row group 0 has 1 columns, the schema 0"},
		{"no schema", described(t, &format.FileMetaData{}), "no schema"},
	} {
		m, err := readFooter(bytes.NewReader(tt.file), int64(len(tt.file)))
		if err == nil {
			_, err = leaves(m)
		}
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// FuzzFooter: whatever a file says of itself, it has columns or there is an error.
func FuzzFooter(f *testing.F) {
	f.Add(described(f, &format.FileMetaData{Schema: recordSchema()[:3], RowGroups: []format.RowGroup{{NumRows: 1}}}))
	f.Add(described(f, &format.FileMetaData{Schema: []format.SchemaElement{{NumChildren: thrift.New[int32](1)}, {Name: "C", Type: thrift.New(format.Int32)}}}))
	f.Fuzz(func(t *testing.T, file []byte) {
		m, err := readFooter(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		all, err := leaves(m)
		if err != nil {
			return
		}
		for i := range m.RowGroups {
			if len(m.RowGroups[i].Columns) != len(all) {
				t.Fatalf("%d columns, a row group of %d", len(all), len(m.RowGroups[i].Columns))
			}
		}
		_, _ = mapColumns(all)
	})
}
