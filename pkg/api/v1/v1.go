// Package v1 is what a sensor and those who ask it say to each other: the paths of
// its socket, the answers, and what each counter means. It imports nothing of the
// house, so that a client links neither the kernel half nor the records' files.
// Names stay, meanings stay, keys are added.
package v1

import (
	"strings"
	"time"
)

// DefaultSocket is where the sensor listens when nothing else is said.
const DefaultSocket = "/run/iotsense/iotsense.sock"

// Paths of the socket; each answers GET, those below /v1 with one JSON value. What may be
// said of a device is POSTed below it, see [CorrectionPath]; of the sensor itself, to the last two.
const (
	MetricsPath = "/metrics" // counters, as Prometheus reads them; with EachDevice in the query, devices too
	EachDevice  = "devices"
	OpenAPIPath = "/openapi.json" // what these paths answer

	StatsPath   = "/v1/stats"   // a Stats
	DevicesPath = "/v1/devices" // a list of DeviceVerdict
	FlowsPath   = "/v1/flows"   // a list of Flow
	EventsPath  = "/v1/events"  // a list of Event, oldest first; the newest of those that are remembered

	ModelPath     = "/v1/model"     // a Model; POST has the newest model taken that was learned: a ModelTaken
	RecordingPath = "/v1/recording" // has what is recorded written to a file now: RecordingStats

	// Below DevicesPath a Device by its name, and what is asked and said of it.
	factsOf       = "/facts"       // below a device: a list of Fact
	peersOf       = "/peers"       // below a device: Peers
	explanationOf = "/explanation" // below a device: an Explanation
)

// FactsPath is where the facts of a device are asked for, by its name in a Verdict; with
// "{device}" for the name it is the pattern of all such paths.
func FactsPath(device string) string { return DevicesPath + "/" + device + factsOf }

// PeersPath is where it is asked with whom a device talks, as [FactsPath].
func PeersPath(device string) string { return DevicesPath + "/" + device + peersOf }

// ExplanationPath is where the explanation of a device's newest window is asked for, as
// [FactsPath]; the query is an [ExplanationRequest].
func ExplanationPath(device string) string { return DevicesPath + "/" + device + explanationOf }

// Headers of answers.
const (
	SensorHeader  = "Iotsense-Sensor"   // the sensor that answers, as Stats.Sensor
	LeftOutHeader = "Iotsense-Left-Out" // how many flows the answer is without; absent: none
)

// SocketAddress is path as package net wants it: to it, a first @ means no file.
func SocketAddress(path string) string {
	if strings.HasPrefix(path, "@") {
		return "./" + path
	}
	return path
}

// Time prints as RFC 3339 in UTC with microseconds; the zero value as null.
type Time struct{ time.Time }

// UnixMicro is the time at us since the Unix epoch.
func UnixMicro(us int64) Time { return Time{time.UnixMicro(us)} }

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return []byte(t.UTC().Format(`"2006-01-02T15:04:05.000000Z07:00"`)), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Time) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*t = Time{}
		return nil
	}
	return t.Time.UnmarshalJSON(b)
}

// Fact is one thing that a device says of itself: a line of `iotsense facts`. Package facts
// has the kinds and the sources.
type Fact struct {
	Device  string  `json:"device"`
	Capture *string `json:"capture"` // the file; null live
	Kind    string  `json:"kind"`
	Value   string  `json:"value"`
	Source  string  `json:"source"`
	First   Time    `json:"first"`
	Last    Time    `json:"last"`
	Count   uint64  `json:"count"` // packets that said so
}

// LocalPeer is a [Peer] of the local ranges, whichever.
const LocalPeer = "local"

// Who opens a service's flows, in a [Peer].
const (
	OpenedByDevice = "device"
	OpenedByPeer   = "peer"
)

// Peers are with whom a device talks.
type Peers struct {
	Device  string `json:"device"`
	Peers   []Peer `json:"peers"`
	LeftOut uint64 `json:"left_out"` // packets to others, for whom there was no room
}

// Peer is a service that a device uses or offers, and with whom.
type Peer struct {
	Peer      string  `json:"peer"` // the name that the device asked of DNS, an address or group as CIDR, or LocalPeer
	IPVersion int     `json:"ip_version"`
	Proto     uint8   `json:"proto"`
	Port      int32   `json:"port"`      // of the service; -1: none
	OpenedBy  *string `json:"opened_by"` // device: the service is the peer's; peer: the device's; null: no port
	First     Time    `json:"first"`
	Last      Time    `json:"last"`
	Count     uint64  `json:"count"` // sampled packets that the device sent
}

// Flow is one open flow, from the point of view of one device end: a line of
// `iotsense flows`. A flow without a device has Device null.
type Flow struct {
	Device    *string `json:"device"`
	Remote    string  `json:"remote"`
	Proto     uint8   `json:"proto"`
	DevPort   int32   `json:"dev_port"` // -1: none
	RemPort   int32   `json:"rem_port"` // -1: none
	FirstSeen Time    `json:"first_seen"`
	Packets   uint64  `json:"packets"`
	Bytes     uint64  `json:"bytes"`
	BytesSent uint64  `json:"bytes_sent"` // of bytes, by the device
	Interface string  `json:"interface"`
}

// FlowRecord is a flow record that has ended, from the point of view of one device, with the
// device's verdict of that moment: a line of the file of `iotsense run --flows-json`.
type FlowRecord struct {
	Flow                 // its Device as the verdict has it, never null
	Address     string   `json:"address"` // of the device
	LastSeen    Time     `json:"last_seen"`
	PacketsSent uint64   `json:"packets_sent"` // of packets, by the device
	EndReason   string   `json:"end_reason"`   // ActiveTimeout, ForcedEnd
	Label       *string  `json:"label"`        // this and what follows as in Verdict
	Confidence  *float64 `json:"confidence"`
	Known       bool     `json:"known"`
	State       State    `json:"state"`
	Path        *string  `json:"path"`
	UserLabel   *string  `json:"user_label"`
}

// Why a record ended, as IPFIX calls it (flowEndReason).
const (
	ActiveTimeout = "active_timeout" // its minute was over
	ForcedEnd     = "forced_end"     // the sensor ended
)
