package main

// This file exchanges models with other tools.

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/internal/plaintext"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/embedded"
	"github.com/iotsense/iotsense/pkg/model/interchange"
)

func exportCommand() *cli.Command {
	return &cli.Command{
		Name:      "export",
		Usage:     "write a model for another tool",
		ArgsUsage: "--onnx -o OUT",
		Description: "The ONNX graph gives class probabilities [N, classes], calibration included, N free.\n" +
			"Of the paper's network it takes scaled windows [N, K, width]; of a stream network raw\n" +
			"rows [N, width] and the devices' memory, of which it gives the next. Labels, record\n" +
			"description and scaling are its metadata_props, as `iotsense model info --json` shows them.",
		Flags: []cli.Flag{
			box.ModelFlag,
			&cli.BoolFlag{Name: "onnx", Usage: "as ONNX"},
			&cli.StringFlag{Name: "service", Usage: "of a specialised bundle the model for `NAME`, like tcp/80"},
			outputFlag("file to write"),
		},
		Action: modelExport,
	}
}

func importCommand() *cli.Command {
	return &cli.Command{
		Name:      "import",
		Usage:     "make a model of ONNX or Keras weights of the same architecture",
		ArgsUsage: "FILE -o MODEL",
		Description: "FILE is ONNX (of iotsense, tf2onnx, PyTorch) or what Keras saves: .weights.h5, .h5\n" +
			"or .keras. Where it does not say what records it was made for and how they are\n" +
			"scaled, it is taken to be made for those of the model that --like names.",
		Flags: []cli.Flag{
			outputFlag("model file to write"),
			&cli.StringFlag{Name: "like", Usage: "model `FILE` for the same records (default: the embedded one of the paper's network)"},
			&cli.StringFlag{Name: "labels", Usage: "`FILE` with a class name a line, in the order of the outputs"},
		},
		Action: modelImport,
	}
}

func outputFlag(usage string) cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: usage + " (`FILE`)"}
}

func modelExport(c *cli.Context) error {
	if !c.Bool("onnx") {
		return terminal.Usagef("model export: name the format: --onnx is the one there is")
	}
	if c.String("output") == "" {
		return terminal.Usagef("model export: -o OUT is missing")
	}
	bundle, err := box.LoadModel(c)
	if err != nil {
		return err
	}
	m, ok := bundle[c.String("service")]
	if !ok {
		return terminal.Usagef("--service %q: the file has models for %s: name one of these services", c.String("service"), strings.Join(serviceNames(bundle), ", "))
	}
	if err := terminal.WriteFile(c.String("output"), func(w io.Writer) error { return interchange.WriteONNX(w, m) }); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "%d classes, %d parameters written to %s\n", len(m.Classes()), m.Parameters(), c.String("output"))
	return err
}

// serviceNames are the bundle's services, sorted; the one for everything has a
// name here too.
func serviceNames(bundle model.Bundle) []string {
	names := slices.Sorted(maps.Keys(bundle))
	if len(names) == 1 && names[0] == "" {
		return []string{"everything (leave --service out)"}
	}
	return names
}

func modelImport(c *cli.Context) error {
	if c.NArg() != 1 {
		return terminal.Usagef("model import: name one FILE")
	}
	if c.String("output") == "" {
		return terminal.Usagef("model import: -o MODEL is missing")
	}
	n, err := interchange.Read(c.Context, c.Args().First())
	if err != nil {
		return err
	}
	if n.Undescribed {
		terminal.Say("%s holds weights alone: activations, padding and other layers are taken to be this network's", c.Args().First())
	}
	bundle, err := embedded.Paper()
	if name := c.String("like"); name != "" {
		bundle, err = box.LoadNamedModel(name)
	}
	if err != nil {
		return err
	}
	like, ok := bundle[""]
	if !ok {
		return terminal.Usagef("--like %s: a bundle for %s: want a file of one model", c.String("like"), strings.Join(serviceNames(bundle), ", "))
	}
	labels, err := readLabels(c.String("labels"))
	if err != nil {
		return err
	}
	if labels == nil && n.Metadata == nil && len(like.Labels) != n.Classes {
		labels = numberedLabels(n.Classes)
		terminal.Say("the file names no classes: they are called %s to %s; name them with --labels", labels[0], labels[len(labels)-1])
	}
	m, err := n.Model(like, labels)
	if err != nil {
		return fmt.Errorf("import %s: %w", c.Args().First(), err)
	}
	if err := m.Save(c.String("output")); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "%d classes, %d parameters of %s written to %s\n", len(m.Classes()), m.Parameters(), n.Format, c.String("output"))
	return err
}

// readLabels reads a file of one class name a line; nil without a file.
func readLabels(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--labels: %w", err)
	}
	labels := strings.Split(strings.TrimRight(strings.TrimPrefix(string(text), "\ufeff"), "\r\n"), "\n")
	for i, l := range labels {
		if labels[i] = strings.TrimSpace(l); labels[i] == "" {
			return nil, fmt.Errorf("--labels %s: line %d is empty", path, i+1)
		}
		if err := plaintext.Check(labels[i]); err != nil {
			return nil, fmt.Errorf("--labels %s: line %d: %w", path, i+1, err)
		}
	}
	return labels, nil
}

// numberedLabels are n names whose order is that of the outputs.
func numberedLabels(n int) []string {
	labels := make([]string, n)
	digits := len(fmt.Sprint(n - 1))
	for i := range labels {
		labels[i] = fmt.Sprintf("class %0*d", digits, i)
	}
	return labels
}
