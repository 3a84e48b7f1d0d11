// Package ask holds the commands that ask a running sensor, and how a verdict reads.
// It links neither the kernel half nor files of records.
package ask

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api/client"
	"github.com/iotsense/iotsense/pkg/api/page"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
)

// SocketFlag names the sensor that is asked.
var SocketFlag = &cli.StringFlag{Name: "socket", Value: v1.DefaultSocket, Usage: "`PATH` of the sensor's socket"}

// NoModel is the value of --model that stands for records only.
const NoModel = "none"

// NoDeviceAfter is how long traffic may go on without a device before something
// must be wrong.
const NoDeviceAfter = time.Minute

// Commands list the devices and the open flows of a running sensor, its counters and events,
// and say something of devices.
func Commands() []*cli.Command {
	flags := []cli.Flag{SocketFlag, terminal.JSONFlag}
	return append([]*cli.Command{
		{Name: "devices", Usage: "the devices a running sensor knows", ArgsUsage: "[MAC|IP]", Flags: flags, Action: devices},
		{Name: "flows", Usage: "the open flows of a running sensor", Flags: flags, Action: openFlows},
		{Name: "stats", Usage: "what a running sensor has counted, and what it missed", Flags: flags, Action: stats},
		{
			Name: "events", Usage: "what happened to devices: new, known, gone, ...", Action: events,
			Flags: append([]cli.Flag{&cli.BoolFlag{Name: "follow", Usage: "go on with what happens, until stopped"}}, flags...),
		},
	}, wordCommands()...)
}

func devices(c *cli.Context) error {
	wanted, err := parseWanted(c)
	if err != nil {
		return err
	}
	client := client.New(c.String("socket"))
	all, err := client.Devices(c.Context)
	if err != nil {
		return err
	}
	list := slices.DeleteFunc(slices.Clone(all), func(d v1.DeviceVerdict) bool { return !wanted.is(&d) })
	if len(list) == 0 && wanted != (DeviceName{}) {
		return fmt.Errorf("device %s: the sensor has not seen it%s", c.Args().First(), meant(all, wanted.Name))
	}
	switch {
	case c.Bool("json"):
		return terminal.PrintLines(c.App.Writer, list)
	case wanted != (DeviceName{}):
		for i := range list {
			printDevice(c.App.Writer, &list[i], all)
		}
		return nil
	}
	s, err := client.Stats(c.Context)
	if err != nil {
		return err
	}
	slices.SortStableFunc(list, func(a, b v1.DeviceVerdict) int { return page.StrangersFirst(&a, &b) })
	printDevices(c.App.Writer, list, s, time.Now())
	return nil
}

// parseWanted reads the device that devices is asked for; the zero one stands for all.
func parseWanted(c *cli.Context) (DeviceName, error) {
	switch c.NArg() {
	case 0:
		return DeviceName{}, nil
	case 1:
		return ParseDeviceName(c.Args().First())
	}
	return DeviceName{}, terminal.Usagef("devices: one MAC or address at a time, got %d", c.NArg())
}

// printDevices prints devices, those that were not recognised first, and in the first minute, or
// without a device, why there is no more.
func printDevices(w io.Writer, list []v1.DeviceVerdict, s v1.Stats, now time.Time) {
	t := terminal.NewTable(w, "Device", "Name", "Label", "Sure", "State", "Address", "Last seen", "Maker", "Note")
	t.Wide(8, 9)
	t.Spare(6, 7)
	judged := false
	for i := range list {
		d := &list[i]
		judged = judged || d.Windows > 0
		label, confidence := GuessText(&d.Verdict)
		t.AppendRow(table.Row{d.Device, orDash(page.Name(d)), label, confidence, d.State, AddressText(d.Addresses), clock(d.LastSeen.Time, now), orDash(*cmp.Or(d.Vendor, new(string))), Note(d)})
	}
	if len(list) > 0 {
		t.Render()
	}
	up := time.Duration(s.UptimeS * float64(time.Second)).Round(time.Second)
	switch {
	case s.Model == nil && s.Records == 0 && s.Packets.WithDevice > 0:
		fmt.Fprintln(w, "packets are counted only (--packets 0): no device is listed")
	case len(list) == 0 && up > NoDeviceAfter:
		terminal.PrintParagraph(w, fmt.Sprintf("no device seen in %v: %s", up, v1.WhyNoDevice(s.Packets)))
	case s.Model == nil:
		fmt.Fprintln(w, "records only (--model none): no device is named")
	case !judged:
		terminal.PrintParagraph(w, fmt.Sprintf("gathering for %v: a device's first verdict comes seconds after its first packets, the surer ones a minute later (model: %s)", up, *s.Model))
	}
}

// printDevice prints all that is known of one device among all.
func printDevice(w io.Writer, d *v1.DeviceVerdict, all []v1.DeviceVerdict) {
	t := terminal.NewTable(w, "Key", "Value")
	t.Breaks(2)
	label, confidence := LabelText(&d.Verdict)
	t.AppendRows([]table.Row{
		{"device", d.Device}, {"label", label}, {"confidence", confidence}, {"state", d.State}, {"why", page.Sentence(&d.Verdict)},
	})
	if needs := page.Needs(&d.Verdict); needs != "" {
		t.AppendRow(table.Row{"to see", needs})
	}
	t.AppendRow(table.Row{"windows", d.Windows})
	if d.Name != nil {
		t.AppendRow(table.Row{"name", fmt.Sprintf("%s (%s)", *d.Name, *d.NameFrom)})
	}
	if len(d.MACs) > 1 {
		t.AppendRow(table.Row{"MACs", strings.Join(d.MACs, ", ")})
	}
	if d.Path != nil {
		t.AppendRow(table.Row{"safe level", fmt.Sprintf("%s %.3f", *d.Path, *d.PathConfidence)})
	}
	for _, l := range slices.Sorted(maps.Keys(d.Votes)) {
		t.AppendRow(table.Row{"  for " + l, d.Votes[l]})
	}
	if d.Trusted != nil {
		t.AppendRow(table.Row{"trusted", fmt.Sprintf("%t: padding fraction %.3f in its newest explanation", *d.Trusted, *d.PaddingFraction)})
	}
	t.AppendRows([]table.Row{
		{"flows", d.Flows}, {"  IPv6", d.IPv6Flows}, {"packets", d.Packets}, {"bytes", terminal.Bytes(d.Bytes)},
		{"first seen", date(d.FirstSeen)}, {"last seen", date(d.LastSeen)},
		{"addresses", strings.Join(d.Addresses, ", ")},
	})
	for _, kind := range slices.Sorted(maps.Keys(d.Facts)) {
		t.AppendRow(table.Row{"says " + kind, d.Facts[kind]})
	}
	if d.Provisional {
		t.AppendRow(table.Row{"provisional", "rests on flows that are still open: what would be said if they ended now"})
	}
	if d.SharedMAC {
		t.AppendRow(table.Row{"shared MAC", "two addresses in one minute: several devices behind a router or repeater, or one whose address changed"})
	}
	if d.RandomMAC {
		t.AppendRow(table.Row{"random MAC", "no manufacturer's: the device may come back under another"})
	}
	if len(d.SameAs) > 0 {
		t.AppendRow(table.Row{"may be", sameText(d, all) + ", never at the same time; merge says so"})
	}
	t.Render()
}

// sameText says which others of all a device may be, and by what.
func sameText(d *v1.DeviceVerdict, all []v1.DeviceVerdict) string {
	var list []string
	for i := range all {
		if o := &all[i]; slices.Contains(d.SameAs, o.Device) {
			list = append(list, fmt.Sprintf("%s (the same %s)", o.Device, d.SameBy(o)))
		}
	}
	return strings.Join(list, ", ")
}

// AddressText is the address to know a device by, and how many more it has.
func AddressText(addresses []string) string {
	return orDash(page.Address(addresses))
}

func orDash(text string) string { return cmp.Or(text, "-") }

// date is a time in full.
func date(t v1.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

// clock is a time of today, or the day; of what has never been there is none.
func clock(t, now time.Time) string {
	t, now = t.Local(), now.Local()
	if t.IsZero() {
		return "-"
	}
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format(time.TimeOnly)
	}
	return t.Format("02 Jan")
}

// LabelText is a verdict's best guess, with a question mark where it is not safe, behind
// the level above it that is; and how sure that is, or the guess where no level is. There is
// none of a gateway. What the operator calls it comes first.
func LabelText(v *v1.Verdict) (label, confidence string) {
	label, confidence = GuessText(v)
	if v.UserLabel != nil {
		label = fmt.Sprintf("%s (%s)", terminal.Cell(*v.UserLabel), label)
	}
	return label, confidence
}

// GuessText is LabelText without what the operator calls it: for where that stands beside it.
func GuessText(v *v1.Verdict) (label, confidence string) {
	switch {
	case v.State == v1.Gateway || v.Label == nil && v.Path == nil:
		return "-", "-"
	case v.Label == nil:
		return terminal.Cell(*v.Path), fmt.Sprintf("%.3f", *v.PathConfidence)
	}
	label = terminal.Cell(*v.Label)
	switch {
	case v.Known:
	case v.Path != nil:
		return fmt.Sprintf("%s: %s?", terminal.Cell(*v.Path), label), fmt.Sprintf("%.3f", *v.PathConfidence)
	default:
		label += "?"
	}
	return label, fmt.Sprintf("%.3f", *v.Confidence)
}

// Note is what is to be known beside a device's verdict.
func Note(d *v1.DeviceVerdict) string {
	switch {
	case d.Known && d.Trusted != nil && !*d.Trusted:
		return "rests on padding"
	case d.SharedMAC:
		return "shared MAC"
	case OnlyIPv6(d):
		return "IPv6 only"
	case d.Provisional:
		return "provisional"
	case d.RandomMAC:
		return "random MAC"
	}
	return ""
}

// OnlyIPv6 reports whether a device was seen with IPv6 alone, and got no verdict.
func OnlyIPv6(d *v1.DeviceVerdict) bool {
	return d.Windows == 0 && d.Flows > 0 && d.IPv6Flows == d.Flows
}

func openFlows(c *cli.Context) error {
	list, left, err := client.New(c.String("socket")).Flows(c.Context)
	if err != nil {
		return err
	}
	if left > 0 {
		terminal.Say("%d more flows are open than the sensor lists", left)
	}
	slices.SortStableFunc(list, func(a, b v1.Flow) int { return a.FirstSeen.Compare(b.FirstSeen.Time) })
	if !c.Bool("json") {
		printFlows(c.App.Writer, list)
		return nil
	}
	return terminal.PrintLines(c.App.Writer, list)
}

func printFlows(w io.Writer, list []v1.Flow) {
	t := terminal.NewTable(w, "Began", "Device", "Port", "Proto", "Remote", "Port", "Packets", "Bytes", "On")
	t.Spare(9, 1, 3)
	for _, f := range list {
		device := "-"
		if f.Device != nil {
			device = *f.Device
		}
		t.AppendRow(table.Row{f.FirstSeen.Local().Format(time.TimeOnly), device, PortText(f.DevPort), v1.ProtocolName(f.Proto), f.Remote, PortText(f.RemPort), f.Packets, terminal.Bytes(f.Bytes), f.Interface})
	}
	t.Render()
}

// PortText is a port, or that there is none.
func PortText(port int32) string {
	if port == flows.Missing {
		return "-"
	}
	return fmt.Sprint(port)
}

// interfaceText says how an interface is watched, and for how long it was not.
func interfaceText(i v1.Interface) string {
	text := "attached"
	if !i.Attached {
		text = "not attached: see the log"
	}
	if i.Gaps > 0 {
		text += fmt.Sprintf(", blind %d times, %.1f s", i.Gaps, i.GapS)
	}
	return text
}

func stats(c *cli.Context) error {
	s, err := client.New(c.String("socket")).Stats(c.Context)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return terminal.PrintJSON(c.App.Writer, s)
	}
	printStats(c.App.Writer, s)
	return nil
}

// printStats prints what is declared, each under its JSON key.
func printStats(w io.Writer, s v1.Stats) {
	t := terminal.NewTable(w, "Counter", "Value", "Meaning")
	t.Breaks(3)
	for _, c := range v1.Counters(s) {
		switch value := c.Value.(type) {
		case []v1.Interface:
			for _, i := range value {
				t.AppendRow(table.Row{"interface " + i.Name, i.Hook, interfaceText(i)})
			}
		case *string:
			t.AppendRow(table.Row{c.Key, "", modelOrNone(value)})
		case *uint64:
			if value != nil {
				t.AppendRow(table.Row{c.Key, *value, c.Meaning()})
			}
		case float64:
			t.AppendRow(table.Row{c.Key, fmt.Sprintf("%.2f", value), c.Meaning()})
		default:
			t.AppendRow(table.Row{c.Key, value, c.Meaning()})
		}
	}
	t.Render()
}

func modelOrNone(name *string) string {
	if name == nil {
		return NoModel
	}
	return *name
}
