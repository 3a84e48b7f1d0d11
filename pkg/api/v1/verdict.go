package v1

// State is how far a verdict has come.
type State string

const (
	Gathering State = "gathering" // no window yet, or too few distinct flows and no telling fact, nor a level by the MAC's maker
	Known     State = "known"     // confidence at or over the label's threshold
	Likely    State = "likely"    // not known, but a level above the label has enough confidence
	Unknown   State = "unknown"   // windows, but no label or level with enough confidence
	Gateway   State = "gateway"   // forwards for others, or serves the network: its traffic names nothing
	Conflict  State = "conflict"  // it behaves like one kind of devices and says it is another
	Changed   State = "changed"   // it is no longer what it was
	Ignored   State = "ignored"   // counted, but not judged, by the operator's wish
)

// States are all that there are.
var States = []State{Gathering, Known, Likely, Unknown, Gateway, Conflict, Changed, Ignored}

// Verdict is what is known of a device: one line of `classify --json` and
// `run --json`. A key without a value is null.
type Verdict struct {
	Time             Time           `json:"time"`              // last packet of the newest record it rests on
	Device           string         `json:"device"`            // MAC or "ip:ADDR"
	Capture          *string        `json:"capture"`           // the file; null live
	Label            *string        `json:"label"`             // best guess, even when not known
	Confidence       *float64       `json:"confidence"`        // its joined probability, 0 to 1
	Known            bool           `json:"known"`             // confidence >= threshold, and none of them is no better
	State            State          `json:"state"`             //
	Level            int            `json:"level"`             // how many parts of the label's path are safe; 0: none
	Path             *string        `json:"path"`              // these parts, as maker/kind; of a known label all of them, itself the last
	PathConfidence   *float64       `json:"path_confidence"`   // probability of all classes below
	UserLabel        *string        `json:"user_label"`        // what the operator called it; null: nothing
	Vendor           *string        `json:"vendor"`            // who made its interface; null: random MAC, nobody listed, no facts kept
	Facts            Facts          `json:"facts"`             // {kind: newest value} of what it says of itself; null: nothing is kept
	Distance         *float64       `json:"distance"`          // mean of its windows from all that the model knows, 1 at the threshold; null: the model cannot tell
	Provisional      bool           `json:"provisional"`       // rests on a flow still open in the kernel
	Windows          int            `json:"windows"`           // joined windows
	Flows            uint64         `json:"flows"`             // records so far
	Packets          uint64         `json:"packets"`           // wire packets of those
	Bytes            uint64         `json:"bytes"`             // IP bytes of those
	Votes            map[string]int `json:"votes"`             // windows by their own argmax
	WindowLabel      *string        `json:"window_label"`      // of the newest window alone
	WindowConfidence *float64       `json:"window_confidence"` // of the newest window alone
	PaddingFraction  *float64       `json:"padding_fraction"`  // of the newest explanation
	Trusted          *bool          `json:"trusted"`           // known and padding fraction within its threshold
	News             bool           `json:"-"`                 // of Window: the state, or a known label, is another than before
	Others           []string       `json:"-"`                 // other MACs that are the device's, beside Device
}

// Facts are what a device says of itself, by kind.
type Facts map[string]string

// DeviceVerdict is a Verdict with what else is known of a device: one line of
// `devices --json`, and with more of `classify --json`.
type DeviceVerdict struct {
	Verdict
	ID        uint64   `json:"id"`        // its number, never another device's; 0: it has no record yet
	MACs      []string `json:"macs"`      // all that are its, Device the first
	Name      *string  `json:"name"`      // what to call it: of the next, the first that there is
	NameFrom  *string  `json:"name_from"` // user (its label), fact (a host name that it gives), network (a known label)
	Locked    bool     `json:"locked"`    // what the operator said of it stays
	Gone      bool     `json:"gone"`      // silent for long
	SameAs    []string `json:"same_as"`   // that it may be, by [DeviceVerdict.SameBy]: one of the two under a random MAC, never at the same time
	Addresses []string `json:"addresses"` // most recently active first
	FirstSeen Time     `json:"first_seen"`
	LastSeen  Time     `json:"last_seen"`
	SharedMAC bool     `json:"shared_mac"` // two IPv4 addresses within one minute: a repeater or router
	RandomMAC bool     `json:"random_mac"` // no manufacturer's: the device may come back under another
	IPv6Flows uint64   `json:"ipv6_flows"` // of flows: most models leave these out

	Open [2]uint64 `json:"-"` // bytes of flows that are open: sent, received
}

// hostNames are the kinds of facts by which a device names itself, the likeliest first to
// be what people call it.
var hostNames = []string{"dhcp_host", "mdns_host", "dhcp6_host", "netbios", "llmnr_host", "mdns_name"}

// Call says what to call a device: what its operator calls it, else it itself, else the
// model, where that is sure.
func (d *DeviceVerdict) Call() {
	call := func(name, from string) { d.Name, d.NameFrom = &name, &from }
	d.Name, d.NameFrom = nil, nil
	if d.UserLabel != nil {
		call(*d.UserLabel, "user")
		return
	}
	if name := d.HostName(); name != "" {
		call(name, "fact")
		return
	}
	if d.Known && d.Label != nil {
		call(*d.Label, "network")
	}
}

// HostName is the one that the device gives; empty: none.
func (d *DeviceVerdict) HostName() string {
	for _, kind := range hostNames {
		if name := d.Facts[kind]; name != "" {
			return name
		}
	}
	return ""
}
