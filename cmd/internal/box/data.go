package box

// This file holds the flags of the commands that read captures and records.

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/capture"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/embedded"
)

// ModelFlag names the model.
var ModelFlag = &cli.StringFlag{Name: "model", Usage: "model `FILE` (default: the embedded model)"}

// LabModel is the value of --model that stands for the embedded model of the
// device lab's kinds.
const LabModel = "lab"

// SourceFlags say which records are meant.
func SourceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "manifest", Usage: "CSV `FILE` with columns capture,mac,label and optionally unit,split"},
		&cli.StringSliceFlag{Name: "split", Usage: "only devices of this split of the manifest (repeatable)"},
		&cli.StringFlag{Name: "dates", Usage: "only records that begin on `DAYS` in UTC, like 2016-09-23..2016-09-29"},
		&cli.StringSliceFlag{Name: "local", Usage: "local `CIDR` (repeatable; default: private and unique local ranges)"},
		&cli.BoolFlag{Name: "offloaded", Usage: "treat TCP packets above 1,500 bytes as offloaded super-packets"},
	}
}

// StreamFlags say what a model is made of, or must have been made of.
func StreamFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "direction", Usage: "`bi|uni`: both directions of a flow, or only what the device sent (default: the model's; bi)"},
		&cli.IntFlag{Name: "window", Usage: "`K` successive records of a window (default: the model's; 5)"},
		&cli.StringFlag{Name: "window-mode", Usage: "`strict|padded`: windows from the K-th record on, or from the first (default: the model's; padded)"},
	}
}

// LoadLab reads the embedded model of that name, in a program that carries it.
var LoadLab func() (model.Bundle, error)

// DataFlags are those of the commands that read data as a model wants it.
func DataFlags() []cli.Flag {
	return slices.Concat(SourceFlags(), StreamFlags(), []cli.Flag{ModelFlag})
}

// foldNames are the flags that mean something with --split-by only.
var foldNames = []string{"folds", "fold", "fold-seed"}

// FoldFlags are those of the commands that train on one part of the data and test
// on another.
func FoldFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "split-by", Usage: "cut the data by `capture|unit|time` into --folds; train takes all but --fold (by time: the earlier ones), evaluate that one"},
		&cli.IntFlag{Name: "folds", Value: 5, Usage: "`N` parts to cut into"},
		&cli.IntFlag{Name: "fold", Usage: "`I`-th part is for testing (default: the last)"},
		&cli.Int64Flag{Name: "fold-seed", Value: 1, Usage: "`N` that captures or units are dealt by"},
	}
}

// ParseFolds reads the flags of folds; nil when the data is not cut.
func ParseFolds(c *cli.Context) (*dataset.Folds, error) {
	if !c.IsSet("split-by") {
		for _, name := range foldNames {
			if c.IsSet(name) {
				return nil, terminal.Usagef("--%s: say with --split-by what is cut", name)
			}
		}
		return nil, nil
	}
	f := dataset.Folds{By: c.String("split-by"), Count: c.Int("folds"), Tested: c.Int("fold"), Seed: c.Int64("fold-seed")}
	checked := f
	if f.Tested == 0 {
		checked.Tested = f.Count // the last
	}
	if err := checked.Validate(); err != nil {
		return nil, terminal.WrongUsage(err)
	}
	return &f, nil
}

// ParseLocal reads --local; nil when it was not given.
func ParseLocal(c *cli.Context) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, s := range c.StringSlice("local") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, terminal.Usagef("--local: %w", err)
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}

// ParseRecord is the record that the bundle was made for, or the paper's in the
// direction of --direction, which must agree with a bundle's.
func ParseRecord(c *cli.Context, bundle model.Bundle) (flows.RecordSpec, error) {
	spec, err := bundle.Record()
	if err != nil || !c.IsSet("direction") {
		return spec, err
	}
	asked, err := flows.ParseDirection(c.String("direction"))
	if err != nil {
		return spec, terminal.WrongUsage(err)
	}
	if len(bundle) > 0 && asked != spec.Direction {
		return spec, terminal.Usagef("--direction %v: the model was trained on %v records; leave the flag out or name another --model", asked, spec.Direction)
	}
	spec.Direction = asked
	return spec, nil
}

// ParseStream reads the flags of StreamFlags, which a bundle bounds: the record as
// ParseRecord does, and the window mode as ParseWindowMode does.
func ParseStream(c *cli.Context, bundle model.Bundle) (spec flows.RecordSpec, mode *model.WindowMode, err error) {
	if mode, err = ParseWindowMode(c); err != nil {
		return spec, nil, err
	}
	if err := checkWindow(c, bundle); err != nil {
		return spec, nil, err
	}
	spec, err = ParseRecord(c, bundle)
	return spec, mode, err
}

// ParseWindowMode reads --window-mode; nil when it was not given.
func ParseWindowMode(c *cli.Context) (*model.WindowMode, error) {
	if !c.IsSet("window-mode") {
		return nil, nil
	}
	mode, err := model.ParseWindowMode(c.String("window-mode"))
	if err != nil {
		return nil, terminal.WrongUsage(err)
	}
	return &mode, nil
}

// checkWindow refuses a --window that the model was not made for.
func checkWindow(c *cli.Context, bundle model.Bundle) error {
	for _, m := range bundle {
		switch span := m.Net.Span(); {
		case !c.IsSet("window") || c.Int("window") == span:
		case span == 0:
			return terminal.Usagef("--window %d: the model has no window, it reads a device's whole stream: leave the flag out", c.Int("window"))
		default:
			return terminal.Usagef("--window %d: the model was trained on windows of %d", c.Int("window"), span)
		}
	}
	return nil
}

// LoadModel reads the model that --model names, or the embedded one.
func LoadModel(c *cli.Context) (model.Bundle, error) { return LoadNamedModel(c.String("model")) }

// LoadGivenModel reads the model that --model names; nil when it was not given.
func LoadGivenModel(c *cli.Context) (model.Bundle, error) {
	if !c.IsSet("model") {
		return nil, nil
	}
	return LoadModel(c)
}

// LoadNamedModel reads the model of that name, as --model takes them.
func LoadNamedModel(name string) (model.Bundle, error) {
	switch {
	case name == "":
		return embedded.Default()
	case name == LabModel && LoadLab != nil:
		return LoadLab()
	}
	return model.LoadBundle(name)
}

// ModelText says which model judges, and what it has learned from.
func ModelText(name string, bundle model.Bundle) string {
	labels := len(classify.Classes(bundle))
	var text string
	switch name {
	case "":
		text = fmt.Sprintf("the embedded default model: %d types of real device", labels)
	case LabModel:
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

// ParsePart reads the flags that name a part of the data, which begin with prefix.
func ParsePart(c *cli.Context, prefix string) (part dataset.Part, err error) {
	part.Splits = c.StringSlice(prefix + "split")
	if part.Period, err = dataset.ParsePeriod(c.String(prefix + "dates")); err != nil {
		return part, terminal.WrongUsage(err)
	}
	return part, nil
}

// DataOptions are the data that arguments and flags name, without the record that is
// wanted of it.
func DataOptions(c *cli.Context) (o dataset.Options, err error) {
	local, err := ParseLocal(c)
	if err != nil {
		return o, err
	}
	if !c.Args().Present() && c.String("manifest") == "" {
		return o, terminal.Usagef("%s: no data: name files or directories, or a --manifest", c.Command.Name)
	}
	part, err := ParsePart(c, "")
	return dataset.Options{
		Data: c.Args().Slice(), Manifest: c.String("manifest"), Splits: part.Splits, Period: part.Period,
		Capture: capture.Config{Locals: flows.NewLocals(local), Offloaded: c.Bool("offloaded")},
		Outputs: outputFiles(c),
	}, err
}

// OpenData opens the data of DataOptions for records as spec says.
func OpenData(c *cli.Context, spec flows.RecordSpec, show func(done, total int, name string)) (*dataset.Set, error) {
	o, err := DataOptions(c)
	if err != nil {
		return nil, err
	}
	o.Capture.RecordSpec, o.Progress = spec, show
	return Open(o)
}

// OpenFor opens the data that the flags of a command name for a model: the set, from when on
// a device's windows are judged, and what ends the display of progress.
func OpenFor(c *cli.Context, bundle model.Bundle) (set *dataset.Set, mode *model.WindowMode, end func(), err error) {
	spec, mode, err := ParseStream(c, bundle)
	if err != nil {
		return nil, mode, nil, err
	}
	show, end := terminal.Progress(c.Command.Name)
	if set, err = OpenData(c, spec, show); err != nil {
		end()
		return nil, mode, nil, err
	}
	return set, mode, end, nil
}

// Open opens data, and says what of it is not read.
func Open(o dataset.Options) (*dataset.Set, error) {
	set, err := dataset.Open(o)
	if err != nil {
		return nil, err
	}
	SayPassed(set.Passed())
	return set, nil
}

// SayPassed says in one line on stderr what directories hold that is not read.
func SayPassed(passed []dataset.Passed) {
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
	terminal.Say("%d passed over: %s", len(passed), strings.Join(some, ", "))
}
