package object

// This file says how the flow table is shared out: the user-space half of bpf/share.h.

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/iotsense/iotsense/gen"
)

const (
	// noMAC is the key in the map of MACs that flows without one count under.
	noMAC = uint64(0)
	// MinMACs is how many MACs are told apart however small the table.
	MinMACs = 64
)

// ListNoMAC makes the entry that flows without a MAC count under.
func ListNoMAC(macs *ebpf.Map) error {
	if err := macs.Put(noMAC, gen.IotsenseMacShare{}); err != nil {
		return fmt.Errorf("list the flows without a MAC: %w", err)
	}
	return nil
}

// share says how a flow table is shared out, in entries and MACs.
type share struct {
	macFlows  uint32 // entries that one MAC may hold: 1/8
	openFlows uint32 // entries that any MAC may take: 3/4; the rest is for known ones
	macs      uint32 // MACs told apart: 1/8 of the entries; all others count as one

	// A MAC can become known if fewer entries and MACs were there when it came:
	// 1/2 of each. So a flood of MACs leaves room for as many known ones.
	earlyFlows, earlyMACs uint32
}

func shareOf(maxFlows int) share {
	n := uint32(maxFlows)
	macs := max(MinMACs, n/8)
	return share{
		macFlows:   max(1, n/8),
		openFlows:  n - n/4,
		macs:       macs,
		earlyFlows: max(1, n/2),
		earlyMACs:  macs / 2,
	}
}
