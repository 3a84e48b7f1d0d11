package report

// This file makes the page of a model's score: confusion matrices (Fig. 12),
// confidence (Fig. 15), local flows (Fig. 16), scores by seconds, worst captures; and that
// of a series of models: a table of them (Tables IV, VI) and their confusion matrices
// (Figs. 9-12, 17).

import (
	_ "embed"

	"github.com/iotsense/iotsense/pkg/model/score"
)

//go:embed evaluation.html
var evaluationSource string

var evaluationPage = parse(evaluationSource)

// evaluationView is what the template sees.
type evaluationView struct {
	*score.Result
	Paper score.PaperScore
	Uni   score.PaperScore
	Other string              // the window mode that is not the result's
	Drawn map[string]*Picture // by the names below; nil: there is nothing to draw
}

// Interval is a 95 % interval for a reader.
func (evaluationView) Interval(i *score.Interval) string {
	if i == nil {
		return "-"
	}
	return number(&i.Low) + " to " + number(&i.High)
}

// OtherMode is the score of the other window mode.
func (v evaluationView) OtherMode() score.Summary { return v.Modes[v.Other] }

// Evaluation makes the page. The error is of a picture that could not be drawn.
func Evaluation(res *score.Result) (*Report, error) {
	v := evaluationView{Result: res, Paper: score.PaperBi, Uni: score.PaperUni, Other: "strict", Drawn: map[string]*Picture{}}
	if res.WindowMode == v.Other {
		v.Other = "padded"
	}
	labels := classLabels(res)
	var pictures []Picture
	for _, d := range []struct {
		name string
		draw func(file string) (*Picture, error)
	}{
		{"confusion", func(file string) (*Picture, error) { return confusionPlot(file, labels, res.Confusion) }},
		{"captures", func(file string) (*Picture, error) { return confusionPlot(file, labels, res.DevicesConfusion) }},
		{"confidence", func(file string) (*Picture, error) {
			return confidencePlot(file, res.Histogram, res.Confidence.Threshold)
		}},
		{"local", func(file string) (*Picture, error) { return localPlot(file, res.LocalFlows) }},
		{"seconds", func(file string) (*Picture, error) { return secondsPlot(file, res.BySeconds, res.Devices.Count) }},
	} {
		p, err := d.draw(d.name + ".png")
		if err != nil {
			return nil, err
		}
		if p != nil {
			v.Drawn[d.name] = p
			pictures = append(pictures, *p)
		}
	}
	return execute(evaluationPage, v, pictures)
}

// WriteEvaluation writes the page and its pictures into a directory.
func WriteEvaluation(dir string, res *score.Result) error {
	r, err := Evaluation(res)
	if err != nil {
		return err
	}
	return r.Write(dir, "evaluate.html")
}

// classLabels are a score's classes, in the order of its confusion matrix.
func classLabels(r *score.Result) []string {
	labels := make([]string, len(r.Classes))
	for i, c := range r.Classes {
		labels[i] = c.Label
	}
	return labels
}

//go:embed experiment.html
var experimentSource string

var experimentPage = parse(experimentSource)

// Experiment is a series of models.
type Experiment struct {
	Title  string
	Notes  []string // paragraphs under the table
	Header []string
	Rows   [][]string // as many cells as Header
	Models []Scored   // whose confusion matrices are shown; may be empty
}

// Scored is a model of the series.
type Scored struct {
	Title    string   // with the number of the paper's figure
	Name     string   // what its picture's file is called, without the ending
	Commands []string // that trained and scored it
	Score    *score.Result
}

// modelView is what the template sees of a model.
type modelView struct {
	Scored
	Picture *Picture // nil: it has no window
}

// WriteExperiment writes the page, under the given name, and its pictures into a
// directory.
func WriteExperiment(dir, name string, e Experiment) error {
	r, err := e.report()
	if err != nil {
		return err
	}
	return r.Write(dir, name)
}

// report makes the page. The error is of a picture that could not be drawn.
func (e Experiment) report() (*Report, error) {
	view := struct {
		Experiment
		Drawn []modelView
	}{Experiment: e}
	var pictures []Picture
	for _, m := range e.Models {
		p, err := confusionPlot(fileName(m.Name)+".png", classLabels(m.Score), m.Score.Confusion)
		if err != nil {
			return nil, err
		}
		if p != nil {
			pictures = append(pictures, *p)
		}
		view.Drawn = append(view.Drawn, modelView{m, p})
	}
	return execute(experimentPage, view, pictures)
}
