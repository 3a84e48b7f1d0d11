package embedded_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/embedded"
	"github.com/iotsense/iotsense/pkg/replay"
	"github.com/iotsense/iotsense/pkg/taxonomy"
)

// imitated is how long an imitator plays another's set-up before it is itself again.
const imitated = time.Minute

// Claims of imitators, from cheap to dear.
const (
	ownWord   = "nothing"        // the device as it is
	otherMAC  = "maker's prefix" // another's
	otherDHCP = "DHCP"           // host, class and parameters as another's client sends them
	otherWord = "both"
	otherBoot = "whole set-up" // another's first minute, MAC and address, then itself

	randomMAC = "a random MAC"
	sharedMAC = "another device behind the same MAC" // and address, as behind a router
)

var claims = []string{ownWord, otherMAC, otherDHCP, otherWord, otherBoot, randomMAC, sharedMAC}

// recorded are a device's frames of a capture.
func recorded(t *testing.T, c dataset.Capture, d dataset.Device) lab.Recording {
	t.Helper()
	mac, err := flows.ParseMAC(d.Name)
	if err != nil {
		t.Fatal(err)
	}
	r := lab.Recording{Label: d.Label, Device: mac}
	if r.Frames, err = replay.ReadCapture(c.Path, mac); err != nil {
		t.Fatal(err)
	}
	r.Frames = slices.DeleteFunc(r.Frames, func(f lab.Frame) bool {
		return len(f.Data) < 34 || !f.FromDevice && !bytes.HasPrefix(f.Data, mac[:])
	})
	return r
}

// address is the IPv4 address that the device sent most from.
func address(r *lab.Recording) (of [4]byte) {
	count := map[[4]byte]int{}
	for _, f := range r.Frames {
		if from := [4]byte(f.Data[26:30]); f.FromDevice && isIPv4(f.Data) && from != [4]byte{} {
			count[from]++
			if count[from] > count[of] {
				of = from
			}
		}
	}
	return of
}

func isIPv4(frame []byte) bool { return binary.BigEndian.Uint16(frame[12:]) == 0x0800 }

// asks reports whether a frame is of a DHCP client (RFC 2131).
func asks(f lab.Frame) bool {
	return f.FromDevice && isIPv4(f.Data) && f.Data[23] == 17 && len(f.Data) > 14+20+8 && binary.BigEndian.Uint16(f.Data[36:]) == 67
}

// renamed is a frame with another MAC wherever the device's stands, as bytes or text.
func renamed(frame []byte, from, to flows.MAC) []byte {
	out := bytes.ReplaceAll(frame, from[:], to[:])
	for _, text := range []func(flows.MAC) string{
		func(m flows.MAC) string { return m.String() }, func(m flows.MAC) string { return hex.EncodeToString(m[:]) },
		func(m flows.MAC) string { return strings.ReplaceAll(m.String(), ":", "-") },
	} {
		out = bytes.ReplaceAll(out, []byte(text(from)), []byte(text(to)))
		out = bytes.ReplaceAll(out, []byte(strings.ToUpper(text(from))), []byte(strings.ToUpper(text(to))))
	}
	return out
}

// moved is a frame with another IPv4 address in its header.
func moved(frame []byte, from, to [4]byte) []byte {
	if isIPv4(frame) {
		for _, at := range []int{26, 30} {
			if [4]byte(frame[at:at+4]) == from {
				copy(frame[at:], to[:])
			}
		}
	}
	return frame
}

// imitate is what is seen of a device that is a and claims to be b.
func imitate(a, b *lab.Recording, claim string) lab.Recording {
	out := lab.Recording{Label: a.Label, Device: a.Device}
	if claim == otherMAC || claim == otherWord || claim == otherBoot {
		copy(out.Device[:3], b.Device[:3])
	}
	if claim == randomMAC || claim == sharedMAC {
		copy(out.Device[:3], []byte{2, 0x5e, 0x77})
	}
	var clients []lab.Frame
	for _, f := range b.Frames {
		if asks(f) {
			clients = append(clients, f)
		}
	}
	add := func(at time.Time, of *lab.Recording, f lab.Frame) {
		out.Frames = append(out.Frames, lab.Frame{Time: at, Data: renamed(f.Data, of.Device, out.Device), FromDevice: f.FromDevice})
	}
	begin, skip := a.Frames[0].Time, time.Duration(0)
	if claim == otherBoot {
		begin, skip = b.Frames[0].Time.Add(imitated), a.Frames[len(a.Frames)-1].Time.Sub(a.Frames[0].Time)/3
		for _, f := range b.Frames {
			if f.Time.Before(begin) {
				add(f.Time, b, f)
			}
		}
	}
	swaps := (claim == otherDHCP || claim == otherWord) && len(clients) > 0
	if swaps && !slices.ContainsFunc(a.Frames, asks) { // one that has its lease already asks again
		for _, f := range clients {
			add(begin, b, f)
		}
	}
	asked := 0
	was, now := address(a), address(b)
	for _, f := range a.Frames {
		at := f.Time.Sub(a.Frames[0].Time)
		switch {
		case at < skip:
		case swaps && asks(f):
			add(begin.Add(at), b, clients[asked%len(clients)])
			asked++
		default:
			add(begin.Add(at-skip), a, f)
			if last := &out.Frames[len(out.Frames)-1]; claim == otherBoot {
				last.Data = moved(last.Data, was, now)
			}
		}
	}
	if claim == sharedMAC {
		for _, f := range b.Frames {
			add(begin.Add(f.Time.Sub(b.Frames[0].Time)), b, f)
			last := &out.Frames[len(out.Frames)-1]
			last.Data = moved(last.Data, now, was)
		}
		slices.SortStableFunc(out.Frames, func(x, y lab.Frame) int { return x.Time.Compare(y.Time) })
	}
	return out
}

// outcome counts what is said of imitators.
type outcome struct {
	devices int
	other   int     // named at a level that is only the other's, at the end
	model   int     // of these, as its very model
	ever    int     // named so at some time
	own     int     // named at a level of its own, at the end
	astray  int     // at a level of neither
	sum     float64 // confidences of the levels of the other's
	states  map[v1.State]int
}

func (o *outcome) add(j *judged, paths taxonomy.Taxonomy, other string) {
	if o.states == nil {
		o.states = map[v1.State]int{}
	}
	o.devices++
	o.states[j.last.State]++
	only := func(path string) bool { return paths.Below(other, path) && !paths.Below(j.Label, path) }
	if slices.ContainsFunc(slices.Collect(maps.Keys(j.paths)), only) {
		o.ever++
	}
	switch path := j.last.Path; {
	case path == nil:
	case paths.Below(j.Label, *path):
		o.own++
	case only(*path):
		o.other++
		o.sum += *j.last.PathConfidence
		if j.last.Known {
			o.model++
		}
	default:
		o.astray++
	}
}

func (o *outcome) String() string {
	return fmt.Sprintf("%d: as the other %d (its model %d; mean confidence %.2f; at some time %d), as itself %d, as neither %d; %v",
		o.devices, o.other, o.model, o.sum/float64(max(1, o.other)), o.ever, o.own, o.astray, o.states)
}

// imitators has each of some devices claim to be each of others of another maker.
func imitators(t *testing.T, bundle model.Bundle, devices, others []lab.Recording, claims ...string) map[string]*outcome {
	t.Helper()
	paths, all := classify.Taxonomy(bundle), map[string]*outcome{}
	for _, claim := range claims {
		all[claim] = &outcome{}
		for i := range devices {
			dir, rows := t.TempDir(), []string{"capture,mac,label,unit"}
			for k := range others {
				a, b := &devices[i], &others[k]
				if a.Label == b.Label || paths.Below(a.Label, paths.Levels(b.Label)[0]) || (claim == ownWord || claim == randomMAC) && len(rows) > 1 {
					continue
				}
				r := imitate(a, b, claim)
				var text bytes.Buffer
				if err := lab.WritePCAP(&text, r); err != nil {
					t.Fatal(err)
				}
				name := fmt.Sprintf("%d.pcap", k)
				if err := os.WriteFile(filepath.Join(dir, name), text.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
				rows = append(rows, fmt.Sprintf("%s,%s,%s,%s", name, r.Device, a.Label, b.Label))
			}
			if err := os.WriteFile(manifest(dir), []byte(strings.Join(rows, "\n")+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			for _, j := range judge(t, bundle, dataset.Options{Manifest: manifest(dir)}) {
				all[claim].add(j, paths, j.Unit)
			}
		}
		t.Logf("%s: %v", claim, all[claim])
	}
	return all
}

// labUnits are a unit of each kind for some minutes from power-on.
func labUnits(t *testing.T, length time.Duration) (all []lab.Recording) {
	t.Helper()
	for i, kind := range lab.Kinds() {
		r, err := lab.Generate(kind, 90, int64(900+i), length)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// realUnits are the first captures of split=test of each class.
func realUnits(t *testing.T) (all []lab.Recording) {
	t.Helper()
	captures, err := dataset.ReadManifest(manifest(testenv.Data(t)))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range captures {
		for _, d := range c.Devices {
			if d.Split == "test" && !seen[d.Label] {
				seen[d.Label] = true
				all = append(all, recorded(t, c, d))
			}
		}
	}
	return all
}

// Lab devices that claim to be another kind of the lab.
func TestImitatorsInTheLab(t *testing.T) {
	bundle := read(t, embedded.Lab)
	units := labUnits(t, 3*time.Minute)
	all := imitators(t, bundle, units, units, claims...)
	if o := all[ownWord]; o.own < o.devices {
		t.Errorf("as they are: %v", o)
	}
	for _, claim := range []string{otherMAC, otherDHCP, otherWord} {
		if o := all[claim]; 100*o.other > o.devices || o.astray > 0 {
			t.Errorf("%s: %v", claim, o)
		}
	}
}

// Devices of no class, and those of others, that claim to be of one.
func TestImitatorsOfRealDevices(t *testing.T) {
	bundle := read(t, embedded.Default)
	real := realUnits(t)
	t.Log("strangers, kinds of the lab:")
	hold := func(all map[string]*outcome, both int) {
		for claim, most := range map[string]int{ownWord: 0, otherMAC: 0, otherDHCP: 1, otherWord: both, randomMAC: 0} { // per cent
			if o := all[claim]; 100*o.other > most*o.devices || 100*o.astray > o.devices {
				t.Errorf("%s: %v", claim, o)
			}
		}
		// What docs/TRUST.md warns of: when it is over, say so there.
		if o := all[otherBoot]; 2*o.ever < o.devices {
			t.Errorf("%s no longer deceives: %v", otherBoot, o)
		}
	}
	hold(imitators(t, bundle, labUnits(t, 3*time.Minute), real, claims...), 1)
	t.Log("devices of other classes:")
	all := imitators(t, bundle, real, real, claims...)
	hold(all, 10)
	if own, random := all[ownWord].own, all[randomMAC].own; random < own-3 {
		t.Errorf("%d have a name or level, with a random MAC %d", own, random)
	}
	t.Log("strangers, an hour long:")
	var few []lab.Recording
	for i := 0; i < len(real); i += 4 {
		few = append(few, real[i])
	}
	imitators(t, bundle, labUnits(t, time.Hour), few, otherWord, otherBoot)
}
