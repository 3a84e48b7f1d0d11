package lab

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/iotsense/iotsense/internal/testenv"
)

// quickKinds play a day in a fraction of a second, and between them have TLS, HTTP,
// MQTT, RTSP and CoAP in sessions long and short.
var quickKinds = []string{"smart-plug", "motion-sensor", "camera", "hub", "printer"}

// wholeDay is a day of a unit, kept.
func wholeDay(t *testing.T, kind string, unit int, seed int64) Recording {
	t.Helper()
	var frames []Frame
	c, err := Day(kind, unit, seed, MaxLength, func(f Frame) error {
		frames = append(frames, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Frames = frames
	return c
}

func TestDayIsRepeatable(t *testing.T) {
	for _, kind := range quickKinds {
		a := wholeDay(t, kind, 1, 2)
		if !bytes.Equal(pcap(t, a), pcap(t, wholeDay(t, kind, 1, 2))) {
			t.Errorf("%s: two days of one seed differ", kind)
		}
		if bytes.Equal(pcap(t, a), pcap(t, wholeDay(t, kind, 1, 3))) {
			t.Errorf("%s: two homes have the same day", kind)
		}
		if g := generate(t, kind, 1, 2); g.Device != a.Device || g.Label != a.Label {
			t.Errorf("%s: unit 1 is %v in a day and %v after power-on", kind, a.Device, g.Device)
		}
	}
}

// inHour is how much of an hour of the home's day a unit is used, summed over its day.
func inHour(h *home, use []span, hour int) (sum time.Duration) {
	for at := time.Duration(0); at < day; at += time.Minute {
		if h.start.Add(at).Hour() == hour && slices.ContainsFunc(use, func(s span) bool { return s.has(at) }) {
			sum += time.Minute
		}
	}
	return sum
}

// TestHoursOfUse: each unit is used at hours of its own, and a kind at its kind's hours.
func TestHoursOfUse(t *testing.T) {
	busiest := map[string][2]int{ // the hour by which a kind's busiest begin, and an idle one
		"television": {19, 3}, "vacuum": {9, 1}, "printer": {9, 2}, "light-bulb": {19, 2}, "speaker": {7, 3},
	}
	for _, k := range kinds() {
		if len(k.habit.hours) != 24 || strings.Trim(k.habit.hours, "0123456789") != "" || k.habit.updates == "" {
			t.Errorf("%s: habit %q, firmware of %q: want a digit for each hour and a server", k.name, k.habit.hours, k.habit.updates)
		}
		var busy, idle time.Duration
		for seed := range int64(12) {
			h := newHome(seed)
			a, b := daily(k, 0, h, day).use, daily(k, 1, h, day).use
			if slices.Equal(a, b) && len(a) > 0 {
				t.Errorf("%s, home %d: two units are used alike", k.name, seed)
			}
			for i := 1; i < len(a); i++ {
				if a[i].from <= a[i-1].until {
					t.Fatalf("%s, home %d: uses %v and %v are not apart and in order", k.name, seed, a[i-1], a[i])
				}
			}
			if hours, ok := busiest[k.name]; ok {
				busy += inHour(h, a, hours[0]) + inHour(h, b, hours[0])
				idle += inHour(h, a, hours[1]) + inHour(h, b, hours[1])
			}
		}
		if _, ok := busiest[k.name]; ok && busy < 3*idle {
			t.Errorf("%s: used for %v in the busiest hours, for %v in idle ones", k.name, busy, idle)
		}
	}
}

// TestTrafficFollowsTheHours: a television sends most when somebody watches.
func TestTrafficFollowsTheHours(t *testing.T) {
	h := newHome(4)
	use := daily(kinds()[slices.Index(Kinds(), "television")], 0, h, day).use
	sent := map[bool]int{}
	if _, err := Day("television", 0, 4, 8*time.Hour, func(f Frame) error {
		at := f.Time.Sub(h.start)
		sent[slices.ContainsFunc(use, func(s span) bool { return s.has(at) })]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var used time.Duration
	for _, s := range use {
		used += max(0, min(s.until, 8*time.Hour)-s.from)
	}
	if idle := 8*time.Hour - used; used == 0 || idle <= 0 || 5*float64(sent[false])/idle.Hours() > float64(sent[true])/used.Hours() {
		t.Errorf("%d frames in %v of use, %d in %v beside it", sent[true], used, sent[false], idle)
	}
}

// TestNoHourIsPlayedAgain: no run of messages comes twice in a day.
func TestNoHourIsPlayedAgain(t *testing.T) {
	const run = 12
	for _, kind := range quickKinds {
		var last [run][sha256.Size]byte
		seen, n := map[[sha256.Size]byte]int{}, 0
		for _, f := range wholeDay(t, kind, 0, 5).Frames {
			p := gopacket.NewPacket(f.Data, layers.LayerTypeEthernet, gopacket.NoCopy)
			if p.TransportLayer() == nil || len(p.TransportLayer().LayerPayload()) == 0 {
				continue
			}
			copy(last[:], last[1:])
			last[run-1] = sha256.Sum256(p.TransportLayer().LayerPayload())
			if n++; n < run {
				continue
			}
			var all []byte
			for _, s := range last {
				all = append(all, s[:]...)
			}
			sum := sha256.Sum256(all)
			if before, ok := seen[sum]; ok {
				t.Fatalf("%s: messages %d to %d are those up to %d again", kind, n-run, n, before)
			}
			seen[sum] = n
		}
		if n < 1000 {
			t.Errorf("%s sends %d messages in a day", kind, n)
		}
	}
}

// incidents are what befalls units in a day, as their frames show it.
type incidents struct {
	joins, renewals, refusals, addresses, unanswered, firmware int
	hellos                                                     int // of TLS clients on the plug's own port
}

func (n *incidents) count(t *testing.T, c Recording) {
	t.Helper()
	var last time.Time
	renews := false
	addresses, asked := map[string]bool{}, map[string]int{}
	for i, f := range c.Frames {
		if f.Time.Before(last) || f.Time.Equal(last) {
			t.Fatalf("%s, frame %d: %v is not after %v", c.Label, i, f.Time, last)
		}
		last = f.Time
		p := gopacket.NewPacket(f.Data, layers.LayerTypeEthernet, gopacket.Lazy)
		if u, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP); ok && (u.DstPort == 67 || u.DstPort == 68) {
			m, err := dhcpv4.FromBytes(u.Payload)
			if err != nil {
				t.Fatal(err)
			}
			switch m.MessageType() {
			case dhcpv4.MessageTypeNak:
				n.refusals++
			case dhcpv4.MessageTypeRequest:
				renews = !m.ClientIPAddr.IsUnspecified()
			case dhcpv4.MessageTypeAck:
				addresses[m.YourIPAddr.String()] = true
				if renews {
					n.renewals++
				} else {
					n.joins++
				}
			}
		}
		if q, ok := p.Layer(layers.LayerTypeDNS).(*layers.DNS); ok && !q.QR && strings.HasPrefix(string(q.Questions[0].Name), "fw.") {
			n.firmware++
		}
		if s, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP); ok && s.SYN {
			key := p.TransportLayer().TransportFlow().String() + p.NetworkLayer().NetworkFlow().String()
			if asked[key]++; !s.ACK && asked[key] == 3 {
				n.unanswered++
			}
		} else if ok && s.DstPort == 50443 && len(s.Payload) > 5 && s.Payload[0] == recordHandshake && s.Payload[5] == helloClient {
			n.hellos++
		}
	}
	n.addresses += len(addresses)
}

// TestDayOfIncidents: units leave and join again, keep and lose their addresses, find
// servers away and look for firmware.
func TestDayOfIncidents(t *testing.T) {
	var all incidents
	units := 0
	for _, kind := range quickKinds {
		for unit := range 2 {
			var n incidents
			n.count(t, wholeDay(t, kind, unit, 6))
			units++
			if n.joins < 2 || n.renewals < 1 {
				t.Errorf("%s %d joins the network %d times and renews its lease %d times in a day", kind, unit, n.joins, n.renewals)
			}
			if kind == "smart-plug" && n.hellos < n.joins {
				t.Errorf("plug %d joins %d times and opens %d sessions with its cloud", unit, n.joins, n.hellos)
			}
			all.refusals += n.refusals
			all.addresses += n.addresses
			all.unanswered += n.unanswered
			all.firmware += n.firmware
		}
	}
	if all.refusals == 0 || all.addresses <= units || all.unanswered == 0 || all.firmware == 0 {
		t.Errorf("%+v in days of %d units: want every kind of incident", all, units)
	}
}

// TestSpareAddresses: a second address is no other unit's.
func TestSpareAddresses(t *testing.T) {
	h, owner := newHome(3), map[string]string{}
	for i, k := range kinds() {
		for unit := range unitLeases {
			owner[h.address(i, unit, false).String()] = k.name
		}
		for unit := range unitSpares {
			a := h.address(i, unit, true).String()
			if other, ok := owner[a]; ok {
				t.Errorf("%s %d may get %s, which is %s's", k.name, unit, a, other)
			}
			owner[a] = k.name
		}
	}
}

// TestDayIsHandedOut: frames are not held until the day is over, and an error of who
// takes them ends it.
func TestDayIsHandedOut(t *testing.T) {
	k := kinds()[slices.Index(Kinds(), "speaker")]
	h := newHome(1)
	d := newDevice(k, 0, 0, h, daily(k, 0, h, 6*time.Hour))
	most, n := 0, 0
	d.emit = func(Frame) error {
		n++
		most = max(most, len(d.frames))
		return nil
	}
	if d.play(); d.err != nil || n < 5*manyFrames || most > 2*manyFrames {
		t.Errorf("%d frames, up to %d of them held, error %v", n, most, d.err)
	}
	n = 0
	if _, err := Day("speaker", 0, 1, 6*time.Hour, func(Frame) error { n++; return errFull }); !errors.Is(err, errFull) || n != 1 {
		t.Errorf("error %v after %d frames, want %v after the first", err, n, errFull)
	}
}

// TestTsharkReadsADay: nothing malformed, no checksum wrong, and no gap in TCP but
// requests for a connection that nobody answers.
func TestTsharkReadsADay(t *testing.T) {
	bin := testenv.Tool(t, "tshark")
	var all Recording
	for _, kind := range quickKinds {
		all.Frames = append(all.Frames, wholeDay(t, kind, 0, 6).Frames...)
	}
	file := filepath.Join(t.TempDir(), "day.pcap")
	if err := os.WriteFile(file, pcap(t, all), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(bin, "-r", file, "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
		"-Y", `_ws.malformed || (tcp.analysis.flags && tcp.flags.syn == 0) || ip.checksum.status == "Bad" || tcp.checksum.status == "Bad" || udp.checksum.status == "Bad"`).Output()
	if err != nil || len(out) > 0 {
		t.Errorf("tshark: %v: %.2000s", err, out)
	}
}
