package recordfile

import (
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/iotsense/iotsense/pkg/flows"
)

// What no record has is an error, not a record that is a little wrong.
func TestRecordRowRefuses(t *testing.T) {
	null := parquet.NullValue()
	for _, tt := range []struct {
		column string
		value  parquet.Value
		says   string // empty: it is taken
	}{
		{"C_001", parquet.ValueOf(int32(255)), ""},
		{"C_001", parquet.ValueOf(int32(300)), "300"},
		{"C_001", parquet.ValueOf(int32(flows.PayloadEnd)), ""},
		{"C_001", parquet.ValueOf(int32(-5)), "-5"},
		{"C_001", null, ""},
		{"RemPort", parquet.ValueOf(int32(70000)), "70000"},
		{"RemPort", parquet.ValueOf(int32(flows.Missing)), ""},
		{"RemPort", null, ""},
		{"Proto", parquet.ValueOf(int32(-1)), "-1"},
		{"Proto", parquet.ValueOf("tcp"), "tcp is no number"},
		{"P01_D", parquet.ValueOf(2.0), "2"},
		{"P01_D", parquet.ValueOf(1.0), ""},
		{"P01_PS", null, ""},
		{"FirstSeen", null, "no value"},
		{"TotalFlowSize", parquet.ValueOf(int64(-1)), "-1"},
		{"Device", null, "no device"},
		{"RemIP", parquet.ValueOf("somewhere"), "somewhere"},
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
	for _, tt := range []struct {
		name   string
		change func(parquet.Group)
		says   string // empty: all is well
	}{
		{"as written", func(parquet.Group) {}, ""},
		{"as published", func(g parquet.Group) {
			for _, c := range optionalColumns {
				delete(g, c)
			}
		}, ""},
		{"other columns", func(g parquet.Group) {
			for _, c := range []string{"C", "D", "P10_TO", "C_3000", "__index_level_0__"} {
				g[c] = parquet.Leaf(parquet.DoubleType)
			}
		}, ""},
		{"packet column missing", func(g parquet.Group) { delete(g, "P03_PS") }, "P03_PS is missing"},
		{"payload column missing", func(g parquet.Group) { delete(g, "C_2999") }, "C_2999 is missing"},
		{"column twice", func(g parquet.Group) { g["C_0007"] = parquet.Int(16) }, "C_007 is there twice"},
	} {
		group := parquet.Group{}
		for _, f := range recordSchema().Fields() {
			group[f.Name()] = f
		}
		tt.change(group)
		columns, err := mapColumns(parquet.NewSchema("records", group))
		if tt.says != "" {
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
			}
			continue
		}
		if err != nil || len(columns) != len(group) {
			t.Errorf("%s: %d columns of %d, %v", tt.name, len(columns), len(group), err)
		}
		columns = slices.DeleteFunc(columns, func(c recordColumn) bool { return c.name == "" || slices.Contains(optionalColumns, c.name) })
		if want := len(recordColumns()) - len(optionalColumns); len(columns) != want {
			t.Errorf("%s: %d columns have a meaning, want %d", tt.name, len(columns), want)
		}
	}
}
