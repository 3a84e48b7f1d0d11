package score

// This file holds what the paper says of its model on its own data set. That is
// another set: its figures stand beside a reader's own for orientation.

// PaperScore are scores of the paper's all-traffic model.
type PaperScore struct {
	MacroF1     float64 // Table IV; V for unidirectional records
	MeanCorrect float64 // of confidence (V, Fig. 15); 0: not given
	MeanWrong   float64
	LowFraction float64 // of windows (V)
	HighWrong   float64 // of confident windows (V)
	WrongHigh   float64 // of wrong windows: "more than a third" (V)
	LowLocal    float64 // of low windows, those with three local flows or more: "more than 90 %" (V, Fig. 16)
	Workload    float64 // inferences per hour (Table IV)
}

// PaperBi is the paper's model M, of bidirectional records; PaperUni is its M-up.
var (
	PaperBi  = PaperScore{MacroF1: 0.90, MeanCorrect: 0.95, MeanWrong: 0.71, LowFraction: 0.07, HighWrong: 0.015, WrongHigh: 1. / 3, LowLocal: 0.9, Workload: 4140}
	PaperUni = PaperScore{MacroF1: 0.94, LowFraction: 0.02}
)
