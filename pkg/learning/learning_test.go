package learning

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/embedded"
	"github.com/iotsense/iotsense/pkg/recording"
	"github.com/iotsense/iotsense/pkg/taxonomy"
)

// home is what a sensor has recorded of lab devices, ten minutes of each.
type home struct {
	files   []string
	devices []Device // in the order of units
}

func record(t *testing.T, units ...string) *home {
	t.Helper()
	dir, known := t.TempDir(), facts.NewCollector(0)
	spec := flows.DefaultRecordSpec()
	r, err := recording.Open(recording.Config{
		Dir: dir, Spec: spec, Spared: func(string) bool { return false }, Label: func(string) string { return "" }, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	h := &home{}
	for _, unit := range units {
		kind, number, _ := strings.Cut(unit, " ")
		var n int
		fmt.Sscan(number, &n)
		capture, err := lab.Generate(kind, n, 5, 10*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		mac := capture.Device
		locals := flows.NewLocals(nil).WithDevices(mac.String())
		assembler := flows.NewAssembler(flows.AssemblerConfig{Spec: spec, Locals: locals, Observe: known.Sample, Emit: func(rec *flows.Record) {
			if rec.Device == mac.String() {
				r.Add(rec)
			}
		}})
		table := flows.NewTable(spec, locals, assembler)
		for _, f := range capture.Frames {
			var p flows.Packet
			if flows.Parse(&p, flows.LinkEthernet, f.Data, len(f.Data)) == flows.Counted {
				table.Add(&p, f.Time.UnixMicro())
			}
		}
		table.Flush()
		h.devices = append(h.devices, Device{Names: []string{mac.String()}, State: v1.Unknown})
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range h.devices {
		h.devices[i].Facts = known.Of(h.devices[i].Name()).All()
	}
	if h.files, err = recording.Files(dir); err != nil {
		t.Fatal(err)
	}
	return h
}

func base(t *testing.T) model.Bundle {
	t.Helper()
	b, err := embedded.Default()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Of three labels each of two kinds a model is learned that names the fourth device of both; a
// sensor can go on with it. A label that the others of both kinds speak against is left out.
func TestRun(t *testing.T) {
	h := record(t, "vacuum 0", "vacuum 1", "vacuum 2", "camera 0", "camera 1", "camera 2", "vacuum 3", "camera 3", "vacuum 4")
	for i := range 6 {
		h.devices[i].Label = map[bool]string{true: "Cleaner/vacuum", false: "camera"}[i < 3]
	}
	h.devices[8].Label = "camera" // which it is not
	bundle := base(t)
	cfg := Config{Base: bundle[""], Running: bundle, Recordings: h.files, Devices: h.devices, Rows: 20000, Threads: 1}
	m, r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Better || len(r.Unread) > 0 || !m.Remembers(bundle[""]) || m.Taxonomy["vacuum"] != "Cleaner/vacuum" || len(m.Labels) != len(bundle[""].Labels)+2 {
		t.Errorf("%s; memory goes on: %v, %v", r.Why, m.Remembers(bundle[""]), m.Labels)
	}
	if len(r.Left) != 1 || r.Left[0].Device != h.devices[8].Name() || !strings.Contains(r.Left[0].Why, "it is vacuum") {
		t.Errorf("left out: %+v", r.Left)
	}
	for _, c := range r.Classes {
		if c.Devices != 3 || c.Before.Right != 0 || c.After.Right != 3 || c.After.Windows < 2.7 || c.Records < 3*leastRows {
			t.Errorf("%+v", c)
		}
	}
	var names []string
	for _, u := range r.Unlabelled {
		names = append(names, u.Device+" "+*u.After)
	}
	want := []string{h.devices[6].Name() + " vacuum", h.devices[7].Name() + " camera"}
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("without a label: %v, want %v", names, want)
	}
	cfg.Running = model.Bundle{"": m}
	for _, i := range []int{1, 2, 4, 5, 8} {
		h.devices[i].Label = ""
	}
	if _, again, err := Run(t.Context(), cfg); err != nil || again.Better {
		t.Errorf("better by fewer labels: %s, %v", again.Why, err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, _, err := Run(ended, cfg); err == nil {
		t.Error("goes on when nobody wants it to")
	}
	paper, err := embedded.Paper()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Base = paper[""]
	if _, _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "this is a paper one") {
		t.Errorf("on another network: %v", err)
	}
}

// Which labels cannot be learned, and why.
func TestUnfit(t *testing.T) {
	bundle := base(t)
	known := bundle[""].Classes()[0]
	level, _, _ := strings.Cut(bundle[""].Taxonomy[known], "/")
	tests := []struct {
		d    Device
		rows int
		why  string
	}{
		{Device{Label: "Maker/kettle"}, leastRows, ""},
		{Device{Label: "Maker/kettle"}, leastRows, ""},
		{Device{Label: "kettle"}, leastRows, "the label Maker/kettle"},
		{Device{Label: "Maker/kettle"}, leastRows - 1, "19 records of it"},
		{Device{Label: "toaster", State: v1.Gateway}, leastRows, "forwards for others"},
		{Device{Label: "toaster", State: v1.Ignored}, leastRows, "it is ignored"},
		{Device{Label: "toaster", State: v1.Changed}, leastRows, "its state is changed"},
		{Device{Label: "toaster", State: v1.Conflict}, leastRows, "its state is conflict"},
		{Device{Label: "x/" + model.NoneLabel}, leastRows, "a word of the model's own"},
		{Device{Label: "x/" + known}, leastRows, "knows this type already"},
		{Device{Label: level}, leastRows, "is a level above"},
		{Device{}, leastRows, ""},
	}
	l := &learner{Config: Config{Base: bundle[""]}, report: newReport(), paths: taxonomy.Taxonomy{}}
	for i, tt := range tests {
		p := &pupil{Device: tt.d, lesson: make([]*flows.Record, tt.rows)}
		p.Names = []string{fmt.Sprint(i)}
		l.all = append(l.all, p)
	}
	l.choose()
	why := map[string]string{}
	for _, left := range l.report.Left {
		why[left.Device] = left.Why
	}
	for i, tt := range tests {
		got := why[fmt.Sprint(i)]
		if !strings.Contains(got, tt.why) || (got == "") != (tt.why == "") || l.all[i].learned != (tt.why == "" && tt.d.Label != "") {
			t.Errorf("%d, %s %s: %q, want %q; learned %v", i, tt.d.Label, tt.d.State, got, tt.why, l.all[i].learned)
		}
	}
}

// A model is better that calls more devices right and none wrong, or as many and is right more often.
func TestBetter(t *testing.T) {
	name := func(s string) *string { return &s }
	for _, tt := range []struct {
		name          string
		before, after Score
		renamed       []Renamed
		better        bool
		outdated      bool // what judges now; of the same scores one that is not is no better
	}{
		{"one more is right", Score{1, 0, 2, 2}, Score{2, 0, 1, 2}, nil, true, false},
		{"and one wrong", Score{1, 0, 2, 2}, Score{2, 1, 0, 2}, nil, false, false},
		{"one wrong less, and one right", Score{0, 1, 2, 2}, Score{0, 0, 3, 2.5}, nil, true, false},
		{"the same", Score{3, 0, 0, 2.9}, Score{3, 0, 0, 2.9}, nil, false, false},
		{"the same, of other labels", Score{3, 0, 0, 2.9}, Score{3, 0, 0, 2.89}, nil, true, true},
		{"fewer windows, of other labels", Score{3, 0, 0, 2.9}, Score{3, 0, 0, 2.8}, nil, false, true},
		{"hardly more windows", Score{3, 0, 0, 2.9}, Score{3, 0, 0, 2.92}, nil, false, false},
		{"more windows", Score{3, 0, 0, 2.8}, Score{3, 0, 0, 2.9}, nil, true, false},
		{"one less is right", Score{3, 0, 0, 2.8}, Score{2, 0, 1, 3}, nil, false, false},
		{"another device gets a name", Score{1, 0, 2, 2}, Score{2, 0, 1, 2}, []Renamed{{"x", nil, name("a")}}, true, false},
		{"another device loses its name", Score{1, 0, 2, 2}, Score{2, 0, 1, 2}, []Renamed{{"x", name("a"), nil}}, true, false},
		{"another device gets another name", Score{1, 0, 2, 2}, Score{2, 0, 1, 2}, []Renamed{{"x", name("b"), name("a")}}, false, false},
	} {
		r := newReport()
		r.Classes = []*Class{{Label: "a", Before: tt.before, After: tt.after}, {Label: "b"}}
		r.Unlabelled = tt.renamed
		if r.judge(tt.outdated); r.Better != tt.better {
			t.Errorf("%s: better %v: %s", tt.name, r.Better, r.Why)
		}
	}
}

// Of more records than there is room for whole runs are held, of all of a device's time; the
// newest are not learned from.
func TestSample(t *testing.T) {
	l := &learner{Config: Config{Rows: 500, Devices: []Device{
		{Names: []string{"a", "b"}, Label: "x"}, {Names: []string{"c"}}, {Names: []string{"d"}, Label: "y"},
	}}}
	of, list := l.pupils()
	if of["a"] != of["b"] || of["c"].sample.room != strangersRows/run || of["d"].sample.room != 7 || len(list) != 3 {
		t.Fatalf("%+v", list)
	}
	p := of["d"]
	for i := range 10_005 {
		p.sample.add(&flows.Record{FirstSeen: int64(i)})
	}
	p.take()
	all := slices.Concat(p.lesson, p.held)
	if len(all) != 145 || len(p.held) != 29 || all[0].FirstSeen > 8000 {
		t.Fatalf("%d records, %d held, from %d on", len(all), len(p.held), all[0].FirstSeen)
	}
	var breaks int
	for i := range all[1:] {
		if d := all[i+1].FirstSeen - all[i].FirstSeen; d <= 0 {
			t.Fatal("not in order of time")
		} else if d > 1 {
			breaks++
		}
	}
	if breaks > 7 {
		t.Errorf("%d gaps in 8 runs", breaks)
	}
	var again sample
	if !reflect.DeepEqual(p.sample, again) {
		t.Error("what was sampled is held twice")
	}
}
