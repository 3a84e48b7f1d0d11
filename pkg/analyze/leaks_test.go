package analyze

import (
	"fmt"
	"slices"
	"testing"
)

// tell makes the records of a device whose payloads are given, in one capture.
func tell(label, unit, capture, device string, payloads ...string) []made {
	var records []made
	for i, p := range payloads {
		records = append(records, made{label: label, unit: unit, capture: capture, device: device, at: int64(i), proto: udp, dev: 9, rem: 53, payloads: []string{p}})
	}
	return records
}

func TestIdentifierCounts(t *testing.T) {
	const mac = "02:1f:3c:4d:5e:6f"
	records := slices.Concat(
		tell("A", "u", "a1", mac, "nothing", "id "+mac, "no", "no", "no", "no", "no"),
		tell("A", "u", "a2", mac, "ip 192.168.7.20"),
		tell("A", "u", "a3", mac, "nothing"))
	for _, tt := range []struct {
		name    string
		cfg     Config
		windows Ratio
	}{
		// The second record's MAC is in its own window and the next four; a2 holds an address.
		{"padded", Config{Leaks: true}, NewRatio(6, 9)},
		{"strict", Config{Leaks: true, First: 4}, NewRatio(2, 3)},
		{"two rows", Config{Leaks: true, Rows: 2}, NewRatio(3, 9)},
	} {
		f := analyzeMade(tt.cfg, records).Leaks.All["mac_or_address"]
		ratio(t, tt.name+", records", f.Records, 2, 9)
		ratio(t, tt.name+", captures", f.Captures, 2, 3)
		ratio(t, tt.name+", windows", f.Windows, tt.windows.Count, tt.windows.Of)
	}
}

// An address that a device gets later in a capture is found in the offer before.
func TestAddressesOfWholeCapture(t *testing.T) {
	offer := made{label: "A", capture: "c", device: "02:00:00:00:00:0a", proto: udp, dev: 68, rem: 67, own: "0.0.0.0", payloads: []string{"\x00\xc0\xa8\x07\x63\x00"}}
	later := made{label: "A", capture: "c", device: "02:00:00:00:00:0a", proto: udp, dev: 9, rem: 53, own: "192.168.7.99", payloads: []string{""}}
	l := analyzeMade(Config{Leaks: true}, []made{offer, later}).Leaks
	ratio(t, "own address", l.All["own_address_binary"].Records, 1, 2)

	other := later
	other.capture = "d"
	l = analyzeMade(Config{Leaks: true}, []made{offer, other}).Leaks
	ratio(t, "address of another capture", l.All["own_address_binary"].Records, 0, 2)
}

func TestStrings(t *testing.T) {
	const m1, m2, m3 = "02:00:00:00:a1:b2", "02:00:00:00:c3:d4", "02:00:00:00:e5:f6"
	records := slices.Concat(
		tell("A", "u1", "a1", m1, "MODEL-X name-A1B2 common-word"),
		tell("A", "u1", "a2", m1, "MODEL-X name-A1B2 once-only"),
		tell("A", "u2", "a3", m2, "MODEL-X another", "MODEL-X again"),
		tell("B", "", "b1", m3, "common-word thing"),
		tell("B", "", "b2", m3, "common-word thing"))
	l := analyzeMade(Config{Leaks: true}, records).Leaks
	a, b := l.Classes[0], l.Classes[1]
	describe := func(i *Identifier) string {
		if i == nil {
			return "none"
		}
		return fmt.Sprintf("%s records %d/%d captures %d/%d units %d/%d", i.Text, i.Records.Count, i.Records.Of, i.Captures.Count, i.Captures.Of, i.Units.Count, i.Units.Of)
	}
	for _, tt := range []struct{ name, got, want string }{
		{"A's best", describe(a.Strings.Best), "MODEL-X records 4/4 captures 3/3 units 2/2"},
		{"A's best that names a unit", describe(a.Strings.BestIdentifier), "name-A1B2 records 2/4 captures 2/3 units 1/2"},
		{"A's counts", fmt.Sprint(a.Units, a.Strings.ClassOnly, a.Strings.UnitOnly, a.Strings.Identifiers), "2 2 1 1"},
		{"A's example", describe(&a.Strings.Examples[0]), "name-A1B2 records 2/4 captures 2/3 units 1/2"},
		{"B's best", describe(b.Strings.Best), "thing records 2/2 captures 2/2 units 1/1"}, // common-word is A's too
		{"B's best that names a unit", describe(b.Strings.BestIdentifier), "none"},
		{"classes", fmt.Sprint(l.SingleUnitClasses, l.NamedByString, l.NamedByIdentifier), "1 2 0"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, tt.got, tt.want)
		}
	}
}

func TestRemotes(t *testing.T) {
	records := []made{
		{label: "A", capture: "a1", device: "02:00:00:00:00:0a", proto: tcp, dev: 9, rem: 80, remote: "203.0.113.1"},
		{label: "A", capture: "a2", device: "02:00:00:00:00:0a", proto: tcp, dev: 9, rem: 80, remote: "203.0.113.1"},
		{label: "A", capture: "a2", device: "02:00:00:00:00:0a", proto: tcp, dev: 9, rem: 80, remote: "203.0.113.2"},
		{label: "A", capture: "a2", device: "02:00:00:00:00:0a", proto: udp, dev: 9, rem: 80, remote: "224.0.0.251"}, // no host
		{label: "B", capture: "b1", device: "02:00:00:00:00:0b", proto: tcp, dev: 9, rem: 80, remote: "203.0.113.2"},
	}
	c := analyzeMade(Config{Leaks: true}, records).Leaks.Classes
	if best := c[0].Remotes.Best; best == nil || best.Text != "203.0.113.1" || best.Captures.Count != 2 || c[0].Remotes.ClassOnly != 1 {
		t.Errorf("A's remotes %+v", c[0].Remotes)
	}
	if c[1].Remotes.Best != nil {
		t.Errorf("B's remotes %+v", c[1].Remotes)
	}
}

func TestSharedDevices(t *testing.T) {
	records := slices.Concat(tell("B", "", "1", "02:00:00:00:00:01", "x"), tell("A", "", "2", "02:00:00:00:00:01", "x"), tell("A", "", "3", "02:00:00:00:00:02", "x"))
	got := analyzeMade(Config{Leaks: true}, records).Leaks.SharedDevices
	if len(got) != 1 || got[0].Device != "02:00:00:00:00:01" || !slices.Equal(got[0].Labels, []string{"A", "B"}) {
		t.Errorf("shared devices %+v", got)
	}
}

func TestStringIndexForgets(t *testing.T) {
	x := newStringIndex()
	x.limit = 64
	for capture := range 1000 {
		x.add(map[string]bool{"constant": true, fmt.Sprintf("chance%d", capture): true}, 0, 0, capture)
	}
	if len(x.strings) > x.limit || x.forgotten == 0 {
		t.Errorf("%d strings, limit %d, %d forgotten", len(x.strings), x.limit, x.forgotten)
	}
	if p := x.strings["constant"]; p == nil || p.records != 1000 || len(p.captures) != 1000 {
		t.Errorf("the constant string was forgotten: %+v", p)
	}
	for i := range 1000 { // strings that all are of two classes
		for class := range 2 {
			x.add(map[string]bool{fmt.Sprintf("shared%d", i): true}, class, 0, class)
		}
	}
	if len(x.strings) > x.limit {
		t.Errorf("%d strings of several classes, limit %d", len(x.strings), x.limit)
	}
}

// A capture whose end is never told is counted all the same, and no more than
// maxPending of its records are held back.
func TestPendingIsBounded(t *testing.T) {
	a := New(Config{Leaks: true})
	for i := range maxPending + 7 {
		m := made{label: "A", capture: "c", device: "02:00:00:00:00:0a", at: int64(i), proto: udp, dev: 9, rem: 53}
		a.Add(m.record())
		if n := len(a.leaks.pending["c"].records); n >= maxPending {
			t.Fatalf("%d records held back", n)
		}
	}
	ratio(t, "records", a.Result().Leaks.All["any"].Records, 0, maxPending+7)
}
