package box

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/ask"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
)

// A sensor that sees traffic and no device for a minute says why.
func TestNoDevice(t *testing.T) {
	begin := time.Unix(1_800_000_000, 0)
	wan := flows.PacketStats{Seen: 50, Counted: 50, NoDevice: 50}
	for _, tt := range []struct {
		name      string
		packets   flows.PacketStats
		due, done bool // after a minute
		why       string
	}{
		{"WAN side", wan, true, false, "WAN side"},
		{"no IP", flows.PacketStats{Seen: 5, NotIP: 4, Malformed: 1}, true, false, "4 not IP"},
		{"no packet", flows.PacketStats{}, false, false, "no packet"},
		{"a device", flows.PacketStats{Seen: 50, Counted: 50, WithDevice: 1, NoDevice: 49}, false, true, "WAN side"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var n noDevice
			for _, later := range []time.Duration{0, ask.NoDeviceAfter - time.Second} {
				if due, done := n.look(tt.packets, begin.Add(later)); due || done != tt.done {
					t.Errorf("after %v: %v, %v", later, due, done)
				}
			}
			if due, done := n.look(tt.packets, begin.Add(ask.NoDeviceAfter)); due != tt.due || done != tt.done {
				t.Errorf("after a minute: %v, %v; want %v, %v", due, done, tt.due, tt.done)
			}
			if why := v1.WhyNoDevice(tt.packets); !strings.Contains(why, tt.why) {
				t.Errorf("%q is not in %q", tt.why, why)
			}
		})
	}
}

// --ignore takes a device by its MAC, or by the address of one of its records.
func TestIgnore(t *testing.T) {
	var got []bool
	for _, tt := range []struct{ device, addr string }{
		{"00:17:88:0a:0b:0c", "10.0.0.9"}, {"00:17:88:0a:0b:0d", "10.0.0.1"}, {"ip:10.0.0.1", "10.0.0.1"}, {"00:17:88:0a:0b:0d", "10.0.0.2"},
	} {
		command := runCommand()
		command.Action = func(c *cli.Context) error {
			ignored, err := parseIgnore(c)
			if err == nil {
				got = append(got, ignored(&flows.Record{Device: tt.device, DeviceAddr: netip.MustParseAddr(tt.addr)}))
			}
			return err
		}
		app := &cli.App{Commands: []*cli.Command{command}}
		if err := app.Run([]string{"iotsense", "run", "--ignore", "00:17:88:0A:0B:0C", "--ignore", "10.0.0.1"}); err != nil {
			t.Fatal(err)
		}
	}
	if want := []bool{true, true, true, false}; !reflect.DeepEqual(got, want) {
		t.Errorf("ignored %v, want %v", got, want)
	}
}
