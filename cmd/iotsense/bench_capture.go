package main

// This file holds the command that measures the sensor beside programs that capture
// packets.

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/bench"
	"github.com/iotsense/iotsense/pkg/capturebench"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/report"
)

func benchCaptureCommand() *cli.Command {
	return &cli.Command{
		Name:  "capture",
		Usage: "the sensor beside tools that capture packets, at the same traffic (root)",
		Description: "Watches traffic on a private pair of interfaces with one tool after another, each in a cgroup\n" +
			"of its own: the sensor counting, making records and classifying, and what `make bench-capture`\n" +
			"installs. All runs are made in a shuffled order. docs/CAPTURE.md says what the figures mean.\n" +
			"With --interface the traffic comes over a cable, from iperf3 at the other end.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "scenarios", Value: "idle,loopback,veth,length", Usage: "`NAME,...` or groups: idle, loopback, veth, length, offloads, home; all"},
			&cli.StringFlag{Name: "tools", Value: "all", Usage: "`NAME,...`"},
			&cli.IntFlag{Name: "repetitions", Value: 5, Usage: "`N` runs of each tool in each scenario"},
			&cli.DurationFlag{Name: "duration", Value: 10 * time.Second, Usage: "of the traffic, `D`"},
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "`N`, of the order of the runs"},
			&cli.StringFlag{Name: "hook", Value: string(attach.HookAuto), Usage: "`auto|xdp|xdp-generic|tcx|tc`, of the sensor"},
			&cli.StringFlag{Name: "model", Usage: "model `FILE` of the sensor (default: the embedded model)"},
			&cli.StringFlag{Name: "manifest", Usage: "captures of the home scenarios, a `FILE` (default: the device lab's)"},
			&cli.StringFlag{Name: "interface", Aliases: []string{"i"}, Usage: "`IFACE` with a cable to another machine, in place of a private pair"},
			&cli.StringFlag{Name: "far", Usage: "with --interface: `ADDR` of iperf3 at the other end"},
			&cli.StringFlag{Name: "sensor", Usage: "the sensor's program, a `FILE` (default: iotsense-box beside this one, else this one)"},
			&cli.StringFlag{Name: "peers", Value: "build/capture", Usage: "`DIR` of the tools"},
			&cli.StringFlag{Name: "scripts", Value: "bench/peers/capture", Usage: "`DIR` of the scripts that run them"},
			&cli.StringFlag{Name: "report", Usage: "write a page and capture.json into `DIR`"},
			terminal.JSONFlag,
		},
		Action: benchCapture,
	}
}

func benchCapture(c *cli.Context) error {
	cfg, err := captureConfig(c)
	if err != nil {
		return err
	}
	if err := checkSensor(c, "bench capture"); err != nil {
		return err
	}
	if err := report.MakeDir(c.String("report")); err != nil {
		return err
	}
	if err := errors.Join(clearWay(c.Context), capturebench.RemoveStale()); err != nil {
		return err
	}
	show, end := terminal.Progress("bench capture")
	cfg.Step = func(done, total int, r *capturebench.Run) { show(done, total, r.Tool+" "+r.Scenario) }
	result, err := capturebench.Measure(c.Context, cfg)
	end()
	if err != nil {
		return fmt.Errorf("bench capture: %w", err)
	}
	if err := writeCapture(c.String("report"), result); err != nil {
		return err
	}
	return printCapture(c.App.Writer, result, c.Bool("json"))
}

// writeCapture writes the page and the figures behind it into a directory; "": none.
func writeCapture(dir string, result *capturebench.Result) error {
	if dir == "" {
		return nil
	}
	page, err := report.CaptureReport(result)
	if err != nil {
		return fmt.Errorf("bench capture: %w", err)
	}
	return errors.Join(report.WriteJSON(dir, "capture.json", result), page.Write(dir, "capture.html"))
}

func captureConfig(c *cli.Context) (cfg capturebench.Config, err error) {
	cfg = capturebench.Config{
		Repetitions: c.Int("repetitions"), Seed: c.Uint64("seed"), Duration: c.Duration("duration"),
		Interface: c.String("interface"), Far: c.String("far"), Hook: c.String("hook"), Model: c.String("model"),
		Peers: c.String("peers"), Scripts: c.String("scripts"), Iperf3: "iperf3",
	}
	if cfg.Scenarios, err = capturebench.ParseScenarios(c.String("scenarios")); err != nil {
		return cfg, terminal.WrongUsage(fmt.Errorf("--scenarios: %w", err))
	}
	if cfg.Tools, err = capturebench.ParseTools(c.String("tools")); err != nil {
		return cfg, terminal.WrongUsage(fmt.Errorf("--tools: %w", err))
	}
	if err := cfg.Check(); err != nil {
		return cfg, terminal.WrongUsage(err)
	}
	if cfg.Sensor, err = sensorProgram(c.String("sensor")); err != nil {
		return cfg, err
	}
	if !capturebench.NeedFrames(cfg.Scenarios) {
		return cfg, nil
	}
	captures, _, err := benchCaptures(c)
	if err != nil {
		return cfg, err
	}
	cfg.Frames = func(devices int) ([]lab.Frame, error) {
		fleet, err := bench.NewFleet(captures, devices)
		if err != nil {
			return nil, err
		}
		return fleet.Frames(), nil
	}
	return cfg, nil
}

// sensorProgram is what a box runs, where it lies beside this program.
func sensorProgram(asked string) (string, error) {
	if asked != "" {
		path, err := filepath.Abs(asked)
		if err == nil {
			_, err = os.Stat(path)
		}
		if err != nil {
			return "", fmt.Errorf("--sensor: %w", err)
		}
		return path, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	if box := filepath.Join(filepath.Dir(self), "iotsense-box"); isFile(box) {
		return box, nil
	}
	return self, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func printCapture(w io.Writer, r *capturebench.Result, asJSON bool) error {
	if asJSON {
		return terminal.PrintJSON(w, r)
	}
	for _, t := range r.Tools {
		if t.Missing != "" {
			terminal.Say("%s is not installed (%s): `make bench-capture` does that", t.Name, t.Missing)
		}
	}
	for _, s := range r.Scenarios {
		if _, err := fmt.Fprintf(w, "\n%s: %s\n", s.Name, s.Title); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
		t := terminal.NewTable(w, "Tool", "Packets", "Lost, %", "CPU, %", "us/packet", "Net", "Kernel", "Others", "RSS, MB", "Drain, ms", "Failed")
		for _, row := range r.Rows {
			if row.Scenario != s.Name {
				continue
			}
			t.AppendRow(table.Row{row.Tool, span(row.Packets, 0), span(row.LossPercent, 2), span(row.CPUPercent, 2), span(row.PerPacketUS, 2),
				span(row.NetUS, 2), span(row.KernelUS, 2), span(row.OthersUS, 2), span(row.PeakRSSMB, 0), span(row.DrainMS, 0), row.Failed})
		}
		t.Render()
	}
	return firstFailure(r)
}

// span is a median with its range, where there is one.
func span(r *capturebench.Range, decimals int) string {
	return r.Text(func(v float64) string { return fmt.Sprintf("%.*f", decimals, v) })
}

// firstFailure is why a run has no figures; nil: every run has.
func firstFailure(r *capturebench.Result) error {
	failed, first := 0, ""
	for _, run := range r.Runs {
		if run.Failed != "" {
			failed++
			first = cmp.Or(first, fmt.Sprintf("%s, %s: %s", run.Tool, run.Scenario, run.Failed))
		}
	}
	if failed == 0 {
		return nil
	}
	return fmt.Errorf("bench capture: %d of %d runs failed, the first: %s", failed, len(r.Runs), first)
}
