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
// The package never opens a socket and knows nothing of records or models. Its
// kinds share most of their services, yet they are simpler than real devices:
// scores on lab traffic say that the path works, not how well it names real homes.
package lab

// This file holds the package's entry points: kinds in, captures out, as frames, as pcap
// files and as whole data sets.

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/iotsense/iotsense/internal/wholefile"
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

// snapLen is the pcap header's limit; no lab frame comes near it.
const snapLen = 262144

// WritePCAP writes a capture as a little-endian pcap file of microseconds,
// link type Ethernet.
func WritePCAP(w io.Writer, c Recording) error {
	p := pcapgo.NewWriter(w)
	if err := p.WriteFileHeader(snapLen, layers.LinkTypeEthernet); err != nil {
		return fmt.Errorf("write pcap header: %w", err)
	}
	for i, f := range c.Frames {
		info := gopacket.CaptureInfo{Timestamp: f.Time, CaptureLength: len(f.Data), Length: len(f.Data)}
		if err := p.WritePacket(info, f.Data); err != nil {
			return fmt.Errorf("write pcap frame %d of %s: %w", i, c.Label, err)
		}
	}
	return nil
}

// Dataset's lengths: long enough for rollovers, short enough to write quickly.
const (
	shortestCapture = 60 * time.Second
	longestCapture  = 180 * time.Second
)

// WriteDataset writes captures of units of every kind below dir, each in a home
// of its own, and a manifest.csv with the columns capture, mac, label, unit,
// split and start_epoch. A third of the units, at least one of two, are
// split=test: no unit is in both splits. Captures last one to three minutes. Where
// ctx ends it, there is no manifest.
func WriteDataset(ctx context.Context, dir string, units, captures int, seed int64) error {
	if units < 2 || captures < 1 {
		return fmt.Errorf("lab data set of %d units, %d captures each: want at least 2 units (one to test on) and 1 capture", units, captures)
	}
	manifest := filepath.Join(dir, "manifest.csv")
	if err := checkManifest(manifest); err != nil {
		return err
	}
	rows := [][]string{manifestColumns}
	for _, k := range Kinds() {
		for u := range units {
			split := "train"
			if u >= units-max(1, units/3) {
				split = "test"
			}
			for n := range captures {
				if err := ctx.Err(); err != nil {
					return fmt.Errorf("lab data set: %w", err)
				}
				r := newRand("dataset", k, u, n, seed)
				length := shortestCapture + time.Duration(r.Int64N(int64(longestCapture-shortestCapture)))
				c, err := Generate(k, u, r.Int64(), length)
				if err != nil {
					return err
				}
				unit := fmt.Sprintf("%s-%d", k, u)
				name := filepath.Join(unit, fmt.Sprintf("capture-%d.pcap", n))
				if err := writeFile(filepath.Join(dir, name), c); err != nil {
					return err
				}
				rows = append(rows, []string{filepath.ToSlash(name), c.Device.String(), c.Label, unit, split, strconv.FormatInt(c.Frames[0].Time.Unix(), 10)})
			}
		}
	}
	return writeManifest(manifest, rows)
}

// manifestColumns are those of a data set's manifest.
var manifestColumns = []string{"capture", "mac", "label", "unit", "split", "start_epoch"}

// checkManifest refuses to replace a manifest that is not of an earlier data set of the
// lab.
func checkManifest(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("lab data set: %w", err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	own := err == nil && len(rows) > 0 && slices.Equal(rows[0], manifestColumns)
	for i := 1; own && i < len(rows); i++ {
		unit := rows[i][3]
		own = slices.ContainsFunc(Kinds(), func(k string) bool { return strings.HasPrefix(unit, k+"-") })
	}
	if !own {
		return fmt.Errorf("lab data set: %s is a manifest of other captures: name another directory", path)
	}
	return nil
}

func writeFile(path string, c Recording) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("lab data set: %w", err)
	}
	return create(path, func(w io.Writer) error { return WritePCAP(w, c) })
}

func writeManifest(path string, rows [][]string) error {
	return create(path, func(w io.Writer) error {
		return csv.NewWriter(w).WriteAll(rows)
	})
}

// create writes a file through a buffer.
func create(path string, write func(io.Writer) error) error {
	err := wholefile.Write(path, func(f io.Writer) error {
		b := bufio.NewWriter(f)
		return errors.Join(write(b), b.Flush())
	})
	if err != nil {
		return fmt.Errorf("lab data set: write %s: %w", path, err)
	}
	return nil
}
