package page

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// attack is what a device may call itself.
const attack = `<script>alert(1)</script><img src=x onerror=alert(1)>"' onclick=alert(1) {{.}} javascript:alert(1)`

func ptr[T any](v T) *T { return &v }

// hostile is a device all of whose texts are an attack.
func hostile(state v1.State) v1.DeviceVerdict {
	text := attack
	return v1.DeviceVerdict{
		Verdict: v1.Verdict{
			Device: text, Label: &text, Confidence: ptr(0.5), State: state, Path: &text, PathConfidence: ptr(0.6), UserLabel: &text, Vendor: &text,
			Facts: v1.Facts{"dhcp_host": text, "mdns_name": text}, Votes: map[string]int{text: 3}, Windows: 3,
		},
		Addresses: []string{text}, MACs: []string{text, text}, Name: &text, NameFrom: ptr("user"),
	}
}

// tags are the elements of a page with their attributes, and its text.
func tags(t *testing.T, page []byte) (elements []html.Token, text string) {
	t.Helper()
	z := html.NewTokenizer(strings.NewReader(string(page)))
	var all strings.Builder
	for {
		switch z.Next() {
		case html.ErrorToken:
			return elements, all.String()
		case html.StartTagToken, html.SelfClosingTagToken:
			elements = append(elements, z.Token())
		case html.TextToken:
			all.WriteString(z.Token().Data)
		}
	}
}

// Whatever a device says is text: a page has the elements of one with harmless names, none of
// which does what the policy would have to forbid.
func TestHostileNames(t *testing.T) {
	health := Health{Stats: v1.Stats{Model: ptr(attack), Interfaces: []v1.Interface{{Name: attack, Hook: attack}}}}
	pages := map[string]func(d v1.DeviceVerdict) ([]byte, error){
		"list": func(d v1.DeviceVerdict) ([]byte, error) {
			return (&List{Devices: []v1.DeviceVerdict{d}, Health: health, Names: []string{attack}}).Page(Filter{Text: "alert", State: d.State})
		},
		"search": func(v1.DeviceVerdict) ([]byte, error) {
			return (&List{Health: health, Names: []string{attack}}).Page(Filter{Text: attack, State: attack, Sort: attack})
		},
		"device": func(d v1.DeviceVerdict) ([]byte, error) {
			return (&Device{
				Known:  &v1.Device{DeviceVerdict: d, Events: []v1.Event{{Event: attack, Old: ptr(attack), New: ptr(attack)}, {Event: v1.EventLabelled, New: ptr(attack)}}},
				Health: health, Names: []string{attack}, Facts: []v1.Fact{{Kind: attack, Value: attack, Source: attack}},
				Flows:       []v1.Flow{{Device: &d.Device, Remote: attack, Interface: attack}},
				Explanation: &v1.Explanation{Label: attack, Facts: []v1.ExplainedFact{{Kind: attack, Value: attack, Phi: 1}}},
			}).Page()
		},
		"sorry": func(v1.DeviceVerdict) ([]byte, error) { return Sorry(attack) },
	}
	for name, of := range pages {
		for _, state := range v1.States {
			page, err := of(hostile(state))
			if err != nil {
				t.Fatal(err)
			}
			elements, text := tags(t, page)
			if !strings.Contains(text, "<script>alert(1)</script>") && name != "search" {
				t.Errorf("%s, %s: what the device says is not to be read", name, state)
			}
			for _, e := range elements {
				if e.Data == "script" && len(e.Attr) != 2 || e.Data == "img" || e.Data == "style" {
					t.Errorf("%s: %v", name, e)
				}
				for _, a := range e.Attr {
					url := a.Key == "href" || a.Key == "src" || a.Key == "action"
					if strings.HasPrefix(a.Key, "on") || a.Key == "style" || url && !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "#") {
						t.Errorf("%s: %v", name, e)
					}
				}
			}
		}
	}
}

// All of the page together is small, of a home with more devices than a list has rows too, and
// asks nobody else for anything.
func TestSmallAndAlone(t *testing.T) {
	const most = 300_000
	sum := 0
	for name, a := range Assets {
		sum += len(a.Bytes)
		if text := strings.ReplaceAll(string(a.Bytes), "http://www.w3.org/2000/svg", ""); strings.Contains(text, "//") && regexp.MustCompile(`https?://|url\(|@import`).MatchString(text) {
			t.Errorf("%s names an address", name)
		}
	}
	var devices []v1.DeviceVerdict
	for i := range 2 * maxRows {
		d := v1.DeviceVerdict{
			Verdict: v1.Verdict{
				Device: fmt.Sprintf("02:00:00:00:%02x:%02x", i/256, i%256), State: v1.Unknown, Bytes: 123456789, Flows: 1234567, Vendor: ptr("Belkin International Inc."),
				Label: ptr("TP-LinkPlugHS110"), Confidence: ptr(0.5), Path: ptr("TP-Link/plug"), PathConfidence: ptr(0.9), Facts: v1.Facts{"dhcp_host": "a-name-of-some-length"},
			},
			FirstSeen: v1.UnixMicro(1e15), LastSeen: v1.UnixMicro(1e15), Addresses: []string{"192.168.100.100", "fe80::1"},
		}
		d.Call()
		devices = append(devices, d)
	}
	traffic := func(string) (all v1.Traffic) {
		for i := range 60 {
			all.Sent, all.Received = append(all.Sent, uint64(i*i*7919%1000)), append(all.Received, uint64(i*31%97))
		}
		return all
	}
	list, err := (&List{Devices: devices, Traffic: traffic}).Page(Filter{})
	if err != nil || sum == 0 || sum+len(list) > most {
		t.Errorf("a list of %d bytes, with its files %d, %v", len(list), sum+len(list), err)
	}
	x := &v1.Explanation{Phi: make([][]float64, 20)}
	for row := range x.Phi {
		x.Phi[row] = make([]float64, 3040)
		for column := range x.Phi[row] {
			x.Phi[row][column] = math.Sin(float64(row * column))
			x.Fields = append(x.Fields, v1.ExplainedField{Row: row, Column: column, Name: fmt.Sprint("payload_", column-39), Raw: 'x', Part: v1.Byte, Packet: ptr(1), Byte: ptr(1), Phi: x.Phi[row][column]})
		}
	}
	device, err := (&Device{Known: &v1.Device{DeviceVerdict: devices[0], Traffic: traffic("")}, Explanation: x, Payload: true}).Page()
	if err != nil || sum+len(device) > most {
		t.Errorf("a device's page of %d bytes, with its files %d, %v", len(device), sum+len(device), err)
	}
	t.Logf("files %d bytes, the largest list %d, an explained device %d", sum, len(list), len(device))
}

// contrast is that of WCAG 2.2 between two colours like #1b222c.
func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	luminance := func(colour string) (sum float64) {
		for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
			n, err := strconv.ParseUint(colour[1+2*i:3+2*i], 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			c := float64(n) / 255
			if c <= 0.04045 {
				c /= 12.92
			} else {
				c = math.Pow((c+0.055)/1.055, 2.4)
			}
			sum += weight * c
		}
		return sum
	}
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// Text stands out from what is behind it as WCAG 2.2 AA wants, light and dark; what is no
// text, and is to be seen, too.
func TestContrast(t *testing.T) {
	css := string(Assets["page.css"].Bytes)
	schemes := regexp.MustCompile(`:root\{([^}]*)\}`).FindAllStringSubmatch(css, -1)
	if len(schemes) != 2 {
		t.Fatalf("%d schemes", len(schemes))
	}
	for i, s := range schemes {
		colours := map[string]string{}
		for _, m := range regexp.MustCompile(`--([\w-]+):(#\w{6})`).FindAllStringSubmatch(s[1], -1) {
			colours[m[1]] = m[2]
		}
		for _, pair := range []string{
			"text ground", "text surface", "muted ground", "muted surface", "accent ground", "accent surface", "accent-text accent",
			"good good-ground", "soft soft-ground", "warn warn-ground", "bad bad-ground", "plain plain-ground", "odd odd-ground", "on-for for", "on-against against",
		} {
			a, b, _ := strings.Cut(pair, " ")
			if c := contrast(t, colours[a], colours[b]); c < 4.5 {
				t.Errorf("scheme %d: %s has a contrast of %.2f", i, pair, c)
			}
		}
		for _, pair := range []string{"accent rail", "bad rail", "muted surface", "accent surface", "other surface", "for ground", "against ground"} {
			a, b, _ := strings.Cut(pair, " ")
			if c := contrast(t, colours[a], colours[b]); c < 3 {
				t.Errorf("scheme %d: %s has a contrast of %.2f", i, pair, c)
			}
		}
	}
}

// Of each state there is a sentence, and of each that may become another what that takes.
func TestWords(t *testing.T) {
	label, path := "HueBridge", "Philips/bridge"
	for _, tt := range []struct {
		v                        v1.Verdict
		behaves, sentence, needs string
	}{
		{v1.Verdict{State: v1.Gathering}, "too little", "not sent enough", "first flows"},
		{v1.Verdict{State: v1.Gathering, Label: &label, Confidence: ptr(0.7), Windows: 2}, "HueBridge, 70\u00a0%", "not sent enough", "Three flows"},
		{v1.Verdict{State: v1.Known, Label: &label, Confidence: ptr(0.999), Path: &path, Known: true}, ">\u00a099\u00a0%", "named so", ""},
		{v1.Verdict{State: v1.Likely, Label: &label, Confidence: ptr(0.5), Path: &path}, "HueBridge", "kind is safe, Philips/bridge", "only one of these"},
		{v1.Verdict{State: v1.Unknown, Label: &label, Confidence: ptr(0.5)}, "HueBridge", "most like HueBridge", "starts and is used"},
		{v1.Verdict{State: v1.Unknown, Label: &label, Confidence: ptr(0.5), Distance: ptr(1.4)}, "nearest is HueBridge", "far from all", "A model that knows its type"},
		{v1.Verdict{State: v1.Unknown, Label: ptr(noneLabel), Confidence: ptr(0.5)}, "nothing that the model knows", "none of the types", "A model that knows its type"},
		{v1.Verdict{State: v1.Conflict, Label: &label, Confidence: ptr(0.5)}, "HueBridge", "one of both is not true", "agree with"},
		{v1.Verdict{State: v1.Changed, Label: &label, Confidence: ptr(0.5)}, "HueBridge", "no longer", "what it was"},
		{v1.Verdict{State: v1.Gateway, Label: &label, Confidence: ptr(0.5)}, "", "forwards for others", ""},
		{v1.Verdict{State: v1.Ignored}, "", "not judged", ""},
	} {
		for _, got := range [][2]string{{behaves(&tt.v), tt.behaves}, {Sentence(&tt.v), tt.sentence}, {Needs(&tt.v), tt.needs}} {
			if !strings.Contains(got[0], got[1]) || (got[1] == "") != (got[0] == "") {
				t.Errorf("%s: %q, want %q", tt.v.State, got[0], got[1])
			}
		}
	}
	if page, err := Sorry("the sensor is busy"); err != nil || !strings.Contains(string(page), ">The sensor is busy<") {
		t.Errorf("%s, %v", page, err)
	}
	strange := v1.Verdict{State: v1.Unknown, Label: &label, Confidence: ptr(0.01), Distance: ptr(1.4)}
	if text, sure := what(&strange); text != "nothing that the model knows" || sure != nil {
		t.Errorf("a stranger is %q, %v in a list", text, sure)
	}
	joins := v1.Verdict{State: v1.Likely, Path: &path, PathConfidence: ptr(0.7), Level: 1}
	if text, sure := what(&joins); text != "Philips / bridge" || sure == nil || *sure != 0.7 {
		t.Errorf("of no window: %q, %v", text, sure)
	}
	for _, s := range v1.States {
		if !slices.Contains(ranked, s) {
			t.Errorf("%s has no place in a list", s)
		}
	}
}

// A list is bounded, says what it leaves out, and has what the filter wants.
func TestList(t *testing.T) {
	var devices []v1.DeviceVerdict
	for i := range 1000 {
		d := v1.DeviceVerdict{Verdict: v1.Verdict{Device: fmt.Sprintf("02:00:00:00:%02x:%02x", i/256, i%256), State: v1.Unknown}, FirstSeen: v1.UnixMicro(int64(i+1) * 1e6)}
		if i%10 == 0 {
			d.State, d.Vendor = v1.Known, ptr("Acme")
		}
		devices = append(devices, d)
	}
	for _, tt := range []struct {
		f           Filter
		rows, cards int
		text        string
	}{
		{Filter{}, maxRows, maxCards, "820 more match"},
		{Filter{Text: "acme"}, 100, 0, ""},
		{Filter{State: v1.Known}, 100, 0, ""},
		{Filter{Text: "acme", State: v1.Unknown}, 0, 0, "No device matches"},
		{Filter{Text: "02:00:00:00:00:0"}, 16, maxCards, "8 more below"},
	} {
		page, err := (&List{Devices: devices}).Page(tt.f)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(page), "<tr id="); n != tt.rows {
			t.Errorf("%+v: %d rows, want %d", tt.f, n, tt.rows)
		}
		if n := strings.Count(string(page), "<article"); n != tt.cards || !strings.Contains(string(page), tt.text) {
			t.Errorf("%+v: %d cards, want %d, and %q", tt.f, n, tt.cards, tt.text)
		}
	}
	page, _ := (&List{Devices: devices}).Page(Filter{})
	newest := strings.Index(string(page), "02:00:00:00:03:e7") // the 999th
	if first := strings.Index(string(page), "02:00:00:00:03:e6"); newest < 0 || first < newest {
		t.Errorf("the newest stranger stands at %d, the one before at %d", newest, first)
	}
	empty, err := (&List{Health: Health{Stats: v1.Stats{UptimeS: 60}}}).Page(Filter{})
	if err != nil || !strings.Contains(string(empty), "seen no device yet") || !strings.Contains(string(empty), "no packet passed") {
		t.Errorf("%v: %s", err, empty)
	}
}

// Rates are of two looks at the same process.
func TestBetween(t *testing.T) {
	a := v1.Stats{Sensor: "a", UptimeS: 10, Packets: v1.PacketStats{Seen: 100}, UserCPUS: 1}
	b := v1.Stats{Sensor: "a", UptimeS: 12, Packets: v1.PacketStats{Seen: 300}, UserCPUS: 1.5}
	if h := Between(a, b); h.PacketsPerS != 100 || h.CPU != 0.25 {
		t.Errorf("%v a second, %v", h.PacketsPerS, h.CPU)
	}
	b.Sensor = "another"
	if h := Between(a, b); h.PacketsPerS >= 0 || h.CPU >= 0 {
		t.Errorf("%v a second, %v of another process", h.PacketsPerS, h.CPU)
	}
}

// What got lost is said, with what to do.
func TestLosses(t *testing.T) {
	s := stripOf(Health{Stats: v1.Stats{Samples: v1.SampleStats{RingFull: 1234}, DroppedVerdicts: 1}})
	if len(s.Lost) != 2 || s.Lost[0].Count != "1,234" || !strings.Contains(s.Lost[0].Means, "--ring-size") {
		t.Errorf("%+v", s.Lost)
	}
	known := map[string]bool{}
	for _, c := range v1.Counters(v1.Stats{}) {
		known[c.Key] = true
	}
	for key := range losses {
		if !known[key] {
			t.Errorf("there is no counter %s", key)
		}
	}
}
