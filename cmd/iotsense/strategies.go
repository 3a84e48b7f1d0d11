package main

import (
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/experiment"
)

func strategiesCommand() *cli.Command {
	return &cli.Command{
		Name:      "strategies",
		Usage:     "compare specialised models, a mixed one and one for all traffic (the paper's Table IV)",
		ArgsUsage: "[DATA...]",
		Description: "Trains and scores every strategy, bidirectional and unidirectional: one model for each\n" +
			"service and their union, one for these services together, one for every flow. Prints\n" +
			"macro F1, classes covered, inferences per hour (also in U, the busiest service's), and\n" +
			"whether traffic must be selected, with the paper's figures beside.\n\n" +
			"The paper's experiment on the published data set, a directory of parquet files:\n\n" +
			"  iotsense strategies bidirectional --direction bi --preset paper --dates 2016-09-23..2016-09-29 \\\n" +
			"    --validation-dates 2016-09-30..2016-10-02 --test-dates 2016-10-03..2016-11-22 --report DIR",
		Flags: append(slices.Concat(takenFlags(append(seriesPlanFlags, "services")...), seriesFlags()),
			&cli.StringFlag{Name: "direction", Usage: "only `bi|uni` (default: both, of records files their own)"}),
		Action: strategies,
	}
}

func strategies(c *cli.Context) error {
	x, err := parseSeries(c)
	if err != nil {
		return err
	}
	plan := func(strategy string) (experiment.Plan, error) {
		p, err := parsePlan(c, strategy)
		if strategy == experiment.Everything { // takes no services
			p.Services = usualPlan().Services
			p.Said = slices.DeleteFunc(p.Said, func(flag string) bool { return flag == "services" })
		}
		return p, err
	}
	rows, err := x.Strategies(c.Context, plan)
	if err != nil {
		return asUsage(err)
	}
	if c.Bool("json") {
		return terminal.PrintJSON(c.App.Writer, rows)
	}
	printTable(c.App.Writer, experiment.StrategiesTable(rows))
	for _, line := range experiment.MissingModels(rows) {
		if _, err := fmt.Fprintln(c.App.Writer, line); err != nil {
			return err
		}
	}
	return nil
}
