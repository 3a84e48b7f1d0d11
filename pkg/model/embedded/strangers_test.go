package embedded_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/internal/testpackets"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/embedded"
	"github.com/iotsense/iotsense/pkg/taxonomy"
)

// judged is what a model says of a device of a capture.
type judged struct {
	capture string
	dataset.Device
	last  v1.Verdict
	paths map[string]bool // said at some time
	known bool            // at some time
}

// wrong reports whether a path is none of the device's.
func (j *judged) wrong(paths taxonomy.Taxonomy, said ...string) bool {
	return slices.ContainsFunc(said, func(path string) bool { return !paths.Below(j.Label, path) })
}

// manifest is the one of a directory of captures.
func manifest(dir string) string { return filepath.Join(dir, "manifest.csv") }

// inPart lets captures pass that were read in part, and no other error.
func inPart(t *testing.T, err error) {
	t.Helper()
	if err != nil && !dataset.OnlyPartial(err) {
		t.Fatal(err)
	}
}

// open opens captures for a model.
func open(t *testing.T, bundle model.Bundle, opts dataset.Options) *dataset.Set {
	t.Helper()
	var err error
	if opts.Capture.RecordSpec, err = bundle.Record(); err != nil {
		t.Fatal(err)
	}
	set, err := dataset.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// judge runs a model over captures as classify does.
func judge(t *testing.T, bundle model.Bundle, opts dataset.Options) (all []*judged) {
	t.Helper()
	set := open(t, bundle, opts)
	said := map[string]*judged{}
	of := func(device string) *judged {
		if said[device] == nil {
			said[device] = &judged{paths: map[string]bool{}}
		}
		return said[device]
	}
	each := func(v v1.Verdict) {
		j := of(v.Device)
		j.known = j.known || v.Known
		if v.Path != nil {
			j.paths[*v.Path] = true
		}
	}
	err := classify.Captures(t.Context(), set, bundle, classify.Options{Verdict: each, Presumed: each}, nil, func(s dataset.CaptureSummary, k *classify.Classifier) error {
		for _, d := range s.Devices {
			j := of(d.Name)
			j.capture, j.Device = s.Name, d
			if k == nil {
				continue
			}
			for _, v := range k.Registry().Devices() {
				if v.Device == d.Name {
					j.last = v.Verdict
					if v.Path != nil { // of one without a window too
						j.paths[*v.Path] = true
					}
				}
			}
		}
		for _, d := range s.Devices {
			all = append(all, said[d.Name])
		}
		clear(said)
		return nil
	})
	inPart(t, err)
	return all
}

// reports is the half of the strangers that a unit is in: thresholds may be set on the
// other, see scripts/data.sh.
func reports(unit string) bool { return sha256.Sum256([]byte(unit))[0]>>4%2 == 1 }

// tally is a row of what was said of strangers.
type tally struct{ devices, named, namedEver, wrong, wrongEver int }

func (n *tally) add(j *judged, paths taxonomy.Taxonomy) {
	count := func(to *int, yes bool) {
		if yes {
			*to++
		}
	}
	n.devices++
	count(&n.named, j.last.Known)
	count(&n.namedEver, j.known)
	count(&n.wrong, j.last.Path != nil && j.wrong(paths, *j.last.Path))
	count(&n.wrongEver, j.wrong(paths, slices.Collect(maps.Keys(j.paths))...))
}

// Computers, and the router of the types' captures, with an adapter of a maker that has devices
// among the types: seldom are they at its level.
func TestAdapters(t *testing.T) {
	bundle := read(t, embedded.Default)
	strange, err := dataset.ReadManifest(manifest(testenv.Strangers(t)))
	if err != nil {
		t.Fatal(err)
	}
	known, err := dataset.ReadManifest(manifest(testenv.Data(t)))
	if err != nil {
		t.Fatal(err)
	}
	strange = slices.DeleteFunc(strange, func(c dataset.Capture) bool { return !strings.HasPrefix(c.Name, "computers/") })
	known = slices.DeleteFunc(known, func(c dataset.Capture) bool { return c.Devices[0].Split != "test" })
	for i := range known {
		known[i].Devices = []dataset.Device{{Name: "00:b5:6d:06:08:ba", Label: "router"}}
	}
	for name, tt := range map[string]struct {
		captures  []dataset.Capture
		end, ever int // at most, per cent
	}{"computers": {strange, 5, 15}, "routers": {known, 1, 1}} {
		var all tally
		for maker, prefix := range map[string]string{"D-Link": "1c:5f:2b", "TP-Link": "74:da:88", "Belkin": "94:10:3e", "Edimax": "74:da:38"} {
			n := all
			for _, j := range judge(t, bundle, dataset.Options{Manifest: withPrefix(t, tt.captures, prefix)}) {
				all.add(j, classify.Taxonomy(bundle))
			}
			t.Logf("%s, %s: %d of %d at its level in the end, %d at some time", name, maker, all.wrong-n.wrong, all.devices-n.devices, all.wrongEver-n.wrongEver)
		}
		if t.Logf("%s: %+v", name, all); all.namedEver > 0 || 100*all.wrong > tt.end*all.devices || 100*all.wrongEver > tt.ever*all.devices {
			t.Errorf("%s: %+v", name, all)
		}
	}
}

// withPrefix is the manifest of captures whose devices have another prefix wherever their MACs stand.
func withPrefix(t *testing.T, captures []dataset.Capture, prefix string) string {
	t.Helper()
	dir, rows := t.TempDir(), "capture,mac,label\n"
	for i, c := range captures {
		data, err := os.ReadFile(c.Path)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("%d%s", i, filepath.Ext(c.Path))
		for _, d := range c.Devices {
			from, err := flows.ParseMAC(d.Name)
			if err != nil {
				t.Fatal(err)
			}
			other := prefix + d.Name[len(prefix):]
			to, err := flows.ParseMAC(other)
			if err != nil {
				t.Fatal(err)
			}
			data = bytes.ReplaceAll(data, from[:], to[:])
			rows += fmt.Sprintf("%s,%s,%s\n", name, other, d.Label)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(manifest(dir), []byte(rows), 0o644); err != nil {
		t.Fatal(err)
	}
	return manifest(dir)
}

// Computers, malware and devices of other labs that are of no class are given no name in
// the end, and hardly one at any time; of both halves. The two types that are met again in
// other houses are right where anything is said.
func TestStrangersHaveNoName(t *testing.T) {
	bundle := read(t, embedded.Default)
	more, err := taxonomy.Load(filepath.Join("..", "..", "..", "bench", "peers", "naming-strangers.csv"))
	if err != nil {
		t.Fatal(err)
	}
	paths := classify.Taxonomy(bundle)
	maps.Copy(paths, more)
	rows, all, elsewhere := map[string]*tally{}, map[bool]*tally{false: {}, true: {}}, 0
	for _, j := range judge(t, bundle, dataset.Options{Manifest: manifest(testenv.Strangers(t))}) {
		kind, _, _ := strings.Cut(j.capture, "/")
		name := fmt.Sprintf("%s, reports %v", kind, reports(j.Unit))
		if rows[name] == nil {
			rows[name] = &tally{}
		}
		rows[name].add(j, paths)
		if !slices.Contains(bundle[""].Classes(), j.Label) {
			all[reports(j.Unit)].add(j, paths)
			continue
		}
		said := ""
		if j.last.Path != nil {
			said = *j.last.Path
			elsewhere++
		}
		if j.wrong(paths, slices.Collect(maps.Keys(j.paths))...) {
			t.Errorf("%s: %s was said to be %v", j.capture, j.Label, slices.Collect(maps.Keys(j.paths)))
		}
		t.Logf("%s: %s is %q, %s", j.capture, j.Label, said, j.last.State)
	}
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		t.Logf("%s: %+v", name, *rows[name])
	}
	for half, n := range all {
		t.Logf("of no class, reports %v: %+v", half, *n)
		if n.named > 0 || n.wrong > 0 || n.namedEver > 1 || n.wrongEver > 1 {
			t.Errorf("of no class, reports %v: %+v", half, *n)
		}
	}
	if n := all[false].devices + all[true].devices; n != 43 {
		t.Errorf("%d strangers, want 43", n)
	}
	if elsewhere != 3 {
		t.Errorf("%d of 3 devices in other houses are at a level", elsewhere)
	}
}

// Who forwards for others in a capture is named as none of the devices.
func TestGatewaysHaveNoName(t *testing.T) {
	bundle := read(t, embedded.Default)
	n, states := 0, map[v1.State]int{}
	for _, opts := range []dataset.Options{
		{Manifest: manifest(testenv.Data(t)), Splits: []string{"test"}},
		{Manifest: manifest(testenv.Strangers(t))},
	} {
		captures, err := dataset.ReadManifest(opts.Manifest)
		if err != nil {
			t.Fatal(err)
		}
		wanted := func(c dataset.Capture) bool {
			return len(opts.Splits) == 0 || slices.ContainsFunc(c.Devices, func(d dataset.Device) bool { return d.Split == opts.Splits[0] })
		}
		for _, c := range captures {
			if !wanted(c) {
				continue
			}
			gateways := forwarders(t, c.Path)
			for _, j := range judge(t, bundle, dataset.Options{Data: []string{c.Path}}) {
				if mac, err := flows.ParseMAC(j.Name); err != nil || !gateways[mac] {
					continue
				}
				n++
				states[j.last.State]++
				if j.known || len(j.paths) > 0 {
					t.Errorf("%s: the gateway %s is %q, was said to be %v", c.Name, j.Name, j.last.State, slices.Collect(maps.Keys(j.paths)))
				}
			}
		}
	}
	t.Logf("%d gateways in captures, at the end %v", n, states)
	if n < 100 {
		t.Errorf("%d gateways in captures: this test looks at the wrong place", n)
	}
}

// forwarders are the MACs that sent packets from addresses out of the network.
func forwarders(t *testing.T, path string) map[flows.MAC]bool {
	t.Helper()
	found := map[flows.MAC]bool{}
	testpackets.Each(t, path, func(p *flows.Packet) {
		if from := p.Src; from.Is4() && from.IsGlobalUnicast() && !from.IsPrivate() {
			found[p.SrcMAC] = true
		}
	})
	return found
}
