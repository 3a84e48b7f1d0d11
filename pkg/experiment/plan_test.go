package experiment

import (
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/embedded"
	"github.com/iotsense/iotsense/pkg/model/train"
)

func mustPlan(t *testing.T, preset, strategy string) Plan {
	t.Helper()
	p, err := NewPlan(preset, strategy, PaperArch)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func period(t *testing.T, days string) dataset.Period {
	t.Helper()
	p, err := dataset.ParsePeriod(days)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// full is a plan in which nothing is what it is by itself.
func full(t *testing.T) Plan {
	uni, padded := flows.Uni, model.Padded
	p := mustPlan(t, PresetPaper, Specialized)
	p.Data.Data, p.Data.Manifest, p.Data.Splits, p.Data.Period = []string{"a b"}, "m.csv", []string{"x", "y"}, period(t, "2020-01-01..2020-01-03")
	p.Data.Capture.Offloaded, p.Data.Outputs = true, []string{"out"}
	p.Folds = &dataset.Folds{By: dataset.ByUnit, Count: 4, Tested: 2, Seed: 3}
	p.Validation, p.Share = dataset.Part{Splits: []string{"v"}, Period: period(t, "2020-02-01")}, 0.3
	p.Direction, p.WindowMode = &uni, &padded
	p.Record.IPv6, p.Record.ScaleDelimiters, p.Record.Scrub = true, true, true
	p.Record.Without, p.Record.Packets, p.Record.Payload = []string{model.FieldTime, model.FieldPorts}, 4, 700
	p.Services = p.Services[1:3]
	p.Paper = PaperOptions{Rows: 3, Filters: 4, Ablate: []string{"conv2"}}
	p.Train = train.Options{
		Epochs: 7, Batch: 8, LearningRate: 1e-4, EMA: 0.5, Patience: 2, MinPerClass: 3, MaxPerClass: 9, Seed: 5, Threads: 1 << 10,
		Checkpoint: "state",
	}
	p.Memory, p.Augment, p.Negatives = 1<<20, true, true
	p.Taxonomy.File = "t.csv"
	return p
}

// What a model's file keeps is a white list: these keys, which shape a model, and none
// for a place, a speed or a machine.
func TestOptions(t *testing.T) {
	p := full(t)
	want := map[string]string{
		"ablate": "conv2", "augment": "true", "batch": "8", "dates": "2020-01-01..2020-01-03", "direction": "uni", "ema": "0.5", "epochs": "7", "filters": "4",
		"fold": "2", "fold-seed": "3", "folds": "4", "ipv6": "true", "lr": "0.0001", "max-per-class": "9", "min-per-class": "3",
		"negatives": "true", "offloaded": "true", "packets": "4", "patience": "2", "payload": "700", "preset": "paper", "scale-delimiters": "true", "scrub": "true",
		"services": "tcp/443,udp/53", "split": "x,y", "split-by": "unit", "strategy": "specialized", "validation": "0.3",
		"validation-dates": "2020-02-01", "validation-split": "v", "window": "3", "window-mode": "padded", "without": "time,ports",
	}
	if got := p.Options(); !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	bundle, err := embedded.Paper()
	if err != nil {
		t.Fatal(err)
	}
	padded := model.Padded // `make model`
	p = mustPlan(t, "", "")
	p.Data.Manifest, p.Data.Splits, p.WindowMode, p.Share = "manifest.csv", []string{"train"}, &padded, 0.1
	if got, want := p.Options(), bundle[""].Training.Options; !maps.Equal(got, want) {
		t.Errorf("the embedded model of the paper's network was made of\n     %v\nits plan says\n     %v", want, got)
	}
}

// The command line of a plan says all that differs from what flags are by themselves,
// and what it is told to say.
func TestArgs(t *testing.T) {
	p := full(t)
	got := p.Args("m")
	want := []string{
		"train", "--json", "-o", "m", "--seed=5", "--manifest=m.csv", "--offloaded=true", "--split=x", "--split=y",
		"--dates=2020-01-01..2020-01-03", "--split-by=unit", "--folds=4", "--fold=2", "--fold-seed=3", "--validation=0.3", "--validation-split=v",
		"--validation-dates=2020-02-01", "--preset=paper", "--ipv6=true", "--scale-delimiters=true", "--scrub=true", "--augment=true", "--negatives=true", "--taxonomy=t.csv", "--memory=1048576",
		"--window=3", "--filters=4", "--ablate=conv2", "--window-mode=padded", "--epochs=7", "--batch=8", "--lr=0.0001", "--ema=0.5",
		"--patience=2", "--threads=1024", "--min-per-class=3", "--max-per-class=9", "--packets=4", "--payload=700", "--without=time",
		"--without=ports", "--strategy=specialized", "--direction=uni", "--services=tcp/443,udp/53", "a b",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	p, err := NewPlan("", "", "")
	if err != nil {
		t.Fatal(err)
	}
	p.Data.Manifest = "m.csv"
	if got := strings.Join(p.Args("m"), " "); got != "train --json -o m --seed=0 --manifest=m.csv" {
		t.Errorf("the usual plan: %s", got)
	}
	p.Said = []string{"epochs"}
	if got := strings.Join(p.Args("m"), " "); !strings.HasSuffix(got, " --epochs=40") {
		t.Errorf("said: %s", got)
	}
}

// A preset's limits are the paper's for the strategy.
func TestPreset(t *testing.T) {
	for strategy, most := range map[string]int{"": 20_000, Mixed: 20_000, Specialized: 10_000} {
		p := mustPlan(t, PresetPaper, strategy)
		o := p.Train
		if o.MinPerClass != 50 || o.MaxPerClass != most || o.Patience != 5 || o.EMA != 0 || !o.ByWindow || *p.WindowMode != model.Strict {
			t.Errorf("%q: %+v", strategy, o)
		}
	}
	if _, err := NewPlan("quick", "", ""); err == nil || !strings.Contains(err.Error(), "paper") {
		t.Errorf("no preset: %v", err)
	}
}

// What cannot be carried out is refused by the name of its flag.
func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		change func(*Plan)
		says   string
	}{
		{func(p *Plan) { p.Train.Epochs = 0 }, "epochs"},
		{func(p *Plan) { p.Share = 1 }, "--validation 1"},
		{func(p *Plan) { p.Strategy = "some" }, "--strategy"},
		{func(p *Plan) { p.Paper.Ablate = []string{"softmax"} }, "--ablate"},
		{func(p *Plan) { p.Arch = "tower" }, `--arch "tower": want paper`},
		{func(p *Plan) { p.Folds = &dataset.Folds{By: "colour", Count: 2} }, "colour"},
		{func(p *Plan) { p.Validation.Splits = []string{"v"} }, "another one"},
		{func(p *Plan) { p.Validation.Splits, p.Data.Splits = []string{"v"}, []string{"v", "w"} }, "another one"},
	} {
		p := mustPlan(t, "", "")
		tt.change(&p)
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%v, want %s", err, tt.says)
		}
	}
	p := full(t)
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
}

// plainDesign stands for a network without options.
type plainDesign struct{ rows int }

func (d plainDesign) Span() int       { return d.rows }
func (d plainDesign) Strict() int     { return d.rows }
func (d plainDesign) Cut() (int, int) { return d.rows, 1 }
func (d plainDesign) Learner(*model.Model, int, int, *rand.Rand) (train.Learner, error) {
	return nil, nil
}

// A network that is registered is one that plans can name, with options of its own;
// those of others are refused, and none of its variants nor what its file keeps.
func TestRegister(t *testing.T) {
	defer func(before map[string]Design) { designs = before }(maps.Clone(designs))
	Register(Design{Name: "plain", Options: []string{"window"}, New: func(p *Plan) (train.Design, error) { return plainDesign{p.Paper.Rows}, nil }})
	p := mustPlan(t, "", "")
	p.Arch, p.Paper.Rows = "plain", 2
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	if d, err := p.design(); err != nil || !reflect.DeepEqual(d, plainDesign{2}) {
		t.Errorf("%+v, %v", d, err)
	}
	if o := p.Options(); o["arch"] != "plain" || o["window"] != "2" || o["filters"] != "" {
		t.Errorf("options %v", o)
	}
	for _, v := range Variants("plain") {
		if v.Name == "-conv1" || v.Name == "filters=4" {
			t.Errorf("a variant %s of a network that has no such thing", v.Name)
		}
	}
	p.Paper.Filters = 3
	if err := p.Validate(); err == nil || !strings.Contains(err.Error(), "--filters: a network of --arch plain has none") {
		t.Errorf("filters: %v", err)
	}
	if got := Designs(); !slices.Equal(got, []string{"paper", "plain", "stream"}) {
		t.Errorf("designs %v", got)
	}
}

// The stream network trains as is best for it, unless told otherwise, and the command
// line that it prints says no more than that.
func TestStreamPlan(t *testing.T) {
	p, err := NewPlan("", "", StreamArch)
	if err != nil {
		t.Fatal(err)
	}
	if p.Train.WarmUp == 0 || p.Train.Fall == 0 || p.Train.WeightDecay == 0 || p.Train.Threads == 0 {
		t.Errorf("it trains as others do: %+v", p.Train)
	}
	p.Paper.Rows = 7
	d, err := p.design()
	if err != nil || d.Span() != 7 {
		t.Errorf("a design of %v flows, %v", d, err)
	}
	args := strings.Join(p.Args("m"), " ")
	if !strings.Contains(args, "--window=7") || strings.Contains(args, "--arch") || strings.Contains(args, "--epochs") || strings.Contains(args, "--lr") {
		t.Errorf("its command line is %s", args)
	}
	for set, want := range map[*int]string{&p.Paper.Filters: "--filters", &p.Paper.Rows: "--window"} {
		old := *set
		*set = 99
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("99 %s: %v", want, err)
		}
		*set = old
	}
	if o := p.Options(); o["augment"] != "true" || o["negatives"] != "true" || strings.Contains(args, "augment") {
		t.Errorf("learns by itself with %v, command line %s", o, args)
	}
	p.Augment = false
	if args := p.Args("m"); p.Options()["augment"] != "" || !slices.Contains(args, "--augment=false") {
		t.Errorf("without copies: %v, command line %s", p.Options(), args)
	}
	if usual, err := NewPlan("", "", ""); err != nil || usual.Arch != StreamArch {
		t.Errorf("by itself %q, %v", usual.Arch, err)
	}
	for preset, named := range map[string]bool{"": true, PresetPaper: false} {
		paper := mustPlan(t, preset, "")
		if args := paper.Args("m"); slices.Contains(args, "--arch=paper") != named {
			t.Errorf("the paper's network, preset %q: %q", preset, args)
		}
	}
	if _, err := NewPlan(PresetPaper, "", StreamArch); err == nil {
		t.Error("the paper's training of another network, and no error")
	}
}
