package page

// This file makes the page of one device.

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

const (
	maxFlows        = 50
	maxDestinations = 8
	maxShares       = 12
	maxVotes        = 8
)

// Device is what is known of one device.
type Device struct {
	Known   *v1.Device
	Facts   []v1.Fact
	NoFacts string    // why there are none; empty: it said nothing
	Flows   []v1.Flow // open ones, of all devices
	// Explanation is of its newest window; null: none was asked for, or NoExplanation says
	// why there is none.
	Explanation   *v1.Explanation
	NoExplanation string
	Health        Health
	Names         []string // labels to suggest
	Payload       bool     // bytes of it may be shown
}

// portrait is what the template of a device takes.
type portrait struct {
	row
	Title              string
	Names              []string
	Health             strip
	Words              []factLine
	NoFacts            string
	Votes              []bar
	Open               []flowLine
	OpenAll            int
	Destinations       []bar
	Explained          bool
	Why, NoExplanation string
	Shares             []bar
	Padding            string
	Heat               *heat
	ExplainLink        string
	Traffic            chart
	Presence           []span
	There              string
	History            []happened
}

// factLine is a fact as the page has it.
type factLine struct {
	Kind, Value, Source string
	Last                v1.Time
	Count               uint64
}

// flowLine is a flow as the page has it.
type flowLine struct {
	v1.Flow
	Protocol, Port, Own string
	Received            uint64
}

// bar is a part of a whole.
type bar struct {
	Name, Value string
	Up, Down    string // of bytes: sent, received
	Part        int    // of 100
	Against     bool
	From        string
}

// Page is the device's.
func (d *Device) Page() ([]byte, error) {
	r := rowOf(&d.Known.DeviceVerdict, d.Known.Traffic)
	spans, there := presence(d.Known)
	p := portrait{
		row: r, Title: r.Label() + " · iotsense", Names: d.Names, Health: stripOf(d.Health), NoFacts: d.NoFacts, Votes: votes(&d.Known.Verdict),
		Traffic: r.Traffic, Presence: spans, There: Uptime(there.Seconds()), History: history(d.Known.Events),
		NoExplanation: d.NoExplanation, ExplainLink: r.Link + "?explain=1",
	}
	facts := slices.Clone(d.Facts)
	SortFacts(facts)
	for _, f := range facts {
		p.Words = append(p.Words, factLine{kindWords(f.Kind), f.Value, f.Source, f.Last, f.Count})
	}
	p.flows(d.Flows)
	if x := d.Explanation; x != nil {
		p.Explained, p.Why, p.Shares, p.Heat = true, x.Title(), shares(x, d.Payload), heatOf(x, d.Payload)
		p.Padding = percent(x.PaddingFraction)
	}
	return render("device", &p)
}

// votes are the windows by what each alone would have said, the most first.
func votes(v *v1.Verdict) (list []bar) {
	labels := slices.SortedFunc(maps.Keys(v.Votes), func(a, b string) int {
		return cmp.Or(cmp.Compare(v.Votes[b], v.Votes[a]), strings.Compare(a, b))
	})
	for _, l := range labels[:min(len(labels), maxVotes)] {
		list = append(list, bar{Name: l, Value: count(uint64(v.Votes[l])), Part: 100 * v.Votes[l] / max(1, v.Windows)})
	}
	return list
}

// flows takes the device's, the newest first, and where they go to.
func (p *portrait) flows(all []v1.Flow) {
	to, sent, sum := map[string]uint64{}, map[string]uint64{}, uint64(0)
	var own []v1.Flow
	for _, f := range all {
		if f.Device != nil && (*f.Device == p.Device || slices.Contains(p.MACs, *f.Device)) {
			own = append(own, f)
			to[f.Remote] += f.Bytes
			sent[f.Remote] += f.BytesSent
			sum += f.Bytes
		}
	}
	slices.SortStableFunc(own, func(a, b v1.Flow) int { return b.FirstSeen.Compare(a.FirstSeen.Time) })
	p.OpenAll = len(own)
	for _, f := range own[:min(len(own), maxFlows)] {
		p.Open = append(p.Open, flowLine{f, v1.ProtocolName(f.Proto), port(f.RemPort), port(f.DevPort), f.Bytes - min(f.Bytes, f.BytesSent)})
	}
	remotes := slices.SortedFunc(maps.Keys(to), func(a, b string) int {
		return cmp.Or(cmp.Compare(to[b], to[a]), strings.Compare(a, b))
	})
	for _, r := range remotes[:min(len(remotes), maxDestinations)] {
		p.Destinations = append(p.Destinations, bar{Name: r, Up: sizeText(sent[r]), Down: sizeText(to[r] - min(to[r], sent[r])), Part: int(100 * to[r] / max(1, sum))})
	}
}

func port(n int32) string {
	if n < 0 {
		return "–"
	}
	return fmt.Sprint(n)
}

// shares are those of an explanation that weigh most. What bytes there are is said only where
// payload may be shown.
func shares(x *v1.Explanation, payload bool) (list []bar) {
	all := x.Shares(payload) // the greatest first
	for _, s := range all[:min(len(all), maxShares)] {
		if s.Phi == 0 {
			break
		}
		list = append(list, bar{
			Name: shorten(s.Words, 100), Value: fmt.Sprintf("%+.3f", s.Phi), Part: int(100 * math.Abs(s.Phi) / math.Abs(all[0].Phi)), Against: s.Phi < 0, From: s.Of,
		})
	}
	return list
}
