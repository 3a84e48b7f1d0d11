package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/experiment"
)

func ablationCommand() *cli.Command {
	variants := ""
	for _, arch := range []string{experiment.PaperArch, experiment.StreamArch} {
		var names []string
		for _, v := range experiment.Variants(arch) {
			names = append(names, v.Name)
		}
		variants += "\n\n  --arch " + arch + ": " + strings.Join(names, ", ")
	}
	return &cli.Command{
		Name:      "ablation",
		Usage:     "say what carries the result: train and score variants of the model (the paper's Table VI)",
		ArgsUsage: "[DATA...]",
		Description: "Changes one thing at a time: a part left out, windows of K records, filters, B payload\n" +
			"values, i packets, a field hidden, delimiters scaled, the other window mode, IPv6. Each variant\n" +
			"is trained to its early stop, and with --fixed once more for " + fmt.Sprint(experiment.FixedEpochs) + " epochs, of which\n" +
			"the last one's weights are kept. Without both convolutions there is no dropout either.\n" +
			"The variants:" + variants,
		Flags: append(slices.Concat(takenFlags(seriesPlanFlags...), seriesFlags()),
			&cli.StringFlag{Name: "direction", Value: "bi", Usage: "`bi|uni`"},
			&cli.StringFlag{Name: "variants", Usage: "only these of the `LIST`, comma-separated, beside the baseline; `layers`: those without a part of the network"},
			&cli.BoolFlag{Name: "fixed", Usage: "train for a fixed number of epochs too"}),
		Action: ablation,
	}
}

func ablation(c *cli.Context) error {
	plan, err := parsePlan(c, "")
	if err != nil {
		return err
	}
	variants, err := experiment.ChooseVariants(c.String("variants"), &plan)
	if err != nil {
		return asUsage(err)
	}
	x, err := parseSeries(c)
	if err != nil {
		return err
	}
	rows, err := x.Ablation(c.Context, plan, variants, c.Bool("fixed"))
	if err != nil {
		return asUsage(err)
	}
	if c.Bool("json") {
		return terminal.PrintJSON(c.App.Writer, rows)
	}
	printTable(c.App.Writer, experiment.AblationTable(rows))
	_, err = fmt.Fprintln(c.App.Writer, experiment.AblationNote)
	return err
}
