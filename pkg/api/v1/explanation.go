package v1

// Explanation says what an output of a model rests on: one line of `explain --json`.
// Shares are Shapley values by DeepSHAP, against the references in the model's file:
// BaseValue and all of Phi add up to Value. A key without a value is null.
type Explanation struct {
	Device      string  `json:"device"`       // MAC or "ip:ADDR"
	Capture     *string `json:"capture"`      // the file; null live
	WindowIndex int     `json:"window_index"` // of the device's judged windows, from 0
	Label       string  `json:"label"`        // that is explained
	WhyNot      *string `json:"why_not"`      // the output is the label's less this one's; null: the label's alone
	Output      string  `json:"output"`       // logit or probability

	Value           float64 `json:"value"`            // the network's own output for the window
	BaseValue       float64 `json:"base_value"`       // its mean over the references
	AdditivityError float64 `json:"additivity_error"` // of base_value + phi, less value; the greatest of the network's and the facts'

	PaddingFraction float64 `json:"padding_fraction"` // of the values that weigh most, after the paper's section V, those that are padding
	PaddingShare    float64 `json:"padding_share"`    // of what speaks for the label, what padding does

	Fields []ExplainedField `json:"fields"` // greatest |phi| first
	Phi    [][]float64      `json:"phi"`    // a share for each value of each row in raw order, rows oldest first

	Facts             []ExplainedFact `json:"facts"`              // greatest |phi| first; they add up to facts_value - facts_base_value
	FactsValue        *float64        `json:"facts_value"`        // the facts' own output; null: none were heard, or the model takes none
	FactsBaseValue    *float64        `json:"facts_base_value"`   // of a device that says nothing
	JoinedProbability float64         `json:"joined_probability"` // of the label for this window, by network and facts
}

// ExplainedField is the share of one value of a row.
type ExplainedField struct {
	Row  int     `json:"row"`  // index into phi, so 0 is the oldest row
	Name string  `json:"name"` // remote_port, size_3, payload_17, ...: a group's values and payload values count from 1
	Raw  float64 `json:"raw"`  // the value as records have it
	Phi  float64 `json:"phi"`

	Column int `json:"-"` // index into a row of phi
}

// ExplainedFact is the share of what a device says of itself.
type ExplainedFact struct {
	Kind  string  `json:"kind"`
	Value string  `json:"value"`
	Phi   float64 `json:"phi"`
}
