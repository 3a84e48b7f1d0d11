// Package capture makes flow records of capture files (pcap, pcapng, either gzipped): in
// go packets, out come records by the same rules as live ones, and what became of each
// packet. It is the counterpart of package loader.
package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/pcap"
)

const contextCheckMask = 1<<12 - 1

// Config says how packets of a file become records.
type Config struct {
	flows.RecordSpec
	Locals *flows.Locals // nil: flows.NewLocals(nil)
	// Offloaded treats TCP packets of more than 1,500 bytes as super-packets
	// (files written on a host with offloads on), not only those above 9,216.
	Offloaded bool
	Change    Changer // nil: packets are read as they are
	// Observe is [flows.AssemblerConfig]'s.
	Observe func(device string, sent bool, at int64, s *flows.Sample)
}

// Changer makes other packets of a capture's, before anything is made of them: what it
// gives is what was seen.
type Changer interface {
	// Device is the name that a device of the capture has in its changed packets.
	Device(name string) string
	// Later is by how many microseconds stamps are later in its changed packets.
	Later() int64
	// Packet gives what becomes of the next packet: nothing, one packet or more, each
	// valid during the call.
	Packet(p pcap.Packet, give func(pcap.Packet))
}

// Stats is what became of a capture's packets.
type Stats struct {
	flows.PacketStats
	Records, Incomplete uint64
	Overlong            uint64 // packets of which the file has more bytes than were on the wire; the rest was cut
	Untimed             uint64 // packets that carry no time, pcapng's simple ones
	Passed              uint64 // pcapng blocks without packets that were passed over
	SetBack             uint64 // lives that a packet ended which came a lifetime or more before their first
	First, Last         int64  // the least and the greatest stamp of its packets, us since the Unix epoch

	// Parts of Counted that tell why a capture has fewer devices than one looks for.
	NoMAC      uint64     // of links without MACs
	RemoteIPv4 uint64     // unicast, neither end local
	RemoteIPv6 uint64     // unicast, neither end local
	RemoteEnd  netip.Addr // sender of the first in RemoteIPv4

	latest int64 // stamp of the packet read last
}

// Read reads the capture file at path ("-": standard input) and emits its
// records; see ReadPackets.
func Read(ctx context.Context, path string, cfg Config, emit func(*flows.Record)) (Stats, error) {
	in, closeInput, err := openInput(ctx, path)
	if err != nil {
		return Stats{}, fmt.Errorf("capture: %w", err)
	}
	defer closeInput()
	stats, err := ReadPackets(ctx, in, cfg, emit)
	if err != nil {
		return stats, fmt.Errorf("capture %s: %w", path, err)
	}
	return stats, nil
}

// ReadPackets reads a pcap or pcapng stream, gzipped or not, and emits its
// records, per device in the order of their first packets. On a damaged stream
// the records of all packets before the damage are emitted, and the error says
// where reading stopped.
func ReadPackets(ctx context.Context, in io.Reader, cfg Config, emit func(*flows.Record)) (Stats, error) {
	if cfg.Locals == nil {
		cfg.Locals = flows.NewLocals(nil)
	}
	var stats Stats
	r, err := pcap.NewReader(&cancellable{ctx, in})
	if err != nil {
		return stats, err
	}
	if link, ok := r.Link(); ok {
		if err := flows.Link(link).Check(); err != nil {
			return stats, err
		}
	}
	assembler := flows.NewAssembler(flows.AssemblerConfig{Spec: cfg.RecordSpec, Locals: cfg.Locals, Emit: emit, Observe: cfg.Observe})
	table := flows.NewTable(cfg.RecordSpec, cfg.Locals, assembler)
	err = readAll(ctx, r, &cfg, table, &stats)
	table.Flush()
	lives, made := table.Stats(), assembler.Stats()
	stats.Records, stats.Incomplete = made.Records, made.Incomplete
	stats.InClosed, stats.InOpen, stats.SetBack = lives.InClosed, lives.InOpen, lives.SetBack
	stats.WithDevice, stats.NoDevice = made.WithDevice, made.NoDevice
	return stats, errors.Join(err, stats.Check())
}

// cancellable is a reader that fails once its context is done: gigabytes of zeros
// without a packet are a small gzipped file.
type cancellable struct {
	ctx context.Context
	in  io.Reader
}

// Read implements io.Reader.
func (c *cancellable) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.in.Read(b)
}

// readAll feeds every packet to the table.
func readAll(ctx context.Context, r *pcap.Reader, cfg *Config, table *flows.Table, stats *Stats) error {
	var (
		p       flows.Packet
		skipped = map[string]uint64{} // packets that cannot be read, by why
		odd     *pcap.PacketError
	)
	take := func(in pcap.Packet) { stats.take(&p, in, cfg, table) }
	for n := uint64(1); ; n++ {
		if n&contextCheckMask == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		in, err := r.Next()
		stats.Passed = r.Passed()
		switch {
		case err == io.EOF:
			return errors.Join(skippedPackets(skipped, stats.Seen), r.Damage())
		case errors.As(err, &odd):
			skipped[odd.Reason]++
			continue
		case err != nil:
			return errors.Join(fmt.Errorf("stopped at packet %d: %w", n, err), skippedPackets(skipped, stats.Seen), r.Damage())
		}
		if err := flows.Link(in.Link).Check(); err != nil {
			skipped[err.Error()]++
			continue
		}
		if cfg.Change != nil {
			cfg.Change.Packet(in, take)
		} else {
			take(in)
		}
	}
}

// take feeds one packet to the table.
func (s *Stats) take(p *flows.Packet, in pcap.Packet, cfg *Config, table *flows.Table) {
	stamp := s.latest // a packet that carries no time has that of the one before
	if in.Timed {
		stamp = in.Time.UnixMicro()
	} else {
		s.Untimed++
	}
	s.stamp(stamp)
	if in.Overlong {
		s.Overlong++
	}
	outcome := flows.Parse(p, flows.Link(in.Link), in.Data, in.Length)
	if outcome == flows.Counted {
		p.SegmentSize = p.FileSegmentSize(cfg.Offloaded)
		table.Add(p, stamp)
		s.place(p, cfg.Locals)
	}
	s.count(p, outcome)
}

// stamp notes when a packet was seen. Clocks step, and files are out of order.
func (s *Stats) stamp(us int64) {
	if s.Seen == 0 {
		s.First, s.Last = us, us
	}
	s.First, s.Last, s.latest = min(s.First, us), max(s.Last, us), us
}

// place counts a packet that shows no MAC or no local address.
func (s *Stats) place(p *flows.Packet, l *flows.Locals) {
	n := p.Segments()
	if p.SrcMAC.IsZero() && p.DstMAC.IsZero() {
		s.NoMAC += n
	}
	switch {
	case l.IsLocal(p.Src) || l.IsLocal(p.Dst) || l.IsGroup(p.Dst):
	case !p.Src.Is4():
		s.RemoteIPv6 += n
	default:
		if s.RemoteIPv4 == 0 {
			s.RemoteEnd = p.Src
		}
		s.RemoteIPv4 += n
	}
}

// count raises the counters of one frame.
func (s *Stats) count(p *flows.Packet, v flows.Outcome) {
	n := p.Segments()
	s.Seen += n
	switch v {
	case flows.NotIP:
		s.NotIP += n
		return
	case flows.Malformed:
		s.Malformed += n
		return
	}
	s.Counted += n
	if p.Truncated {
		s.Truncated += n
	}
	if p.Fragment {
		s.Fragment += n
	}
}

// skippedPackets reports the packets of a file that were passed over.
func skippedPackets(skipped map[string]uint64, read uint64) error {
	if len(skipped) == 0 {
		return nil
	}
	why := slices.Sorted(maps.Keys(skipped))
	var n uint64
	for _, reason := range why {
		n += skipped[reason]
	}
	return fmt.Errorf("packets skipped: %d of %d: %s", n, n+read, why[0])
}
