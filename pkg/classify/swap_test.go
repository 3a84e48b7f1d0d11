package classify

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/embedded"
	streamnet "github.com/iotsense/iotsense/pkg/model/stream"
)

// networkOf is the embedded model's network alone, with one class more, of that logit; change may
// change it further.
func networkOf(t *testing.T, logit float32, change func(*streamnet.Net)) model.Bundle {
	t.Helper()
	bundle, err := embedded.Default()
	if err != nil {
		t.Fatal(err)
	}
	m := *bundle[""]
	old := m.Net.(*streamnet.Net)
	n := &streamnet.Net{Arch: old.Arch, Weights: old.Weights.Clone()}
	classes := len(m.Labels)
	n.Weights.Dense2 = nil
	for row := range slices.Chunk(old.Weights.Dense2, classes) {
		n.Weights.Dense2 = append(append(n.Weights.Dense2, row...), 0)
	}
	n.Weights.Dense2Bias = append(n.Weights.Dense2Bias, logit)
	if change != nil {
		change(n)
	}
	m.Net, m.Labels = n, append(slices.Clone(m.Labels), "zebra")
	m.Facts, m.Centres, m.Background, m.Compared = nil, nil, nil, nil
	m.Training.Options = maps.Clone(m.Training.Options)
	m.Training.Seed += int64(logit)
	return model.Bundle{"": &m}
}

// Another model with the same memory goes on with what its network remembers of devices, as if it
// had been there from the beginning; one with another memory begins anew. What was said of a
// device stays until there is enough to say something else.
func TestSetModel(t *testing.T) {
	const devices, before, after = 3, 60, 45
	old := networkOf(t, -100, func(n *streamnet.Net) { n.Weights.Dense2Bias[3] = 100 })
	for _, tt := range []struct {
		name  string
		next  model.Bundle
		keeps bool
	}{
		{"another class", networkOf(t, 50, nil), true},
		{"another vector", networkOf(t, 50, func(n *streamnet.Net) { n.Weights.NumbersBias[0]++ }), false},
		{"other ports", networkOf(t, 50, func(n *streamnet.Net) { n.Arch.OwnPorts = n.Arch.OwnPorts[1:] }), false},
	} {
		var probs, want []string
		note := func(to *[]string) func(Judged) {
			return func(j Judged) { *to = append(*to, fmt.Sprint(j.Record.Device, j.Probs)) }
		}
		var said []v1.Verdict
		c, err := New(old, Options{Judged: note(&probs), Verdict: func(v v1.Verdict) { said = append(said, v) }, Ground: true})
		if err != nil {
			t.Fatal(err)
		}
		reference, err := New(tt.next, Options{Judged: note(&want)})
		if err != nil {
			t.Fatal(err)
		}
		all := records(before+after, devices)
		for i, r := range all {
			r.Packets[0].Size = uint32(100 + 16*(i/devices%5)) // those behind were all seen before
			if i == before {
				keeps, err := c.SetModel(tt.next)
				if err != nil || keeps != tt.keeps {
					t.Fatalf("%s: kept %v, want %v; %v", tt.name, keeps, tt.keeps, err)
				}
				for _, d := range c.Registry().Devices() {
					if !d.Known || *d.Label != old[""].Labels[3] {
						t.Errorf("%s: %s is %s", tt.name, d.Device, d.State)
					}
					if c.Ground(d.Device) != nil {
						t.Errorf("%s: %s has an explanation of the old model's verdict", tt.name, d.Device)
					}
				}
				probs, said = nil, nil
			}
			if err := c.Record(r); err != nil {
				t.Fatal(err)
			}
			if tt.keeps || i >= before {
				if err := reference.Record(r); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := want[len(want)-after:]; !slices.Equal(probs, got) {
			t.Errorf("%s: other probabilities than a model that was there from where its memory begins", tt.name)
		}
		for i, v := range said {
			if want := map[bool]string{true: old[""].Labels[3], false: "zebra"}[i/devices < 2]; *v.Label != want || !v.Known {
				t.Errorf("%s: flow %d: %s, %s; want %s", tt.name, i, *v.Label, v.State, want)
			}
			if v.News != (i/devices == 2) {
				t.Errorf("%s: flow %d: news %v", tt.name, i, v.News)
			}
			if wantFlows := uint64(before/devices + i/devices + 1); v.Flows != wantFlows {
				t.Errorf("%s: %d flows, want %d", tt.name, v.Flows, wantFlows)
			}
		}
	}
	c := newClassifier(t, Options{})
	if _, err := c.SetModel(model.Bundle{"": {}}); err == nil || c.Record(records(1, 1)[0]) != nil {
		t.Errorf("an empty model: %v", err)
	}
}
