package main

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/replay"
)

// floodMACs begins those of packets' devices.
const floodMACs = "02:00:00:00:01:"

// packets are n packets of so many flows of 64 devices, one after the other.
func packets(n, flows, perSecond int) []lab.Frame {
	list := make([]lab.Frame, n)
	for i := range list {
		device, flow := byte(i%64), i%flows
		ip := packet.IP{Proto: packet.UDPProto, Src: netip.AddrFrom4([4]byte{10, 0, 0, device}), Dst: netip.AddrFrom4([4]byte{192, 0, 2, 1})}
		list[i] = lab.Frame{
			Time: time.Unix(0, int64(i)*int64(time.Second)/int64(perSecond)), FromDevice: true,
			Data: packet.EthernetFrom([6]byte{0x02, 0, 0, 0, 1, device}, packet.RouterMAC, packet.IPv4Type,
				packet.IPv4(ip, packet.UDP(uint16(1024+flow), 53, packet.Payload(200)))),
		}
	}
	return list
}

// received are the packets that the sensor's interface has.
func received(t *testing.T, n *replay.Network) (packets uint64) {
	t.Helper()
	err := n.Do(func() error {
		l, err := netlink.LinkByName(replay.Interface)
		if err == nil {
			packets = l.Attrs().Statistics.RxPackets
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return packets
}

// A sensor that is started anew under 10,000 packets a second, told to end or killed, goes on
// with what is in the kernel: each packet is counted once, no life is lost, and no record
// where it was told.
func TestRunKept(t *testing.T) {
	testenv.Root(t)
	for _, tt := range []struct {
		hook    string
		signals []syscall.Signal
	}{
		{"auto", []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM}},
		{"tc", []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGTERM}},
	} {
		t.Run(tt.hook, func(t *testing.T) {
			n := liveNetwork(t)
			args := []string{"--model", box.LabModel, "--keep", "--hook", tt.hook, "--speed", "60"} // a flow's minute is a second
			s := runLiveOn(t, n, nil, nil, args...)
			before := received(t, n)
			const perSecond, flows = 10_000, 2048
			frames := packets((len(tt.signals)+2)*perSecond/2, flows, perSecond)
			played := make(chan error)
			go func() {
				_, err := n.Play(t.Context(), frames, replay.PlayOptions{})
				played <- err
			}()
			for i, signal := range tt.signals {
				seen := uint64(i+1) * perSecond / 2
				s.until("it has seen some", func(stats v1.Stats) bool { return stats.Packets.Seen >= seen })
				if err := syscall.Kill(s.pid, signal); err != nil {
					t.Fatal(err)
				}
				if err := <-s.ended; err != nil && signal == syscall.SIGTERM {
					t.Error(err)
				}
				s = runLiveOn(t, n, nil, nil, args...)
			}
			if err := <-played; err != nil {
				t.Fatal(err)
			}
			stats := s.until("all has ended", func(stats v1.Stats) bool {
				return stats.Packets.Seen >= uint64(len(frames)) && stats.Flows.Open == 0
			})
			p := stats.Packets
			if got := received(t, n) - before; p.Seen != got || got != uint64(len(frames)) {
				t.Errorf("seen %d of %d that the interface has, %d played", p.Seen, got, len(frames))
			}
			if p.Seen != p.Counted+p.NotIP+p.Malformed+p.TableFull+p.Duplicate || p.Counted != p.InClosed+p.InOpen || p.InClosed != p.WithDevice+p.NoDevice || p.Counted != p.Seen {
				t.Errorf("%+v", p)
			}
			told := tt.hook == "auto"
			if stats.Records > stats.Flows.Closed || told && (stats.Records != stats.Flows.Closed || stats.IncompleteRecords != 0 || p.NoDevice != 0) {
				t.Errorf("%d records, %d incomplete, of %d flows that have ended; %d packets of no device", stats.Records, stats.IncompleteRecords, stats.Flows.Closed, p.NoDevice)
			}
			if err := syscall.Kill(s.pid, syscall.SIGINT); err != nil { // which takes the programs off
				t.Fatal(err)
			}
			if status := s.end(); status != 0 {
				t.Errorf("status %d", status)
			}
		})
	}
}
