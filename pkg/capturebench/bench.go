package capturebench

// This file makes all runs of a measurement, in an order that has nothing to do with
// tools or scenarios.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/iotsense/iotsense/pkg/lab"
)

// Config says what to measure.
type Config struct {
	Scenarios   []Scenario
	Tools       []Tool
	Repetitions int
	Seed        uint64        // of the order of the runs
	Duration    time.Duration // of the traffic, where it does not end by itself
	Interface   string        // in place of the private pair's; empty: that
	Far         string        // address of the machine at the other end of Interface
	Hook        string        // of the sensor
	Model       string        // of the sensor that classifies; empty: the embedded one
	Sensor      string        // the sensor's program
	Peers       string        // directory of the tools that are installed
	Scripts     string        // directory of bench/peers/capture
	Iperf3      string        // name or path
	Frames      Frames        // of the home scenarios
	Step        func(done, total int, run *Run)
}

func (c *Config) places(iface, socket string) *places {
	return &places{venv: c.Peers, scripts: c.Scripts, sensor: c.Sensor, iface: iface, socket: socket, hook: c.Hook, model: c.Model}
}

// Check says what of c cannot be, before anything is started.
func (c *Config) Check() error {
	switch {
	case c.Repetitions < 1:
		return fmt.Errorf("repetitions %d: want at least 1", c.Repetitions)
	case c.Duration < time.Second || c.Duration > time.Hour:
		return fmt.Errorf("duration %v: want 1s to 1h", c.Duration)
	case (c.Interface == "") != (c.Far == ""):
		return fmt.Errorf("an interface and the address at its other end go together")
	}
	for i := range c.Scenarios {
		if s := &c.Scenarios[i]; c.Interface != "" && (s.devices > 0 || s.Group == groupOffloads) {
			return fmt.Errorf("scenario %s needs both ends of a private pair: leave it out with an interface", s.Name)
		}
	}
	return nil
}

// planned is a run to make.
type planned struct {
	scenario   *Scenario
	tool       *Tool
	repetition int
	kernel     bool
}

// plan is every run in a shuffled order: each tool in each scenario, and each arm of the
// sensor once more with the kernel's statistics, which cost too much to have on else.
func (c *Config) plan(tools []Tool) (list []planned) {
	for i := range c.Scenarios {
		s := &c.Scenarios[i]
		for j := range tools {
			t := &tools[j]
			for r := range c.Repetitions {
				list = append(list, planned{s, t, r, false})
			}
			if t.Ours && s.Group != groupIdle {
				list = append(list, planned{s, t, c.Repetitions, true})
			}
		}
	}
	r := rand.New(rand.NewPCG(c.Seed, c.Seed))
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// Measure makes every run. Tools that are not installed are left out, and said so. What it
// has made is gone when it returns, whether it has come to its end or ctx to its.
func Measure(ctx context.Context, cfg Config) (result *Result, err error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	result = &Result{
		Machine: thisMachine(), DurationS: cfg.Duration.Seconds(), Repetitions: cfg.Repetitions, Seed: cfg.Seed,
		Interface: cfg.Interface, Hook: cfg.Hook, Scenarios: cfg.Scenarios,
	}
	tools := cfg.installed(ctx, result)
	g, err := newGround(cfg.Interface, cfg.Far)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	frames := map[int][]lab.Frame{}
	source := cfg.Frames
	cfg.Frames = func(devices int) ([]lab.Frame, error) { // each home once
		if frames[devices] == nil {
			list, err := source(devices)
			if err != nil {
				return nil, err
			}
			frames[devices] = framesFrom(list)
		}
		return frames[devices], nil
	}
	list := cfg.plan(tools)
	for i, p := range list {
		run, err := cfg.measure(ctx, g, &p)
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", p.tool.Name, p.scenario.Name, err)
		}
		result.Runs = append(result.Runs, run)
		if cfg.Step != nil {
			cfg.Step(i+1, len(list), &run)
		}
	}
	result.Machine.LoadAfter = load()
	result.summarise(tools)
	return result, nil
}

// measure makes one run, again where another program's doing has spoilt it.
func (c *Config) measure(ctx context.Context, g *ground, p *planned) (Run, error) {
	const most = 3
	for attempt := 1; ; attempt++ {
		m := &measurement{
			Run: Run{Scenario: p.scenario.Name, Tool: p.tool.Name, Repetition: p.repetition},
			cfg: c, ground: g, tool: p.tool, kernel: p.kernel,
		}
		if err := m.measure(ctx, p.scenario); err != nil || m.Failed != takenOff || attempt == most {
			return m.Run, err
		}
	}
}

// installed are the tools that are there, with their versions in the result.
func (c *Config) installed(ctx context.Context, result *Result) (tools []Tool) {
	p := c.places("", "")
	for i := range c.Tools {
		t := &c.Tools[i]
		about := About{Tool: *t, Missing: p.missing(t)}
		if about.Missing == "" {
			tools = append(tools, *t)
			about.Version = c.version(ctx, t)
		}
		result.Tools = append(result.Tools, about)
	}
	return tools
}

// version is what a tool says of itself, as `make bench-capture` has written it down, or
// the sensor does.
func (c *Config) version(ctx context.Context, t *Tool) string {
	if t.Ours {
		out, _ := exec.CommandContext(ctx, c.Sensor, "--version").Output()
		return firstLine(out)
	}
	text, _ := os.ReadFile(filepath.Join(c.Peers, "versions.txt"))
	return versionOf(string(text), t.Name)
}
