package main

// This file shows a demo's verdicts beside the truth, and keeps the score.

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/iotsense/iotsense/cmd/internal/ask"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

// Outcomes of a device under observation.
const (
	outcomeRight   = "right"     // named, and truly that
	outcomeWrong   = "WRONG"     // named, but truly something else
	outcomeRefused = "refused"   // not confident enough to name it
	outcomeNone    = "no window" // no record of it, or none that the model takes
)

// board keeps the newest verdict of every device and prints what changes.
type board struct {
	w      io.Writer
	json   bool
	truth  map[string]string
	latest map[string]v1.Verdict
	said   map[string]v1.Verdict // in text: on the most windows
	begin  time.Time
	width  int // of the longest label
	wide   int // of the longest verdict so far, without its question mark
}

func newBoard(w io.Writer, asJSON bool, truth map[string]string, labels []string) *board {
	b := &board{w: w, json: asJSON, truth: truth, latest: map[string]v1.Verdict{}, said: map[string]v1.Verdict{}, begin: time.Now()}
	for _, l := range slices.Concat(labels, slices.Collect(maps.Values(truth))) {
		b.width = max(b.width, len(l))
	}
	b.wide = b.width
	return b
}

// outcome judges a verdict on a device of which the truth is known.
func (b *board) outcome(device string) string {
	v, seen := b.latest[device]
	switch {
	case !seen || v.Label == nil:
		return outcomeNone
	case !v.Known:
		return outcomeRefused
	case *v.Label == b.truth[device]:
		return outcomeRight
	}
	return outcomeWrong
}

// outcomeText is an outcome in the words of the other commands.
func outcomeText(outcome string) string {
	if outcome == outcomeRefused {
		return string(v1.Unknown)
	}
	return outcome
}

// demoLine is a verdict as `demo --json` prints it.
type demoLine struct {
	v1.Verdict
	Truth   *string `json:"truth"`   // null: nobody has said what the device is
	Outcome *string `json:"outcome"` // right, WRONG, refused or "no window"; null without truth
}

func (b *board) line(v v1.Verdict) demoLine {
	l := demoLine{Verdict: v}
	if truth, ok := b.truth[v.Device]; ok {
		outcome := b.outcome(v.Device)
		l.Truth, l.Outcome = &truth, &outcome
	}
	return l
}

func (b *board) header() {
	if !b.json {
		fmt.Fprintf(b.w, "\n%7s  %-17s  %-*s  %-*s  %10s  %7s\n", "time", "device", b.width, "truly", b.wide, "verdict", "confidence", "windows")
	}
}

// show takes a verdict, and prints it when it says something new.
func (b *board) show(v v1.Verdict) error {
	b.latest[v.Device] = v
	if b.json {
		return terminal.PrintJSON(b.w, b.line(v))
	}
	before, seen := b.said[v.Device]
	if seen && v.Windows < before.Windows {
		return nil // provisional it rested on more
	}
	b.said[v.Device] = v
	truth, ok := b.truth[v.Device]
	if !ok || v.Label == nil || seen && before.Known == v.Known && (!v.Known || *before.Label == *v.Label) {
		return nil
	}
	label, confidence := ask.LabelText(&v)
	b.wide = max(b.wide, len(strings.TrimSuffix(label, "?")))
	_, err := fmt.Fprintf(b.w, "%6.1fs  %-17s  %-*s  %-*s  %10s  %7d  %s\n", time.Since(b.begin).Seconds(),
		v.Device, b.width, truth, b.wide, label, confidence, v.Windows, outcomeText(b.outcome(v.Device)))
	return err
}

// demoSummary is the last line of `demo --json`.
type demoSummary struct {
	Data         string   `json:"data"`
	Model        string   `json:"model"`
	Hook         string   `json:"hook"`
	Speed        float64  `json:"speed"`
	Played       uint64   `json:"played"` // frames
	Devices      int      `json:"devices"`
	Right        int      `json:"right"`
	Wrong        int      `json:"wrong"`
	Refused      int      `json:"refused"`
	RefusedRight int      `json:"refused_right"` // of those: best guess right
	NoWindow     int      `json:"no_window"`
	Others       int      `json:"others"`       // devices of which nobody has said what they are
	OthersNamed  int      `json:"others_named"` // of those: named all the same
	Stats        v1.Stats `json:"stats"`        // before the sensor stopped
}

// score fills in the devices' part of the summary.
func (b *board) score(s *demoSummary) {
	s.Devices = len(b.truth)
	counts := map[string]*int{
		outcomeRight: &s.Right, outcomeWrong: &s.Wrong, outcomeRefused: &s.Refused, outcomeNone: &s.NoWindow,
	}
	for device := range b.truth {
		outcome := b.outcome(device)
		*counts[outcome]++
		if outcome == outcomeRefused && *b.latest[device].Label == b.truth[device] {
			s.RefusedRight++
		}
	}
	for device, v := range b.latest {
		if b.truth[device] == "" {
			s.Others++
			if v.Known {
				s.OthersNamed++
			}
		}
	}
}

// summary prints what every device was taken for, and what the sensor counted.
func (b *board) summary(s demoSummary) error {
	if b.json {
		return terminal.PrintJSON(b.w, map[string]demoSummary{"summary": s})
	}
	fmt.Fprintln(b.w)
	t := terminal.NewTable(b.w, "Device", "Truly", "Verdict", "Confidence", "Windows", "Flows", "")
	devices := slices.SortedFunc(maps.Keys(b.truth), func(x, y string) int {
		return strings.Compare(b.truth[x]+x, b.truth[y]+y)
	})
	for _, d := range devices {
		v := b.latest[d]
		label, confidence := ask.LabelText(&v)
		t.AppendRow(table.Row{d, b.truth[d], label, confidence, v.Windows, v.Flows, outcomeText(b.outcome(d))})
	}
	t.Render()
	p := s.Stats.Packets
	_, err := fmt.Fprintf(b.w, `
%d devices: %d right, %d wrong, %d unknown (not confident enough to name; best guess right for %d), %d without a window.
%d other machines in the traffic (routers, phones) that nobody has labelled: %d named all the same.
%d frames played; packets: %d seen = %d counted + %d not IP + %d malformed + %d table full + %d duplicate.
counted = %d in closed flows + %d in open ones; samples: %d sent, %d lost; %d records, %d incomplete, %d inferences.
`, s.Devices, s.Right, s.Wrong, s.Refused, s.RefusedRight, s.NoWindow, s.Others, s.OthersNamed,
		s.Played, p.Seen, p.Counted, p.NotIP, p.Malformed, p.TableFull, p.Duplicate,
		p.InClosed, p.InOpen, s.Stats.Samples.Sent, s.Stats.Samples.RingFull,
		s.Stats.Records, s.Stats.IncompleteRecords, s.Stats.Inferences)
	return err
}
