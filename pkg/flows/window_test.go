package flows

import (
	"net/netip"
	"slices"
	"testing"
)

// rec is a record of device d, first seen at t.
func rec(d string, t int64, change ...func(*Record)) *Record {
	r := &Record{Device: d, FirstSeen: t, Remote: netip.MustParseAddr("8.8.8.8"), Proto: 17, DevPort: 4000, RemPort: 53}
	for _, c := range change {
		c(r)
	}
	return r
}

func incomplete(r *Record) { r.Incomplete = true }
func ipv6(r *Record)       { r.Remote = netip.MustParseAddr("ff02::fb") }
func service(proto uint8, dev, rem int32) func(*Record) {
	return func(r *Record) { r.Proto, r.DevPort, r.RemPort = proto, dev, rem }
}

// Which records complete which windows, and each row's time since the one before.
func TestWindower(t *testing.T) {
	type row struct{ first, since int64 }
	web := []Service{{6, 80}, {6, 443}}
	for _, tt := range []struct {
		name    string
		config  StreamConfig
		records []*Record
		want    [][]row // by record; nil: no window
	}{
		{"padded", StreamConfig{Rows: 3}, []*Record{rec("a", 10), rec("a", 15), rec("a", 15), rec("a", 30)},
			[][]row{{{10, 0}}, {{10, 0}, {15, 5}}, {{10, 0}, {15, 5}, {15, 0}}, {{15, 5}, {15, 0}, {30, 15}}}},
		{"strict", StreamConfig{Rows: 3, Mode: Strict}, []*Record{rec("a", 10), rec("a", 15), rec("a", 20), rec("a", 30)},
			[][]row{nil, nil, {{10, 0}, {15, 5}, {20, 5}}, {{15, 5}, {20, 5}, {30, 10}}}},
		{"five by default", StreamConfig{Mode: Strict}, []*Record{rec("a", 1), rec("a", 2), rec("a", 3), rec("a", 4), rec("a", 5)},
			[][]row{nil, nil, nil, nil, {{1, 0}, {2, 1}, {3, 1}, {4, 1}, {5, 1}}}},
		{"backward step", StreamConfig{Rows: 2}, []*Record{rec("a", 100), rec("a", 18), rec("a", 20)},
			[][]row{{{100, 0}}, {{100, 0}, {18, 0}}, {{18, 0}, {20, 2}}}},
		{"devices apart", StreamConfig{Rows: 2, Mode: Strict}, []*Record{rec("a", 1), rec("b", 5), rec("a", 7), rec("b", 9)},
			[][]row{nil, nil, {{1, 0}, {7, 6}}, {{5, 0}, {9, 4}}}},
		{"incomplete: in no window, yet the previous record", StreamConfig{Rows: 2}, []*Record{rec("a", 1), rec("a", 4, incomplete), rec("a", 9)},
			[][]row{{{1, 0}}, nil, {{1, 0}, {9, 5}}}},
		{"incomplete first", StreamConfig{Rows: 2}, []*Record{rec("a", 1, incomplete), rec("a", 9)},
			[][]row{nil, {{9, 8}}}},
		{"incomplete, strict", StreamConfig{Rows: 2, Mode: Strict}, []*Record{rec("a", 1), rec("a", 4, incomplete), rec("a", 9)},
			[][]row{nil, nil, {{1, 0}, {9, 5}}}},
		{"ipv6 left out", StreamConfig{Rows: 2}, []*Record{rec("a", 1), rec("a", 4, ipv6), rec("a", 9)},
			[][]row{{{1, 0}}, nil, {{1, 0}, {9, 8}}}},
		{"ipv6 included", StreamConfig{Rows: 2, IPv6: true}, []*Record{rec("a", 1), rec("a", 4, ipv6), rec("a", 9)},
			[][]row{{{1, 0}}, {{1, 0}, {4, 3}}, {{4, 3}, {9, 5}}}},
		{"services", StreamConfig{Rows: 2, Services: web}, []*Record{
			rec("a", 1, service(6, 5000, 443)), rec("a", 2), rec("a", 4, service(6, 80, 6000)),
			rec("a", 5, service(17, 80, 443)), rec("a", 9, service(6, 80, 443))},
			[][]row{{{1, 0}}, nil, {{1, 0}, {4, 3}}, nil, {{4, 3}, {9, 5}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := NewWindower(tt.config)
			var kept []Window
			for i, r := range tt.records {
				win, ok := w.Add(r)
				if ok != (tt.want[i] != nil) {
					t.Fatalf("record %d completes a window: %v", i, ok)
				}
				if ok && win.Device != r.Device {
					t.Errorf("record %d: device %q", i, win.Device)
				}
				kept = append(kept, win)
			}
			for i, win := range kept { // after all records: an old window must not have changed
				var got []row
				for _, r := range win.Rows {
					got = append(got, row{r.FirstSeen, r.Since})
				}
				if !slices.Equal(got, tt.want[i]) {
					t.Errorf("record %d: %v, want %v", i, got, tt.want[i])
				}
			}
		})
	}
}

func TestWindowerForget(t *testing.T) {
	w := NewWindower(StreamConfig{Rows: 2, Mode: Strict})
	w.Add(rec("a", 1))
	w.Forget("a")
	if _, ok := w.Add(rec("a", 2)); ok {
		t.Error("a forgotten device's record is in a window")
	}
	win, ok := w.Add(rec("a", 5))
	if !ok || win.Rows[0].Since != 0 || win.Rows[1].Since != 3 {
		t.Errorf("%v, %+v", ok, win)
	}
}

func TestServiceOf(t *testing.T) {
	services := []Service{{6, 80}, {6, 443}, {17, 53}}
	for _, tt := range []struct {
		name     string
		proto    uint8
		dev, rem int32
		want     string // empty: none
	}{
		{"remote port", 6, 5000, 443, "tcp/443"},
		{"device port", 6, 80, 5000, "tcp/80"},
		{"remote before device", 6, 80, 443, "tcp/443"},
		{"protocol counts", 17, 5000, 443, ""},
		{"no ports", 1, -1, -1, ""},
		{"udp", 17, 5353, 53, "udp/53"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, ok := ServiceOf(rec("a", 0, service(tt.proto, tt.dev, tt.rem)), services)
			if ok != (tt.want != "") || ok && s.String() != tt.want {
				t.Errorf("%v, %v; want %q", s, ok, tt.want)
			}
		})
	}
}

func TestParseNames(t *testing.T) {
	for _, tt := range []struct {
		text string
		ok   bool
	}{
		{"tcp/443", true}, {"udp/53", true}, {"tcp/65536", false}, {"tcp/-1", false}, {"icmp/1", false}, {"tcp", false}, {"443", false}, {"", false},
	} {
		s, err := ParseService(tt.text)
		if (err == nil) != tt.ok || tt.ok && s.String() != tt.text {
			t.Errorf("ParseService(%q) = %v, %v", tt.text, s, err)
		}
	}
	for _, d := range []Direction{Bi, Uni} {
		if got, err := ParseDirection(d.String()); got != d || err != nil {
			t.Errorf("ParseDirection(%q) = %v, %v", d, got, err)
		}
	}
	for _, m := range []WindowMode{Padded, Strict} {
		if got, err := ParseWindowMode(m.String()); got != m || err != nil {
			t.Errorf("ParseWindowMode(%q) = %v, %v", m, got, err)
		}
	}
	if _, err := ParseDirection("both"); err == nil {
		t.Error("direction both")
	}
	if _, err := ParseWindowMode(""); err == nil {
		t.Error("empty window mode")
	}
}

// A stream that scrubs has other records in its windows; what is Incomplete, and
// when, is still the given record's.
func TestWindowerScrubs(t *testing.T) {
	w := NewWindower(StreamConfig{Rows: 2, Scrub: func(r *Record) *Record {
		c := *r
		c.RemPort = 1
		return &c
	}})
	first, second := rec("a", 10), rec("a", 15)
	w.Add(first)
	win, _ := w.Add(second)
	if first.RemPort != 53 || win.Rows[0].RemPort != 1 || win.Rows[1].RemPort != 1 || win.Rows[1].Since != 5 {
		t.Errorf("ports %d and %d, %d us after; want 1, 1, 5; the record given has %d", win.Rows[0].RemPort, win.Rows[1].RemPort, win.Rows[1].Since, first.RemPort)
	}
}
