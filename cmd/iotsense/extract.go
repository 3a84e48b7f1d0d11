package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
)

func extractCommand() *cli.Command {
	return &cli.Command{
		Name:      "extract",
		Usage:     "write the custom-flow records of captures to a parquet file",
		ArgsUsage: "FILE|DIR... -o OUT.parquet",
		Flags: append(dataFlags(), jsonFlag,
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
}

func extract(c *cli.Context) error {
	if c.String("output") == "" {
		return usagef("extract: -o OUT.parquet is missing")
	}
	var direction flows.Direction
	if c.IsSet("model") {
		bundle, err := loadModel(c)
		if err != nil {
			return err
		}
		if direction, err = parseDirection(c, bundle); err != nil {
			return err
		}
	} else {
		var err error
		if direction, err = parseDirection(c, nil); err != nil {
			return err
		}
	}
	show, end := progress("extract")
	defer end()
	set, err := openData(c, direction, show)
	if err != nil {
		return err
	}
	report := extractReport{Output: c.String("output")}
	damaged, err := writeRecords(c.Context, set, direction, &report)
	if err != nil {
		return err
	}
	end()
	if c.Bool("json") {
		err = printJSON(c.App.Writer, report)
	} else {
		_, err = fmt.Fprintf(c.App.Writer, "%d records of %d captures written to %s (packets: %d seen, %d counted, %d not IP, %d malformed, %d truncated; %d of no device)\n",
			report.Records, report.Captures, report.Output, report.Packets.Seen, report.Packets.Counted, report.Packets.NotIP,
			report.Packets.Malformed, report.Packets.Truncated, report.Packets.NoDevice)
	}
	return errors.Join(damaged, err)
}

// writeRecords writes all records of the set to the report's output, which
// appears under its name only when it is whole. damaged tells of captures that
// could be read in part.
func writeRecords(ctx context.Context, set *dataset.Set, direction flows.Direction, report *extractReport) (damaged, err error) {
	spec, err := json.Marshal(map[string]any{
		"direction": direction.String(), "packets": flows.RowPackets, "prefix": flows.PayloadPrefix,
		"payload": flows.PayloadTokens, "lifetime_ns": flows.Lifetime,
	})
	if err != nil {
		return nil, err
	}
	err = writeFile(report.Output, func(f io.Writer) error {
		w := flows.NewRecordWriter(f, map[string]string{flows.RecordsKey: string(spec)})
		var failed error
		damaged = set.Records(ctx, func(r flows.LabelledRecord) error {
			report.Records++
			if r.Incomplete {
				report.Incomplete++
			}
			failed = w.Write(&r)
			return failed
		}, func(s dataset.CaptureSummary) error {
			report.Captures++
			report.Packets.Add(s.Stats.PacketStats)
			return nil
		})
		if err := cmp.Or(failed, ctx.Err()); err != nil {
			return err
		}
		if report.Records == 0 && damaged != nil {
			return damaged // nothing could be read: no file, not an empty one
		}
		return w.Close()
	})
	if err != nil {
		return nil, err
	}
	return damaged, nil
}
