package box

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/capture"
	"github.com/iotsense/iotsense/pkg/flows/recordfile"
	"github.com/iotsense/iotsense/pkg/identifiers"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/stress"
)

func extractCommand() *cli.Command {
	return &cli.Command{
		Name:      "extract",
		Usage:     "write the custom-flow records of captures to a parquet file",
		ArgsUsage: "FILE|DIR... -o OUT.parquet",
		Description: "Records have no window: --window and --window-mode are refused where they are not what the\n" +
			"records will be cut into anyway (those of --model; 5, padded).",
		Flags: append(DataFlags(), terminal.JSONFlag,
			&cli.StringFlag{Name: "change", Usage: "write the records of changed packets, as evaluate --stress and --first score them: `NAME` of a change, as twice or first-10s"},
			&cli.BoolFlag{Name: "scrub", Usage: "mask identifiers in payloads, as train --scrub does"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "parquet `FILE` to write"}),
		Action: extract,
	}
}

// extractReport is what `extract --json` prints.
type extractReport struct {
	Output     string            `json:"output"`
	Captures   int               `json:"captures"`
	Records    uint64            `json:"records"`
	Incomplete uint64            `json:"incomplete_records"`
	Packets    flows.PacketStats `json:"packets"`
	Skipped    int               `json:"files_passed"`  // of directories
	Overlong   uint64            `json:"overlong"`      // packets cut to their length on the wire
	Passed     uint64            `json:"blocks_passed"` // pcapng blocks without packets
	SetBack    uint64            `json:"set_back"`      // lives ended by a packet a lifetime before
}

// add counts what was read of a capture.
func (r *extractReport) add(s *capture.Stats) {
	r.Captures++
	r.Packets.Add(s.PacketStats)
	r.Overlong += s.Overlong
	r.Passed += s.Passed
	r.SetBack += s.SetBack
}

func extract(c *cli.Context) error {
	if c.String("output") == "" {
		return terminal.Usagef("extract: -o OUT.parquet is missing")
	}
	spec, err := extractedRecord(c)
	if err != nil {
		return err
	}
	show, end := terminal.Progress("extract")
	defer end()
	set, err := OpenData(c, spec, show)
	if err != nil {
		return err
	}
	written, err := parseWritten(c, set)
	if err != nil {
		return err
	}
	report := extractReport{Output: c.String("output"), Skipped: len(set.Passed())}
	damaged, err := writeRecords(c.Context, set, spec, written, &report)
	if err != nil {
		return err
	}
	end()
	out := c.App.Writer
	if sameFile(report.Output, "/dev/stdout") { // the file is there: nothing else may be
		out = os.Stderr
	}
	if c.Bool("json") {
		err = terminal.PrintJSON(out, report)
	} else {
		_, err = fmt.Fprintf(out, "%d records of %d captures written to %s (packets: %d seen, %d counted, %d not IP, %d malformed, %d truncated; %d of no device)\n",
			report.Records, report.Captures, report.Output, report.Packets.Seen, report.Packets.Counted, report.Packets.NotIP,
			report.Packets.Malformed, report.Packets.Truncated, report.Packets.NoDevice)
	}
	return errors.Join(damaged, err)
}

// extractedRecord is the record of a records file: all that its columns can hold, in
// the direction and with the lifetime of --model, if given.
func extractedRecord(c *cli.Context) (flows.RecordSpec, error) {
	bundle, err := LoadGivenModel(c)
	if err != nil {
		return flows.RecordSpec{}, err
	}
	if err := checkNoWindow(c, bundle); err != nil {
		return flows.RecordSpec{}, err
	}
	spec, err := ParseRecord(c, bundle)
	if err != nil {
		return spec, err
	}
	stored := flows.DefaultRecordSpec()
	stored.Direction, stored.Lifetime = spec.Direction, spec.Lifetime
	if err := stored.Serve(spec); err != nil {
		return spec, fmt.Errorf("no records file can hold what --model needs: %w", err)
	}
	return stored, nil
}

// parseWritten reads what is written of records, and has the set's packets changed, as flags say.
func parseWritten(c *cli.Context, set *dataset.Set) (written func(*flows.Record) *flows.Record, err error) {
	written = func(r *flows.Record) *flows.Record { return r }
	if c.Bool("scrub") {
		if set.RecordsFiles() > 0 {
			return nil, terminal.Usagef("--scrub: a records file holds no local address, those in its payloads cannot be found: name the captures it was made of")
		}
		written = identifiers.Scrub
	}
	if !c.IsSet("change") {
		return written, nil
	}
	change, err := stress.Named(c.String("change"))
	if err != nil {
		return nil, terminal.Usagef("--change: %w", err)
	}
	if c.String("manifest") == "" {
		return nil, terminal.Usagef("--change %s: name the devices that it is of in a --manifest", change.Name)
	}
	return written, set.Change(func(name string, devices []string) capture.Changer { return change.Begin(stress.Seed, name, devices) })
}

// checkNoWindow refuses windows that records cannot be told to have. Those of the model, or
// the usual ones, are what they are cut into anyway.
func checkNoWindow(c *cli.Context, bundle model.Bundle) error {
	rows, usual := cnn.DefaultRows, model.Padded
	for _, m := range bundle {
		rows, usual = m.Net.Span(), m.Record.WindowMode
	}
	if k := c.Int("window"); c.IsSet("window") && k != rows {
		return terminal.Usagef("--window %d: records have no window, it is cut by what reads them: leave the flag out", k)
	}
	mode, err := ParseWindowMode(c)
	if err != nil {
		return err
	}
	if mode != nil && *mode != usual {
		return terminal.Usagef("--window-mode %v: records have no window, it is cut by what reads them: leave the flag out", *mode)
	}
	return nil
}

// writeRecords writes all records of the set to the report's output, which
// appears under its name only when it is whole, each as it is to be written. damaged tells of captures that
// could be read in part.
func writeRecords(ctx context.Context, set *dataset.Set, spec flows.RecordSpec, written func(*flows.Record) *flows.Record, report *extractReport) (damaged, err error) {
	made, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	err = terminal.WriteFile(report.Output, func(f io.Writer) error {
		w := recordfile.NewWriter(f, map[string]string{recordfile.SpecKey: string(made)})
		var failed error
		damaged = set.Records(ctx, func(r flows.LabelledRecord) error {
			report.Records++
			if r.Incomplete {
				report.Incomplete++
			}
			r.Record = written(r.Record)
			failed = w.Write(&r)
			return failed
		}, func(s dataset.CaptureSummary) error {
			report.add(&s.Stats)
			sayFindings(s, nil, nil)
			return nil
		})
		if failed != nil {
			return failed
		}
		if err := ctx.Err(); err != nil {
			return terminal.InputFault(err)
		}
		if damaged != nil && (report.Records == 0 || dataset.Refused(damaged)) {
			return terminal.InputFault(damaged) // nothing to keep: no file, not an empty one
		}
		return w.Close()
	})
	if err != nil {
		return nil, err
	}
	return damaged, nil
}
