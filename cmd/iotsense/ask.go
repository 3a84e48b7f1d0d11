package main

// This file holds the commands that ask a running sensor.

import (
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/pkg/api"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/registry"
)

var socketFlag = &cli.StringFlag{Name: "socket", Value: api.DefaultSocket, Usage: "`PATH` of the sensor's socket"}

func devicesCommand() *cli.Command {
	return &cli.Command{
		Name: "devices", Usage: "the devices a running sensor knows", ArgsUsage: "[MAC]",
		Flags: []cli.Flag{socketFlag, jsonFlag}, Action: devices,
	}
}

func flowsCommand() *cli.Command {
	return &cli.Command{
		Name: "flows", Usage: "the open flows of a running sensor",
		Flags: []cli.Flag{socketFlag, jsonFlag}, Action: openFlows,
	}
}

func statsCommand() *cli.Command {
	return &cli.Command{
		Name: "stats", Usage: "what a running sensor has counted, and what it missed",
		Flags: []cli.Flag{socketFlag, jsonFlag}, Action: stats,
	}
}

func devices(c *cli.Context) error {
	wanted := c.Args().First()
	if mac, err := flows.ParseMAC(wanted); err == nil {
		wanted = mac.String()
	} else if wanted != "" && !strings.HasPrefix(wanted, "ip:") {
		return usageError{err}
	}
	list, err := api.NewClient(c.String("socket")).Devices(c.Context)
	if err != nil {
		return err
	}
	t := newTable(c.App.Writer, "Device", "Label", "Confidence", "State", "Windows", "Flows", "Packets", "Bytes", "Last seen", "Addresses")
	found := false
	for _, d := range list {
		if wanted != "" && d.Device != wanted {
			continue
		}
		found = true
		if c.Bool("json") {
			if err := printJSON(c.App.Writer, d); err != nil {
				return err
			}
			continue
		}
		label, confidence := labelText(&d.Verdict)
		addresses := strings.Join(d.Addresses, " ")
		if d.SharedMAC {
			addresses += " (shared MAC: a router or repeater)"
		}
		if d.RandomMAC {
			addresses += " (random MAC)"
		}
		t.AppendRow(table.Row{d.Device, label, confidence, d.State, d.Windows, d.Flows, d.Packets, d.Bytes, d.LastSeen.Local().Format("15:04:05"), addresses})
	}
	if wanted != "" && !found {
		return fmt.Errorf("device %s: the sensor has not seen it", wanted)
	}
	if !c.Bool("json") {
		t.Render()
	}
	return nil
}

// labelText is a verdict's best guess, with a question mark where the device is
// unknown, and its confidence.
func labelText(v *registry.Verdict) (label, confidence string) {
	if v.Label == nil {
		return "-", "-"
	}
	label = *v.Label
	if !v.Known {
		label += "?"
	}
	return label, fmt.Sprintf("%.3f", *v.Confidence)
}

// note is what is to be known beside a device's verdict.
func note(d *registry.DeviceVerdict) string {
	switch {
	case d.SharedMAC:
		return "shared MAC"
	case onlyIPv6(d):
		return "IPv6 only"
	case d.RandomMAC:
		return "random MAC"
	}
	return ""
}

func openFlows(c *cli.Context) error {
	list, left, err := api.NewClient(c.String("socket")).Flows(c.Context)
	if err != nil {
		return err
	}
	t := newTable(c.App.Writer, "Device", "Port", "Remote", "Port", "Proto", "First seen", "Packets", "Bytes", "Interface")
	for _, f := range list {
		if c.Bool("json") {
			if err := printJSON(c.App.Writer, f); err != nil {
				return err
			}
			continue
		}
		device := "-"
		if f.Device != nil {
			device = *f.Device
		}
		t.AppendRow(table.Row{device, f.DevPort, f.Remote, f.RemPort, f.Proto, f.FirstSeen.Local().Format("15:04:05.000"), f.Packets, f.Bytes, f.Interface})
	}
	if !c.Bool("json") {
		t.Render()
	}
	if left > 0 {
		say("%d more flows are open than the sensor lists", left)
	}
	return nil
}

func stats(c *cli.Context) error {
	s, err := api.NewClient(c.String("socket")).Stats(c.Context)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, s)
	}
	t := newTable(c.App.Writer, "Counter", "Value", "Meaning")
	p := s.Packets
	for _, i := range s.Interfaces {
		t.AppendRow(table.Row{"interface " + i.Name, i.Hook, map[bool]string{true: "attached", false: "waiting for the interface"}[i.Attached]})
	}
	t.AppendRows([]table.Row{
		{"uptime", fmt.Sprintf("%.0f s", s.UptimeS), ""},
		{"packets seen", p.Seen, "= counted + not IP + malformed + table full + duplicate"},
		{"  counted", p.Counted, "= in closed + in open lives"},
		{"  not IP", p.NotIP, "ARP, EAPOL, LLC"},
		{"  malformed", p.Malformed, ""},
		{"  table full", p.TableFull, "of flows that were refused"},
		{"  duplicate", p.Duplicate, "seen before on another interface"},
		{"in closed lives", p.InClosed, "= with + without a device"},
		{"  with a device", p.WithDevice, ""},
		{"  without a device", p.NoDevice, ""},
		{"in open lives", p.InOpen, ""},
		{"of which truncated", p.Truncated, ""},
		{"of which fragments", p.Fragment, ""},
		{"of which late", p.Late, "met a life that was being closed"},
		{"samples sent", s.Samples.Sent, ""},
		{"samples lost", s.Samples.RingFull, "ring buffer was full: their records are incomplete"},
		{"lives open", s.Flows.Open, ""},
		{"lives closed", s.Flows.Closed, ""},
		{"lives refused", s.Flows.Refused, "flow table was full"},
		{"records", s.Records, ""},
		{"  incomplete", s.IncompleteRecords, ""},
		{"inferences", s.Inferences, ""},
		{"verdicts dropped", s.DroppedVerdicts, "not printed: standard output was not read"},
		{"devices dropped", s.EvictedDevices, "to stay within --max-devices"},
		{"user CPU", fmt.Sprintf("%.2f s", s.UserCPUS), ""},
	})
	if s.KernelRuns != nil && s.KernelNSTotal != nil {
		t.AppendRow(table.Row{"kernel programs", fmt.Sprintf("%d runs, %d ns", *s.KernelRuns, *s.KernelNSTotal), ""})
	}
	t.Render()
	return nil
}
