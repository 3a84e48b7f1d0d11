package flows

import (
	"net/netip"
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

// Which records make which rows, and each row's time since the record before.
func TestStreams(t *testing.T) {
	type row struct {
		number int
		since  int64
	}
	none := row{-1, -1} // the record makes no row
	web := []Service{{6, 80}, {6, 443}}
	for _, tt := range []struct {
		name    string
		spec    StreamSpec
		records []*Record
		want    []row // by record
	}{
		{"one device", StreamSpec{}, []*Record{rec("a", 10), rec("a", 15), rec("a", 15), rec("a", 30)},
			[]row{{0, 0}, {1, 5}, {2, 0}, {3, 15}}},
		{"backward step", StreamSpec{}, []*Record{rec("a", 100), rec("a", 18), rec("a", 20)},
			[]row{{0, 0}, {1, 0}, {2, 2}}},
		{"devices apart", StreamSpec{}, []*Record{rec("a", 1), rec("b", 5), rec("a", 7), rec("b", 9)},
			[]row{{0, 0}, {0, 0}, {1, 6}, {1, 4}}},
		{"incomplete: no row, yet the previous record", StreamSpec{}, []*Record{rec("a", 1), rec("a", 4, incomplete), rec("a", 9)},
			[]row{{0, 0}, none, {1, 5}}},
		{"incomplete first", StreamSpec{}, []*Record{rec("a", 1, incomplete), rec("a", 9)},
			[]row{none, {0, 8}}},
		{"ipv6 left out", StreamSpec{}, []*Record{rec("a", 1), rec("a", 4, ipv6), rec("a", 9)},
			[]row{{0, 0}, none, {1, 8}}},
		{"ipv6 included", StreamSpec{IPv6: true}, []*Record{rec("a", 1), rec("a", 4, ipv6), rec("a", 9)},
			[]row{{0, 0}, {1, 3}, {2, 5}}},
		{"services", StreamSpec{Services: web}, []*Record{
			rec("a", 1, service(6, 5000, 443)), rec("a", 2), rec("a", 4, service(6, 80, 6000)),
			rec("a", 5, service(17, 80, 443)), rec("a", 9, service(6, 80, 443))},
			[]row{{0, 0}, none, {1, 3}, none, {2, 5}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := NewStreams(tt.spec)
			for i, r := range tt.records {
				got := none
				step, ok := s.Add(r)
				if ok {
					got = row{step.Number, step.Since}
				}
				if got != tt.want[i] {
					t.Errorf("record %d: %+v, want %+v", i, got, tt.want[i])
				}
				if ok && step.Record != r {
					t.Errorf("record %d: the row is of another record", i)
				}
			}
		})
	}
}

func TestStreamsForget(t *testing.T) {
	s := NewStreams(StreamSpec{})
	s.Add(rec("a", 1))
	s.Forget("a")
	if step, ok := s.Add(rec("a", 5)); !ok || step.Number != 0 || step.Since != 0 {
		t.Errorf("%v, %+v: a forgotten device's stream goes on", ok, step)
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
	if _, err := ParseDirection("both"); err == nil {
		t.Error("direction both")
	}
}

// A stream that scrubs has other records in its rows; when they were is still the
// given record's.
func TestStreamsScrub(t *testing.T) {
	s := NewStreams(StreamSpec{Scrub: func(r *Record) *Record {
		c := *r
		c.RemPort = 1
		return &c
	}})
	first := rec("a", 10)
	s.Add(first)
	step, _ := s.Add(rec("a", 15))
	if first.RemPort != 53 || step.RemPort != 1 || step.Since != 5 {
		t.Errorf("port %d, %d us after; want 1, 5; the record given has %d", step.RemPort, step.Since, first.RemPort)
	}
}
