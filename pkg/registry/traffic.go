package registry

// This file keeps how many bytes a device has sent and received of late.

import (
	"math"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// TrafficMinutes are how many minutes a device's traffic is remembered.
const TrafficMinutes = 60

// traffic are bytes by minute, of flows that have ended, each in the minute of its last packet.
// Four bytes do for a minute of 570 Mbit/s; what is beyond is left out.
type traffic struct {
	newest         int64 // minutes since the Unix epoch
	sent, received [TrafficMinutes]uint32
}

// add adds bytes at a time, us since the Unix epoch.
func (t *traffic) add(at int64, sent, received uint64) {
	minute := at / time.Minute.Microseconds()
	if minute < 0 || minute <= t.newest-TrafficMinutes { // captures may be of any time
		return
	}
	for next := max(t.newest+1, minute-TrafficMinutes+1); next <= minute; next++ {
		t.sent[next%TrafficMinutes], t.received[next%TrafficMinutes] = 0, 0
	}
	t.newest = max(t.newest, minute)
	i := minute % TrafficMinutes
	t.sent[i], t.received[i] = atMost(uint64(t.sent[i])+sent), atMost(uint64(t.received[i])+received)
}

func atMost(n uint64) uint32 { return uint32(min(n, math.MaxUint32)) }

// merge adds another's.
func (t *traffic) merge(o *traffic) {
	for minute := max(0, o.newest-TrafficMinutes+1); minute <= o.newest; minute++ {
		i := minute % TrafficMinutes
		if o.sent[i] > 0 || o.received[i] > 0 {
			t.add(minute*time.Minute.Microseconds(), uint64(o.sent[i]), uint64(o.received[i]))
		}
	}
}

// Traffic is that of a device up to a time, us since the Unix epoch.
func (r *Registry) Traffic(name string, now int64) v1.Traffic {
	minute := now / time.Minute.Microseconds()
	said := v1.Traffic{
		Until: v1.UnixMicro((minute + 1) * time.Minute.Microseconds()),
		Sent:  make([]uint64, TrafficMinutes), Received: make([]uint64, TrafficMinutes),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.find(name)
	if d == nil || d.traffic == nil {
		return said
	}
	for i := range said.Sent {
		at := minute - TrafficMinutes + 1 + int64(i)
		if at >= 0 && at <= d.traffic.newest && at > d.traffic.newest-TrafficMinutes {
			said.Sent[i], said.Received[i] = uint64(d.traffic.sent[at%TrafficMinutes]), uint64(d.traffic.received[at%TrafficMinutes])
		}
	}
	return said
}
