package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/experiment"
	"github.com/iotsense/iotsense/pkg/model"
)

// Groups of flags.
const (
	sourceNames = "manifest split dates local offloaded "
	streamNames = "direction window window-mode "
	planNames   = "preset arch ipv6 scrub augment negatives taxonomy no-facts scale-delimiters epochs batch lr ema patience threads min-per-class max-per-class validation memory "
	learnNames  = planNames + "strategy services ablate without filters packets payload "
	apartNames  = "validation-split validation-dates "
	foldingName = "split-by folds fold fold-seed "
	seriesNames = sourceNames + "window window-mode direction " + planNames + apartNames + "json seed report seeds resume test-split test-dates "
)

// commandFlags are the flags of each command: all that it uses, and those that the
// contract lists for it, which it refuses by name where they say what cannot be.
var commandFlags = map[string]string{
	"run": "sinks.hold sinks.digest sinks.allow sinks.webhook.url sinks.webhook.token-file sinks.webhook.ca-file sinks.webhook.events " +
		"sinks.mqtt.url sinks.mqtt.username sinks.mqtt.password-file sinks.mqtt.ca-file sinks.mqtt.topic sinks.mqtt.discovery " +
		"sinks.nats.url sinks.nats.username sinks.nats.password-file sinks.nats.token-file sinks.nats.creds-file sinks.nats.ca-file sinks.nats.subject sinks.nats.jetstream " +
		"sinks.ntfy.url sinks.ntfy.token-file sinks.ntfy.ca-file sinks.ntfy.events " +
		"ipfix ipfix-domain ipfix-enterprise ipfix-ca flows-json flows-json-size " +
		"keep explain-rate page-payload no-sandbox no-facts interface hook promisc model models local ignore ring-size max-flows max-devices socket listen token-file tls-cert tls-key state record record-size config log log-level pin json duration kernel-stats " +
		"packets prefix flow-timeout direction speed",
	"extract":         sourceNames + streamNames + "model json output change scrub",
	"analyze":         sourceNames + streamNames + "model json leaks ipv6 report",
	"classify":        sourceNames + streamNames + "model json no-facts explain",
	"explain":         sourceNames + streamNames + "model json no-facts device window-index on why-not top report windows socket",
	"facts":           "device local socket json",
	"mud":             "device local url socket",
	"model":           "",
	"model info":      "model json",
	"model export":    "model onnx service output",
	"model import":    "output like labels",
	"train":           sourceNames + streamNames + foldingName + learnNames + apartNames + "json add-class model output seed report checkpoint checkpoint-every",
	"evaluate":        sourceNames + streamNames + foldingName + "model json merge leave-out bootstrap draws report predictions stress first strangers taxonomy no-facts",
	"crossval":        sourceNames + streamNames + learnNames + "json split-by folds seeds bootstrap report",
	"strategies":      seriesNames + "services",
	"ablation":        seriesNames + "variants fixed",
	"lab":             "units captures duration seed",
	"demo":            "captures speed hook duration model seed page learn json",
	"config":          "",
	"config check":    "",
	"config show":     "",
	"devices":         "socket json",
	"flows":           "socket json",
	"stats":           "socket json",
	"events":          "follow socket json",
	"label":           "off socket json",
	"top":             "socket",
	"forget":          "socket json",
	"merge":           "socket json",
	"split":           "socket json",
	"lock":            "off socket json",
	"ignore":          "off socket json",
	"registry":        "",
	"registry export": "state csv output",
	"registry import": "state",
	"registry check":  "state json",
	"doctor":          "interface json",
	"bench":           "",
	"bench kernel":    "json",
	"bench inference": sourceNames + streamNames + "model json batch threads mode rows runs time windows dump",
	"bench pipeline":  "manifest model json devices",
	"bench live":      "manifest model json devices speed time hook",
	"bench capture":   "scenarios tools repetitions duration seed hook model manifest interface far sensor peers scripts report json",
	"bench naming":    sourceNames + streamNames + "model json first strangers taxonomy table",
	"completion":      "",
	"completion bash": "as",
	"completion zsh":  "as",
	"completion fish": "as",
	"man":             "as",
	"learn":           "record models model socket labels memory threads seed again status json",
	"model rollback":  "models socket json",
	"bench samples":   "rate time runs payload macs max-flows hook kernel-stats blocked json",
}

// flagNames are the flags of every command, sorted.
func flagNames() map[string][]string {
	all := map[string][]string{}
	var walk func(before string, commands []*cli.Command)
	walk = func(before string, commands []*cli.Command) {
		for _, c := range commands {
			if c.SkipFlagParsing {
				continue // it takes all words as they are
			}
			names := []string{}
			for _, f := range c.Flags {
				names = append(names, f.Names()[0])
			}
			slices.Sort(names)
			all[before+c.Name] = names
			walk(before+c.Name+" ", c.Subcommands)
		}
	}
	walk("", newApp().Commands)
	return all
}

// runLine runs a command line in this process.
func runLine(t *testing.T, args ...string) error {
	t.Helper()
	app := newApp()
	app.Writer = &strings.Builder{}
	return app.RunContext(t.Context(), terminal.FlagsFirst(app, append([]string{"iotsense"}, args...)))
}

// Every command has the flags that it uses, and refuses each flag of the others.
func TestEveryCommandAndFlag(t *testing.T) {
	got, all := flagNames(), map[string]bool{}
	for name, flags := range got {
		want := strings.Fields(commandFlags[name])
		slices.Sort(want)
		if _, listed := commandFlags[name]; !listed || !slices.Equal(flags, want) {
			t.Errorf("%s has the flags\n     %v\nwant %v", name, flags, want)
		}
		for _, f := range flags {
			all[f] = true
		}
	}
	if len(got) != len(commandFlags) {
		t.Errorf("commands %v", slices.Sorted(maps.Keys(got)))
	}
	for name, flags := range got {
		for f := range all {
			if slices.Contains(flags, f) {
				continue
			}
			err := runLine(t, append(strings.Fields(name), "--"+f+"=1")...)
			if _, usage := err.(terminal.UsageError); !usage || !strings.Contains(err.Error(), "not defined: -"+f) {
				t.Errorf("%s --%s: %v", name, f, err)
			}
		}
	}
}

// A flag that the contract lists, or that has a meaning beside another only, is refused
// by name where it could change nothing.
func TestFlagsWithoutMeaning(t *testing.T) {
	readHere(t)
	strict := changedModel(t, func(r *model.RecordSpec) { r.WindowMode = model.Strict })
	for _, tt := range []struct {
		line string
		says string // "": it is fine
	}{
		{"train d/a.pcap -o m --model /nonexistent", "--model /nonexistent: training begins with no model"},
		{"train d/a.pcap -o m --add-class --epochs 3", "--add-class: --epochs: the model says it"},
		{"train d/a.pcap -o m --add-class --negatives", "--add-class: --negatives: the model says it"},
		{"train d/a.pcap --add-class", "-o MODEL is missing"},
		{"train d/a.pcap -o m --taxonomy=", "--taxonomy: name the file"},
		{"train d/a.pcap -o m --checkpoint-every 1s", "--checkpoint-every: name with --checkpoint"},
		{"train d/a.pcap -o m --fold 1", "--fold: say with --split-by"},
		{"train d/a.pcap -o m --arch tower", `--arch "tower": want paper or stream`},
		{"crossval d/a.pcap --arch tower", `--arch "tower": want paper or stream`},
		{"strategies d/a.pcap --split a --test-split b --arch tower", `--arch "tower": want paper or stream`},
		{"ablation d/a.pcap --split a --test-split b --arch tower", `--arch "tower": want paper or stream`},
		{"evaluate d/a.pcap --folds 3", "--folds: say with --split-by"},
		{"evaluate d/a.pcap --bootstrap 0 --draws", "--draws: --bootstrap 0"},
		{"evaluate d/a.pcap --window 99", "--window 99"},
		{"classify d/a.pcap --window 99", "--window 99"},
		{"analyze d/a.pcap --model lab --window 99", "--window 99"},
		{"extract d/a.pcap -o r7 --change tripled", `--change: no change "tripled": there are late-30s, `},
		{"extract d/a.pcap -o r8 --change first--1s", `no change "first--1s"`},
		{"extract d/a.pcap -o r9 --change twice", "--change twice: name the devices that it is of in a --manifest"},
		{"extract d/a.pcap -o r1 --window 99", "--window 99: records have no window"},
		{"extract d/a.pcap -o r2 --window-mode strict", "--window-mode strict: records have no window"},
		{"extract d/a.pcap -o r3 --window-mode odd", "odd"},
		{"extract d/a.pcap -o r4 --window 5 --window-mode padded", ""},
		{"extract d/a.pcap -o r5 --window 20 --window-mode strict --model " + strict, ""},
		{"extract d/a.pcap -o r6 --window-mode padded --model " + strict, "--window-mode padded: records have no window"},
		{"bench inference --split test", "--split: say with DATA or --manifest"},
		{"demo --captures d --seed 2", "--seed: what is played is of --captures"},
		{"run --interface=", `-i "": no interface`},
		{"run -i lo -i ../lo", `-i "../lo": no interface`},
		{"run -i lo -i " + strings.Repeat("l", 128), "no interface can have this name"},
		{"run -i lo --duration -1s", "--duration -1s: want a time"},
		{"run -i lo --max-flows 16777217", "max-flows 16777217: want 1 to 16777216"},
		{"run -i lo --max-flows 0", "--max-flows 0: want at least 1"},
		{"run -i lo --max-devices -1", "--max-devices -1: want at least 1"},
		{"run -i lo --keep --pin=", "--keep: what is kept is pinned"},
		{"run -i lo --packets 0", "--packets 0: the model needs 10"},
		{"run -i lo --model none --packets 3", "--packets 3: the model needs 10"},
		{"bench capture --scenarios odd", `--scenarios: "odd": want all or some of idle, `},
		{"bench capture --tools odd", `--tools: "odd": want all or some of none, count, `},
		{"bench capture --repetitions 0", "repetitions 0: want at least 1"},
		{"bench capture --interface eth0", "an interface and the address at its other end go together"},
		{"run -i lo --ring-size 1025MiB", `--ring-size: size "1025MiB": want`},
		{"run -i lo --ring-size 5000GiB", "up to 1024 MiB"},
		{"learn --memory 100MiB", "--memory: 100MiB: want 192 MiB or more"},
		{"demo --learn --duration 9s", "leave --duration out"},
		{"learn captures", `learn takes no argument, got "captures"`},
		{"model rollback x", `model rollback takes no argument, got "x"`},
		{"run -i lo --record x --record-size 15MiB", "--record-size 15MiB: want 16 MiB or more"},
		{"run -i lo --record-size 20MiB", "--record DIR, which is missing"},
		{"run -i lo --record x --model none --packets 0", "--record x: with --packets 0"},
		{"run -i lo -i lo", "interface lo is named twice"},
		{"bench inference --offloaded", "--offloaded: say with DATA or --manifest"},
	} {
		err := runLine(t, strings.Fields(tt.line)...)
		_, usage := err.(terminal.UsageError)
		switch {
		case tt.says == "" && err != nil:
			t.Errorf("%s: %v", tt.line, err)
		case tt.says != "" && (!usage || !strings.Contains(err.Error(), tt.says)):
			t.Errorf("%s: %v, want %s", tt.line, err, tt.says)
		}
	}
}

// planOf is the plan of a command line of train.
func planOf(t *testing.T, args []string) *experiment.Plan {
	t.Helper()
	var plan *experiment.Plan
	app := newApp()
	i := slices.IndexFunc(app.Commands, func(c *cli.Command) bool { return c.Name == "train" })
	app.Commands[i].Action = func(c *cli.Context) (err error) {
		plan, err = planTraining(c)
		return err
	}
	if err := app.RunContext(t.Context(), terminal.FlagsFirst(app, append([]string{"iotsense"}, args...))); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return plan
}

// The command line that a plan prints is that of the same plan.
func TestPlanPrintsItself(t *testing.T) {
	for _, line := range []string{
		"train x -o m",
		"train x y -o m --manifest a.csv --split a --split b --seed 7 --local 10.0.0.0/8 --local fd00::/8 --offloaded --memory 3MiB --threads 3",
		"train x -o m --dates 2016-09-23 --validation-dates 2016-09-24..2016-09-25 --validation 0.4",
		"train x -o m --split a --validation-split b --validation-split c --direction uni --window 3 --window-mode strict --ipv6 --scrub --augment --negatives",
		"train x -o m --preset paper --strategy specialised --services udp/53,tcp/80 --max-per-class 20000 --min-per-class 50",
		"train x -o m --preset paper --strategy mixed --window-mode padded --ema 0.999 --patience 20",
		"train x -o m --arch paper --split-by unit --folds 4 --ablate conv1 --ablate dense --without time --without ports --filters 4 --packets 3 --payload 500",
		"train x -o m --split-by time --folds 4 --fold 2 --fold-seed 9 --scale-delimiters --epochs 3 --batch 5 --lr 0.0003",
		"train x -o m --arch stream --augment=false --negatives=false --direction bi --strategy all --validation 0.2 --memory 512MiB",
	} {
		first := planOf(t, strings.Fields(line))
		args := first.Args("m")
		second := planOf(t, args)
		if got := second.Args("m"); !slices.Equal(got, args) {
			t.Errorf("%s prints\n     %q\nwhich prints\n     %q", line, args, got)
		}
		if a, b := first.Options(), second.Options(); !maps.Equal(a, b) {
			t.Errorf("%s: options %v, and of what it prints %v", line, a, b)
		}
		if a, b := fmt.Sprintf("%+v", first.Train), fmt.Sprintf("%+v", second.Train); a != b || first.Memory != second.Memory || first.Share != second.Share {
			t.Errorf("%s: %s, and what it prints %s", line, a, b)
		}
	}
}
