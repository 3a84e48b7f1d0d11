package main

// This file holds the flags of the commands that read captures and records.

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/capture"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/embedded"
)

var modelFlag = &cli.StringFlag{Name: "model", Usage: "model `FILE` (default: the embedded model)"}

// labModel is the value of --model that stands for the embedded model of the
// device lab's kinds.
const labModel = "lab"

// dataFlags are those of extract, classify, train and evaluate.
func dataFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "manifest", Usage: "CSV `FILE` with columns capture,mac,label and optionally unit,split"},
		&cli.StringSliceFlag{Name: "split", Usage: "only devices of this split of the manifest (repeatable)"},
		&cli.StringFlag{Name: "dates", Usage: "only records that begin on `DAYS` in UTC, like 2016-09-23..2016-09-29"},
		&cli.StringFlag{Name: "direction", Usage: "`bi|uni`: both directions of a flow, or only what the device sent (default: the model's; bi)"},
		&cli.IntFlag{Name: "window", Usage: "`K` successive records of a window (default: the model's; 5)"},
		&cli.StringFlag{Name: "window-mode", Usage: "`strict|padded`: windows from the K-th record on, or from the first (default: the model's; padded)"},
		&cli.StringSliceFlag{Name: "local", Usage: "local `CIDR` (repeatable; default: private and unique local ranges)"},
		&cli.BoolFlag{Name: "offloaded", Usage: "treat TCP packets above 1,500 bytes as offloaded super-packets"},
		modelFlag,
	}
}

// foldNames are the flags that mean something with --split-by only.
var foldNames = []string{"folds", "fold", "fold-seed"}

// foldFlags are those of the commands that train on one part of the data and test
// on another.
func foldFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "split-by", Usage: "cut the data by `capture|unit|time` into --folds; train takes all but --fold (by time: the earlier ones), evaluate that one"},
		&cli.IntFlag{Name: "folds", Value: 5, Usage: "`N` parts to cut into"},
		&cli.IntFlag{Name: "fold", Usage: "`I`-th part is for testing (default: the last)"},
		&cli.Int64Flag{Name: "fold-seed", Value: 1, Usage: "`N` that captures or units are dealt by"},
	}
}

// restrict leaves the part of the set that --split-by means, for testing or for
// training.
func restrict(c *cli.Context, set *dataset.Set, tested bool) error {
	if !c.IsSet("split-by") {
		for _, name := range foldNames {
			if c.IsSet(name) {
				return usagef("--%s: say with --split-by what is cut", name)
			}
		}
		return nil
	}
	f := dataset.Folds{By: c.String("split-by"), Count: c.Int("folds"), Tested: c.Int("fold"), Seed: c.Int64("fold-seed")}
	if f.Tested == 0 {
		f.Tested = f.Count
	}
	if err := f.Validate(); err != nil {
		return usageError{err}
	}
	dealt, err := set.Deal(c.Context, f)
	if err != nil {
		return err
	}
	if tested {
		return set.Restrict(dealt.Tests)
	}
	return set.Restrict(dealt.Trains)
}

// parseLocal reads --local; nil when it was not given.
func parseLocal(c *cli.Context) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, s := range c.StringSlice("local") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, usagef("--local: %w", err)
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}

// parseRecord is the record that the bundle was made for, or the paper's in the
// direction of --direction, which must agree with a bundle's.
func parseRecord(c *cli.Context, bundle model.Bundle) (flows.RecordSpec, error) {
	spec, err := bundle.Record()
	if err != nil || !c.IsSet("direction") {
		return spec, err
	}
	asked, err := flows.ParseDirection(c.String("direction"))
	if err != nil {
		return spec, usageError{err}
	}
	if len(bundle) > 0 && asked != spec.Direction {
		return spec, usagef("--direction %v: the model was trained on %v records; leave the flag out or name another --model", asked, spec.Direction)
	}
	spec.Direction = asked
	return spec, nil
}

// parseWindowMode reads --window-mode; nil when it was not given.
func parseWindowMode(c *cli.Context) (*model.WindowMode, error) {
	if !c.IsSet("window-mode") {
		return nil, nil
	}
	mode, err := model.ParseWindowMode(c.String("window-mode"))
	if err != nil {
		return nil, usageError{err}
	}
	return &mode, nil
}

// checkWindow refuses a --window that the model was not made for.
func checkWindow(c *cli.Context, bundle model.Bundle) error {
	for _, m := range bundle {
		if c.IsSet("window") && c.Int("window") != m.Net.Span() {
			return usagef("--window %d: the model was trained on windows of %d", c.Int("window"), m.Net.Span())
		}
	}
	return nil
}

// loadModel reads the model that --model names, or the embedded one.
func loadModel(c *cli.Context) (model.Bundle, error) { return loadNamedModel(c.String("model")) }

func loadNamedModel(name string) (model.Bundle, error) {
	switch name {
	case "":
		return embedded.Default()
	case labModel:
		return embedded.Lab()
	}
	return model.LoadBundle(name)
}

// modelText says which model judges, and what it has learned from.
func modelText(name string, bundle model.Bundle) string {
	labels := len(classify.Labels(bundle))
	var text string
	switch name {
	case "":
		text = fmt.Sprintf("the embedded default model: %d types of real device", labels)
	case labModel:
		text = fmt.Sprintf("the embedded model of the device lab: %d kinds, knows no real device", labels)
	default:
		text = fmt.Sprintf("%s: %d labels", name, labels)
	}
	for _, m := range bundle {
		if split := m.Training.Options["split"]; split != "" {
			return text + ", trained on split=" + split
		}
	}
	return text
}

// openData opens what the arguments, --manifest and --split name, for records as
// spec says.
func openData(c *cli.Context, spec flows.RecordSpec, show func(done, total int, name string)) (*dataset.Set, error) {
	return openPart(c, spec, namedPart(c), show)
}

// part is what is wanted of the data.
type part struct {
	splits []string
	dates  string // as dataset.ParsePeriod reads them

	wholePayloads bool // of captures, also what no row holds
	anyDirection  bool // of records files
}

// namedPart is the part that --split and --dates name.
func namedPart(c *cli.Context) part {
	return part{splits: c.StringSlice("split"), dates: c.String("dates")}
}

// overlaps reports whether records can be of both parts.
func (p part) overlaps(q part) (bool, error) {
	ours, err := dataset.ParsePeriod(p.dates)
	if err != nil {
		return false, usageError{err}
	}
	theirs, err := dataset.ParsePeriod(q.dates)
	if err != nil {
		return false, usageError{err}
	}
	splits := len(p.splits) == 0 || len(q.splits) == 0 || // no split named: all of them
		slices.ContainsFunc(p.splits, func(s string) bool { return slices.Contains(q.splits, s) })
	return splits && ours.Overlaps(theirs), nil
}

func openPart(c *cli.Context, spec flows.RecordSpec, p part, show func(done, total int, name string)) (*dataset.Set, error) {
	local, err := parseLocal(c)
	if err != nil {
		return nil, err
	}
	if !c.Args().Present() && c.String("manifest") == "" {
		return nil, usagef("%s: no data: name files or directories, or a --manifest", c.Command.Name)
	}
	period, err := dataset.ParsePeriod(p.dates)
	if err != nil {
		return nil, usageError{err}
	}
	set, err := dataset.Open(dataset.Options{
		Data:     c.Args().Slice(),
		Manifest: c.String("manifest"),
		Splits:   p.splits,
		Period:   period,
		Capture: capture.Config{
			RecordSpec: spec,
			Locals:     flows.NewLocals(local),
			Offloaded:  c.Bool("offloaded"),
		},
		WholePayloads: p.wholePayloads,
		AnyDirection:  p.anyDirection,
		Progress:      show,
		Outputs:       outputFiles(c),
	})
	if err != nil {
		return nil, err
	}
	sayPassed(set.Passed())
	return set, nil
}

// sayPassed says in one line on stderr what directories hold that is not read.
func sayPassed(passed []dataset.Passed) {
	if len(passed) == 0 {
		return
	}
	const most = 3
	var some []string
	for _, p := range passed[:min(most, len(passed))] {
		some = append(some, fmt.Sprintf("%s (%s)", p.Path, p.Why))
	}
	if more := len(passed) - most; more > 0 {
		some = append(some, fmt.Sprintf("and %d more", more))
	}
	say("%d passed over: %s", len(passed), strings.Join(some, ", "))
}
