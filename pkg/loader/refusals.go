package loader

// This file says when flows are refused, and which MACs are forgotten (bpf/share.h).

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/pkg/loader/clock"
)

const (
	// rememberMAC is how long a known device keeps its claim to the reserve
	// without a flow.
	rememberMAC = time.Hour
	// reportEvery is the least time between two log lines about refused flows.
	reportEvery = time.Minute
)

// forgetBefore is when a known device must have had its last flow to be
// forgotten, in us of CLOCK_BOOTTIME.
func (k *Kernel) forgetBefore() uint64 {
	return uint64(max(0, clock.Now(unix.CLOCK_BOOTTIME)-rememberMAC.Nanoseconds()) / 1000)
}

// refusals is what has been logged about refused flows.
type refusals struct {
	count uint64    // at the last line
	at    time.Time // of the last line; zero: flows are taken
}

// watchRefusals logs that flows are refused: ten seconds later at most, then once a minute while
// it goes on, and that it has ended after a minute without.
func (k *Kernel) watchRefusals(at time.Time) error {
	r := &k.refusals
	if !r.at.IsZero() && at.Sub(r.at) < reportEvery {
		return nil
	}
	c, err := k.counters()
	if err != nil {
		return err
	}
	switch fresh := c.Refused - r.count; {
	case fresh > 0:
		k.log.Warn("new flows are refused: a scan or flood, or --max-flows is too small", "refused", fresh,
			"over_share", c.OverShare, "over_reserve", c.OverReserve, "max_flows", k.cfg.MaxFlows)
		*r = refusals{c.Refused, at}
	case !r.at.IsZero():
		k.log.Info("new flows are taken again", "refused", c.Refused)
		r.at = time.Time{}
	}
	return nil
}
