package v1

// What an operator may say of a device: the last part of [CorrectionPath].
const (
	DoLabel  = "label"  // gives it the label of the Correction; without one, takes it back
	DoForget = "forget" // removes all that is known of it
	DoMerge  = "merge"  // makes the device With part of it
	DoSplit  = "split"  // makes a MAC that was merged a device of its own again
	DoLock   = "lock"   // keeps what was said of it as it is
	DoUnlock = "unlock"
	DoIgnore = "ignore" // has it counted and not judged
	DoHeed   = "heed"   // has it judged again, anew
)

// Correction is what is said with it; POST has it as JSON.
type Correction struct {
	Label string `json:"label"`
	With  string `json:"with"`
}

// PageHeader is a header, of any value, of each Correction that a browser sends: one site's page
// cannot make it send that to another.
const PageHeader = "Iotsense-Page"

// Corrected is the answer, given once it is on the disk.
type Corrected struct {
	Device string `json:"device"` // as it is called now
	Kept   bool   `json:"kept"`   // on the disk; false: in memory only, without --state
}

// CorrectionPath is where something is said of a device, by its name in a Verdict.
func CorrectionPath(device, do string) string { return DevicesPath + "/" + device + "/" + do }

// Queries of [EventsPath].
const (
	After = "after" // the number that events come behind
	Beat  = "beat"  // of a stream: an event of this name every two seconds too
)
