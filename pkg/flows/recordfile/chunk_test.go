package recordfile

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Pages and row groups begin and end where another reader looks for them.
func TestRowGroups(t *testing.T) {
	for _, rows := range []int{0, 1, parquetRowGroup, 2*parquetRowGroup + 7} {
		required := thrift.New(format.Required)
		schema := []format.SchemaElement{
			{Name: "rows", NumChildren: thrift.New[int32](3)},
			{Name: "text", Type: thrift.New(format.ByteArray), RepetitionType: required},
			{Name: "long", Type: thrift.New(format.Int64), RepetitionType: required},
			{Name: "flag", Type: thrift.New(format.Boolean), RepetitionType: required},
		}
		var file bytes.Buffer
		w := newChunkWriter(&file, schema, "test", nil)
		for i := range rows {
			row := w.row()
			row.text(fmt.Sprint(i % 7))
			row.long(int64(i))
			row.flag(i%3 == 0)
			if err := row.end(); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.close(); err != nil {
			t.Fatal(err)
		}
		type row struct {
			Text []byte `parquet:"text"`
			Long int64  `parquet:"long"`
			Flag bool   `parquet:"flag"`
		}
		read, err := parquet.Read[row](bytes.NewReader(file.Bytes()), int64(file.Len()))
		if err != nil || len(read) != rows {
			t.Fatalf("%d rows of %d, %v", len(read), rows, err)
		}
		for i, got := range read {
			if string(got.Text) != fmt.Sprint(i%7) || got.Long != int64(i) || got.Flag != (i%3 == 0) {
				t.Fatalf("row %d of %d: %+v", i, rows, got)
			}
		}
	}
}
