package main

// This file is the paper's comparison of strategies (IV-B, Table IV).

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/score"
	"github.com/iotsense/iotsense/pkg/model/train"
	"github.com/iotsense/iotsense/pkg/report"
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
		Flags: append(append(takenFlags(sharedFlags, trainingFlags, selectionFlags), experimentFlags()...),
			&cli.StringFlag{Name: "direction", Usage: "only `bi|uni` (default: both, of records files their own)"}),
		Action: strategies,
	}
}

// strategyRow is a column of Table IV, means over the seeds, with what the paper has
// there.
type strategyRow struct {
	Direction string `json:"direction"`
	Model     string `json:"model"` // a service, or the strategy
	outcome
	Covered    float64  `json:"classes_covered"`
	Classes    int      `json:"classes"` // with a true window
	Windows    int      `json:"windows"`
	PerHour    *float64 `json:"workload_per_hour"`
	U          *float64 `json:"workload_u"` // over the busiest service of the direction
	Selection  bool     `json:"traffic_selection"`
	Paper      *paperIV `json:"paper"`             // null where it has no such model
	Missing    string   `json:"missing,omitempty"` // why there is no such model here
	TrainedBy  string   `json:"trained_by"`        // with the first seed
	Evaluation string   `json:"scored_by"`

	file  string        // of the first seed's model
	score *score.Result // of that
}

// paperIV is what the paper's Table IV says of a model.
type paperIV struct {
	MacroF1 float64 `json:"macro_f1"`
	Covered int     `json:"classes_covered,omitempty"` // 0 here and below: not given
	PerHour float64 `json:"workload_per_hour,omitempty"`
	U       float64 `json:"workload_u,omitempty"`
}

// Strategies as --strategy and the table name them.
const (
	specialized = "specialized"
	mixed       = "mixed"
	everything  = "all"
)

// tableStrategies are all of them, in the order of the table.
var tableStrategies = []string{specialized, mixed, everything}

// tableIV is the paper's Table IV. Its workloads do not add up: four services of
// 780 an hour together, a mixed model of 1,230.
var tableIV = map[string]paperIV{
	"tcp/80":    {0.87, 8, 150, 0.35},
	"tcp/443":   {0.99, 7, 430, 1},
	"udp/53":    {0.80, 16, 50, 0.11},
	"udp/123":   {0.93, 6, 150, 0.35},
	specialized: {0.82, 19, 430, 1},
	mixed:       {0.80, 19, 1230, 3},
	everything:  {score.PaperBi.MacroF1, 21, score.PaperBi.Workload, 10},
}

func strategies(c *cli.Context) error {
	x, end, err := newExperiment(c)
	if err != nil {
		return err
	}
	defer end()
	directions, err := directionsOf(c)
	if err != nil {
		return err
	}
	x.models = len(directions) * len(tableStrategies)
	var rows []strategyRow
	for _, d := range directions {
		part, err := x.strategies(d.String())
		if err != nil {
			return err
		}
		rows = append(rows, part...)
	}
	if !slices.ContainsFunc(rows, func(r strategyRow) bool { return r.Missing == "" }) {
		return fmt.Errorf("no strategy could be trained: %s", rows[len(rows)-1].Missing)
	}
	if dir := c.String("report"); dir != "" {
		if err := writeStrategies(dir, rows); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, rows)
	}
	strategiesSheet(rows).print(c.App.Writer)
	for _, line := range missingModels(rows) {
		if _, err := fmt.Fprintln(c.App.Writer, line); err != nil {
			return err
		}
	}
	return nil
}

// directionsOf are the directions to compare: the one asked for, or all that the data
// has.
func directionsOf(c *cli.Context) ([]flows.Direction, error) {
	if c.IsSet("direction") {
		d, err := flows.ParseDirection(c.String("direction"))
		if err != nil {
			return nil, usageError{err}
		}
		return []flows.Direction{d}, nil
	}
	set, err := openPart(c, flows.DefaultRecordSpec(), namedPart(c), nil)
	if err != nil {
		return nil, err
	}
	return set.Directions(c.Context)
}

// missingModels say why there are none.
func missingModels(rows []strategyRow) []string {
	var lines []string
	for _, r := range rows {
		if r.Missing != "" {
			lines = append(lines, fmt.Sprintf("No model for %s, %s: %s.", r.Model, r.Direction, r.Missing))
		}
	}
	return lines
}

// strategies trains and scores every model of one direction.
func (x *experiment) strategies(direction string) ([]strategyRow, error) {
	var rows []strategyRow
	for _, strategy := range tableStrategies {
		part, err := x.strategy(direction, strategy)
		if err != nil {
			return nil, err
		}
		if strategy == specialized {
			part = append(x.withoutModel(direction, part), part...)
		}
		rows = append(rows, part...)
	}
	setUnits(rows)
	return rows, nil
}

// strategy trains one strategy with every seed, and scores what it gives: one model,
// or those of the services and their union.
func (x *experiment) strategy(direction, strategy string) ([]strategyRow, error) {
	flags := []string{"--strategy=" + strategy, "--direction=" + direction}
	if strategy != everything {
		flags = append(flags, passedOn(x.c, selectionFlags)...)
	}
	var rows []strategyRow
	for _, seed := range x.seeds {
		name := x.seeded(direction+"-"+strategy, seed)
		_, trained, err := x.train(name, seed, flags...)
		var little *train.TooLittleError
		if errors.As(err, &little) {
			return []strategyRow{{Direction: direction, Model: strategy, Selection: strategy != everything, Paper: paperOf(direction, strategy), Missing: little.Error()}}, nil
		}
		if err != nil {
			return nil, err
		}
		models, err := x.parts(name, strategy)
		if err != nil {
			return nil, err
		}
		for i, m := range models {
			result, scored, err := x.evaluate(m.file)
			if err != nil {
				return nil, err
			}
			if len(rows) < len(models) {
				row := newStrategyRow(direction, m.title, result)
				row.Selection, row.TrainedBy, row.Evaluation = strategy != everything, trained, scored
				row.file, row.score = m.file, result
				rows = append(rows, row)
			}
			rows[i].add(result)
			rows[i].Covered += float64(covered(result)) / float64(len(x.seeds))
		}
	}
	return rows, nil
}

// withoutModel are rows for the services that the bundle of these rows has no model
// of.
func (x *experiment) withoutModel(direction string, rows []strategyRow) []strategyRow {
	var without []strategyRow
	for _, name := range strings.Split(x.c.String("services"), ",") {
		s, err := flows.ParseService(strings.TrimSpace(name))
		if err != nil || slices.ContainsFunc(rows, func(r strategyRow) bool { return r.Model == s.String() }) {
			continue // train has reported what is no service
		}
		without = append(without, strategyRow{Direction: direction, Model: s.String(), Selection: true, Paper: paperOf(direction, s.String()), Missing: "too little of it to train and validate on"})
	}
	return without
}

// modelPart is a model to score, by its name in the table and that of its file.
type modelPart struct{ title, file string }

// parts are the models that a trained strategy gives.
func (x *experiment) parts(name, strategy string) ([]modelPart, error) {
	whole := modelPart{strategy, name}
	if strategy != specialized {
		return []modelPart{whole}, nil
	}
	services, err := x.split(name)
	if err != nil {
		return nil, err
	}
	var parts []modelPart
	for _, s := range services {
		parts = append(parts, modelPart{s, name + "-" + s})
	}
	return append(parts, whole), nil
}

// split saves each model of a bundle in a file of its own and returns the
// services, sorted.
func (x *experiment) split(name string) ([]string, error) {
	bundle, err := model.LoadBundle(x.model(name))
	if err != nil {
		return nil, err
	}
	services := sortedKeys(bundle)
	for _, s := range services {
		if err := (model.Bundle{s: bundle[s]}).Save(x.model(name + "-" + s)); err != nil {
			return nil, err
		}
	}
	return services, nil
}

func newStrategyRow(direction, name string, r *score.Result) strategyRow {
	row := strategyRow{Direction: direction, Model: name, Windows: r.Windows, PerHour: r.WorkloadPerHour}
	for _, c := range r.Classes {
		if c.Support > 0 {
			row.Classes++
		}
	}
	row.Paper = paperOf(direction, name)
	return row
}

// paperOf is what the paper has of a model, nil for nothing.
func paperOf(direction, name string) *paperIV {
	if p, ok := tableIV[name]; ok && direction == flows.Bi.String() {
		return &p
	}
	if name == everything {
		return &paperIV{MacroF1: score.PaperUni.MacroF1}
	}
	return nil
}

// setUnits expresses workloads in U, that of the busiest single service.
func setUnits(rows []strategyRow) {
	u := 0.0
	for _, r := range rows {
		if strings.Contains(r.Model, "/") && r.PerHour != nil {
			u = max(u, *r.PerHour)
		}
	}
	for i, r := range rows {
		if r.PerHour != nil && u > 0 {
			v := *r.PerHour / u
			rows[i].U = &v
		}
	}
}

// writeStrategies writes what --report keeps beside the models and their scores.
func writeStrategies(dir string, rows []strategyRow) error {
	if err := writeReport(dir, "strategies.json", rows); err != nil {
		return err
	}
	s := strategiesSheet(rows)
	page := report.Experiment{Title: "Strategies (Table IV)", Header: s.header, Rows: s.rows, Notes: []string{
		"Classes covered have a right prediction, of those with a true window. U is the workload of the direction's busiest service. " +
			"The paper's numbers are of another data set: for orientation, not for comparison.",
	}}
	page.Notes = append(page.Notes, missingModels(rows)...)
	for _, r := range rows {
		if r.Missing != "" {
			continue
		}
		page.Models = append(page.Models, report.Scored{
			Title: fmt.Sprintf("%s, %s%s", r.Model, r.Direction, figures[r.Direction][r.Model]), Name: r.file,
			Commands: []string{r.TrainedBy, r.Evaluation}, Score: r.score,
		})
	}
	return report.WriteExperiment(dir, "strategies.html", page)
}

// figures are the paper's confusion matrices, by direction and model.
var figures = map[string]map[string]string{
	flows.Bi.String(): {
		"tcp/80": " (Fig. 9a)", "tcp/443": " (Fig. 9b)", "udp/53": " (Fig. 9c)", "udp/123": " (Fig. 9d)",
		specialized: " (Fig. 10)", mixed: " (Fig. 11)", everything: " (Fig. 12)",
	},
	flows.Uni.String(): {everything: " (Fig. 17)"},
}

// strategiesSheet is Table IV.
func strategiesSheet(rows []strategyRow) *sheet {
	s := &sheet{header: []string{"Direction", "Model", "Macro F1", "95 % interval", "Paper", "Covered", "Paper", "Per hour", "U", "Paper", "Selection"}}
	for _, r := range rows {
		f1, classes, load := "-", "-", "-"
		if r.Paper != nil {
			f1 = fmt.Sprintf("%.2f", r.Paper.MacroF1)
		}
		if r.Paper != nil && r.Paper.Covered > 0 {
			classes = fmt.Sprint(r.Paper.Covered)
			load = fmt.Sprintf("%.0f, %.2g U", r.Paper.PerHour, r.Paper.U)
		}
		here := "-"
		if r.Missing == "" {
			here = fmt.Sprintf("%.3g of %d", r.Covered, r.Classes)
		}
		selection := "no"
		if r.Selection {
			selection = "yes"
		}
		s.rows = append(s.rows, []string{
			r.Direction, r.Model, figure("%.3f", r.MacroF1), between("%.3f", r.Interval), f1, here, classes,
			figure("%.0f", r.PerHour), figure("%.2f", r.U), load, selection,
		})
	}
	return s
}
