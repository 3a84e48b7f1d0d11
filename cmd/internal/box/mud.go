package box

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/ask"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api/client"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/mud"
)

func mudCommand() *cli.Command {
	return &cli.Command{
		Name:      "mud",
		Usage:     "print a device's MUD file (RFC 8520): what it was seen to need of the network, as access lists",
		ArgsUsage: "MAC | FILE (- for standard input)",
		Description: "MAC asks a running sensor; of a capture with more than one device, --device says whose. It allows\n" +
			"what was seen and nothing else: watch for long enough, and look at it before a network enforces it.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "device", Usage: "of a capture the device with this `MAC`, or address where there are no MACs"},
			&cli.StringSliceFlag{Name: "local", Usage: "local `CIDR` of a capture (repeatable; default: private and unique local ranges)"},
			&cli.StringFlag{Name: "url", Usage: "`URL` that the file will have (mud-url; default: one of no host, https://mud.invalid/...)"},
			ask.SocketFlag,
		},
		Action: printMUD,
	}
}

func printMUD(c *cli.Context) error {
	if c.Args().Len() != 1 {
		return terminal.Usagef("mud: name one device's MAC, or one capture")
	}
	at := c.String("url")
	if u, err := url.Parse(at); at != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
		return terminal.Usagef("--url %q: want https://HOST/...", at)
	}
	of, name := fileBehaviour, c.Args().First()
	if d, err := ask.ParseDeviceName(name); err == nil && d.Name != "" {
		if c.IsSet("device") || c.IsSet("local") {
			return terminal.Usagef("mud %s: --device and --local are for captures", name)
		}
		of, name = liveBehaviour, d.Name
	} else if c.IsSet("socket") {
		return terminal.Usagef("--socket: a device of a running sensor is asked for by MAC, not %q", name)
	}
	b, err := of(c, name)
	if err != nil {
		return err
	}
	f, err := mud.New(&b.peers, b.facts, at)
	if err != nil {
		return fmt.Errorf("device %s: %w", b.peers.Device, err)
	}
	if n := b.peers.LeftOut; n > 0 {
		terminal.Say("device %s: %d packets were to more peers than are remembered: the file does not allow them", b.peers.Device, n)
	}
	e := json.NewEncoder(c.App.Writer)
	e.SetIndent("", "  ")
	return e.Encode(f)
}

// behaviour is what a device does, and says of itself.
type behaviour struct {
	peers v1.Peers
	facts []v1.Fact
}

// liveBehaviour asks a sensor.
func liveBehaviour(c *cli.Context, device string) (b behaviour, err error) {
	sensor := client.New(c.String("socket"))
	if b.peers, err = sensor.Peers(c.Context, device); err != nil {
		return b, err
	}
	if len(b.peers.Peers) == 0 {
		return b, fmt.Errorf("device %s: the sensor has not seen it send%s", device, ask.Meant(c.Context, sensor, device))
	}
	b.facts, err = sensor.Facts(c.Context, device)
	return b, err
}

// fileBehaviour reads a capture.
func fileBehaviour(c *cli.Context, path string) (b behaviour, err error) {
	local, err := ParseLocal(c)
	if err != nil {
		return b, err
	}
	device, err := wantedDevice(c)
	if err != nil {
		return b, err
	}
	known, err := readFacts(c.Context, path, flows.NewLocals(local))
	if err != nil {
		return b, err
	}
	names := deviceNames(known)
	switch {
	case device != "":
	case len(names) == 1:
		device = names[0]
	default:
		return b, fmt.Errorf("%s has %d devices: say which with --device: %s", path, len(names), strings.Join(names[:min(len(names), 10)], ", "))
	}
	if known.Of(device) == nil {
		return b, fmt.Errorf("device %s: no packet of it in %s", device, path)
	}
	return behaviour{known.Peers(device), known.Of(device).Lines(device, nil)}, nil
}
