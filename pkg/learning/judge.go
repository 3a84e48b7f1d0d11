package learning

// This file lets models judge records that they have not learned from.

import (
	"context"
	"fmt"
	"slices"

	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/join"
	"github.com/iotsense/iotsense/pkg/model"
)

// outcome is what a model says of a device in the end.
type outcome struct {
	name    string  // of a known device; empty: it is not named
	windows int     // judged
	right   float64 // share of them whose own best guess is the device's class
}

// judge has a model judge devices by some of their records, each as if it were seen for the
// first time but for what it has said of itself.
func (l *learner) judge(ctx context.Context, bundle model.Bundle, devices []*pupil, of func(*pupil) []*flows.Record) ([]outcome, error) {
	labels := classify.Labels(bundle)
	out := make([]outcome, len(devices))
	at, right := 0, 0
	c, err := classify.New(bundle, classify.Options{
		MaxDevices: len(devices) + 1, Facts: l.known.Of,
		Judged: func(j classify.Judged) {
			out[at].windows++
			if best := join.Best(j.Probs); best >= 0 && labels[best] == devices[at].class {
				right++
			}
		},
	})
	if err != nil {
		return nil, err
	}
	for i, p := range devices {
		at, right = i, 0
		for _, r := range of(p) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err := c.Record(r); err != nil {
				return nil, fmt.Errorf("judge: %w", err)
			}
		}
		if v := c.Registry().Verdict(p.Name()); v.Known {
			out[i].name = *v.Label
		}
		if out[i].windows > 0 {
			out[i].right = float64(right) / float64(out[i].windows)
		}
	}
	return out, nil
}

// lesson and held are a device's records.
func lesson(p *pupil) []*flows.Record { return p.lesson }
func held(p *pupil) []*flows.Record   { return p.held }

// parts are how often the devices of a class are parted into one that is judged and others
// that are learned from.
const parts = 3

// doubt learns from a part of each class's devices at a time, and has the others judged. One
// that is surely named as another class that is learned is learned from no more, as its label may
// be wrong, unless the operator has locked it.
func (l *learner) doubt(ctx context.Context) error {
	place := map[*pupil]int{} // among those of its class
	count := map[string]int{}
	for _, p := range l.lessons() {
		place[p] = count[p.class]
		count[p.class]++
	}
	var doubted []*pupil
	for part := range parts {
		var learned, judged []*pupil
		for _, p := range l.lessons() {
			if count[p.class] > 1 && place[p]%parts == part {
				judged = append(judged, p)
			} else {
				learned = append(learned, p)
			}
		}
		if len(judged) == 0 || len(learned) == 0 {
			continue
		}
		l.say("learning without some, to see whether they are known by the others: %d of %d", part+1, parts)
		m, err := l.learn(learned)
		if err != nil {
			return err
		}
		said, err := l.judge(ctx, model.Bundle{"": m}, judged, lesson)
		if err != nil {
			return err
		}
		for i, p := range judged {
			t := l.report.class(p.class)
			switch name := said[i].name; name {
			case p.class:
				t.Others.Right++
			case "":
				t.Others.Unnamed++
			default:
				t.Others.Wrong++
				if _, learned := l.paths[name]; learned && !p.Locked {
					doubted = append(doubted, p)
					l.report.leave(p, fmt.Sprintf("by what was learned from the others it is %s: give it another label, or `lock` it if this one is right", name))
				}
			}
		}
	}
	for _, p := range doubted {
		p.learned = false
	}
	return nil
}

func (l *learner) say(format string, args ...any) { l.Say(fmt.Sprintf(format, args...)) }

// compare has the model, and the one that judges now, judge the newest records of devices with
// a label, and of those without say what they would be called.
func (l *learner) compare(ctx context.Context, m *model.Model) error {
	var examined, unnamed []*pupil
	for _, p := range l.all {
		switch {
		case p.learned || p.judged:
			examined = append(examined, p)
		case p.Label == "":
			unnamed = append(unnamed, p)
		}
	}
	both := [2]model.Bundle{l.Running, {"": m}}
	var said, called [2][]outcome
	for i, bundle := range both {
		var err error
		if said[i], err = l.judge(ctx, bundle, examined, held); err != nil {
			return err
		}
		if called[i], err = l.judge(ctx, bundle, unnamed, func(p *pupil) []*flows.Record { return slices.Concat(p.lesson, p.held) }); err != nil {
			return err
		}
	}
	for i, p := range examined {
		t := l.report.class(p.class)
		t.Devices++
		t.Records += len(p.lesson)
		if said[0][i].windows > 0 {
			t.Before.add(said[0][i], p.class)
			t.After.add(said[1][i], p.class)
		}
	}
	for i, p := range unnamed {
		if before, after := called[0][i].name, called[1][i].name; before != after {
			l.report.Unlabelled = append(l.report.Unlabelled, Renamed{p.Name(), word(before), word(after)})
		}
	}
	l.report.judge(l.Outdated)
	return nil
}

// word is a name; nil: none.
func word(name string) *string {
	if name == "" {
		return nil
	}
	return &name
}
