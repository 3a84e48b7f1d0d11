package recordfile

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/iotsense/iotsense/pkg/flows"
)

// What no record has is an error, not a record that is a little wrong.
func TestRecordRowRefuses(t *testing.T) {
	null := value{}
	for _, tt := range []struct {
		column string
		value  value
		says   string // empty: it is taken
	}{
		{"C_001", int32Value(255), ""},
		{"C_001", int32Value(300), "300"},
		{"C_001", int32Value(flows.PayloadEnd), ""},
		{"C_001", int32Value(-5), "-5"},
		{"C_001", null, ""},
		{"RemPort", int32Value(70000), "70000"},
		{"RemPort", int32Value(flows.Missing), ""},
		{"RemPort", null, ""},
		{"Proto", int32Value(-1), "-1"},
		{"Proto", bytesValue(format.ByteArray, []byte("tcp")), "tcp is no number"},
		{"P01_D", valueOf(format.Double, math.Float64bits(2.0)), "2"},
		{"P01_D", valueOf(format.Double, math.Float64bits(1.0)), ""},
		{"P01_PS", null, ""},
		{"FirstSeen", null, "no value"},
		{"TotalFlowSize", int64Value(-1), "-1"},
		{"Device", null, "no device"},
		{"RemIP", bytesValue(format.ByteArray, []byte("somewhere")), "somewhere"},
		{"RemIP", null, "unable to parse"},
		{"Label", null, ""},
	} {
		var r recordRow
		r.reset()
		err := r.set(columnOf(tt.column), tt.value, names{})
		if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s %v: %v, want %q", tt.column, tt.value, err, tt.says)
		}
	}
}

func TestMapColumns(t *testing.T) {
	type schema = []format.SchemaElement
	without := func(names ...string) func(schema) schema {
		return func(s schema) schema {
			return slices.DeleteFunc(s, func(e format.SchemaElement) bool { return slices.Contains(names, e.Name) })
		}
	}
	with := func(names ...string) func(schema) schema {
		return func(s schema) schema {
			for _, name := range names {
				s = append(s, format.SchemaElement{Name: name, Type: thrift.New(format.Double)})
			}
			return s
		}
	}
	for _, tt := range []struct {
		name   string
		change func(schema) schema
		says   string // empty: all is well
	}{
		{"as written", with(), ""},
		{"as published", without(optionalColumns...), ""},
		{"other columns", with("C", "D", "P10_TO", "C_3000", "__index_level_0__"), ""},
		{"packet column missing", without("P03_PS"), "P03_PS is missing"},
		{"payload column missing", without("C_2999"), "C_2999 is missing"},
		{"column twice", with("C_0007"), "C_007 is there twice"},
	} {
		changed := tt.change(recordSchema())
		changed[0].NumChildren.V = int32(len(changed) - 1)
		all, err := leaves(&format.FileMetaData{Schema: changed})
		if err != nil {
			t.Fatal(err)
		}
		columns, err := mapColumns(all)
		if tt.says != "" {
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
			}
			continue
		}
		if err != nil || len(columns) != len(changed)-1 {
			t.Errorf("%s: %d columns of %d, %v", tt.name, len(columns), len(changed)-1, err)
		}
		columns = slices.DeleteFunc(columns, func(c recordColumn) bool { return c.name == "" || slices.Contains(optionalColumns, c.name) })
		if want := len(recordColumns()) - len(optionalColumns); len(columns) != want {
			t.Errorf("%s: %d columns have a meaning, want %d", tt.name, len(columns), want)
		}
	}
}
