package analyze

// This file holds what the paper says of its own data set. That is another set
// (22 device types of one laboratory, 60 days of 2016): its figures stand beside
// a reader's own for orientation, never as a target.

// PaperRecords is a row of the paper's Table III.
type PaperRecords struct {
	Label   string `json:"label"`
	Records uint64 `json:"records"`
}

// PaperTableIII is the paper's Table III, custom flows per device type.
var PaperTableIII = []PaperRecords{
	{"Amazon Echo", 777587}, {"Belkin motion sensor", 970940}, {"Belkin power switch", 642451}, {"Dropcam", 171929},
	{"HP printer", 238831}, {"iHome power plug", 17026}, {"Insteon camera", 1095843}, {"LiFX lightbulb", 190632},
	{"NEST Protect", 989}, {"Netatmo camera", 308053}, {"Netatmo weather", 76972}, {"PIX-STAR photoframe", 24197},
	{"Samsung camera", 620912}, {"Smart Things", 195540}, {"TP-Link camera", 55959}, {"TP-Link power plug", 17729},
	{"Triby speaker", 164076}, {"Withings baby monitor", 63304}, {"Withings scale", 805}, {"Withings sleep sensor", 96332},
	{"IT (android tablet)", 235311},
}

// PaperShares are the shares in the paper's text, under the JSON keys of Shares;
// what it does not quote is missing.
var PaperShares = map[string]float64{
	"flows_up_to_10_packets":   0.92,  // III-A
	"packets_up_to_1000_bytes": 0.96,  // III-A
	"packets_without_payload":  0.61,  // III-C
	"mean_payload_bytes":       188.5, // III-C
	"flows_of_four_services":   0.30,  // IV-B
}
