package flows

// This file makes records of life events. It is the only place where a record
// comes to be, whatever its source.

import (
	"cmp"
	"container/heap"
	"slices"
)

// AssemblerConfig is what an Assembler needs beside the events.
type AssemblerConfig struct {
	Spec   RecordSpec
	Locals *Locals
	// Epoch turns a stamp of the source's clock into us since the Unix epoch;
	// nil when stamps are that already.
	Epoch func(stamp int64) int64
	// MaxAge, in units of Order, gives a record up whose life has not ended when one
	// that began so much later has: a source that may lose or invent samples would
	// else stop its device's queue. 0: never.
	MaxAge int64
	// Emit takes each record, in the order of first packets per device. The
	// record is the callee's to keep.
	Emit func(*Record)
	// Observe, if not nil, takes each sample before a record is cut out of it, once for
	// each device end of its flow: the device's name as records have it, whether the device
	// sent it, and its time in us since the Unix epoch. The sample is valid during the call.
	Observe func(device string, sent bool, at int64, s *Sample)
}

// AssemblerStats counts what an Assembler has made. WithDevice and NoDevice are
// wire packets of closed lives; a packet between two devices counts once.
type AssemblerStats struct {
	WithDevice, NoDevice uint64
	Records, Incomplete  uint64
}

// Assembler turns the events of lives into records, one for each device end. It
// is not safe for concurrent use.
type Assembler struct {
	cfg     AssemblerConfig
	lives   map[Life]*openLife
	devices map[string]*recordQueue
	arrived uint64
	sampled uint64
	stats   AssemblerStats
}

// openLife is a life with at least one device end.
type openLife struct {
	records   []*openRecord // one for each device end, sharing samples
	samples   []lifeSample
	delivered int
}

// lifeSample is a sample with its payload cut to what is kept of it.
type lifeSample struct {
	stamp   int64
	payload []byte
	size    uint32
	index   uint8
	fromA   bool
}

func byIndex(x, y lifeSample) int { return int(x.index) - int(y.index) }

// openRecord is a record's place in its device's queue; record is set once the
// life has closed.
type openRecord struct {
	DeviceEnd
	life    Life
	order   int64
	arrival uint64       // when the life was first heard of: decides between equal orders
	queue   *recordQueue // nil: given up
	record  *Record
	void    bool // it is not emitted
}

// recordQueue is a heap of one device's records, the one with the earliest first
// packet on top. A life of which every sample was lost is first heard of when it
// closes, with all later ones in the queue before it.
type recordQueue struct {
	records  []*openRecord
	sampled  uint64 // number of the newest sample of one of them
	compared uint64 // how often two of them were, for tests
}

// Len implements heap.Interface.
func (q *recordQueue) Len() int { return len(q.records) }

// Less implements heap.Interface.
func (q *recordQueue) Less(i, j int) bool {
	q.compared++
	return compare(q.records[i], q.records[j]) < 0
}

// compare puts records in the order of first packets.
func compare(x, y *openRecord) int {
	return cmp.Or(cmp.Compare(x.order, y.order), cmp.Compare(x.arrival, y.arrival))
}

// Swap implements heap.Interface.
func (q *recordQueue) Swap(i, j int) { q.records[i], q.records[j] = q.records[j], q.records[i] }

// Push implements heap.Interface.
func (q *recordQueue) Push(o any) { q.records = append(q.records, o.(*openRecord)) }

// Pop implements heap.Interface.
func (q *recordQueue) Pop() any {
	last := len(q.records) - 1
	o := q.records[last]
	q.records[last] = nil
	q.records = q.records[:last]
	return o
}

// NewAssembler returns an Assembler without open lives.
func NewAssembler(cfg AssemblerConfig) *Assembler {
	if cfg.Epoch == nil {
		cfg.Epoch = func(stamp int64) int64 { return stamp }
	}
	cfg.Spec = cfg.Spec.WithDefaults()
	return &Assembler{cfg: cfg, lives: map[Life]*openLife{}, devices: map[string]*recordQueue{}}
}

// Stats is what has been counted so far.
func (a *Assembler) Stats() AssemblerStats { return a.stats }

// SetLocals replaces the local ranges. Lives that have begun keep their devices.
func (a *Assembler) SetLocals(l *Locals) { a.cfg.Locals = l }

// Sample takes one of a life's first packets.
func (a *Assembler) Sample(s *Sample) {
	l := a.open(s.Life, s.Order)
	if l == nil {
		return
	}
	l.delivered++
	a.sampled++
	for _, o := range l.records {
		if o.queue != nil {
			o.queue.sampled = a.sampled
		}
	}
	if a.cfg.Observe != nil {
		for _, o := range l.records {
			a.cfg.Observe(o.Name, s.FromA == o.A, a.cfg.Epoch(s.Stamp), s)
		}
	}
	payload := s.Payload[:min(len(s.Payload), a.cfg.Spec.Prefix, l.room(s.Index, a.cfg.Spec.Payload))]
	l.keep(lifeSample{s.Stamp, slices.Clone(payload), s.Size, s.Index, s.FromA}, a.cfg.Spec.Packets)
}

// keep adds a sample, of so many at most. Of thousands of open lives most have few, and
// no memory is held for more than there can be.
func (l *openLife) keep(s lifeSample, most int) {
	if n := len(l.samples); n == cap(l.samples) {
		l.samples = append(make([]lifeSample, 0, max(n+1, min(2*n+1, most))), l.samples...)
	}
	l.samples = append(l.samples, s)
}

// room is what a row's payload section of so many values has left for the payload
// of the sample at index, after those before it: what lies beyond is not kept.
// Samples from different CPUs may come out of order.
func (l *openLife) room(index uint8, section int) int {
	left := section - 1 // PayloadStart takes one
	for i := range l.samples {
		if s := &l.samples[i]; s.index < index {
			left -= len(s.payload) + 2
		}
	}
	return max(0, left)
}

// Close ends a life: its records are complete, and are emitted as soon as no
// record of the same device with an earlier first packet is still open.
func (a *Assembler) Close(c *Close) {
	l := a.open(c.Life, c.Order)
	packets := c.Packets[0] + c.Packets[1]
	if l == nil {
		a.stats.NoDevice += packets
		return
	}
	a.stats.WithDevice += packets
	slices.SortStableFunc(l.samples, byIndex)
	for _, o := range l.records {
		if o.queue == nil {
			a.enqueue(o)
		}
		o.record = a.record(c, l, o)
		a.stats.Records++
		if o.record.Incomplete {
			a.stats.Incomplete++
		}
		a.giveUp(o.queue, c.Order-a.cfg.MaxAge)
		a.release(o)
	}
	delete(a.lives, c.Life)
}

// giveUp drops the records at the head of a queue whose lives began before and
// have not ended. A life goes with the last of its records: the other may be waited for.
func (a *Assembler) giveUp(queue *recordQueue, before int64) {
	if a.cfg.MaxAge == 0 {
		return
	}
	for queue.Len() > 0 {
		head := queue.records[0]
		if head.record != nil || head.order >= before {
			return
		}
		heap.Pop(queue)
		head.queue = nil
		if !slices.ContainsFunc(a.lives[head.life].records, func(o *openRecord) bool { return o.queue != nil }) {
			delete(a.lives, head.life)
		}
	}
}

// open finds the life, or begins it if one of its ends is a device.
func (a *Assembler) open(life Life, order int64) *openLife {
	if l, ok := a.lives[life]; ok {
		return l
	}
	ends := a.cfg.Locals.Devices(life.Key, a.cfg.Spec.Direction)
	if ends == nil {
		return nil
	}
	l := &openLife{}
	for _, end := range ends {
		l.records = append(l.records, a.enqueue(&openRecord{DeviceEnd: end, life: life, order: order}))
	}
	a.lives[life] = l
	return l
}

// Forget has records of a device that has been heard of by now not be emitted. They count as
// others do.
func (a *Assembler) Forget(device string) {
	if q := a.devices[device]; q != nil {
		for _, o := range q.records {
			o.void = true
		}
	}
	for _, l := range a.lives { // those given up too
		for _, o := range l.records {
			o.void = o.void || o.Name == device
		}
	}
}

// enqueue gives o its place among the device's records.
func (a *Assembler) enqueue(o *openRecord) *openRecord {
	o.queue = a.devices[o.Name]
	if o.queue == nil {
		o.queue = &recordQueue{}
		a.devices[o.Name] = o.queue
	}
	o.arrival = a.arrived
	a.arrived++
	heap.Push(o.queue, o)
	return o
}

// release emits the records at the head of o's queue that are complete.
func (a *Assembler) release(o *openRecord) {
	for o.queue.Len() > 0 {
		head := o.queue.records[0]
		if head.record == nil {
			return
		}
		heap.Pop(o.queue)
		if !head.void {
			a.cfg.Emit(head.record)
		}
	}
	delete(a.devices, o.Name)
}

// record is the life from the point of view of o's device.
func (a *Assembler) record(c *Close, l *openLife, o *openRecord) *Record {
	r := &Record{
		Device:      o.Name,
		FirstSeen:   a.cfg.Epoch(c.First),
		LastSeen:    a.cfg.Epoch(c.Last),
		Remote:      a.cfg.Locals.Obfuscate(o.Remote.Addr),
		Proto:       c.Life.Key.Proto,
		DevPort:     Missing,
		RemPort:     Missing,
		TotalBytes:  c.Bytes[0] + c.Bytes[1],
		PacketCount: c.Packets[0] + c.Packets[1],
		Packets:     make([]RowPacket, len(l.samples)),
		Incomplete:  l.delivered < int(c.Samples),
		DeviceAddr:  o.End.Addr,
		RemoteAddr:  o.Remote.Addr,
		Interface:   c.Interface,
	}
	r.SentPackets, r.SentBytes = c.Packets[1], c.Bytes[1]
	if o.A {
		r.SentPackets, r.SentBytes = c.Packets[0], c.Bytes[0]
	}
	if c.Life.Key.HasPorts {
		r.DevPort, r.RemPort = int32(o.End.Port), int32(o.Remote.Port)
	}
	for i, s := range l.samples {
		r.Packets[i] = RowPacket{
			Offset: max(0, s.stamp-c.First), Size: s.size, Sent: s.fromA == o.A, Payload: s.payload,
		}
	}
	return r
}

// OpenDevice is a device with a life that is open.
type OpenDevice struct {
	Name    string
	First   int64  // first packet of the earliest, us since the Unix epoch
	Records int    // that Preview has of it
	Sampled uint64 // is another once there is another sample
}

// OpenDevices gives the devices with open lives, in no order.
func (a *Assembler) OpenDevices(yield func(OpenDevice) bool) {
	for name, q := range a.devices {
		if l := a.lives[q.records[0].life]; l != nil && !yield(OpenDevice{name, a.cfg.Epoch(l.samples[0].stamp), q.Len(), q.sampled}) {
			return
		}
	}
}

// IsOpen reports whether a device has open lives.
func (a *Assembler) IsOpen(device string) bool { return a.devices[device] != nil }

// Preview gives the records of a device, most at most, that would be emitted next if all
// its lives ended now. counted is what the source has counted of a life of which as much has
// been sampled as can be, nil: nothing beyond its samples. Nothing changes by it.
func (a *Assembler) Preview(device string, most int, counted func(Life) *Close) (records []*Record) {
	q := a.devices[device]
	if q == nil {
		return nil
	}
	open := slices.DeleteFunc(slices.Clone(q.records), func(o *openRecord) bool { return o.void })
	slices.SortFunc(open, compare)
	for _, o := range open[:min(len(open), most)] {
		r := o.record
		if r == nil {
			l := a.lives[o.life].sorted()
			var c *Close
			if len(l.samples) >= a.cfg.Spec.Packets {
				c = counted(o.life)
			}
			r = a.record(l.soFar(o, c), l, o)
		}
		records = append(records, r)
	}
	return records
}

// sorted is the life with its samples in order.
func (l *openLife) sorted() *openLife {
	c := *l
	c.samples = slices.Clone(l.samples)
	slices.SortStableFunc(c.samples, byIndex)
	return &c
}

// soFar is the end of a life if it ended now, of which the source had counted so much a
// moment ago; nil: nothing.
func (l *openLife) soFar(o *openRecord, counted *Close) *Close {
	own := Close{Life: o.life, Order: o.order}
	for i, s := range l.samples {
		side := 1
		if s.fromA {
			side = 0
		}
		own.Packets[side]++
		own.Bytes[side] += uint64(s.size)
		own.Last = max(own.Last, s.stamp)
		own.Samples = s.index + 1 // of others before it one is missing: it was lost
		if i == 0 {
			own.First = s.stamp
		}
	}
	if counted == nil {
		return &own
	}
	own.First, own.Last = counted.First, max(own.Last, counted.Last)
	for side := range own.Packets {
		own.Packets[side] = max(own.Packets[side], counted.Packets[side])
		own.Bytes[side] = max(own.Bytes[side], counted.Bytes[side])
	}
	return &own
}
