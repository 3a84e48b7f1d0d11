package box

import (
	"errors"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/ask"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/explain"
)

// Explaining is what a program can do with explanations beside printing them.
type Explaining struct {
	Flags []cli.Flag
	// Draw draws an explanation, the first, second, ..., as flags say; nil: it cannot.
	Draw func(c *cli.Context, x *v1.Explanation, record model.RecordSpec, number int) error
	// Many explains the windows of all devices; nil: it cannot.
	Many func(c *cli.Context) error
}

// ExplainCommand has what else a program does.
func ExplainCommand(more Explaining) *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "show what a verdict rests on: which values of a device's flows, and which facts",
		ArgsUsage: "[FILE...] --device MAC",
		Description: "Without --device (full tool): what carries each label, over all windows of the data.\nWithout a file, of a device's present state in a running sensor, which keeps flows for that\n" +
			"with run --explain-rate alone.",
		Flags: append(slices.Concat(DataFlags(), more.Flags), ask.SocketFlag, terminal.JSONFlag,
			&cli.StringFlag{Name: "device", Usage: "the device with this `MAC`, or address where there are no MACs"},
			&cli.IntFlag{Name: "window-index", Usage: "its `N`-th judged window, from 0 (default: the last)"},
			&cli.StringFlag{Name: "on", Value: explain.Logit.String(), Usage: "explain the `logit|probability`"},
			&cli.StringFlag{Name: "why-not", Usage: "set the label against `LABEL`: what speaks for the one and not the other"},
			&cli.IntFlag{Name: "top", Value: 20, Usage: "the `N` greatest shares; 0: all (--json: all unless given)"},
			&cli.BoolFlag{Name: "no-facts", Usage: "keep nothing of what devices say of themselves, and judge without it"}),
		Action: func(c *cli.Context) error {
			switch {
			case c.Int("top") < 0:
				return terminal.Usagef("--top %d: want 0 or more", c.Int("top"))
			case c.IsSet("device") && c.NArg() == 0 && !c.IsSet("manifest"):
				return explainLive(c)
			case c.IsSet("socket"):
				return terminal.Usagef("--socket: a running sensor is asked with --device and without files")
			case c.IsSet("device"):
				return explainDevice(c, more)
			case isDevice(c.Args().First()):
				return terminal.Usagef("explain: a device is named with --device %s", c.Args().First())
			case more.Many != nil:
				return more.Many(c)
			}
			return terminal.Usagef("explain: name a device with --device MAC")
		},
	}
}

// isDevice reports whether a word is a MAC or an address: no name of a capture.
func isDevice(word string) bool {
	_, err := ask.ParseDeviceName(word)
	return err == nil
}

// explainLive asks a sensor what a device's present state rests on.
func explainLive(c *cli.Context) error {
	asked := []string{"device", "socket", "json", "on", "why-not", "top"}
	for _, name := range c.LocalFlagNames() {
		if !slices.Contains(asked, name) {
			return terminal.Usagef("--%s: is for files, and none is named; of a running sensor it is the present state that is explained", name)
		}
	}
	e, err := parseExplained(c)
	if err != nil {
		return err
	}
	x, err := ask.Explanation(c.Context, c.String("socket"), c.String("device"), v1.ExplanationRequest{Output: e.asked.Output.String(), WhyNot: e.asked.WhyNot})
	if err != nil {
		return err
	}
	return e.printTo(c, x)
}

func explainDevice(c *cli.Context, more Explaining) error {
	bundle, err := LoadModel(c)
	if err != nil {
		return err
	}
	e, err := parseExplained(c)
	if err != nil {
		return err
	}
	if err := e.explains(bundle); err != nil {
		return err
	}
	set, mode, end, err := OpenFor(c, bundle)
	if err != nil {
		return err
	}
	defer end()
	e.print = func(x *v1.Explanation, record model.RecordSpec) error {
		e.printed++
		if more.Draw != nil {
			if err := more.Draw(c, x, record, e.printed); err != nil {
				return err
			}
		}
		return e.printTo(c, x)
	}
	opts := classify.Options{WindowMode: mode, NoFacts: c.Bool("no-facts"), Ground: true, Judged: e.judged}
	err = classify.Captures(c.Context, set, bundle, opts, nil, e.captured)
	end()
	if err == nil && !e.seen {
		err = fmt.Errorf("device %s: no packet of it in the data: there are %s", e.device, some(e.others))
	}
	return errors.Join(append(e.missed, err)...)
}

// explained looks for one device's window in captures.
type explained struct {
	explainers map[flows.Service]*explain.Explainer
	bundle     model.Bundle
	device     string
	index      int             // -1: the last
	asked      explain.Request // but for rows and facts
	print      func(*v1.Explanation, model.RecordSpec) error

	found   *classify.Ground // in the capture that is read, or the last so far
	heard   []facts.Fact     // by then
	windows int              // of the device in it

	seen    bool     // in any capture
	others  []string // that were seen instead
	missed  []error  // captures that have the device and not the window
	printed int
}

// parseExplained reads the flags.
func parseExplained(c *cli.Context) (*explained, error) {
	d, err := ask.ParseDeviceName(c.String("device"))
	if err != nil {
		return nil, terminal.Usagef("--device: %w", err)
	}
	e := &explained{device: d.Name, index: -1, asked: explain.Request{WhyNot: c.String("why-not")}}
	if e.device == "" { // of a capture without MACs the addresses are the names
		e.device = "ip:" + d.Addr.String()
	}
	if c.IsSet("window-index") {
		if e.index = c.Int("window-index"); e.index < 0 {
			return nil, terminal.Usagef("--window-index %d: windows are counted from 0", e.index)
		}
	}
	if e.asked.Output, err = explain.ParseOutput(c.String("on")); err != nil {
		return nil, terminal.Usagef("--on: %w", err)
	}
	return e, nil
}

// explains takes the models.
func (e *explained) explains(bundle model.Bundle) (err error) {
	if l := e.asked.WhyNot; l != "" && !slices.Contains(classify.Labels(bundle), l) {
		return terminal.Usagef("--why-not %q: the model has no such label: `iotsense model info` lists them", l)
	}
	e.bundle = bundle
	e.explainers, err = explain.All(bundle)
	return err
}

// judged keeps the wanted window.
func (e *explained) judged(j classify.Judged) {
	if j.Device != e.device {
		return
	}
	e.windows++
	if e.index < 0 || j.Ground.Window == e.index {
		e.found, e.heard = j.Ground, j.Ground.Facts()
	}
}

// captured explains what was found in a capture.
func (e *explained) captured(s dataset.CaptureSummary, k *classify.Classifier) error {
	SayClassified(s, k, e.bundle)
	found, heard, windows := e.found, e.heard, e.windows
	e.found, e.heard, e.windows = nil, nil, 0
	is := func(d dataset.Device) bool { return d.Name == e.device }
	here := slices.ContainsFunc(s.Devices, is) && !slices.ContainsFunc(s.Unseen, is)
	e.seen = e.seen || here
	switch {
	case !here:
		for _, d := range s.Devices {
			e.others = append(e.others, d.Name)
		}
		return nil
	case windows == 0:
		e.missed = append(e.missed, fmt.Errorf("device %s: no window of it in %s: none of its flows is of the kind that this model reads", e.device, captureName(s)))
		return nil
	case found == nil:
		e.missed = append(e.missed, fmt.Errorf("device %s: no window %d in %s, which has 0 to %d of it", e.device, e.index, captureName(s), windows-1))
		return nil
	}
	if found.Missing > 0 {
		return fmt.Errorf("device %s, window %d: %d of its flows made room for those of other devices in %s", e.device, found.Window, found.Missing, captureName(s))
	}
	r := e.asked
	r.Rows, r.Facts = found.Rows, heard
	x, err := e.explain(found.Service, r, k)
	if err != nil {
		return fmt.Errorf("device %s, window %d: %w", e.device, found.Window, err)
	}
	x.Device, x.Capture, x.WindowIndex = e.device, &s.Name, found.Window
	return e.print(x, e.bundle[serviceName(found.Service)].Record)
}

// explain explains a window that was asked for by its number for its own label, the last for
// the device's verdict.
func (e *explained) explain(service flows.Service, r explain.Request, k *classify.Classifier) (*v1.Explanation, error) {
	if e.index >= 0 {
		return e.explainers[service].Explain(r)
	}
	v := k.Registry().Verdict(e.device)
	return e.explainers[service].ExplainVerdict(&v, r)
}

// printTo prints an explanation.
func (e *explained) printTo(c *cli.Context, x *v1.Explanation) error {
	top := c.Int("top")
	if c.Bool("json") {
		if c.IsSet("top") && top > 0 {
			x.Fields = x.Fields[:min(top, len(x.Fields))]
		}
		return terminal.PrintJSON(c.App.Writer, x)
	}
	if e.printed > 1 {
		fmt.Fprintln(c.App.Writer)
	}
	ask.PrintExplanation(c.App.Writer, x, top)
	return nil
}

// serviceName is the name of a service's model in a bundle.
func serviceName(s flows.Service) string {
	if s == (flows.Service{}) {
		return ""
	}
	return s.String()
}
