package analyze

// This file finds flows that occur more than once, by hash: across captures,
// splits and classes.

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"maps"
	"slices"

	"github.com/iotsense/iotsense/pkg/flows"
)

// maxFlows bounds the distinct flows an index keeps. A fuller one keeps every
// second, fourth, ... flow, chosen by hash: the shares stay unbiased.
const maxFlows = 1 << 20

// flowHashes are two hashes of a record: of its shape, which is protocol, service
// and the sizes and directions of its first packets, and of all that it holds but
// times and addresses: both ports, totals and payload too.
func flowHashes(r *flows.Record) (shape, whole uint64) {
	h := fnv.New64a()
	var b [8]byte
	put := func(vs ...uint64) {
		for _, v := range vs {
			binary.LittleEndian.PutUint64(b[:], v)
			h.Write(b[:])
		}
	}
	put(uint64(r.Proto), uint64(uint32(serviceOf(r).port)))
	for i := range r.Packets {
		var sent uint64
		if r.Packets[i].Sent {
			sent = 1
		}
		put(uint64(r.Packets[i].Size), sent)
	}
	shape = mix(h.Sum64())
	put(uint64(uint32(r.DevPort)), uint64(uint32(r.RemPort)), r.PacketCount, r.TotalBytes)
	for i := range r.Packets {
		put(uint64(len(r.Packets[i].Payload)))
		h.Write(r.Packets[i].Payload)
	}
	return shape, mix(h.Sum64())
}

// mix spreads a hash over all its bits (the finaliser of MurmurHash3).
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// group is where a record belongs: class and split.
type group struct{ label, split string }

// flowKey is one flow in one group.
type flowKey struct {
	hash  uint64
	group int
}

// flowCount is how often a flow occurred in a group.
type flowCount struct {
	records uint64
	capture int  // the first it was seen in
	several bool // seen in others too
}

// flowIndex counts flows by hash and group.
type flowIndex struct {
	flows  map[flowKey]flowCount
	limit  int
	halved uint // every 2^halved-th flow is kept
}

func newFlowIndex() flowIndex { return flowIndex{flows: map[flowKey]flowCount{}, limit: maxFlows} }

func (x *flowIndex) keeps(hash uint64) bool { return hash&(1<<x.halved-1) == 0 }

func (x *flowIndex) add(hash uint64, group, capture int) {
	if !x.keeps(hash) {
		return
	}
	k := flowKey{hash, group}
	c, seen := x.flows[k]
	if !seen {
		c.capture = capture
	}
	c.records++
	c.several = c.several || c.capture != capture
	x.flows[k] = c
	for len(x.flows) > x.limit {
		x.halved++
		maps.DeleteFunc(x.flows, func(k flowKey, _ flowCount) bool { return !x.keeps(k.hash) })
	}
}

// Identical says how many of a class's records have an identical one elsewhere.
type Identical struct {
	OtherCapture Ratio `json:"other_capture"` // in another capture of the class
	OtherSplit   Ratio `json:"other_split"`   // in another split of the class; of none without splits
	OtherClass   Ratio `json:"other_class"`   // in another class: nothing tells them apart
}

// SplitOverlap says how many of a split's records occur identically, in the same
// class, in another split.
type SplitOverlap struct {
	Split string           `json:"split"`
	In    map[string]Ratio `json:"in"` // by the other split
}

// Twins are two classes that share flows of the same shape.
type Twins struct {
	A      string  `json:"a"`
	B      string  `json:"b"`
	ShareA float64 `json:"share_a"` // of A's records that have the shape of one of B's
	ShareB float64 `json:"share_b"`
}

// twinShare is the share of records from which two classes are listed as twins.
const twinShare = 0.5

// overlap is what an index says once all records are in.
type overlap struct {
	classes map[string]*Identical
	splits  []SplitOverlap
	twins   []Twins
}

// entry is a flow in one group, beside the others of its hash.
type entry struct {
	group
	flowCount
}

// pair is a class or split, and another one.
type pair struct{ from, to string }

// shared counts records that have an identical one elsewhere, and all records.
type shared struct {
	total, otherCapture, otherSplit, otherClass map[string]uint64 // by class
	withSplit, splitTotal                       map[string]uint64 // by class; by split
	inSplit, inClass                            map[pair]uint64
}

// result compares all groups that hold a flow, flow by flow.
func (x *flowIndex) result(groups []group) overlap {
	byHash := map[uint64][]entry{}
	for k, c := range x.flows {
		byHash[k.hash] = append(byHash[k.hash], entry{groups[k.group], c})
	}
	s := shared{
		map[string]uint64{}, map[string]uint64{}, map[string]uint64{}, map[string]uint64{},
		map[string]uint64{}, map[string]uint64{}, map[pair]uint64{}, map[pair]uint64{},
	}
	for _, entries := range byHash {
		for i := range entries {
			s.add(entries, i)
		}
	}
	labels := slices.Sorted(maps.Keys(s.total))
	return overlap{s.identical(labels), s.splits(), s.twins(labels)}
}

// add counts the records of one group, entries[i], among those of the same hash.
func (s *shared) add(entries []entry, i int) {
	e := &entries[i]
	n := e.records
	s.total[e.label] += n
	if e.split != "" {
		s.withSplit[e.label] += n
		s.splitTotal[e.split] += n
	}
	capture, split, classes := e.several, false, map[string]bool{}
	for j := range entries {
		o := &entries[j]
		if i == j {
			continue
		}
		if o.label != e.label {
			classes[o.label] = true
			continue
		}
		capture = capture || o.several || o.capture != e.capture
		if e.split != "" && o.split != "" {
			split = true
			s.inSplit[pair{e.split, o.split}] += n
		}
	}
	if capture {
		s.otherCapture[e.label] += n
	}
	if split {
		s.otherSplit[e.label] += n
	}
	if len(classes) > 0 {
		s.otherClass[e.label] += n
	}
	for label := range classes {
		s.inClass[pair{e.label, label}] += n
	}
}

func (s *shared) identical(labels []string) map[string]*Identical {
	classes := map[string]*Identical{}
	for _, a := range labels {
		splitRecords := s.withSplit[a]
		if len(s.splitTotal) < 2 { // one split alone has no other
			splitRecords = 0
		}
		classes[a] = &Identical{NewRatio(s.otherCapture[a], s.total[a]), NewRatio(s.otherSplit[a], splitRecords), NewRatio(s.otherClass[a], s.total[a])}
	}
	return classes
}

func (s *shared) twins(labels []string) []Twins {
	list := []Twins{}
	for i, a := range labels {
		for _, b := range labels[i+1:] {
			share := func(of, with string) float64 { return round(float64(s.inClass[pair{of, with}]) / float64(s.total[of])) }
			if t := (Twins{a, b, share(a, b), share(b, a)}); max(t.ShareA, t.ShareB) >= twinShare {
				list = append(list, t)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b Twins) int {
		return cmp.Compare(b.ShareA+b.ShareB, a.ShareA+a.ShareB)
	})
	return list
}

func (s *shared) splits() []SplitOverlap {
	list := []SplitOverlap{}
	names := slices.Sorted(maps.Keys(s.splitTotal))
	for _, a := range names {
		o := SplitOverlap{a, map[string]Ratio{}}
		for _, b := range names {
			if a != b {
				o.In[b] = NewRatio(s.inSplit[pair{a, b}], s.splitTotal[a])
			}
		}
		list = append(list, o)
	}
	return list
}
