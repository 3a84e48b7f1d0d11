package report

// This file makes the page of a series of models that were trained and scored: a
// table of them (Tables IV, VI) and their confusion matrices (Figs. 9-12, 17).

import (
	_ "embed"

	"github.com/iotsense/iotsense/pkg/model/score"
)

//go:embed experiment.html
var experimentSource string

var experimentPage = parse(experimentSource)

// Experiment is a series of models.
type Experiment struct {
	Table
	Notes  []string // paragraphs under the table
	Models []Scored // whose confusion matrices are shown; may be empty
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
	var g gallery
	for _, m := range e.Models {
		p := g.take(confusionPlot(fileName(m.Name)+".png", classLabels(m.Score), m.Score.Confusion))
		view.Drawn = append(view.Drawn, modelView{m, p})
	}
	return execute(experimentPage, view, g)
}
