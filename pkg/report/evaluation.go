package report

// This file makes the page of a model's score: confusion matrices (Fig. 12),
// confidence (Fig. 15), local flows (Fig. 16), scores by seconds, worst captures.

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

	Tables []Table // what stands beside the score
}

// Table is for a page and for a terminal; rows have as many cells as Header.
type Table struct {
	Title  string
	Header []string
	Rows   [][]string
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

// Evaluation makes the page of a score, and of tables beside it. The error is of a picture that could not be drawn.
func Evaluation(res *score.Result, beside ...Table) (*Report, error) {
	v := evaluationView{Result: res, Paper: score.PaperBi, Uni: score.PaperUni, Other: "strict", Drawn: map[string]*Picture{}, Tables: beside}
	if res.WindowMode == v.Other {
		v.Other = "padded"
	}
	labels := classLabels(res)
	var g gallery
	v.Drawn["confusion"] = g.take(confusionPlot("confusion.png", labels, res.Confusion))
	v.Drawn["captures"] = g.take(confusionPlot("captures.png", labels, res.DevicesConfusion))
	v.Drawn["confidence"] = g.take(confidencePlot("confidence.png", res.Histogram, res.Confidence.Threshold))
	v.Drawn["local"] = g.take(localPlot("local.png", res.LocalFlows))
	v.Drawn["seconds"] = g.take(secondsPlot("seconds.png", res.BySeconds, res.Devices.Count))
	return execute(evaluationPage, v, g)
}

// WriteEvaluation writes the page and its pictures into a directory.
func WriteEvaluation(dir string, res *score.Result, beside ...Table) error {
	r, err := Evaluation(res, beside...)
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
