package v1

import "net/url"

// Explanation says what an output of a model rests on: one line of `explain --json`.
// Shares are Shapley values by DeepSHAP, against the references in the model's file:
// BaseValue and all of Phi add up to Value. A key without a value is null.
type Explanation struct {
	Device      string  `json:"device"`       // MAC or "ip:ADDR"
	Capture     *string `json:"capture"`      // the file; null live
	WindowIndex int     `json:"window_index"` // of the device's judged windows, from 0
	State       *State  `json:"state"`        // of the device's verdict, whose label it is; null of a window that was asked for by its number
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
	Raw    [][]float64      `json:"-"`      // the values, as records have them

	Facts             []ExplainedFact `json:"facts"`              // greatest |phi| first; they add up to facts_value - facts_base_value
	FactsValue        *float64        `json:"facts_value"`        // the facts' own output; null: none were heard, or the model takes none
	FactsBaseValue    *float64        `json:"facts_base_value"`   // of a device that says nothing
	JoinedProbability float64         `json:"joined_probability"` // of the label for this window, by network and facts
}

// TrustedPadding is the padding fraction up to which a known verdict is trusted (paper V).
const TrustedPadding = 0.01

// Explained writes into a verdict the padding fraction of its newest explanation, and what
// follows of it.
func (v *Verdict) Explained(fraction float64) {
	trusted := v.Known && fraction <= TrustedPadding
	v.PaddingFraction, v.Trusted = &fraction, &trusted
}

// ExplainedField is the share of one value of a row.
type ExplainedField struct {
	Row    int     `json:"row"`    // index into phi, so 0 is the oldest row
	Name   string  `json:"name"`   // remote_port, size_3, payload_17, ...: a group's values and payload values count from 1
	Raw    float64 `json:"raw"`    // the value as records have it
	Part   Part    `json:"part"`   // what kind of value it is
	Packet *int    `json:"packet"` // that it is of, from 1; null: the flow's, or padding
	Byte   *int    `json:"byte"`   // of the packet's payload, from 1; null: it is no byte
	Phi    float64 `json:"phi"`

	Column int `json:"-"` // index into a row of phi
}

// ExplainedFact is the share of what a device says of itself.
type ExplainedFact struct {
	Kind  string  `json:"kind"`
	Value string  `json:"value"`
	Phi   float64 `json:"phi"`
}

// Part is what kind of value one of a row is.
type Part string

// Parts of a row.
const (
	Metadata Part = "metadata"
	Byte     Part = "byte"    // of a payload
	Begin    Part = "begin"   // the mark before a packet's payload
	End      Part = "end"     // the one behind it
	Padding  Part = "padding" // behind a flow's payload, and all of a flow that is missing
)

// Parts are all that there are.
var Parts = []Part{Metadata, Byte, Begin, End, Padding}

// ExplanationRequest says what is to be explained of a device's newest window: by default
// the logit of its verdict's label.
type ExplanationRequest struct {
	Output string // logit or probability; empty: logit
	WhyNot string // another label to set it against; empty: none
}

// Query is the request as a path's query.
func (q ExplanationRequest) Query() url.Values {
	v := url.Values{}
	for key, value := range map[string]string{"on": q.Output, "why_not": q.WhyNot} {
		if value != "" {
			v.Set(key, value)
		}
	}
	return v
}

// ParseExplanationRequest reads a path's query.
func ParseExplanationRequest(query url.Values) ExplanationRequest {
	return ExplanationRequest{Output: query.Get("on"), WhyNot: query.Get("why_not")}
}
