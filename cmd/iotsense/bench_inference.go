package main

// This file holds the command that measures the inference engine.

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/bench"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
)

// Values of --rows.
const (
	realRows = "real"
	fullRows = "full"
)

// largestBatch bounds --batch: a device's state for each input must fit in memory.
const largestBatch = 1 << 14

func benchInferenceCommand() *cli.Command {
	return &cli.Command{
		Name:      "inference",
		Usage:     "what a verdict costs: throughput, latency and memory of the engine",
		ArgsUsage: "[DATA]",
		Description: "cold: independent windows, each computed from all its rows (of a stream network up to 20, into\n" +
			"an empty memory). sliding: as live, the next window of each of as many devices as the batch is\n" +
			"large: one new flow into a memory that is kept. p50 and p99 are of the time that a batch takes,\n" +
			"divided by its inputs. Without DATA and --manifest the windows are of the project's own device\n" +
			"lab: generated traffic, whose rows are shorter than those of real devices.",
		Flags: append(box.DataFlags(), terminal.JSONFlag,
			&cli.StringFlag{Name: "batch", Value: "1,2,4,8,16,32,64,128,256", Usage: "`N,...` concurrent inputs"},
			&cli.IntFlag{Name: "threads", Value: 1, Usage: "`N` threads, each with batches of its own"},
			&cli.StringFlag{Name: "mode", Value: string(bench.Sliding), Usage: "`cold|sliding`"},
			&cli.StringFlag{Name: "rows", Value: realRows, Usage: "`real|full`: full is the worst case, every row filled to its last value"},
			&cli.IntFlag{Name: "runs", Value: 5, Usage: "`N` runs of each batch size; the figures are medians"},
			&cli.DurationFlag{Name: "time", Value: time.Second, Usage: "`D` that a run takes"},
			&cli.IntFlag{Name: "windows", Usage: "a sample of `N` windows (cold; default: all)"},
			&cli.StringFlag{Name: "dump", Hidden: true, Usage: "also write the windows and the answers to `DIR`, for bench/peers"},
		),
		Action: benchInference,
	}
}

// inferenceReport is what `bench inference --json` prints.
type inferenceReport struct {
	Model      string               `json:"model"`
	Engine     string               `json:"engine"` // code path: avx2, neon, go
	Threads    int                  `json:"threads"`
	Mode       bench.Mode           `json:"mode"`
	Rows       string               `json:"rows"` // real, or full: the worst case
	Data       string               `json:"data"`
	Windows    int                  `json:"windows"`
	Runs       int                  `json:"runs"`
	RowLengths bench.Lengths        `json:"row_lengths"`    // values before the padding
	RSSProcess float64              `json:"rss_process_mb"` // model and engines loaded, without the windows
	RSSBase    float64              `json:"rss_base_mb"`    // the windows loaded, before the model is opened
	RSSLoaded  float64              `json:"rss_loaded_mb"`  // windows, model and engines loaded, before the first inference
	Batches    []bench.BatchFigures `json:"batches"`
}

func benchInference(c *cli.Context) error {
	cfg, err := inferenceConfig(c)
	if err != nil {
		return err
	}
	report := inferenceReport{
		Model: modelName(c), Threads: cfg.Threads, Mode: cfg.Mode, Rows: c.String("rows"), Runs: cfg.Runs,
	}
	start, err := bench.Settled()
	if err != nil {
		return err
	}
	traffic, mapped, err := inferenceTraffic(c, &report, start)
	if err != nil {
		return err
	}
	b := bench.NewInference(cfg, traffic)
	base, err := bench.Settled()
	if err != nil {
		return err
	}
	m, err := loadOneModel(c)
	if err != nil {
		return err
	}
	figures, err := b.Run(c.Context, m)
	if err != nil {
		return fmt.Errorf("bench inference: %w", err)
	}
	report.Engine = figures.Engine
	report.RSSBase, report.RSSLoaded, report.Batches = bench.MB(base.Total-mapped), bench.MB(figures.Loaded), figures.Batches
	report.RSSProcess = bench.MB(start.Total) + report.RSSLoaded - report.RSSBase
	return report.print(c.App.Writer, c.Bool("json"))
}

// modelName is what --model names.
func modelName(c *cli.Context) string {
	if name := c.String("model"); name != "" {
		return name
	}
	return "embedded"
}

// loadOneModel reads the model that --model names, which must be for all traffic.
func loadOneModel(c *cli.Context) (*model.Model, error) {
	bundle, err := box.LoadModel(c)
	if err != nil {
		return nil, err
	}
	m, ok := bundle[""]
	if !ok {
		return nil, fmt.Errorf("model %s holds a model for each of %d services: name one that is for all traffic", modelName(c), len(bundle))
	}
	return m, nil
}

func inferenceConfig(c *cli.Context) (bench.InferenceConfig, error) {
	cfg := bench.InferenceConfig{Threads: c.Int("threads"), Runs: c.Int("runs"), Time: c.Duration("time")}
	for _, s := range strings.Split(c.String("batch"), ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > largestBatch {
			return cfg, terminal.Usagef("--batch %q: want numbers from 1 to %d, separated by commas", c.String("batch"), largestBatch)
		}
		cfg.Batches = append(cfg.Batches, n)
	}
	if most := runtime.NumCPU(); cfg.Threads < 1 || cfg.Threads > most {
		return cfg, terminal.Usagef("--threads %d: want 1 to the %d of this machine", cfg.Threads, most)
	}
	if cfg.Runs < 1 || cfg.Time <= 0 {
		return cfg, terminal.Usagef("--runs %d, --time %v: want at least one run of some time", cfg.Runs, cfg.Time)
	}
	if rows := c.String("rows"); !slices.Contains([]string{realRows, fullRows}, rows) {
		return cfg, terminal.Usagef("--rows %q: want %s or %s", rows, realRows, fullRows)
	}
	var err error
	if cfg.Mode, err = bench.ParseMode(c.String("mode")); err != nil {
		return cfg, terminal.WrongUsage(fmt.Errorf("--mode: %w", err))
	}
	if n := c.Int("windows"); n < 0 || n > 0 && cfg.Mode != bench.Cold {
		return cfg, terminal.Usagef("--windows %d: want a number of windows to take in --mode cold", n)
	}
	return cfg, nil
}

// inferenceTraffic makes the windows. It looks at the model to know how to cut
// them, and forgets it again; mapped is how much of the program's file that look
// has made resident: an embedded model, which is not part of the base.
func inferenceTraffic(c *cli.Context, report *inferenceReport, start bench.Memory) (traffic *bench.Traffic, mapped int64, err error) {
	m, err := loadOneModel(c)
	if err != nil {
		return nil, 0, err
	}
	looked, err := bench.Settled()
	if err != nil {
		return nil, 0, err
	}
	spec, mode, err := box.ParseStream(c, model.Bundle{"": m})
	if err != nil {
		return nil, 0, err
	}
	streams, err := inferenceStreams(c, spec, m.Record.Stream(), report)
	if err != nil {
		return nil, 0, err
	}
	if c.String("rows") == fullRows {
		streams = bench.FullRows(m.Record, streams)
	}
	if mode == nil {
		mode = &m.Record.WindowMode
	}
	if traffic, err = bench.NewTraffic(streams, m.Net.Span(), mode.First(m.Net.Strict()), c.Int("windows")); err != nil {
		return nil, 0, err
	}
	report.Windows = len(traffic.Windows())
	report.RowLengths = bench.RowLengths(m.Record, traffic)
	if dir := c.String("dump"); dir != "" {
		err = dumpInference(dir, m, traffic)
	}
	return traffic, max(0, looked.File-start.File), err
}

// inferenceStreams are the streams of the data that the flags name, or of the device
// lab, made as spec says and cut as of does.
func inferenceStreams(c *cli.Context, spec flows.RecordSpec, of flows.StreamSpec, report *inferenceReport) ([]bench.Stream, error) {
	if !c.Args().Present() && c.String("manifest") == "" {
		for _, f := range box.SourceFlags() {
			if name := f.Names()[0]; c.IsSet(name) {
				return nil, terminal.Usagef("--%s: say with DATA or --manifest of what: without them the windows are of the device lab", name)
			}
		}
		report.Data = "device lab (generated)"
		return labStreams(spec, of)
	}
	show, end := terminal.Progress("bench inference")
	defer end()
	set, err := box.OpenData(c, spec, show)
	if err != nil {
		return nil, err
	}
	report.Data = fmt.Sprintf("%d files", set.Len())
	var streams []bench.Stream
	place := map[[2]string]int{}
	_, err = set.Steps(c.Context, of, func(x dataset.Example) error {
		key := [2]string{x.Capture, x.Name}
		i, ok := place[key]
		if !ok {
			i = len(streams)
			place[key] = i
			streams = append(streams, nil)
		}
		streams[i] = append(streams[i], x.Row)
		return nil
	})
	return streams, err
}

func labStreams(spec flows.RecordSpec, of flows.StreamSpec) ([]bench.Stream, error) {
	captures, err := bench.LabHouseholds()
	if err != nil {
		return nil, err
	}
	var streams []bench.Stream
	for i := range captures {
		streams = append(streams, captures[i].Streams(spec, of)...)
	}
	return streams, nil
}

func (r *inferenceReport) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return terminal.PrintJSON(w, r)
	}
	l := r.RowLengths
	_, err := fmt.Fprintf(w, `%s, model %s, engine %s, %d thread(s)
%d windows, %s; rows %s: median %d values, mean %d, p90 %d, most %d
resident: %.1f MB before the model is opened, %.1f MB more with model and engine

`, r.Mode, r.Model, r.Engine, r.Threads, r.Windows, r.Data, r.Rows, l.P50, l.Mean, l.P90, l.Max, r.RSSBase, r.RSSLoaded-r.RSSBase)
	if err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	t := terminal.NewTable(w, "Batch", "Inferences/s", "us each, p50", "us each, p99", "MB over base")
	for _, b := range r.Batches {
		t.AppendRow(table.Row{b.Batch, fmt.Sprintf("%.0f", b.PerSecond), fmt.Sprintf("%.1f", b.P50), fmt.Sprintf("%.1f", b.P99), fmt.Sprintf("%.1f", b.RSS-r.RSSBase)})
	}
	t.Render()
	return nil
}
