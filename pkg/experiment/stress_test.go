package experiment

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"math"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	v1 "github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/embedded"
	"github.com/iotsense/iotsense/pkg/model/train"
	"github.com/iotsense/iotsense/pkg/stress"
	"github.com/iotsense/iotsense/pkg/taxonomy"
)

// scored is an evaluation of the device lab's traffic by a model that was trained on it
// a little, and by one that knows none of it.
func scored(t *testing.T) (e Evaluation, own, other model.Bundle) {
	t.Helper()
	p, dir := labPlan(t)
	own, _, err := p.Run(t.Context(), filepath.Join(dir, "m"), &notes{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range own {
		m.Thresholds = model.Thresholds{Default: 0.01} // so that all are named
	}
	if other, err = embedded.Paper(); err != nil {
		t.Fatal(err)
	}
	e = Evaluation{Model: "m", Data: p.Data}
	e.Data.Capture.RecordSpec, e.Data.Capture.Locals = own[""].Record.RecordSpec, flows.NewLocals(nil)
	return e, own, other
}

// Each change is a row that can be true; the score beside is that without a change.
func TestStressed(t *testing.T) {
	e, own, _ := scored(t)
	plain, err := e.Run(t.Context(), own, &notes{})
	if err != nil {
		t.Fatal(err)
	}
	e.Stress = true
	var told notes
	r, err := e.Run(t.Context(), own, &told)
	if err != nil {
		t.Fatal(err)
	}
	classified := told.classified
	s, err := e.Stressed(t.Context(), own, r, &told)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(plain)
	b, _ := json.Marshal(s.Result)
	if string(a) != string(b) {
		t.Error("the score is another with --stress")
	}
	if told.classified != classified {
		t.Error("a changed capture's devices were told of")
	}
	if len(s.Stress) != len(stress.Changes()) || s.Strangers != nil {
		t.Fatalf("%+v", s)
	}
	for i, row := range s.Stress {
		if row.Change != stress.Changes()[i].Name || row.Devices > plain.Devices.Count || row.Right > row.Devices || row.NamedWrong > row.Named || row.Named > row.Devices ||
			row.NamedWrong < row.Named-row.Right || (row.MacroF1 == nil) != (row.Devices == 0) || (row.ECE == nil) != (row.Devices == 0) {
			t.Errorf("%+v", row)
		}
		if row.Change == "twice" && row.Devices != plain.Devices.WithWindow {
			t.Errorf("%d devices seen twice, %d once", row.Devices, plain.Devices.WithWindow)
		}
	}
	again, err := e.Stressed(t.Context(), own, r, &notes{})
	if err != nil {
		t.Fatal(err)
	}
	a, _ = json.Marshal(s)
	b, _ = json.Marshal(again)
	if string(a) != string(b) {
		t.Error("another time other rows")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := e.Stressed(ctx, own, r, &notes{}); s != nil || err == nil {
		t.Errorf("interrupted: %v, %v", s, err)
	}
}

// The predictions are what the figures are made of.
func TestPredictions(t *testing.T) {
	e, own, _ := scored(t)
	var text bytes.Buffer
	e.First, e.Predictions = []time.Duration{time.Second, 20 * time.Second}, &text
	r, err := e.Run(t.Context(), own, &notes{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.Stressed(t.Context(), own, r, &notes{})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&text).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	type figures struct{ count, with, right, windows, windowsRight, level int }
	got, sum := map[string]figures{}, []float64{}
	for _, row := range rows[1:] {
		f, best, most := got[row[0]], 0, -1.
		if row[4] == "1" {
			sum = make([]float64, len(row))
		}
		for i := 10; i < len(row) && row[10] != ""; i++ {
			p, err := strconv.ParseFloat(row[i], 64)
			if err != nil {
				t.Fatal(err)
			}
			if row[4] != "0" && row[8] == "false" {
				sum[i] += p
			} else if row[4] == "0" {
				if mean := sum[i] / sum[0]; math.Abs(mean-p) > 1e-4 {
					t.Fatalf("%v: joined %v, the mean is %v", row[:5], p, mean)
				}
			}
			if p > most {
				best, most = i, p
			}
		}
		right := count(best > 0 && rows[0][best] == row[3])
		if row[4] == "0" {
			f.count, f.with, f.right, f.level = f.count+1, f.with+count(best > 0), f.right+right, f.level+count(row[7] != "")
		} else {
			sum[0] += float64(count(row[8] == "false"))
			f.windows, f.windowsRight = f.windows+1, f.windowsRight+right
		}
		got[row[0]] = f
	}
	plain := got[""]
	if at := r.Devices.SafeRight + r.Devices.SafeWrong; at == 0 || plain.level != at {
		t.Errorf("%d at a level, predicted %d", at, plain.level)
	}
	if plain.count != r.Devices.Count || plain.with != r.Devices.WithWindow || plain.windows != r.Windows || float64(plain.windowsRight)/float64(plain.windows) != *r.Accuracy {
		t.Errorf("%+v of %+v", plain, r.Devices)
	}
	for i, name := range []string{"first-1s", "first-20s"} {
		if row, f := s.Stress[i], got[name]; row.Change != name || f.with != row.Devices || f.right != row.Right || f.level != row.SafeRight+row.SafeWrong || f.count != plain.count {
			t.Errorf("%+v, predicted %+v", row, f)
		}
	}
	if len(s.Stress) != 2 || got["first-1s"].windows >= got["first-20s"].windows || got["first-20s"].windows >= plain.windows {
		t.Errorf("%+v", got)
	}
	e.Predictions = failing{}
	if r, err := e.Run(t.Context(), own, &notes{}); r != nil || err == nil || !strings.Contains(err.Error(), "predictions: ") {
		t.Errorf("a full disk: %v, %v", r, err)
	}
}

// failing is a writer to a full disk.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no space") }

// Devices of classes that the model has are no strangers to it.
func TestStrangers(t *testing.T) {
	e, own, other := scored(t)
	rows, err := os.ReadFile(e.Data.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	e.Strangers = e.Data.Manifest
	devices := strings.Count(string(rows), ".pcap,")
	for _, m := range other {
		m.Thresholds = model.Thresholds{Default: 1} // so that none is named
	}
	s, err := e.Stressed(t.Context(), other, nil, &notes{})
	if err != nil || !reflect.DeepEqual(s.Strangers, &Strangers{Devices: devices, States: map[v1.State]int{v1.Unknown: devices}}) || s.Stress != nil {
		t.Errorf("%+v, %v; want %d devices", s, err, devices)
	}
	for _, m := range other {
		m.Thresholds = model.Thresholds{}
	}
	if s, err = e.Stressed(t.Context(), other, nil, &notes{}); err != nil || s.Strangers.Named == 0 || s.Strangers.NamedEver < s.Strangers.Named || s.Strangers.Devices != devices {
		t.Errorf("%+v, %v", s, err)
	}
	one := strings.Replace(string(rows), ",camera,", ",a stranger,", 1)
	e.Strangers = filepath.Join(filepath.Dir(e.Data.Manifest), "strangers.csv")
	if err := os.WriteFile(e.Strangers, []byte(one), 0o600); err != nil {
		t.Fatal(err)
	}
	var told notes
	if s, err = e.Stressed(t.Context(), own, nil, &told); err != nil || s.Strangers.Devices != 1 || s.Strangers.NamedEver != 1 || s.Strangers.SafeWrongEver != 1 {
		t.Errorf("%+v, %v; want one, named at some time", s, err)
	}
	for _, m := range own { // each class below one maker
		m.Taxonomy = taxonomy.Taxonomy{}
		for _, l := range m.Classes() {
			m.Taxonomy[l] = "maker/" + l
		}
		m.Thresholds = model.Thresholds{Default: 0.99}
	}
	if s, err = e.Stressed(t.Context(), own, nil, &notes{}); err != nil || !reflect.DeepEqual(s.Strangers, &Strangers{1, 0, 0, 1, 1, map[v1.State]int{v1.Likely: 1}, 0}) {
		t.Errorf("%+v, %v; want one, of which the maker is said", s, err)
	}
	e.Taxonomy.Paths = taxonomy.Taxonomy{"a stranger": "maker/kind/a stranger"}
	if s, err = e.Stressed(t.Context(), own, nil, &notes{}); err != nil || !reflect.DeepEqual(s.Strangers, &Strangers{1, 0, 0, 0, 0, map[v1.State]int{v1.Likely: 1}, 0}) {
		t.Errorf("%+v, %v; want one, of which the maker is said rightly", s, err)
	}
	if text := strings.Join(told.warned, "\n"); !strings.Contains(text, "left out") {
		t.Errorf("warned of %q", text)
	}
	e.Strangers = e.Data.Manifest
	if s, err = e.Stressed(t.Context(), own, nil, &notes{}); s != nil || err == nil || !strings.Contains(err.Error(), e.Strangers) {
		t.Errorf("without any stranger: %+v, %v", s, err)
	}
	e.Strangers = "/nonexistent/strangers.csv"
	if r, err := e.Run(t.Context(), own, &notes{}); r != nil || err == nil || !strings.Contains(err.Error(), e.Strangers) {
		t.Errorf("without a manifest: %v, %v", r, err)
	}
}

// What is presumed of a stranger before its first window was said of it.
func TestPresumedStrangers(t *testing.T) {
	bundle, err := embedded.Default()
	if err != nil {
		t.Fatal(err)
	}
	mac := net.HardwareAddr{0x1c, 0x5f, 0x2b, 0, 0, 1} // D-Link's
	v6 := &layers.IPv6{Version: 6, NextHeader: layers.IPProtocolICMPv6, HopLimit: 255, SrcIP: net.ParseIP("fe80::1"), DstIP: net.ParseIP("ff02::2")}
	asks := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeRouterSolicitation, 0)}
	v4 := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IP{192, 168, 1, 2}, DstIP: net.IP{192, 168, 1, 3}}
	serves := &layers.UDP{SrcPort: 53, DstPort: 40000}
	for _, err := range []error{asks.SetNetworkLayerForChecksum(v6), serves.SetNetworkLayerForChecksum(v4)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var file bytes.Buffer
	w := pcapgo.NewWriter(&file)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for at, list := range [][]gopacket.SerializableLayer{
		{&layers.Ethernet{SrcMAC: mac, DstMAC: net.HardwareAddr{0x33, 0x33, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv6}, v6, asks, gopacket.Payload(make([]byte, 4))},
		{&layers.Ethernet{SrcMAC: mac, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 3}, EthernetType: layers.EthernetTypeIPv4}, v4, serves, gopacket.Payload(make([]byte, 40))},
	} {
		b := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, list...); err != nil {
			t.Fatal(err)
		}
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Unix(int64(1+at), 0), CaptureLength: len(b.Bytes()), Length: len(b.Bytes())}, b.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	e := Evaluation{Strangers: filepath.Join(dir, "strangers.csv")}
	e.Data.Capture.RecordSpec, e.Data.Capture.Locals = bundle[""].Record.RecordSpec, flows.NewLocals(nil)
	for name, data := range map[string]string{"joins.pcap": file.String(), "strangers.csv": "capture,mac,label\njoins.pcap," + mac.String() + ",a laptop\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := &Strangers{Devices: 1, SafeWrongEver: 1, States: map[v1.State]int{v1.Gathering: 1}}
	if s, err := e.Stressed(t.Context(), bundle, nil, &notes{}); err != nil || !reflect.DeepEqual(s.Strangers, want) {
		t.Errorf("%+v, %v, want %+v", s.Strangers, err, want)
	}
}

// A stranger's capture that is cut is warned of and counted, and no error.
func TestCutStrangers(t *testing.T) {
	e, own, _ := scored(t)
	capture, err := filepath.Glob(filepath.Join(filepath.Dir(e.Data.Manifest), "camera-*", "*.pcap"))
	if err != nil || len(capture) == 0 {
		t.Fatal(capture, err)
	}
	rows, err := os.ReadFile(e.Data.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	e.Strangers = filepath.Join(filepath.Dir(e.Data.Manifest), "strangers.csv")
	if err := os.WriteFile(e.Strangers, []byte(strings.ReplaceAll(string(rows), ",camera,", ",a stranger,")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(capture[0], 20_000); err != nil {
		t.Fatal(err)
	}
	var told notes
	s, err := e.Stressed(t.Context(), own, nil, &told)
	if err != nil || s.Strangers.InPart != 1 || s.Strangers.Devices != len(capture) || !strings.Contains(strings.Join(told.warned, "\n"), "damaged captures") {
		t.Errorf("%+v, %v, warned of %q", s, err, told.warned)
	}
}

// A records file is refused before anything is read.
func TestStressOfRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "some.parquet")
	if err := os.WriteFile(path, []byte("PAR1"), 0o600); err != nil {
		t.Fatal(err)
	}
	bundle, err := embedded.Default()
	if err != nil {
		t.Fatal(err)
	}
	e := Evaluation{Stress: true}
	e.Data.Data = []string{path}
	if r, err := e.Run(t.Context(), bundle, &notes{}); r != nil || err == nil || !strings.Contains(err.Error(), path+": records cannot be changed") {
		t.Errorf("%v, %v", r, err)
	}
	p := mustPlan(t, "", "")
	p.Data.Data, p.Augment, p.Said = []string{path}, true, []string{"augment"}
	if _, _, err := p.Bundle(t.Context(), &notes{}); err == nil || !strings.Contains(err.Error(), path+": records cannot be changed") {
		t.Errorf("--augment: %v", err)
	}
	p.Said = nil // it is what the network has by itself: there is only less to learn from
	var n notes
	if _, _, err := p.Bundle(t.Context(), &n); err == nil || strings.Contains(err.Error(), "cannot be changed") {
		t.Errorf("without --augment: %v", err)
	}
	if len(n.warned) != 1 || !strings.Contains(n.warned[0], "no changed copies are learned") || p.Augment {
		t.Errorf("warned %q", n.warned)
	}
}

// Copies are learned from beside the captures, of which validation has others.
func TestAugment(t *testing.T) {
	p, _ := labPlan(t)
	p.Train.MaxPerClass = 0
	store := dataset.NewStore(p.Memory)
	defer store.Close()
	streams, err := p.streams()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := p.read(t.Context(), streams[""], store, nil, p.part(), &notes{})
	if err != nil {
		t.Fatal(err)
	}
	p.Augment = true
	var told notes
	all, err := p.read(t.Context(), streams[""], store, nil, p.part(), &told)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 3*len(plain) || len(all) > 5*len(plain) {
		t.Errorf("%d windows with copies, %d without", len(all), len(plain))
	}
	sources := map[dataset.Source]bool{}
	for _, i := range plain {
		sources[*store.Source(i)] = true
	}
	kept, held := dataset.Holdout(store, all, p.mustDesign(t).Span(), p.Share)
	learned := map[string]bool{} // captures of classes with several
	for _, i := range kept {
		learned[store.Source(i).Capture] = true
	}
	for _, i := range all {
		if !sources[*store.Source(i)] {
			t.Fatalf("a copy of %+v, which is nowhere", store.Source(i))
		}
	}
	for _, i := range held {
		if learned[store.Source(i).Capture] {
			t.Fatalf("%s is learned from and validated on", store.Source(i).Capture)
		}
	}
}

func (p *Plan) mustDesign(t *testing.T) train.Design {
	d, err := p.design()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A cross-validation tests the captures themselves, and learns from no copy of them.
func TestCrossvalAugment(t *testing.T) {
	p, _ := labPlan(t)
	x := Crossval{Plan: p, By: dataset.ByCapture, Folds: 2, Seeds: 1}
	plain, err := x.Run(t.Context(), &notes{})
	if err != nil {
		t.Fatal(err)
	}
	x.Plan.Augment, x.Plan.Train.MaxPerClass = true, 0
	copies, err := x.Run(t.Context(), &notes{})
	if err != nil {
		t.Fatal(err)
	}
	x.Plan.Augment = false
	whole, err := x.Run(t.Context(), &notes{})
	if err != nil {
		t.Fatal(err)
	}
	if plain.Seeds[0].Windows != copies.Seeds[0].Windows || plain.Seeds[0].Captures != copies.Seeds[0].Captures {
		t.Errorf("%+v tested with copies, %+v without", copies.Seeds, plain.Seeds)
	}
	for i, r := range copies.Runs {
		if o := whole.Runs[i]; r.Windows < 2*o.Windows || r.Windows > 5*o.Windows+4 || r.Tested != o.Tested {
			t.Errorf("%+v with copies, %+v without", r, o)
		}
	}
}

// A plan with negatives makes a model of none of them beside the classes, the same each
// time, and a cross-validation with them tests what it tests without.
func TestNegatives(t *testing.T) {
	for _, arch := range []string{PaperArch, StreamArch} {
		p, dir := labPlan(t)
		p.Arch, p.Negatives, p.Train.Threads = arch, true, 2
		var files [2][]byte
		for i := range files {
			file := filepath.Join(dir, "m")
			bundle, _, err := p.Run(t.Context(), file, &notes{})
			if err != nil {
				t.Fatal(err)
			}
			m := bundle[""]
			if _, ok := m.None(); !ok || len(m.Classes()) < 2 || m.Training.Options["negatives"] != "true" {
				t.Fatalf("labels %q, options %v", m.Labels, m.Training.Options)
			}
			if files[i], err = os.ReadFile(file); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(files[0], files[1]) {
			t.Errorf("%s: two trainings, two models", arch)
		}
	}
	p, _ := labPlan(t)
	x := Crossval{Plan: p, By: dataset.ByCapture, Folds: 2, Seeds: 2}
	plain, err := x.Run(t.Context(), &notes{})
	if err != nil {
		t.Fatal(err)
	}
	x.Plan.Negatives = true
	with, err := x.Run(t.Context(), &notes{})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range with.Runs {
		if o := plain.Runs[i]; r.Tested != o.Tested || r.Classes != o.Classes || r.Windows <= o.Windows || r.Validation <= o.Validation {
			t.Errorf("%+v with negatives, %+v without", r, o)
		}
	}
	if !slices.EqualFunc(plain.folds, with.folds, slices.Equal) || len(plain.predictions) != len(with.predictions) {
		t.Error("with negatives, others are tested")
	}
}
