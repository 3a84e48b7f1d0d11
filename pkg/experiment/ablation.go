package experiment

// This file is the paper's ablation (IV-D, Table VI), and the other choices that
// the paper makes without saying what they are worth.

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn/learn"
	"github.com/iotsense/iotsense/pkg/model/score"
	streamlearn "github.com/iotsense/iotsense/pkg/model/stream/learn"
	"github.com/iotsense/iotsense/pkg/model/train"
	"github.com/iotsense/iotsense/pkg/report"
)

// PaperVI is a row of the paper's Table VI: changes in per cent, of F1 in points.
type PaperVI struct {
	Params float64 `json:"params"`
	Epochs int     `json:"epochs"`
	Time   float64 `json:"train_time"`
	Early  float64 `json:"f1_early_stop"`
	Fixed  float64 `json:"f1_fixed_epochs"`
}

// FixedEpochs is what the paper trains every variant for in its last column.
const FixedEpochs = 15

// Baseline is what variants are compared with.
const Baseline = "baseline"

// Variant is the baseline with one thing changed.
type Variant struct {
	Name   string
	layer  bool // it leaves a part of the network out
	change func(*Plan)
	paper  *PaperVI
}

// Variants are all that a network of this name has, its own first.
func Variants(arch string) []Variant {
	list := []Variant{{Baseline, false, func(*Plan) {}, nil}}
	if arch == PaperArch {
		list[0].paper = &PaperVI{Epochs: 8}
	}
	if own := designs[arch].Variants; own != nil {
		list = append(list, own()...)
	}
	add := func(name string, change func(*Plan)) { list = append(list, Variant{name, false, change, nil}) }
	list = append(list, numbered("B", func(p *Plan, v int) { p.Record.Payload = v }, 500, 1000, 1500, 2000, 2500)...)
	list = append(list, numbered("i", func(p *Plan, v int) { p.Record.Packets = v }, 3, 4, 5, 6, 7, 8, 9)...)
	for _, field := range model.Fields {
		add("-"+field, func(p *Plan) { p.Record.Without = []string{field} })
	}
	add("scaled delimiters", func(p *Plan) { p.Record.ScaleDelimiters = true })
	for _, mode := range []model.WindowMode{model.Strict, model.Padded} {
		add(mode.String(), func(p *Plan) { p.WindowMode = &mode })
	}
	add("ipv6", func(p *Plan) { p.Record.IPv6 = true })
	return list
}

// numbered are variants that set a number.
func numbered(name string, set func(*Plan, int), values ...int) (list []Variant) {
	for _, v := range values {
		list = append(list, Variant{fmt.Sprintf("%s=%d", name, v), false, func(p *Plan) { set(p, v) }, nil})
	}
	return list
}

// without is a variant without parts of the network.
func without(name string, paper *PaperVI, parts ...string) Variant {
	return Variant{name, true, func(p *Plan) { p.Paper.Ablate = parts }, paper}
}

func setRows(p *Plan, v int) { p.Paper.Rows = v }

// paperVariants are the paper's, and the sizes that it names. Two of its changes of
// parameters cannot be had from its description, +1,416 % without both convolutions and
// -81 % without the dense layer: ours are -49 % and -79 %.
func paperVariants() []Variant {
	return slices.Concat([]Variant{
		without("-conv1", &PaperVI{1, 10, 25, 0, 0}, learn.LayerConv1),
		without("-conv2", &PaperVI{0, 13, 55, -4, -3}, learn.LayerConv2),
		without("-conv1&2", &PaperVI{1416, 9, 5, -40, -44}, learn.LayerConv1, learn.LayerConv2),
		without("-maxpool", &PaperVI{791, 8, 1, -2, 1}, learn.LayerMaxPool),
		without("-dropout", &PaperVI{0, 8, 0, 0, 0}, learn.LayerDropout),
		without("-dense", &PaperVI{-81, 15, 87, 1, 0}, learn.LayerDense),
	}, numbered("K", setRows, 1, 2, 3, 4, 6, 7, 8), numbered("filters", func(p *Plan, v int) { p.Paper.Filters = v }, 4, 8))
}

// streamVariants leave out each part, and all but one of the memory.
func streamVariants() (list []Variant) {
	for _, part := range streamlearn.Parts {
		list = append(list, without("-"+part, nil, part))
	}
	return slices.Concat(list, []Variant{
		without("last only", nil, "mean", "maximum"), without("mean only", nil, "last", "maximum"), without("maximum only", nil, "last", "mean"),
	}, numbered("K", setRows, 1, 5, 10, 40))
}

// ChooseVariants are the baseline and those named, separated by commas, or "layers";
// without names all that differ from the plan.
func ChooseVariants(names string, p *Plan) ([]Variant, error) {
	all := Variants(p.Arch)
	if names == "" {
		mode := p.record().WindowMode.String()
		return slices.DeleteFunc(all, func(v Variant) bool { return v.Name == mode }), nil
	}
	chosen := all[:1:1]
	for _, name := range strings.Split(names, ",") {
		name = strings.TrimSpace(name)
		found := false
		for _, v := range all[1:] {
			if v.Name == name || name == "layers" && v.layer {
				chosen, found = append(chosen, v), true
			}
		}
		if !found && name != Baseline {
			return nil, invalid("--variants: no variant %q: see iotsense ablation --help", name)
		}
	}
	return chosen, nil
}

// AblationRow is one variant's figures, means over the seeds, with their changes from
// the baseline.
type AblationRow struct {
	Variant string  `json:"variant"`
	Params  int     `json:"params"` // trained values
	DParams float64 `json:"params_change"`
	Epochs  float64 `json:"epochs"` // the early stop's, best epoch and patience included
	Best    float64 `json:"best_epoch"`
	Seconds float64 `json:"train_seconds"` // of these epochs
	DTime   float64 `json:"train_time_change"`
	Outcome
	DF1          *float64        `json:"macro_f1_change"` // in points, like the changes below
	DF1Interval  *score.Interval `json:"macro_f1_change_interval"`
	Fixed        *Outcome        `json:"fixed_epochs"` // null without --fixed
	DFixed       *float64        `json:"macro_f1_fixed_epochs_change"`
	DFixedWithin *score.Interval `json:"macro_f1_fixed_epochs_change_interval"`
	Paper        *PaperVI        `json:"paper"`             // null where it has no such row
	Missing      string          `json:"missing,omitempty"` // why the variant has no figures
	Trained      string          `json:"trained_by"`        // with the first seed
	Scored       string          `json:"scored_by"`
}

// Ablation trains and scores variants of the plan, the baseline first, to their early
// stop, and if fixed says so once more for the paper's number of epochs.
func (x *Series) Ablation(ctx context.Context, plan Plan, variants []Variant, fixed bool) ([]AblationRow, error) {
	end, err := x.begin(&plan)
	if err != nil {
		return nil, err
	}
	defer end()
	x.models = len(variants)
	if fixed {
		x.models *= 2
	}
	var rows []AblationRow
	for _, v := range variants {
		row, err := x.variant(ctx, plan, v, fixed)
		var little *train.TooLittleError
		if errors.As(err, &little) && len(rows) > 0 {
			row, err = AblationRow{Variant: v.Name, Paper: v.paper, Missing: little.Error()}, nil
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
		compare(&rows[len(rows)-1], rows[0])
		if x.Report != "" { // after each: a long run shows where it is
			if err := writeAblation(x.Report, rows); err != nil {
				return nil, err
			}
		}
	}
	return rows, nil
}

// variant trains and scores one variant with every seed.
func (x *Series) variant(ctx context.Context, p Plan, v Variant, fixed bool) (AblationRow, error) {
	row := AblationRow{Variant: v.Name, Paper: v.paper}
	v.change(&p)
	for _, seed := range x.Seeds {
		if err := x.early(ctx, &row, p, seed); err != nil {
			return row, err
		}
	}
	if !fixed {
		return row, nil
	}
	row.Fixed = &Outcome{}
	p.Train.Epochs, p.Train.LeastSteps, p.Train.Patience = FixedEpochs, 0, 0
	for _, seed := range x.Seeds {
		name := x.seeded(v.Name+"-fixed", seed)
		if _, _, err := x.train(ctx, name, p, seed); err != nil {
			return row, err
		}
		result, _, err := x.evaluate(ctx, name, p)
		if err != nil {
			return row, err
		}
		row.Fixed.add(result)
	}
	return row, nil
}

// early trains a row's variant with one seed to its early stop, and scores it.
func (x *Series) early(ctx context.Context, row *AblationRow, p Plan, seed int64) error {
	name, n := x.seeded(row.Variant, seed), float64(len(x.Seeds))
	reports, trained, err := x.train(ctx, name, p, seed)
	if err != nil {
		return err
	}
	r := reports[""]
	row.Best, row.Epochs = row.Best+float64(r.Best)/n, row.Epochs+float64(len(r.Epochs))/n
	for _, e := range r.Epochs {
		row.Seconds += e.Duration.Seconds() / n
	}
	result, scored, err := x.evaluate(ctx, name, p)
	if err != nil {
		return err
	}
	row.add(result)
	if seed != x.Seeds[0] {
		return nil
	}
	m, err := model.Load(x.model(name))
	if err != nil {
		return err
	}
	fixed, err := p.fixed()
	if err != nil {
		return err
	}
	row.Params, row.Trained, row.Scored = m.Parameters()-fixed, trained, scored
	return nil
}

// fixed is how many values of the plan's network are never trained.
func (p *Plan) fixed() (int, error) {
	design, err := p.design()
	if d, ok := design.(interface{ Fixed() int }); ok {
		return d.Fixed(), err
	}
	return 0, err
}

// compare sets a row's changes from the baseline.
func compare(row *AblationRow, base AblationRow) {
	if row.Variant == base.Variant || row.Missing != "" {
		return
	}
	row.DParams = 100 * (float64(row.Params)/float64(base.Params) - 1)
	row.DTime = 100 * (row.Seconds/base.Seconds - 1)
	row.DF1, row.DF1Interval = change(row.Outcome, base.Outcome)
	if row.Fixed != nil {
		row.DFixed, row.DFixedWithin = change(*row.Fixed, *base.Fixed)
	}
}

// change is the difference of two outcomes in hundredths, with its 95 % interval.
func change(of, from Outcome) (*float64, *score.Interval) {
	if of.MacroF1 == nil || from.MacroF1 == nil {
		return nil, nil
	}
	d, i := 100*(*of.MacroF1-*from.MacroF1), score.Difference(of.draws, from.draws)
	if i != nil {
		i.Low, i.High = 100*i.Low, 100*i.High
	}
	return &d, i
}

// AblationTable is Table VI.
func AblationTable(rows []AblationRow) report.Table {
	t := report.Table{Title: "Ablation (Table VI)", Header: []string{"Variant", "Params", "Paper", "Epochs", "Paper", "Time", "Change", "Paper", "F1", "95 % interval", "Change", "95 % interval", "Paper", "Fixed epochs", "Change", "95 % interval", "Paper"}}
	for _, r := range rows {
		p := [5]string{"-", "-", "-", "-", "-"}
		if v := r.Paper; v != nil {
			p = [5]string{percent(v.Params), fmt.Sprint(v.Epochs), percent(v.Time), fmt.Sprintf("%+.0f", v.Early), fmt.Sprintf("%+.0f", v.Fixed)}
		}
		var fixed Outcome
		if r.Fixed != nil {
			fixed = *r.Fixed
		}
		if r.Missing != "" {
			t.Rows = append(t.Rows, append([]string{r.Variant, r.Missing}, make([]string, len(t.Header)-2)...))
			continue
		}
		seconds := time.Duration(r.Seconds * float64(time.Second)).Round(time.Second)
		t.Rows = append(t.Rows, []string{
			r.Variant, percent(r.DParams), p[0], fmt.Sprintf("%.3g", r.Epochs), p[1], seconds.String(), percent(r.DTime), p[2],
			figure("%.3f", r.MacroF1), between("%.3f", r.Interval), figure("%+.1f", r.DF1), between("%+.1f", r.DF1Interval), p[3],
			figure("%.3f", fixed.MacroF1), figure("%+.1f", r.DFixed), between("%+.1f", r.DFixedWithin), p[4],
		})
	}
	return t
}

// percent formats a change in per cent; one that rounds to nothing has no sign of its
// own.
func percent(v float64) string { return fmt.Sprintf("%+.0f %%", math.Round(v)+0) }

// writeAblation writes what --report keeps beside the models and their scores.
func writeAblation(dir string, rows []AblationRow) error {
	if err := report.WriteJSON(dir, "ablation.json", rows); err != nil {
		return err
	}
	return report.WriteExperiment(dir, "ablation.html", report.Experiment{Table: AblationTable(rows), Notes: []string{AblationNote}})
}

// AblationNote stands under the table.
const AblationNote = "F1 changes in points. The paper's data set is another; its +1,416 % and -81 % of parameters do not follow from its description."
