package dataset_test

import (
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/dataset"
)

func TestPeriod(t *testing.T) {
	at := func(s string) int64 {
		v, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return v.UnixMicro()
	}
	for _, tt := range []struct {
		dates, time string
		want        bool
	}{
		{"", "1970-01-01T00:00:00Z", true},
		{"2016-09-23..2016-09-29", "2016-09-22T23:59:59.999999Z", false},
		{"2016-09-23..2016-09-29", "2016-09-23T00:00:00Z", true},
		{"2016-09-23..2016-09-29", "2016-09-29T23:59:59.999999Z", true},
		{"2016-09-23..2016-09-29", "2016-09-30T00:00:00Z", false},
		{"2016-10-03", "2016-10-03T12:00:00Z", true},
		{"2016-10-03", "2016-10-04T00:00:00Z", false},
	} {
		p, err := dataset.ParsePeriod(tt.dates)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Contains(at(tt.time)); got != tt.want {
			t.Errorf("%q contains %s: %v, want %v", tt.dates, tt.time, got, tt.want)
		}
	}
	for _, bad := range []string{"23-09-2016", "2016-09-23..", "..2016-09-23", "2016-09-29..2016-09-23", "2016-09-23..2016-09-29..2016-10-01"} {
		if _, err := dataset.ParsePeriod(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}
