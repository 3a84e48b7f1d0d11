package model

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/flows"
)

// What is known of how a model was made is said in words; older files tell less.
func TestHowItWasMade(t *testing.T) {
	m := &Model{}
	if got := fmt.Sprint(m.Training.Choice, ", ", m.Calibration); got != "not known, 1.00" {
		t.Errorf("of a file that does not tell: %s", got)
	}
	m.Training.Choice = &Choice{ChosenByCaptures, 7, 27, 12}
	m.Calibration = Calibration{1.25, 1, 5, true}
	want := "7 of 27: validation loss by captures, of 12, 1.25, fitted on 5 validation captures that chose no epoch, at least 1"
	if got := fmt.Sprint(m.Training.Choice, ", ", m.Calibration); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A model that was trained on scrubbed payloads never sees others.
func TestStreamScrubs(t *testing.T) {
	const mac = "02:1f:3c:4d:5e:6f"
	for _, scrub := range []bool{false, true} {
		spec := DefaultRecordSpec()
		spec.Scrub = scrub
		r := &flows.Record{Device: mac, Remote: netip.IPv4Unspecified(), Packets: []flows.RowPacket{{Payload: []byte("I am " + mac)}}}
		step, ok := flows.NewStreams(spec.Stream()).Add(r)
		if !ok {
			t.Fatal("no row")
		}
		if got := string(step.Packets[0].Payload); (got == "I am "+mac) == scrub {
			t.Errorf("scrub %v: payload %q", scrub, got)
		}
	}
}

// The class of none of them is one label by its name; devices are given the others.
func TestNone(t *testing.T) {
	for _, tt := range []struct {
		labels, classes []string
		index           int
		ok              bool
		refused         string
	}{
		{[]string{"camera", "plug"}, []string{"camera", "plug"}, 1, false, ""},
		{[]string{"camera", NoneLabel, "plug"}, []string{"camera", "plug"}, 1, true, ""},
		{[]string{NoneLabel}, []string{}, 0, true, "no class but"},
	} {
		m := &Model{Labels: tt.labels}
		if index, ok := m.None(); index != tt.index || ok != tt.ok || !slices.Equal(m.Classes(), tt.classes) {
			t.Errorf("%v: %d, %v, classes %v", tt.labels, index, ok, m.Classes())
		}
		err := validateLabels(tt.labels)
		if (err != nil) != (tt.refused != "") || err != nil && !strings.Contains(err.Error(), tt.refused) {
			t.Errorf("%v: %v", tt.labels, err)
		}
	}
}
