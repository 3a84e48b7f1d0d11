package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/report"
)

// explaining is what this program can do with explanations.
func explaining() box.Explaining {
	return box.Explaining{
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "report", Usage: "write `DIR`/explain.json, explain.html and its pictures; without --device learnt.json and learnt.html"},
			&cli.IntFlag{Name: "windows", Value: 100, Usage: "without --device: of each device and capture at most `N` windows, evenly; 0: all"}},
		Draw: drawExplanation,
		Many: explainMany,
	}
}

// drawExplanation draws one into the report's directory, that of a further capture into
// one below.
func drawExplanation(c *cli.Context, x *v1.Explanation, record model.RecordSpec, number int) error {
	dir := c.String("report")
	if dir == "" {
		return nil
	}
	if number > 1 {
		dir = filepath.Join(dir, fmt.Sprint(number))
	}
	page, err := report.Explanation(x, record)
	if err != nil {
		return fmt.Errorf("report %s: %w", dir, err)
	}
	if err := page.Write(dir, "explain.html"); err != nil {
		return err
	}
	terminal.Logger().Info("report written", "file", filepath.Join(dir, "explain.html"))
	text, err := json.Marshal(x) // a number for each value: no line for each
	if err != nil {
		return err
	}
	return report.WriteFile(dir, "explain.json", text)
}
