package main

import (
	"errors"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/registry"
)

func classifyCommand() *cli.Command {
	return &cli.Command{
		Name:      "classify",
		Usage:     "name the devices in captures: one verdict per device and file",
		ArgsUsage: "FILE... (- for standard input)",
		Flags:     append(dataFlags(), jsonFlag),
		Action:    classifyFiles,
	}
}

func classifyFiles(c *cli.Context) error {
	bundle, err := loadModel(c)
	if err != nil {
		return err
	}
	mode, err := parseWindowMode(c)
	if err != nil {
		return err
	}
	if err := checkWindow(c, bundle); err != nil {
		return err
	}
	direction, err := parseDirection(c, bundle)
	if err != nil {
		return err
	}
	show, end := progress("classify")
	defer end()
	set, err := openData(c, direction, show)
	if err != nil {
		return err
	}
	out := verdictPrinter(c)
	classifiers := map[string]*classify.Classifier{} // by capture
	damaged := set.Records(c.Context, func(r flows.LabelledRecord) error {
		k := classifiers[r.Capture]
		if k == nil {
			if k, err = classify.New(bundle, classify.Options{WindowMode: mode}); err != nil {
				return err
			}
			classifiers[r.Capture] = k
		}
		return k.Record(r.Record)
	}, func(s dataset.CaptureSummary) error {
		verdicts := captureVerdicts(classifiers[s.Name], s)
		delete(classifiers, s.Name)
		return out.print(s.Name, verdicts)
	})
	end()
	return errors.Join(damaged, out.close())
}

// captureVerdicts are the verdicts of a capture's devices; one that was listed
// but never seen has its line too.
func captureVerdicts(k *classify.Classifier, s dataset.CaptureSummary) []registry.Verdict {
	var verdicts []registry.Verdict
	seen := map[string]bool{}
	if k != nil {
		for _, d := range k.Registry().Devices() {
			verdicts = append(verdicts, d.Verdict)
			seen[d.Device] = true
		}
	}
	for _, d := range s.Devices {
		if !seen[d.Name] {
			verdicts = append(verdicts, registry.Verdict{Device: d.Name, State: registry.Gathering, Votes: map[string]int{}})
		}
	}
	for i := range verdicts {
		verdicts[i].Capture = &s.Name
	}
	return verdicts
}

// verdicts prints lines of JSON, or a table at the end.
type verdicts struct {
	w     io.Writer
	table table.Writer // nil: JSON
}

func verdictPrinter(c *cli.Context) *verdicts {
	v := &verdicts{w: c.App.Writer}
	if !c.Bool("json") {
		v.table = newTable(v.w, "Capture", "Device", "Label", "Confidence", "State", "Windows", "Flows", "Packets")
	}
	return v
}

func (v *verdicts) print(capture string, list []registry.Verdict) error {
	for _, d := range list {
		if v.table == nil {
			if err := printJSON(v.w, d); err != nil {
				return err
			}
			continue
		}
		label, confidence := labelText(&d)
		v.table.AppendRow(table.Row{capture, d.Device, label, confidence, d.State, d.Windows, d.Flows, d.Packets})
	}
	return nil
}

func (v *verdicts) close() error {
	if v.table != nil {
		v.table.Render()
	}
	return nil
}
