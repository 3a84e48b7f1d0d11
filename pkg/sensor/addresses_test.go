package sensor_test

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/loader"
	"github.com/iotsense/iotsense/pkg/replay"
	"github.com/iotsense/iotsense/pkg/sensor"
)

// A device is one as long as the sensor's interface has an address in the
// device's network, and with --local only where the ranges given say so.
func TestDevicesOfTheInterfacesNetwork(t *testing.T) {
	testenv.Root(t)
	for _, tt := range []struct {
		name  string
		local []netip.Prefix
		want  []uint16 // the device's ports of records, by phases: before the address, with it, after it
	}{
		{"default", nil, []uint16{2000}},
		{"given ranges", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, err := replay.NewNetwork("addresses")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { n.Close() })
			var ports []uint16
			s := openIn(t, n, sensor.Config{
				Loader: loader.Config{Interfaces: []string{replay.Interface}, Local: tt.local, MaxFlows: 1024},
				Record: func(r *flows.Record) { ports = append(ports, uint16(r.DevPort)) },
				Log:    slog.New(slog.DiscardHandler),
			})
			defer s.Close()

			address := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(203, 0, 113, 1), Mask: net.CIDRMask(24, 32)}}
			runWhile(t, s, func(ctx context.Context) {
				for i, change := range []func(netlink.Link, *netlink.Addr) error{nil, netlink.AddrAdd, netlink.AddrDel} {
					if change != nil {
						changeAddress(t, n, address, change)
					}
					ip := packet.IP{Src: netip.MustParseAddr("203.0.113.9"), Dst: packet.ServerIP, Proto: packet.UDPProto}
					frame := packet.Ethernet(packet.IPv4Type, packet.IPv4(ip, packet.UDP(uint16(1000*(i+1)), 53, packet.Payload(20))))
					if _, err := n.Play(ctx, []lab.Frame{{Data: frame, FromDevice: true}}, replay.PlayOptions{}); err != nil {
						t.Fatal(err)
					}
					time.Sleep(300 * time.Millisecond) // the packet is read under the addresses of now
				}
			})
			if !slices.Equal(ports, tt.want) {
				t.Errorf("records of ports %v, want %v", ports, tt.want)
			}
		})
	}
}

// openIn opens a sensor in a network.
func openIn(t *testing.T, n *replay.Network, cfg sensor.Config) (s *sensor.Sensor) {
	t.Helper()
	err := n.Do(func() (err error) {
		s, err = sensor.Open(cfg)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// runWhile runs a sensor as long as f takes.
func runWhile(t *testing.T, s *sensor.Sensor, f func(context.Context)) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	f(ctx)
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// changeAddress changes an address of the sensor's interface, and gives the sensor
// the second that it has to follow.
func changeAddress(t *testing.T, n *replay.Network, a *netlink.Addr, change func(netlink.Link, *netlink.Addr) error) {
	t.Helper()
	err := n.Do(func() error {
		l, err := netlink.LinkByName(replay.Interface)
		if err != nil {
			return err
		}
		return change(l, a)
	})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond)
}
