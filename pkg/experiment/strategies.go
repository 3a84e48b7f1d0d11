package experiment

// This file is the paper's comparison of strategies (IV-B, Table IV).

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/score"
	"github.com/iotsense/iotsense/pkg/model/train"
	"github.com/iotsense/iotsense/pkg/report"
)

// StrategyRow is a column of Table IV, means over the seeds, with what the paper has
// there.
type StrategyRow struct {
	Direction string `json:"direction"`
	Model     string `json:"model"` // a service, or the strategy
	Outcome
	Covered    float64  `json:"classes_covered"`
	Classes    int      `json:"classes"` // with a true window
	Windows    int      `json:"windows"`
	PerHour    *float64 `json:"workload_per_hour"`
	U          *float64 `json:"workload_u"` // over the busiest service of the direction
	Selection  bool     `json:"traffic_selection"`
	Paper      *PaperIV `json:"paper"`             // null where it has no such model
	Missing    string   `json:"missing,omitempty"` // why there is no such model here
	TrainedBy  string   `json:"trained_by"`        // with the first seed
	Evaluation string   `json:"scored_by"`

	file  string        // of the first seed's model
	score *score.Result // of that
}

// PaperIV is what the paper's Table IV says of a model.
type PaperIV struct {
	MacroF1 float64 `json:"macro_f1"`
	Covered int     `json:"classes_covered,omitempty"` // 0 here and below: not given
	PerHour float64 `json:"workload_per_hour,omitempty"`
	U       float64 `json:"workload_u,omitempty"`
}

// tableStrategies are all of them, in the order of the table.
var tableStrategies = []string{Specialized, Mixed, Everything}

// tableIV is the paper's Table IV. Its workloads do not add up: four services of
// 780 an hour together, a mixed model of 1,230.
var tableIV = map[string]PaperIV{
	"tcp/80":    {0.87, 8, 150, 0.35},
	"tcp/443":   {0.99, 7, 430, 1},
	"udp/53":    {0.80, 16, 50, 0.11},
	"udp/123":   {0.93, 6, 150, 0.35},
	Specialized: {0.82, 19, 430, 1},
	Mixed:       {0.80, 19, 1230, 3},
	Everything:  {score.PaperBi.MacroF1, 21, score.PaperBi.Workload, 10},
}

// Strategies trains and scores every strategy, as plan says it, in each direction. Not
// all may have a model: their rows say why. That none has is an error.
func (x *Series) Strategies(ctx context.Context, plan func(strategy string) (Plan, error)) ([]StrategyRow, error) {
	first, err := plan(Specialized)
	if err != nil {
		return nil, err
	}
	end, err := x.begin(&first)
	if err != nil {
		return nil, err
	}
	defer end()
	directions, err := Directions(ctx, &first, x.Watch)
	if err != nil {
		return nil, err
	}
	x.models = len(directions) * len(tableStrategies)
	var rows []StrategyRow
	for _, d := range directions {
		part, err := x.direction(ctx, d, plan)
		if err != nil {
			return nil, err
		}
		rows = append(rows, part...)
	}
	if !slices.ContainsFunc(rows, func(r StrategyRow) bool { return r.Missing == "" }) {
		return nil, fmt.Errorf("no strategy could be trained: %s", rows[len(rows)-1].Missing)
	}
	if x.Report == "" {
		return rows, nil
	}
	return rows, writeStrategies(x.Report, rows)
}

// MissingModels say why there are none.
func MissingModels(rows []StrategyRow) []string {
	var lines []string
	for _, r := range rows {
		if r.Missing != "" {
			lines = append(lines, fmt.Sprintf("No model for %s, %s: %s.", r.Model, r.Direction, r.Missing))
		}
	}
	return lines
}

// direction trains and scores every model of one direction.
func (x *Series) direction(ctx context.Context, d flows.Direction, plan func(strategy string) (Plan, error)) ([]StrategyRow, error) {
	var rows []StrategyRow
	for _, strategy := range tableStrategies {
		p, err := plan(strategy)
		if err != nil {
			return nil, err
		}
		p.Direction = &d
		part, err := x.strategy(ctx, p)
		if err != nil {
			return nil, err
		}
		if strategy == Specialized {
			part = append(withoutModel(p, part), part...)
		}
		rows = append(rows, part...)
	}
	setUnits(rows)
	return rows, nil
}

// strategy trains a plan's strategy with every seed, and scores what it gives: one model,
// or those of the services and their union.
func (x *Series) strategy(ctx context.Context, p Plan) ([]StrategyRow, error) {
	direction, selection := p.Direction.String(), p.Strategy != Everything
	var rows []StrategyRow
	for _, seed := range x.Seeds {
		name := x.seeded(direction+"-"+p.Strategy, seed)
		_, trained, err := x.train(ctx, name, p, seed)
		var little *train.TooLittleError
		if errors.As(err, &little) {
			return []StrategyRow{{Direction: direction, Model: p.Strategy, Selection: selection, Paper: paperOf(direction, p.Strategy), Missing: little.Error()}}, nil
		}
		if err != nil {
			return nil, err
		}
		models, err := x.parts(name, p.Strategy)
		if err != nil {
			return nil, err
		}
		for i, m := range models {
			result, scored, err := x.evaluate(ctx, m.file, p)
			if err != nil {
				return nil, err
			}
			if len(rows) < len(models) {
				row := newStrategyRow(direction, m.title, result)
				row.Selection, row.TrainedBy, row.Evaluation = selection, trained, scored
				row.file, row.score = m.file, result
				rows = append(rows, row)
			}
			rows[i].add(result)
			rows[i].Covered += float64(covered(result)) / float64(len(x.Seeds))
		}
	}
	return rows, nil
}

// withoutModel are rows for the services of a plan that the bundle of these rows has no
// model of.
func withoutModel(p Plan, rows []StrategyRow) []StrategyRow {
	var without []StrategyRow
	for _, s := range p.Services {
		if !slices.ContainsFunc(rows, func(r StrategyRow) bool { return r.Model == s.String() }) {
			without = append(without, StrategyRow{Direction: p.Direction.String(), Model: s.String(), Selection: true, Paper: paperOf(p.Direction.String(), s.String()), Missing: "too little of it to train and validate on"})
		}
	}
	return without
}

// modelPart is a model to score, by its name in the table and that of its file.
type modelPart struct{ title, file string }

// parts are the models that a trained strategy gives.
func (x *Series) parts(name, strategy string) ([]modelPart, error) {
	whole := modelPart{strategy, name}
	if strategy != Specialized {
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
func (x *Series) split(name string) ([]string, error) {
	bundle, err := model.LoadBundle(x.model(name))
	if err != nil {
		return nil, err
	}
	services := slices.Sorted(maps.Keys(bundle))
	for _, s := range services {
		if err := (model.Bundle{s: bundle[s]}).Save(x.model(name + "-" + s)); err != nil {
			return nil, err
		}
	}
	return services, nil
}

func newStrategyRow(direction, name string, r *score.Result) StrategyRow {
	row := StrategyRow{Direction: direction, Model: name, Windows: r.Windows, PerHour: r.WorkloadPerHour}
	for _, c := range r.Classes {
		if c.Support > 0 {
			row.Classes++
		}
	}
	row.Paper = paperOf(direction, name)
	return row
}

// paperOf is what the paper has of a model, nil for nothing.
func paperOf(direction, name string) *PaperIV {
	if p, ok := tableIV[name]; ok && direction == flows.Bi.String() {
		return &p
	}
	if name == Everything {
		return &PaperIV{MacroF1: score.PaperUni.MacroF1}
	}
	return nil
}

// setUnits expresses workloads in U, that of the busiest single service.
func setUnits(rows []StrategyRow) {
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
func writeStrategies(dir string, rows []StrategyRow) error {
	if err := report.WriteJSON(dir, "strategies.json", rows); err != nil {
		return err
	}
	page := report.Experiment{Table: StrategiesTable(rows), Notes: []string{
		"Classes covered have a right prediction, of those with a true window. U is the workload of the direction's busiest service. " +
			"The paper's numbers are of another data set: for orientation, not for comparison.",
	}}
	page.Notes = append(page.Notes, MissingModels(rows)...)
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
		Specialized: " (Fig. 10)", Mixed: " (Fig. 11)", Everything: " (Fig. 12)",
	},
	flows.Uni.String(): {Everything: " (Fig. 17)"},
}

// StrategiesTable is Table IV.
func StrategiesTable(rows []StrategyRow) report.Table {
	t := report.Table{Title: "Strategies (Table IV)", Header: []string{"Direction", "Model", "Macro F1", "95 % interval", "Paper", "Covered", "Paper", "Per hour", "U", "Paper", "Selection"}}
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
		t.Rows = append(t.Rows, []string{
			r.Direction, r.Model, figure("%.3f", r.MacroF1), between("%.3f", r.Interval), f1, here, classes,
			figure("%.0f", r.PerHour), figure("%.2f", r.U), load, selection,
		})
	}
	return t
}
