package v1

// Device is all that is remembered of one: the answer to [DevicePath].
type Device struct {
	DeviceVerdict
	Traffic Traffic `json:"traffic"` // open flows' not among it
	Events  []Event `json:"events"`  // of those that are remembered, oldest first
}

// Traffic is how many bytes a device has sent and received in each of the last 60 minutes,
// the oldest first: of flows that have ended, each in the minute of its last packet.
type Traffic struct {
	Until    Time     `json:"until"` // the end of the last of these minutes
	Sent     []uint64 `json:"sent"`
	Received []uint64 `json:"received"`
}

// DevicePath is where all that is remembered of a device is asked for, by its name in a
// Verdict; with "{device}" for the name it is the pattern of all such paths.
func DevicePath(device string) string { return DevicesPath + "/" + device }
