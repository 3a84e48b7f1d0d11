package lab

// This file holds the package's entry points: kinds in, captures out.

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/iotsense/iotsense/pkg/flows"
)

// MaxLength bounds one capture; longer ones would only fill memory.
const MaxLength = 24 * time.Hour

// Frame is one Ethernet frame as a tap beside the device sees it.
type Frame struct {
	Time       time.Time // UTC, whole microseconds
	Data       []byte    // from the destination MAC on, without frame check sequence
	FromDevice bool      // sent by the device
}

// Recording is what one unit sent and received from power-on, in order of time;
// no two frames share a time stamp.
type Recording struct {
	Device flows.MAC // the unit's own address
	Label  string    // its kind
	Frames []Frame

	// Peers names the home's other machines, which have a MAC of their own in
	// the frames: router, phone, recorder, lamp. No kind describes them.
	Peers map[flows.MAC]string
}

// kind is one kind of device: how its network stack behaves and what it does.
type kind struct {
	name  string
	stack stack
	live  func(*device) // boots the device and says what it does from then on
}

// Kinds lists the kinds of device that [Generate] knows, in a fixed order.
func Kinds() []string {
	names := make([]string, len(kinds()))
	for i, k := range kinds() {
		names[i] = k.name
	}
	return names
}

// Generate plays a unit of a kind for length from power-on. The unit is named by
// a number from 0; seed picks the home and the course of events. Equal arguments
// give equal captures, byte for byte.
func Generate(kind string, unit int, seed int64, length time.Duration) (Recording, error) {
	n := slices.Index(Kinds(), kind)
	switch {
	case n < 0:
		return Recording{}, fmt.Errorf("lab: no kind %q: want one of %v", kind, Kinds())
	case unit < 0:
		return Recording{}, fmt.Errorf("lab: unit %d of %s: want 0 or more", unit, kind)
	case length <= 0 || length > MaxLength:
		return Recording{}, fmt.Errorf("lab: length %v of %s: want more than 0 and at most %v", length, kind, MaxLength)
	}
	k := kinds()[n]
	d := newDevice(k, n, unit, seed, length)
	k.live(d)
	d.run()
	frames, err := d.wire.finish()
	if err != nil {
		return Recording{}, fmt.Errorf("lab: generate %s %d: %w", kind, unit, err)
	}
	return Recording{Device: d.mac, Label: k.name, Frames: frames, Peers: d.home.peers()}, nil
}

// newRand is a generator of its own for each list of parts.
func newRand(parts ...any) *rand.Rand {
	return rand.New(rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "%#v", parts))))
}
