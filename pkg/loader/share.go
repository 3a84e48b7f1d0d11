package loader

// This file holds the user-space half of bpf/share.h: how the flow table is
// shared out, and what is said when flows are refused.

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/gen"
)

const (
	// noMAC is the key in the map of MACs that flows without one count under.
	noMAC = uint64(0)
	// minMACs is how many MACs are told apart however small the table.
	minMACs = 64
	// rememberMAC is how long a known device keeps its claim to the reserve
	// without a flow.
	rememberMAC = time.Hour
	// reportEvery is the least time between two log lines about refused flows.
	reportEvery = time.Minute
)

// listNoMAC makes the entry that flows without a MAC count under.
func listNoMAC(macs *ebpf.Map) error {
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
	macs := max(minMACs, n/8)
	return share{
		macFlows:   max(1, n/8),
		openFlows:  n - n/4,
		macs:       macs,
		earlyFlows: max(1, n/2),
		earlyMACs:  macs / 2,
	}
}

// forgetBefore is when a known device must have had its last flow to be
// forgotten, in us of CLOCK_BOOTTIME.
func (s *Kernel) forgetBefore() uint64 {
	return uint64(max(0, now(unix.CLOCK_BOOTTIME)-rememberMAC.Nanoseconds()) / 1000)
}

// refusals is what has been logged about refused flows.
type refusals struct {
	count uint64    // at the last line
	at    time.Time // of the last line; zero: flows are taken
}

// watchRefusals logs that flows are refused: at once, then once a minute while
// it goes on, and that it has ended after a minute without.
func (s *Kernel) watchRefusals(at time.Time) error {
	r := &s.refusals
	if !r.at.IsZero() && at.Sub(r.at) < reportEvery {
		return nil
	}
	c, err := s.counters()
	if err != nil {
		return err
	}
	switch fresh := c.Refused - r.count; {
	case fresh > 0:
		s.log.Warn("new flows are refused: a scan or flood, or --max-flows is too small", "refused", fresh,
			"over_share", c.OverShare, "over_reserve", c.OverReserve, "max_flows", s.cfg.MaxFlows)
		*r = refusals{c.Refused, at}
	case !r.at.IsZero():
		s.log.Info("new flows are taken again", "refused", c.Refused)
		r.at = time.Time{}
	}
	return nil
}
