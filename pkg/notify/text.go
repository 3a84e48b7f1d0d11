package notify

// This file says for people what happened.

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// word is what people are told of a kind of events.
type word struct {
	title    string
	priority int    // of ntfy: 1 to 5, 3 as usual
	tag      string // of ntfy, an emoji
}

var words = map[string]word{
	v1.EventNew:          {"New device", 3, "new"},
	string(v1.Known):     {"Device recognised", 2, "white_check_mark"},
	string(v1.Likely):    {"Kind of device recognised", 2, "white_check_mark"},
	string(v1.Unknown):   {"Unknown device", 3, "question"},
	string(v1.Gathering): {"Device observed anew", 1, "hourglass"},
	string(v1.Gateway):   {"Device is a gateway", 2, "globe_with_meridians"},
	string(v1.Changed):   {"Device has changed", 4, "warning"},
	string(v1.Conflict):  {"Device is not what it says", 4, "warning"},
	v1.EventGone:         {"Device gone", 2, "wave"},
	v1.EventBack:         {"Device back", 2, "house"},
	v1.EventLabelled:     {"Device labelled", 1, "label"},
	v1.EventDropsBegan:   {"Traffic is being lost", 4, "warning"},
	v1.EventDropsEnded:   {"No traffic is lost any more", 2, "white_check_mark"},
}

// title is what a notice is about.
func title(n *v1.Notice) string {
	if n.Event.Event == v1.EventDigest {
		return fmt.Sprintf("%d events", n.Count)
	}
	return cmp.Or(words[n.Event.Event].title, n.Event.Event)
}

// line tells an event in a line.
func line(n *v1.Notice) string {
	var b strings.Builder
	b.WriteString(title(n))
	if n.Device != nil {
		b.WriteString(": ")
		about := *n.Device
		if n.Vendor != nil {
			about += ", " + *n.Vendor
		}
		if n.Name != nil {
			about = *n.Name + " (" + about + ")"
		}
		b.WriteString(about)
	}
	switch {
	case n.New != nil && *n.New != n.Event.Event && (n.Name == nil || *n.Name != *n.New):
		b.WriteString(", " + *n.New)
	case n.State != nil && n.Event.Event == v1.EventNew:
		b.WriteString(", " + string(*n.State))
	}
	if n.Old != nil {
		b.WriteString(", was " + *n.Old)
	}
	return b.String()
}

// notice makes one of a batch, which is not empty.
func (b batch) notice() v1.Notice {
	if len(b.Notices) == 1 && b.More == 0 {
		return b.Notices[0]
	}
	last := b.Notices[len(b.Notices)-1]
	n := v1.Notice{Event: v1.Event{Seq: last.Seq, Time: last.Time, Event: v1.EventDigest}, Count: len(b.Notices) + b.More, Events: b.Notices}
	lines := make([]string, 0, len(b.Notices)+1)
	for i := range b.Notices {
		lines = append(lines, b.Notices[i].Text)
	}
	if b.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", b.More))
	}
	n.Text = strings.Join(lines, "\n")
	return n
}
