package main

// This file holds the commands that measure the whole path from packet to
// verdict: in one process from frames in memory, and live through the kernel.

import (
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/bench"
	"github.com/iotsense/iotsense/pkg/dataset"
)

func benchPipelineCommand() *cli.Command {
	return &cli.Command{
		Name:  "pipeline",
		Usage: "packet to verdict on one core, without the kernel half: rates and memory by number of devices",
		Description: "Plays captures as fast as it goes through parser, flow table, windows, engine and registry.\n" +
			"Captures are multiplied to the number of devices, each with a MAC and addresses of its own.\n" +
			"Without --manifest they are those of the device lab. Rates are per second of CPU time.",
		Flags: append(fleetFlags(),
			&cli.StringFlag{Name: "devices", Value: "10,100,1000,10000", Usage: "`N,...` devices"}),
		Action: benchPipeline,
	}
}

// fleetFlags are those of the commands that multiply captures.
func fleetFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "manifest", Usage: "CSV `FILE` that lists the captures to multiply (default: the device lab)"},
		box.ModelFlag, terminal.JSONFlag,
	}
}

func benchPipeline(c *cli.Context) error {
	sizes, err := parseCounts("devices", c.String("devices"))
	if err != nil {
		return err
	}
	bundle, err := box.LoadModel(c)
	if err != nil {
		return err
	}
	captures, data, err := benchCaptures(c)
	if err != nil {
		return err
	}
	var all []bench.PipelineFigures
	for _, n := range sizes {
		fleet, err := bench.NewFleet(captures, n)
		if err != nil {
			return err
		}
		f, err := bench.Pipeline(c.Context, bundle, fleet)
		if err != nil {
			return fmt.Errorf("bench pipeline: %w", err)
		}
		all = append(all, f)
	}
	return printPipeline(c.App.Writer, c, data, all)
}

// parseCounts reads numbers separated by commas.
func parseCounts(flag, text string) ([]int, error) {
	var counts []int
	for _, s := range strings.Split(text, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return nil, terminal.Usagef("--%s %q: want numbers from 1 on, separated by commas", flag, text)
		}
		counts = append(counts, n)
	}
	return counts, nil
}

// benchCaptures are the captures of --manifest, or the device lab's, and what
// they are in words.
func benchCaptures(c *cli.Context) (captures []bench.Household, data string, err error) {
	path := c.String("manifest")
	if path == "" {
		captures, err = bench.LabHouseholds()
		return captures, "device lab (generated)", err
	}
	listed, err := dataset.ReadManifest(path)
	if err != nil {
		return nil, "", err
	}
	for _, l := range listed {
		one, err := captureFrames(l)
		if err != nil {
			return nil, "", err
		}
		captures = append(captures, one)
	}
	return captures, fmt.Sprintf("%d captures of %s", len(captures), filepath.Base(filepath.Dir(path))), nil
}

func printPipeline(w io.Writer, c *cli.Context, data string, all []bench.PipelineFigures) error {
	if c.Bool("json") {
		return terminal.PrintJSON(w, map[string]any{"data": data, "model": modelName(c), "steps": all})
	}
	if _, err := fmt.Fprintf(w, "packet to verdict on one core, %s, model %s\n\n", data, modelName(c)); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	t := terminal.NewTable(w, "Devices", "With verdict", "Packets/s", "Mbit/s", "Flows/s", "Inferences/s", "Packets", "Lost", "MB running", "MB at rest")
	for _, f := range all {
		t.AppendRow(table.Row{f.Devices, f.Verdicts, whole(f.PacketRate), whole(f.Megabits), whole(f.Flows), whole(f.Inferences),
			f.Packets, f.Lost, whole(f.Running), whole(f.Resting)})
	}
	t.Render()
	return nil
}

func whole(v float64) string { return fmt.Sprintf("%.0f", v) }
