package v1

// What an [Event] can be. Of a device's verdict it is the state that it came to: known,
// likely, unknown, changed, conflict, gateway, gathering.
const (
	EventNew        = "new"         // a device that was not known
	EventGone       = "gone"        // nothing of it for long
	EventBack       = "back"        // something again of one that was gone
	EventLabelled   = "labelled"    // the operator gave it a name, or took it back
	EventDropsBegan = "drops_began" // packets are being lost or refused
	EventDropsEnded = "drops_ended" // none for a while
)

// Event is something that happened: one line of `iotsense events --json`. A key without a
// value is null.
type Event struct {
	Seq    uint64  `json:"seq"`    // its number; later ones have higher ones, restarts or not
	Time   Time    `json:"time"`   // of the packets that it rests on; of an operator's word, when it was given
	Event  string  `json:"event"`  // what: known, gone, ...
	Device *string `json:"device"` // MAC or "ip:ADDR"; null: the sensor's own
	Label  *string `json:"label"`  // best guess then, even when not known
	Path   *string `json:"path"`   // the part of its path that is safe
	Old    *string `json:"old"`    // what was said before: label of a known device, path of a likely one, else the state; the label given; the counter
	New    *string `json:"new"`    // what is said now
}

// EventDigest is a [Notice] of several events.
const EventDigest = "digest"

// Notice is what the sensor tells on its own account: an event with what is known of its
// device, or several in one, which has the time of the last and is of no device.
type Notice struct {
	Event
	Name       *string  `json:"name"`       // what to call the device
	Vendor     *string  `json:"vendor"`     // who made its interface
	State      *State   `json:"state"`      // of its verdict now
	Confidence *float64 `json:"confidence"` // of its label now
	Text       string   `json:"text"`       // all of it, for people: a line an event
	Count      int      `json:"count"`      // of events that it tells
	Events     []Notice `json:"events"`     // these, oldest first, 50 at most; null: it is one
}
