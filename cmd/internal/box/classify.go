package box

import (
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/ask"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model/explain"
)

func classifyCommand() *cli.Command {
	return &cli.Command{
		Name:      "classify",
		Usage:     "name the devices in captures: one verdict per device and file",
		ArgsUsage: "FILE... (- for standard input)",
		Flags: append(DataFlags(), terminal.JSONFlag,
			&cli.BoolFlag{Name: "explain", Usage: "explain each device's last window: does it rest on padding (padding_fraction, trusted)? Some 10 ms a device"},
			&cli.BoolFlag{Name: "no-facts", Usage: "keep nothing of what devices say of themselves, and judge without it"}),
		Action: classifyFiles,
	}
}

func classifyFiles(c *cli.Context) error {
	bundle, err := LoadModel(c)
	if err != nil {
		return err
	}
	set, mode, end, err := OpenFor(c, bundle)
	if err != nil {
		return err
	}
	defer end()
	var explainers map[flows.Service]*explain.Explainer
	if c.Bool("explain") {
		if explainers, err = explain.All(bundle); err != nil {
			return err
		}
	}
	out := verdictPrinter(c)
	opts := classify.Options{WindowMode: mode, NoFacts: c.Bool("no-facts"), Ground: explainers != nil}
	damaged := classify.Captures(c.Context, set, bundle, opts, nil,
		func(s dataset.CaptureSummary, k *classify.Classifier) error {
			list := captureVerdicts(s, SayClassified(s, k, bundle))
			if err := explainVerdicts(explainers, list, k); err != nil {
				return err
			}
			for i := range list {
				if s.Stats.Seen > 0 && !c.Bool("no-facts") { // records of a file have lost what no row holds
					k.Facts(list[i].Device).Tell(&list[i].Verdict)
				}
			}
			return out.print(list)
		})
	out.close()
	return damaged
}

// explainVerdicts says of each verdict what the device's newest window, explained for the
// verdict's label, says of it.
func explainVerdicts(explainers map[flows.Service]*explain.Explainer, list []fileVerdict, k *classify.Classifier) error {
	for i := range list {
		v := &list[i].Verdict
		g := k.Ground(v.Device)
		if g == nil || v.Label == nil {
			continue
		}
		if g.Missing > 0 {
			terminal.Say("%s: device %s is not explained: %d of its flows made room for those of other devices", *v.Capture, v.Device, g.Missing)
			continue
		}
		x, err := explainers[g.Service].ExplainVerdict(v, explain.Request{Rows: g.Rows, Facts: g.Facts()})
		if err != nil {
			return fmt.Errorf("device %s: %w", v.Device, err)
		}
		v.Explained(x.PaddingFraction)
	}
	return nil
}

// fileVerdict is a line of `classify --json`.
type fileVerdict struct {
	v1.DeviceVerdict
	Truncated *uint64 `json:"truncated"` // packets of the capture that are shorter than they were; null for records
}

// captureVerdicts are the verdicts of a capture's devices; one that was listed
// but never seen has its line too.
func captureVerdicts(s dataset.CaptureSummary, devices []v1.DeviceVerdict) []fileVerdict {
	for _, d := range s.Unseen {
		devices = append(devices, v1.DeviceVerdict{
			Verdict:   v1.Verdict{Device: d.Name, State: v1.Gathering, Votes: map[string]int{}},
			Addresses: []string{}, MACs: []string{d.Name}, SameAs: []string{},
		})
	}
	list := make([]fileVerdict, len(devices))
	for i, d := range devices {
		d.Capture = &s.Name
		d.Call()
		list[i].DeviceVerdict = d
		if s.Stats.Seen > 0 {
			list[i].Truncated = &s.Stats.Truncated
		}
	}
	return list
}

// verdicts prints lines of JSON, or a table at the end.
type verdicts struct {
	w     io.Writer
	table *terminal.TextTable // nil: JSON
}

func verdictPrinter(c *cli.Context) *verdicts {
	v := &verdicts{w: c.App.Writer}
	if !c.Bool("json") {
		v.table = terminal.NewTable(v.w, "Capture", "Device", "Label", "Confidence", "State", "Windows", "Flows", "Packets", "Note")
		v.table.Spare(9, 8, 7, 6)
	}
	return v
}

func (v *verdicts) print(list []fileVerdict) error {
	if v.table == nil {
		return terminal.PrintLines(v.w, list)
	}
	for i := range list {
		d := &list[i]
		label, confidence := ask.LabelText(&d.Verdict)
		v.table.AppendRow(table.Row{*d.Capture, d.Device, label, confidence, d.State, d.Windows, d.Flows, d.Packets, ask.Note(&d.DeviceVerdict)})
	}
	return nil
}

// close writes the table, if there is anything to write.
func (v *verdicts) close() {
	if v.table != nil && v.table.Length() > 0 {
		v.table.Render()
	}
}
