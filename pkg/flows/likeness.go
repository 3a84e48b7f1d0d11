package flows

// This file says which flows are alike.

// sizeStep is in how many bytes packet sizes do not tell flows apart.
const sizeStep = 16

// Likeness is the same for near-identical flows, and for hardly any others: of one protocol
// and of ports that a model does not tell apart, their packets one by one sent or received
// alike, and in sizes that are the same in steps of 16 bytes.
func (r *Record) Likeness(own, remote int32) uint64 {
	h := uint64(14695981039346656037) // FNV-1a's, whole words for bytes
	mix := func(v uint64) { h = (h ^ v) * 1099511628211; h ^= h >> 32 }
	mix(uint64(r.Proto)<<32 | uint64(uint32(own)))
	mix(uint64(uint32(remote)))
	for i := range r.Packets[:min(len(r.Packets), RowPackets)] {
		p := &r.Packets[i]
		v := uint64(p.Size/sizeStep) << 1
		if p.Sent {
			v |= 1
		}
		mix(v)
	}
	return h
}
