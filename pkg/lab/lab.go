// Package lab is the project's own device lab: it generates the network traffic
// of a dozen kinds of household device, so that the whole path from packet to
// verdict can be shown, trained and tested without any capture of somebody's home.
//
// In go a kind, the number of a unit, a seed and a length; out comes a [Recording]:
// the Ethernet frames a tap beside that unit would have seen from power-on, with
// their times. Equal arguments give equal bytes. [WriteDataset] writes many of
// them with a manifest, ready for training.
//
//	camera           RTSP and RTP to recorder and phone, mDNS, TLS 1.2 and 1.3
//	smart-plug       XOR protocol on UDP and TCP 9999, TLS 1.2 on 50443
//	light-bulb       CoAP to a directory and from the phone, mDNS
//	hub              mDNS, SSDP, HTTP server, TLS 1.3, CoAP to a lamp in the home
//	thermostat       TLS 1.2, HTTP
//	speaker          mDNS, SSDP, TLS 1.3, HTTP streams
//	motion-sensor    MQTT to a broker at home or in the cloud, HTTP
//	smoke-alarm      CoAP, briefly
//	printer          mDNS, SSDP, WS-Discovery, HTTP, IPP, TLS 1.2
//	weather-station  HTTP uploads, UDP broadcasts
//	television       SSDP, mDNS, HTTP, TLS 1.3
//	vacuum           binary protocol on UDP 8053, MQTT in TLS 1.3
//
// All of them use DHCP, ARP and DNS, nearly all NTP; four speak IPv6 in the home.
//
// The messages are real ones: each is built by a protocol library (DHCP, DNS and
// mDNS, NTP, HTTP and SSDP, MQTT, CoAP) or taken from a live crypto/tls handshake,
// and carried by TCP with true sequence numbers and checksums. What is invented is
// who talks to whom and when: names end in .example (RFC 2606), public addresses
// come from the documentation ranges (RFC 5737), MACs are locally administered.
//
// A unit's identity (MAC, serial, host name, firmware, timer periods) depends on
// kind and number alone; the home around it (subnet, router, phone, servers'
// addresses, time of day) on the seed alone, so units made with one seed live in
// one home; what happens in a capture on all three.
//
// [Generate] plays the minutes after power-on, as if somebody sat before the unit
// with its app all the while. [Day] plays up to a day of the same unit in the same
// home: people use it by the hours of their day, it leaves the network and joins
// again, renews its lease, looks for firmware and finds its cloud away.
//
// The package never opens a socket and knows nothing of records or models. Its
// kinds share most of their services, yet they are simpler than real devices:
// scores on lab traffic say that the path works, not how well it names real homes.
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

const day = 24 * time.Hour

// MaxLength bounds one capture.
const MaxLength = day

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
	habit habit
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
	var frames []Frame
	r, err := play(kind, unit, seed, length, powerOn, func(f Frame) error {
		frames = append(frames, f)
		return nil
	})
	r.Frames = frames
	return r, err
}

// Day plays up to a day of a unit and hands out its frames in order of time; it
// holds some thousands at a time. What it returns has no frames. The hour of the day
// at which it begins is the home's. Equal arguments give equal frames. An error
// of emit ends it.
func Day(kind string, unit int, seed int64, length time.Duration, emit func(Frame) error) (Recording, error) {
	return play(kind, unit, seed, length, daily, emit)
}

// play plays a unit through a course.
func play(name string, unit int, seed int64, length time.Duration, plan func(kind, int, *home, time.Duration) course, emit func(Frame) error) (Recording, error) {
	n := slices.Index(Kinds(), name)
	switch {
	case n < 0:
		return Recording{}, fmt.Errorf("lab: no kind %q: want one of %v", name, Kinds())
	case unit < 0:
		return Recording{}, fmt.Errorf("lab: unit %d of %s: want 0 or more", unit, name)
	case length <= 0 || length > MaxLength:
		return Recording{}, fmt.Errorf("lab: length %v of %s: want more than 0 and at most %v", length, name, MaxLength)
	}
	k := kinds()[n]
	h := newHome(seed)
	d := newDevice(k, n, unit, h, plan(k, unit, h, length))
	d.emit = emit
	if d.play(); d.err != nil {
		return Recording{}, fmt.Errorf("lab: generate %s %d: %w", name, unit, d.err)
	}
	return Recording{Device: d.mac, Label: k.name, Peers: d.home.peers()}, nil
}

// newRand is a generator of its own for each list of parts.
func newRand(parts ...any) *rand.Rand {
	return rand.New(rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "%#v", parts))))
}
