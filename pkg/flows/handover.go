package flows

// This file hands an Assembler's state to another, in a process that comes after.

import "slices"

// Handover is what an Assembler holds. It may be written as JSON.
type Handover struct {
	Stats   AssemblerStats
	Records []OpenRecord // in the order in which their lives were first heard of
	Lives   []OpenLife   // those of Records that have not ended
}

// OpenRecord is a record that waits for its life's end, or for its turn.
type OpenRecord struct {
	End    DeviceEnd
	Life   Life
	Order  int64
	Record *Record // nil: its life has not ended
	Void   bool    // see Assembler.Forget
}

// OpenLife is what has come of a life.
type OpenLife struct {
	Life      Life
	Delivered int
	Samples   []OpenSample
}

// OpenSample is a sample with its payload cut to what is kept of it.
type OpenSample struct {
	Index   uint8
	Stamp   int64
	FromA   bool
	Size    uint32
	Payload []byte
}

// Save gives what a holds, with payloads of most bytes in all: lives that come after are
// without, and their records will be incomplete.
func (a *Assembler) Save(most int) *Handover {
	h := &Handover{Stats: a.stats}
	var all []*openRecord
	for _, q := range a.devices {
		all = append(all, q.records...)
	}
	slices.SortFunc(all, func(x, y *openRecord) int { return int(x.arrival) - int(y.arrival) })
	saved := map[Life]bool{}
	for _, o := range all {
		h.Records = append(h.Records, OpenRecord{o.DeviceEnd, o.life, o.order, o.record, o.void})
		l := a.lives[o.life]
		if o.record != nil || l == nil || saved[o.life] {
			continue
		}
		saved[o.life] = true
		h.Lives = append(h.Lives, l.save(o.life, &most))
	}
	return h
}

// save takes the payloads from the bytes that are left for them.
func (l *openLife) save(life Life, left *int) OpenLife {
	open := OpenLife{Life: life, Delivered: l.delivered}
	for _, s := range l.samples {
		*left -= len(s.payload)
		open.Samples = append(open.Samples, OpenSample{s.index, s.stamp, s.fromA, s.size, s.payload})
	}
	if *left < 0 {
		open.Delivered = 0
		for i := range open.Samples {
			open.Samples[i].Payload = nil
		}
	}
	return open
}

// Restore gives a, which has taken no event yet, what another has saved.
func (a *Assembler) Restore(h *Handover) {
	a.stats = h.Stats
	for _, l := range h.Lives {
		open := &openLife{delivered: l.Delivered}
		for _, s := range l.Samples {
			open.samples = append(open.samples, lifeSample{s.Stamp, s.Payload, s.Size, s.Index, s.FromA})
		}
		a.lives[l.Life] = open
	}
	for _, r := range h.Records {
		o := a.enqueue(&openRecord{DeviceEnd: r.End, life: r.Life, order: r.Order, record: r.Record, void: r.Void})
		if l := a.lives[r.Life]; l != nil && r.Record == nil {
			l.records = append(l.records, o)
		}
	}
}
