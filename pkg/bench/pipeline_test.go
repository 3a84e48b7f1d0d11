package bench_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/pkg/bench"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/model"
)

// Copies of a device differ in MAC and private address, in nothing else, and
// stand in order of time.
func TestFleet(t *testing.T) {
	device, group := flows.MAC{2, 0, 0, 0, 0, 1}, flows.MAC{1, 0, 0x5e, 0, 0, 251}
	udp := packet.UDP(5353, 5353, packet.Payload(8))
	ip := packet.IPv4(packet.IP{Proto: 17}, udp)
	arp := packet.Payload(28)
	capture := bench.Household{Devices: []flows.MAC{device}, Frames: []lab.Frame{
		{Time: time.Unix(5, 0), Data: packet.EthernetFrom(device, group, 0x0800, ip), FromDevice: true},
		{Time: time.Unix(6, 0), Data: packet.EthernetFrom(device, group, 0x0806, arp), FromDevice: true},
	}}
	fleet, err := bench.NewFleet([]bench.Household{capture, capture}, 5)
	if err != nil {
		t.Fatal(err)
	}
	if fleet.Devices != 6 || fleet.Length() != 2*time.Second {
		t.Fatalf("%d devices over %v, want 6 (two captures, three copies) over 2s", fleet.Devices, fleet.Length())
	}
	frames := fleet.Frames()
	senders, addresses := map[flows.MAC]bool{}, map[[4]byte]bool{}
	for i, f := range frames {
		if i > 0 && f.Time.Before(frames[i-1].Time) {
			t.Errorf("frame %d is of %v, before the one before it", i, f.Time)
		}
		if !f.FromDevice || flows.MAC(f.Data[:6]) != group {
			t.Errorf("frame %d: from the device %v, to %v", i, f.FromDevice, flows.MAC(f.Data[:6]))
		}
		senders[flows.MAC(f.Data[6:12])] = true
		var p flows.Packet
		if flows.Parse(&p, flows.LinkEthernet, f.Data, len(f.Data)) != flows.Counted {
			if !bytes.Equal(f.Data[14:], arp) {
				t.Errorf("frame %d: a frame without IPv4 was changed", i)
			}
			continue
		}
		addresses[p.Src.As4()] = true
		if !bytes.Equal(p.Payload, packet.Payload(8)) {
			t.Errorf("frame %d: payload changed", i)
		}
	}
	if len(frames) != 12 || len(senders) != 6 || len(addresses) != 3 {
		t.Errorf("%d frames of %d MACs and %d addresses, want 12 of 6 and of one for each copy", len(frames), len(senders), len(addresses))
	}
	if _, err := bench.NewFleet([]bench.Household{capture}, 257); err == nil {
		t.Error("a fleet of more copies than can be told apart was made")
	}
	if _, err := bench.NewFleet(nil, 1); err == nil {
		t.Error("a fleet of no capture was made")
	}
}

func TestPipeline(t *testing.T) {
	captures, err := bench.LabHouseholds()
	if err != nil {
		t.Fatal(err)
	}
	fleet, err := bench.NewFleet(captures[:8], 20)
	if err != nil {
		t.Fatal(err)
	}
	f, err := bench.Pipeline(t.Context(), model.Bundle{"": labModel(t)}, fleet)
	if err != nil {
		t.Fatal(err)
	}
	if want := uint64(len(fleet.Frames())); f.Packets != want || f.Lost != 0 {
		t.Errorf("%d packets, %d lost; want %d, none lost", f.Packets, f.Lost, want)
	}
	if f.Devices != 24 || f.Verdicts != 24 {
		t.Errorf("verdicts for %d of %d devices, want all 24", f.Verdicts, f.Devices)
	}
	if f.CPU <= 0 || f.PacketRate <= f.Flows || f.Flows < f.Inferences || f.Inferences <= 0 || f.Megabits <= 0 {
		t.Errorf("figures %+v", f)
	}
}
