package main

// This file shows the loop of a sensor that learns: strangers, labels, learning, names.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/ask"
	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/replay"
)

const (
	learnSpeed  = 20
	learnKinds  = 5
	learnUnits  = 4 // of each kind, of which so many get a label
	learnLabels = 3
	learnLength = 9 * time.Minute // of each device's traffic
	learnFirst  = 2. / 3          // of it before it is learned from
)

// learnDevice is a unit of the home.
type learnDevice struct {
	mac, kind string
	labelled  bool
}

// learnHome is the home's devices and its traffic, in two parts.
type learnHome struct {
	devices []learnDevice
	parts   [2][][]lab.Frame
}

// add adds a unit, of which there are so many of its kind already.
func (h *learnHome) add(mac, kind string, unit int, frames []lab.Frame) {
	length := frames[len(frames)-1].Time.Sub(frames[0].Time)
	end := frames[0].Time.Add(time.Duration(learnFirst * float64(length)))
	cut, _ := slices.BinarySearchFunc(frames, end, func(f lab.Frame, t time.Time) int { return f.Time.Compare(t) })
	h.parts[0], h.parts[1] = append(h.parts[0], frames[:cut]), append(h.parts[1], frames[cut:])
	h.devices = append(h.devices, learnDevice{mac, kind, unit < learnLabels})
}

// labHome is one of the device lab's.
func labHome(seed int64) (*learnHome, error) {
	h := &learnHome{}
	for _, kind := range []string{"camera", "motion-sensor", "smart-plug", "thermostat", "vacuum"} {
		for unit := range learnUnits {
			c, err := lab.Generate(kind, firstLabUnit+unit, seed, learnLength)
			if err != nil {
				return nil, err
			}
			h.add(c.Device.String(), kind, unit, c.Frames)
		}
	}
	return h, nil
}

// captureHome is of a directory's captures with one device each: the first kinds that have
// enough of them, each of another unit.
func captureHome(dir string) (*learnHome, error) {
	captures, err := dataset.ReadManifest(filepath.Join(dir, "manifest.csv"))
	if err != nil {
		return nil, err
	}
	of, kinds, units := map[string][]dataset.Capture{}, []string(nil), map[string]bool{}
	for _, c := range captures {
		d := c.Devices[0]
		if len(c.Devices) > 1 || units[d.Unit+d.Name] || len(of[d.Label]) == learnUnits {
			continue
		}
		units[d.Unit+d.Name] = true
		if of[d.Label] = append(of[d.Label], c); len(of[d.Label]) == learnUnits && len(kinds) < learnKinds {
			kinds = append(kinds, d.Label)
		}
	}
	if len(kinds) < 2 {
		return nil, fmt.Errorf("%s: fewer than two kinds with captures of %d units", dir, learnUnits)
	}
	h := &learnHome{}
	for _, kind := range kinds {
		for unit, c := range of[kind] {
			one, err := captureFrames(c)
			if err != nil {
				return nil, err
			}
			if len(one.Frames) == 0 {
				return nil, fmt.Errorf("capture %s holds no frame of its device", c.Name)
			}
			h.add(c.Devices[0].Name, kind, unit, one.Frames)
		}
	}
	return h, nil
}

// demoLearning is the scene.
type demoLearning struct {
	*cli.Context
	n       *replay.Network
	sensor  *demoSensor
	speed   float64
	devices []learnDevice
}

// checkScene refuses flags of the other scene.
func checkScene(c *cli.Context) error {
	for _, name := range []string{"model", "duration", "page", "json"} {
		if c.Bool("learn") && c.IsSet(name) {
			return terminal.Usagef("--learn is a scene of its own: leave --%s out", name)
		}
	}
	return nil
}

// learnDemo plays it.
func learnDemo(c *cli.Context) error {
	var home *learnHome
	var err error
	if dir := c.String("captures"); dir != "" {
		home, err = captureHome(dir)
	} else {
		home, err = labHome(c.Int64("seed"))
	}
	if err != nil {
		return err
	}
	return onDemoNetwork(c.Context, func(n *replay.Network) error { return learnAtHome(c, n, home) })
}

// learnAtHome plays it on a network.
func learnAtHome(c *cli.Context, n *replay.Network, home *learnHome) (err error) {
	d := &demoLearning{c, n, nil, learnSpeed, home.devices}
	if c.IsSet("speed") {
		d.speed = c.Float64("speed")
	}
	d.sensor, err = startSensor(c.Context, n, demoOptions{hook: c.String("hook"), speed: d.speed, flags: []string{
		"--state", d.in("registry.db"), "--record", d.in("records"), "--models", d.in("models"),
	}})
	if err != nil {
		return err
	}
	go d.sensor.ignore()
	return errors.Join(d.play(replay.Merge(demoApart, home.parts[0]...), replay.Merge(demoApart, home.parts[1]...)), d.sensor.stop())
}

func (d *demoLearning) in(name string) string { return filepath.Join(d.n.Dir, name) }

func (d *demoLearning) say(format string, args ...any) { fmt.Fprintf(d.App.Writer, format, args...) }

func (d *demoLearning) play(first, then []lab.Frame) error {
	bundle, err := box.LoadNamedModel("")
	if err != nil {
		return err
	}
	length := func(frames []lab.Frame) time.Duration {
		return frames[len(frames)-1].Time.Sub(frames[0].Time).Round(time.Minute)
	}
	d.say("A home of %d devices, %v of their traffic played %v times faster than it was.\nThe sensor has %s; it keeps a registry and records.\n\n1. Strangers\n",
		len(d.devices), length(first), d.speed, box.ModelText("", bundle))
	if err := d.traffic(first); err != nil {
		return err
	}
	if err := d.show(); err != nil {
		return err
	}
	d.say("\n2. %d labels of each kind\n", learnLabels)
	for _, device := range d.devices {
		if !device.labelled {
			continue
		}
		if _, err := d.sensor.client.Correct(d.Context.Context, device.mac, v1.DoLabel, v1.Correction{Label: "lab/" + device.kind}); err != nil {
			return err
		}
		d.say("   iotsense label %s lab/%s\n", device.mac, device.kind)
	}
	d.say("\n3. iotsense learn\n")
	if err := d.learn(); err != nil {
		return err
	}
	d.say("\n4. The same devices, %v later: of each kind one has no label\n", length(then))
	if err := d.traffic(then); err != nil {
		return err
	}
	if err := d.show(); err != nil {
		return err
	}
	return d.account()
}

// traffic plays a part, and lets its flows live out their time.
func (d *demoLearning) traffic(frames []lab.Frame) error {
	ctx := d.Context.Context
	if _, err := d.n.Play(ctx, frames, replay.PlayOptions{Speed: d.speed, FarEnd: strings.HasPrefix(d.sensor.hook, "xdp")}); err != nil {
		return err
	}
	lifetime := time.Duration(float64(flows.Lifetime) / d.speed)
	_, err := d.sensor.settle(ctx, lifetime+demoBlindTime)
	return errors.Join(err, ctx.Err())
}

// learn runs the command, as who sits before it would.
func (d *demoLearning) learn() error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(d.Context.Context, self, "learn", "--record", d.in("records"), "--models", d.in("models"), "--socket", d.in("sensor.sock"), "--threads", "2")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stdout, cmd.Stderr = d.App.Writer, d.App.ErrWriter
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("learn: %w", errors.Join(err, d.Context.Err()))
	}
	return nil
}

// says are the kinds of facts that are shown of a device, the first that it has.
var says = []string{"dhcp_host", "dhcp_class", "mdns_name", "dns", "http_agent"}

// show prints what the sensor says of the home's devices now.
func (d *demoLearning) show() error {
	list, err := d.sensor.client.Devices(d.Context.Context)
	if err != nil {
		return err
	}
	of := map[string]*v1.DeviceVerdict{}
	for i := range list {
		of[list[i].Device] = &list[i]
	}
	t := terminal.NewTable(d.App.Writer, "Device", "Truly", "State", "Verdict (label given)", "Confidence", "Says of itself")
	right, wrong, unnamed := 0, 0, 0
	for _, device := range d.devices {
		v := of[device.mac]
		if v == nil {
			v = &v1.DeviceVerdict{Verdict: v1.Verdict{Device: device.mac, State: v1.Gathering}}
		}
		label, confidence := ask.LabelText(&v.Verdict)
		words := ""
		for _, kind := range says {
			if words = v.Facts[kind]; words != "" {
				words = kind + ": " + terminal.Cell(words)
				break
			}
		}
		switch {
		case !v.Known:
			unnamed++
		case *v.Label == device.kind:
			right++
		default:
			wrong++
		}
		t.AppendRow(table.Row{device.mac, device.kind, v.State, label, confidence, words})
	}
	t.Render()
	d.say("%d named right, %d wrong, %d not named\n", right, wrong, unnamed)
	return nil
}

// account says what became of the packets.
func (d *demoLearning) account() error {
	stats, err := d.sensor.client.Stats(context.WithoutCancel(d.Context.Context))
	if err != nil {
		return err
	}
	if err := stats.Packets.Check(); err != nil {
		return err
	}
	p := stats.Packets
	d.say("\npackets: %d seen = %d counted + %d not IP + %d malformed + %d table full + %d duplicate; counted = %d in closed flows + %d in open ones\n",
		p.Seen, p.Counted, p.NotIP, p.Malformed, p.TableFull, p.Duplicate, p.InClosed, p.InOpen)
	return nil
}
