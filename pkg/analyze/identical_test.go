package analyze

import "testing"

func ratio(t *testing.T, name string, got Ratio, count, of uint64) {
	t.Helper()
	if got.Count != count || got.Of != of {
		t.Errorf("%s: %d of %d, want %d of %d", name, got.Count, got.Of, count, of)
	}
}

// leakRecords: class A has one flow in train (twice) and test, one in train only
// and one that class B has too; ports differ in one more of the same shape.
var leakRecords = []made{
	{label: "A", capture: "a1", split: "train", device: "02:00:00:00:00:0a", proto: udp, dev: 9, rem: 53, payloads: []string{"same"}},
	{label: "A", capture: "a1", split: "train", device: "02:00:00:00:00:0a", proto: udp, dev: 9, rem: 53, payloads: []string{"same"}},
	{label: "A", capture: "a1", split: "train", device: "02:00:00:00:00:0a", proto: udp, dev: 9, rem: 53, payloads: []string{"once"}},
	{label: "A", capture: "a2", split: "test", device: "02:00:00:00:00:0a", proto: udp, dev: 9, rem: 53, payloads: []string{"same"}},
	{label: "A", capture: "a2", split: "test", device: "02:00:00:00:00:0a", proto: 2, dev: -1, rem: -1, payloads: []string{""}},
	{label: "B", capture: "b1", split: "train", device: "02:00:00:00:00:0b", proto: 2, dev: -1, rem: -1, payloads: []string{""}},
	{label: "B", capture: "b2", split: "train", device: "02:00:00:00:00:0b", proto: udp, dev: 8, rem: 53, payloads: []string{"else"}},
}

func TestIdenticalFlows(t *testing.T) {
	l := analyzeMade(Config{Leaks: true}, leakRecords).Leaks
	a, b := l.Classes[0], l.Classes[1]
	ratio(t, "A, other capture", a.Identical.OtherCapture, 3, 5)
	ratio(t, "A, other split", a.Identical.OtherSplit, 3, 5)
	ratio(t, "A, other class", a.Identical.OtherClass, 1, 5)
	ratio(t, "A, with payload, other split", a.WithPayload.OtherSplit, 3, 4)
	ratio(t, "A, with payload, other class", a.WithPayload.OtherClass, 0, 4)
	ratio(t, "A, shape, other split", a.SameShape.OtherSplit, 4, 5)
	ratio(t, "A, shape, other class", a.SameShape.OtherClass, 5, 5)
	ratio(t, "B, other capture", b.Identical.OtherCapture, 0, 2)
	ratio(t, "B, other split", b.Identical.OtherSplit, 0, 2)
	ratio(t, "B, other class", b.Identical.OtherClass, 1, 2)

	if len(l.Splits) != 2 || l.Splits[0].Split != "test" || l.Splits[1].Split != "train" {
		t.Fatalf("splits %+v", l.Splits)
	}
	ratio(t, "test in train", l.Splits[0].In["train"], 1, 2)
	ratio(t, "train in test", l.Splits[1].In["test"], 2, 5)
	if len(l.Twins) != 1 || l.Twins[0] != (Twins{"A", "B", 1, 1}) {
		t.Errorf("twins %+v, want A and B wholly", l.Twins)
	}
}

func TestOneSplitHasNoOther(t *testing.T) {
	l := analyzeMade(Config{Leaks: true}, leakRecords[:3]).Leaks
	if r := l.Classes[0].Identical.OtherSplit; r.Share != nil {
		t.Errorf("share %v with a single split, want none", *r.Share)
	}
}

func TestFlowIndexSamples(t *testing.T) {
	x := newFlowIndex()
	x.limit = 100
	const distinct = 4000
	for i := range uint64(distinct) {
		x.add(mix(i), 0, 0)
		if i%2 == 0 {
			x.add(mix(i), 0, 1) // every second flow again in another capture
		}
	}
	if len(x.flows) > x.limit {
		t.Errorf("%d flows kept, limit %d", len(x.flows), x.limit)
	}
	if kept := float64(len(x.flows)) * float64(uint64(1)<<x.halved); kept < distinct/2 || kept > distinct*2 {
		t.Errorf("%d flows kept of one in %d: not a sample of %d", len(x.flows), 1<<x.halved, distinct)
	}
	r := x.result([]group{{"A", ""}}).classes["A"].OtherCapture // of 3 records of a pair of flows, 2 are shared
	if *r.Share < 0.5 || *r.Share > 0.82 {
		t.Errorf("share %v of a sample, want about 0.67", *r.Share)
	}
}
