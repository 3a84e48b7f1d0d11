package embedded_test

import (
	"cmp"
	"path"
	"slices"
	"testing"
	"time"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/embedded"
	"github.com/iotsense/iotsense/pkg/taxonomy"
)

// piece is what one device sent and got in one capture.
type piece struct {
	device, label string
	records       []*flows.Record
	samples       []heardSample
}

type heardSample struct {
	sent   bool
	at     int64
	sample flows.Sample
}

// pieces are those of a manifest's devices.
func pieces(t *testing.T, bundle model.Bundle, manifest string, splits ...string) (list []*piece) {
	t.Helper()
	set := open(t, bundle, dataset.Options{Manifest: manifest, Splits: splits})
	of := map[string]*piece{}
	get := func(device string) *piece {
		if of[device] == nil {
			of[device] = &piece{device: device}
		}
		return of[device]
	}
	set.Observe(func() {}, func(device string, sent bool, at int64, s *flows.Sample) {
		p, c := get(device), *s
		c.Payload = slices.Clone(s.Payload)
		p.samples = append(p.samples, heardSample{sent, at, c})
	})
	err := set.Records(t.Context(), func(r flows.LabelledRecord) error {
		p := get(r.Device)
		p.label, p.records = r.Label, append(p.records, r.Record)
		return nil
	}, func(dataset.CaptureSummary) error {
		for _, p := range of {
			if len(p.records) > 0 {
				list = append(list, p)
			}
		}
		clear(of)
		return nil
	})
	inPart(t, err)
	return list
}

// player plays pieces one after the other as one device's.
type player struct {
	t      *testing.T
	first  *classify.Classifier
	known  *facts.Collector
	states map[v1.State]time.Duration // since the piece began: when a state was first told
	begun  int64
}

func newPlayer(t *testing.T, bundle model.Bundle) *player {
	p := &player{t: t}
	var err error
	p.first, err = classify.New(bundle, classify.Options{
		Facts: func(device string) *facts.Set { return p.known.Of(device) },
		Verdict: func(v v1.Verdict) {
			if _, told := p.states[v.State]; !told {
				p.states[v.State] = time.Duration(v.Time.UnixMicro()-p.begun) * time.Microsecond
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// play gives the states that were told in each part of pieces. The pieces of a part begin an
// hour after the last has ended.
func (p *player) play(device string, parts ...[]*piece) (told []map[v1.State]time.Duration) {
	p.known = facts.NewCollector(1 << 10)
	k, now := p.first.Another(), time.Unix(1_500_000_000, 0).UnixMicro()
	defer k.End()
	for _, part := range parts {
		p.states, p.begun = map[v1.State]time.Duration{}, now
		for _, piece := range part {
			later, sample, last := now-piece.records[0].FirstSeen, 0, now
			for _, r := range piece.records {
				for ; sample < len(piece.samples) && piece.samples[sample].at <= r.LastSeen; sample++ {
					s := &piece.samples[sample]
					p.known.Sample(device, s.sent, s.at+later, &s.sample)
				}
				moved := *r
				moved.Device, moved.FirstSeen, moved.LastSeen = device, r.FirstSeen+later, r.LastSeen+later
				last = max(last, moved.LastSeen)
				if err := k.Record(&moved); err != nil {
					p.t.Fatal(err)
				}
			}
			now = last + time.Hour.Microseconds()
		}
		told = append(told, p.states)
	}
	return told
}

// beside is a piece with another device's own ones played into it, every ten minutes one.
func (p *piece) beside(own []*piece) *piece {
	both := *p
	both.records = slices.Clone(p.records)
	end := p.records[len(p.records)-1].FirstSeen
	at := p.records[0].FirstSeen + time.Minute.Microseconds()
	for i := 0; at < end; i, at = i+1, at+10*time.Minute.Microseconds() {
		o := own[i%len(own)]
		later := at - o.records[0].FirstSeen
		for _, r := range o.records {
			moved := *r
			moved.FirstSeen, moved.LastSeen = r.FirstSeen+later, r.LastSeen+later
			if moved.FirstSeen <= end {
				both.records = append(both.records, &moved)
			}
		}
	}
	slices.SortStableFunc(both.records, func(a, b *flows.Record) int { return cmp.Compare(a.FirstSeen, b.FirstSeen) })
	return &both
}

// byClass are pieces by their labels, and these in order.
func byClass(list []*piece) (of map[string][]*piece, labels []string) {
	of = map[string][]*piece{}
	for _, p := range list {
		if of[p.label] == nil {
			labels = append(labels, p.label)
		}
		of[p.label] = append(of[p.label], p)
	}
	return of, labels
}

// A device whose traffic becomes another kind's, or malware's, has changed; one whose own
// set-ups follow each other has not, nor has it ever been in conflict. Times are since the
// other traffic began, of which there are two captures, an hour apart.
func TestChangedTraffic(t *testing.T) {
	bundle := read(t, embedded.Default)
	of, labels := byClass(pieces(t, bundle, manifest(testenv.Data(t)), "test"))
	var malware []*piece
	for _, p := range pieces(t, bundle, manifest(testenv.Strangers(t))) {
		if p.label == "Raspberry Pi with Mirai" || p.label == "Raspberry Pi with Trojan" {
			p.records = p.records[:min(len(p.records), 600)]
			malware = append(malware, p)
		}
	}
	p, paths := newPlayer(t, bundle), bundle[""].Taxonomy
	var quiet, swaps, infected, beside [2]int // of so many, changed
	var after []time.Duration
	count := func(of *[2]int, told []map[v1.State]time.Duration) {
		of[0]++
		if at, changed := told[1][v1.Changed]; changed {
			of[1]++
			after = append(after, at)
		}
		for _, state := range []v1.State{v1.Changed, v1.Conflict} {
			if _, early := told[0][state]; early {
				quiet[1]++
			}
		}
		quiet[0]++
	}
	for i, a := range labels {
		own := of[a]
		for _, b := range others(paths, labels, i) {
			count(&swaps, p.play(own[0].device, own, of[b][:2]))
		}
		for _, m := range malware {
			count(&infected, p.play(own[0].device, own, []*piece{m}))
			count(&beside, p.play(own[0].device, own, []*piece{m.beside(own)}))
		}
	}
	slices.Sort(after)
	t.Logf("%d of %d told something of their own traffic; changed: %d of %d swapped, %d of %d infected, %d of %d of these beside their own set-ups, the median after %v",
		quiet[1], quiet[0], swaps[1], swaps[0], infected[1], infected[0], beside[1], beside[0], after[len(after)/2].Round(time.Second))
	if quiet[1] > 0 || swaps[1]*2 < swaps[0] || infected[1]*4 < 3*infected[0] {
		t.Error("too few have changed, or one that has not")
	}
}

// others are every third class behind the i-th, around the list, if it is of another kind,
// as its path has that.
func others(paths taxonomy.Taxonomy, labels []string, i int) (list []string) {
	for j := 1; j < len(labels); j += 3 {
		if b := labels[(i+j)%len(labels)]; path.Dir(paths[b]) != path.Dir(paths[labels[i]]) {
			list = append(list, b)
		}
	}
	return list
}

// A device that says it is of another kind than it behaves like is in conflict, if it speaks
// enough.
func TestImitatedFacts(t *testing.T) {
	bundle := read(t, embedded.Default)
	of, labels := byClass(pieces(t, bundle, manifest(testenv.Data(t)), "test"))
	p, paths := newPlayer(t, bundle), bundle[""].Taxonomy
	all, found, known := 0, 0, 0
	for i, a := range labels {
		for _, b := range others(paths, labels, i) {
			for n := range 2 {
				says, is := of[a][n], *of[b][n]
				is.samples = nil
				for _, s := range says.samples {
					s.at = is.records[0].FirstSeen
					is.samples = append(is.samples, s)
				}
				told := p.play(says.device, []*piece{&is})
				all++
				if _, conflict := told[0][v1.Conflict]; conflict {
					found++
				} else if _, named := told[0][v1.Known]; named {
					known++
				}
			}
		}
	}
	t.Logf("%d of %d imitators in conflict; of the others %d were known at some time", found, all, known)
	if found*4 < all*3 {
		t.Error("too few")
	}
}
