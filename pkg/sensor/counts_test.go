package sensor

import (
	"net/netip"
	"testing"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
)

// A sensor that only counts makes no record of a life, and says all the same whose
// packets they were and of which protocol.
func TestCountOnly(t *testing.T) {
	for _, only := range []bool{true, false} {
		s := &Sensor{cfg: Config{CountOnly: only, Speed: 1}, locals: flows.NewLocals(nil)}
		records := 0
		s.assembler = flows.NewAssembler(flows.AssemblerConfig{Locals: s.locals, Emit: func(*flows.Record) { records++ }})
		k := &sink{sensor: s}
		device, server := netip.MustParseAddr("192.168.1.5"), netip.MustParseAddr("203.0.113.9")
		for i, tt := range []struct {
			proto uint8
			from  netip.Addr
			mac   flows.MAC
		}{
			{6, device, flows.MAC{2, 0, 0, 0, 0, 1}}, {17, device, flows.MAC{2, 0, 0, 0, 0, 1}}, {1, server, flows.MAC{}}, {58, server, flows.MAC{}}, {47, server, flows.MAC{}},
		} {
			life := flows.Life{Key: flows.Key{Proto: tt.proto, A: flows.End{Addr: tt.from, MAC: tt.mac}, B: flows.End{Addr: netip.MustParseAddr("198.51.100.7")}}}
			if !only { // else the kernel sends none
				k.Sample(&flows.Sample{Life: life, FromA: true, Size: 60})
			}
			k.Close(&flows.Close{Life: life, Packets: [2]uint64{1 << i, 100}, Samples: 1})
		}
		if want := (v1.ProtocolStats{TCP: 101, UDP: 102, ICMP: 104 + 108, Other: 116}); s.counts.protocols != want {
			t.Errorf("only %v: %+v, want %+v", only, s.counts.protocols, want)
		}
		made := s.assembler.Stats()
		with, without := made.WithDevice+s.counts.withDevice, made.NoDevice+s.counts.noDevice
		if with != 203 || without != 328 {
			t.Errorf("only %v: %d packets of devices, %d of none, want 203 and 328", only, with, without)
		}
		if want := map[bool]int{true: 0, false: 2}[only]; records != want {
			t.Errorf("only %v: %d records, want %d", only, records, want)
		}
	}
}
