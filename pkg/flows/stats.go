package flows

// This file holds the accounting that the kernel half and the file source share.

import "fmt"

// PacketStats says what became of every packet, in wire packets. The identities
//
//	Seen     = Counted + NotIP + Malformed + TableFull + Duplicate
//	Counted  = InClosed + InOpen
//	InClosed = WithDevice + NoDevice
//
// hold exactly when traffic has stopped. Truncated, Fragment and Late are parts
// of Counted.
type PacketStats struct {
	Seen       uint64 `json:"seen"`        // every packet, before its outcome is looked at
	Counted    uint64 `json:"counted"`     // belongs to a flow
	NotIP      uint64 `json:"not_ip"`      // ARP, EAPOL, LLC, ...
	Malformed  uint64 `json:"malformed"`   // link or IP header incomplete or impossible
	TableFull  uint64 `json:"table_full"`  // of flows that were refused
	Duplicate  uint64 `json:"duplicate"`   // seen a second time on another interface
	Truncated  uint64 `json:"truncated"`   // frame shorter than its IP length claims
	Fragment   uint64 `json:"fragment"`    // first or later fragment
	Late       uint64 `json:"late"`        // met a life that was being closed
	InOpen     uint64 `json:"in_open"`     // of lives going on
	InClosed   uint64 `json:"in_closed"`   // of lives that have ended
	WithDevice uint64 `json:"with_device"` // of ended lives with a device end
	NoDevice   uint64 `json:"no_device"`   // of ended lives without one
}

// AccountingError says which of the identities of [PacketStats] does not hold: a
// fault of this program, not of the capture.
type AccountingError struct{ Sum string }

func (e *AccountingError) Error() string {
	return "packets do not add up, please report this capture: " + e.Sum
}

// Check holds the identities against each other, of a source that has ended: an
// [AccountingError] if one is broken.
func (s *PacketStats) Check() error {
	for _, identity := range []struct {
		whole uint64
		parts []uint64
		names string
	}{
		{s.Seen, []uint64{s.Counted, s.NotIP, s.Malformed, s.TableFull, s.Duplicate}, "seen = counted + not_ip + malformed + table_full + duplicate"},
		{s.Counted, []uint64{s.InClosed, s.InOpen}, "counted = in_closed + in_open"},
		{s.InClosed, []uint64{s.WithDevice, s.NoDevice}, "in_closed = with_device + no_device"},
	} {
		var sum uint64
		for _, n := range identity.parts {
			sum += n
		}
		if identity.whole != sum {
			return &AccountingError{fmt.Sprintf("%s does not hold: %d, %d", identity.names, identity.whole, identity.parts)}
		}
	}
	return nil
}

// Add adds the counters of o.
func (s *PacketStats) Add(o PacketStats) {
	s.Seen += o.Seen
	s.Counted += o.Counted
	s.NotIP += o.NotIP
	s.Malformed += o.Malformed
	s.TableFull += o.TableFull
	s.Duplicate += o.Duplicate
	s.Truncated += o.Truncated
	s.Fragment += o.Fragment
	s.Late += o.Late
	s.InOpen += o.InOpen
	s.InClosed += o.InClosed
	s.WithDevice += o.WithDevice
	s.NoDevice += o.NoDevice
}
