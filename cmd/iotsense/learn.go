package main

// This file learns from what a sensor recorded, and hands it the model.

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/ask"
	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api/client"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/learning"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/recording"
	"github.com/iotsense/iotsense/pkg/store"
)

const (
	defaultRecordings = "/var/lib/iotsense/records"
	defaultModels     = "/var/lib/iotsense/models"

	// programMemory is what the program takes beside records, rowMemory what it takes to hold
	// one and learn from it.
	programMemory, rowMemory = 128 << 20, 7 << 10
	leastMemory              = 192 << 20

	// labelsOption and baseOption are where a model says of which labels it was learned, and to
	// what they were added.
	labelsOption, baseOption = "learn-labels", "learn-base"
)

func learnCommand() *cli.Command {
	return &cli.Command{
		Name:  "learn",
		Usage: "make a model for this network of what the sensor recorded and the labels given, and take it if it is better",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "record", Value: defaultRecordings, Usage: "`DIR` of run --record"},
			modelsFlag(),
			&cli.StringFlag{Name: "model", Usage: "model `FILE` that the labels are added to, as run --model (default: the embedded model)"},
			ask.SocketFlag,
			&cli.StringFlag{Name: "labels", Usage: "take labels and facts from this `FILE` of `registry export`, and hand the model to nobody (default: the sensor's)"},
			&cli.StringFlag{Name: "memory", Value: "300MiB", Usage: "`SIZE` that it takes at most"},
			&cli.IntFlag{Name: "threads", Value: 1, Usage: "`N` to learn with"},
			&cli.Int64Flag{Name: "seed", Usage: "`N` that all that is drawn comes from"},
			&cli.BoolFlag{Name: "again", Usage: "learn, though the model of these labels was gone back from"},
			&cli.BoolFlag{Name: "status", Usage: "learn nothing: say which model the sensor judges by, and what came of learning last"},
			terminal.JSONFlag,
		},
		Action: learnModel,
	}
}

func modelsFlag() cli.Flag {
	return &cli.StringFlag{Name: "models", Value: defaultModels, Usage: "`DIR` of run --models, for the last three models"}
}

func rollbackCommand() *cli.Command {
	return &cli.Command{
		Name: "rollback", Usage: "go back to the model before the newest one that was learned",
		Flags:  []cli.Flag{modelsFlag(), ask.SocketFlag, terminal.JSONFlag},
		Action: rollBack,
	}
}

// learned is what learn prints.
type learned struct {
	*learning.Report
	Time         v1.Time `json:"time"` // when it ended
	Taken        bool    `json:"taken"`
	Model        *string `json:"model"`         // file; null: none was taken
	MemoriesKept *bool   `json:"memories_kept"` // by the sensor; null: none has it yet
	Seconds      float64 `json:"seconds"`
	MemoryMB     float64 `json:"memory_mb"` // the most that was resident
}

func learnModel(c *cli.Context) error {
	if c.Bool("status") {
		return learnStatus(c)
	}
	memory, err := box.ParseSize(c.String("memory"), math.MaxInt)
	if err == nil && memory < leastMemory {
		err = fmt.Errorf("%s: want %d MiB or more", c.String("memory"), leastMemory>>20)
	}
	if err != nil {
		return terminal.WrongUsage(fmt.Errorf("--memory: %w", err))
	}
	begun := time.Now()
	debug.SetMemoryLimit(int64(memory) - programMemory/4)
	if err := standBack(); err != nil {
		return err
	}
	cfg := learning.Config{
		Rows: (memory - programMemory) / rowMemory, Seed: c.Int64("seed"), Threads: c.Int("threads"), Say: func(what string) { terminal.Say("%s", what) },
	}
	shelf := model.Shelf(c.String("models"))
	if err := learnFrom(c, shelf, &cfg); err != nil {
		return err
	}
	labels := labelsDigest(cfg.Devices)
	refused, err := refusedBefore(c, shelf, labels)
	if err != nil {
		return err
	}
	if refused != "" {
		return finishLearning(c, shelf, &learned{Report: learning.Nothing(refused)})
	}
	if now := cfg.Running[""]; now != nil && now != cfg.Base {
		of := now.Training.Options
		cfg.Outdated = of[labelsOption] != labels || of[baseOption] != cfg.Base.Training.Digest
	}
	m, report, err := learning.Run(c.Context, cfg)
	if err != nil {
		return err
	}
	done := learned{Report: report}
	if report.Better {
		m.Training.Options[labelsOption], m.Training.Options[baseOption] = labels, cfg.Base.Training.Digest
		if err := take(c, shelf, m, &done); err != nil {
			return err
		}
	}
	done.Seconds = time.Since(begun).Seconds()
	done.MemoryMB = mostResident()
	return finishLearning(c, shelf, &done)
}

// learnStatus prints what the sensor says of its model and of learning.
func learnStatus(c *cli.Context) error {
	m, err := client.New(c.String("socket")).Model(c.Context)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return terminal.PrintJSON(c.App.Writer, m)
	}
	w := c.App.Writer
	if m.Judges == nil {
		fmt.Fprintln(w, "no model judges: records only (--model none)")
	} else {
		fmt.Fprintf(w, "judges since %s: %s\n", m.Judges.Since.Local().Format(time.DateTime), m.Judges.Model)
	}
	var last *learned
	if err := json.Unmarshal(m.Learned, &last); m.Learned != nil && err != nil {
		return fmt.Errorf("what came of learning last: %w", err)
	}
	if last == nil {
		_, err = fmt.Fprintln(w, "learned: nothing yet, with the sensor's --models")
		return err
	}
	fmt.Fprintf(w, "learned last: %s\n", last.Time.Local().Format(time.DateTime))
	return printLearned(c, last)
}

// finishLearning prints what came of it, and keeps it for the sensor to tell: without the
// devices that it names, which may be forgotten later.
func finishLearning(c *cli.Context, shelf model.Shelf, done *learned) error {
	done.Time = v1.Time{Time: time.Now()}
	kept, report := *done, *done.Report
	kept.Report, report.Left, report.Unlabelled = &report, nil, nil
	return errors.Join(printLearned(c, done), shelf.Note(&kept))
}

// mostResident is the most memory that was resident, in MB. What getrusage(2) says of a process
// has that of who started it, too.
func mostResident() (mb float64) {
	status, err := os.ReadFile("/proc/self/status")
	if _, text, found := strings.Cut(string(status), "VmHWM:"); err == nil && found {
		fmt.Sscan(text, &mb)
	}
	return mb / 1024
}

// learnFrom fills in the models, the recordings and the devices.
func learnFrom(c *cli.Context, shelf model.Shelf, cfg *learning.Config) error {
	bundle, err := box.LoadModel(c)
	if err != nil {
		return err
	}
	var one bool
	if cfg.Base, one = bundle[""]; !one {
		return terminal.Usagef("--model %s: a bundle for %s: want a file of one model", c.String("model"), strings.Join(serviceNames(bundle), ", "))
	}
	if cfg.Running, _, err = shelf.Newest(); err != nil {
		return err
	}
	if cfg.Running == nil {
		cfg.Running = bundle
	}
	if path := c.String("labels"); path != "" {
		cfg.Devices, err = exportedDevices(path)
	} else {
		cfg.Devices, err = sensorsDevices(c.Context, client.New(c.String("socket")))
	}
	if err != nil {
		return err
	}
	cfg.Recordings, err = recording.Files(c.String("record"))
	if err == nil && len(cfg.Recordings) == 0 {
		err = fmt.Errorf("%s: nothing is recorded there: start `iotsense run` with --record DIR, and wait for devices to say something", c.String("record"))
	}
	return err
}

// sensorsDevices asks a sensor, which writes what it has recorded.
func sensorsDevices(ctx context.Context, sensor *client.Client) (devices []learning.Device, err error) {
	list, err := sensor.Devices(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := sensor.WriteRecording(ctx); err != nil {
		terminal.Say("what was recorded last is not learned from: %v", err)
	}
	changed, err := changedSince(ctx, sensor)
	if err != nil {
		return nil, err
	}
	for i := range list {
		v := &list[i]
		d := learning.Device{Names: v.MACs, State: v.State, Locked: v.Locked}
		if changed[v.Device] {
			d.State = v1.Changed
		}
		if v.UserLabel != nil {
			d.Label = *v.UserLabel
		}
		said, err := sensor.Facts(ctx, v.Device)
		if err != nil {
			return nil, err
		}
		for _, line := range said {
			if f, err := facts.Of(line); err == nil { // else of a newer sensor
				d.Facts = append(d.Facts, f)
			}
		}
		devices = append(devices, d)
	}
	return devices, nil
}

// changedSince are the devices that have changed since they were labelled, whatever is said of
// them now: under another model that begins anew.
func changedSince(ctx context.Context, sensor *client.Client) (map[string]bool, error) {
	events, err := sensor.Events(ctx, 0)
	if err != nil {
		return nil, err
	}
	changed := map[string]bool{}
	for _, e := range events {
		if e.Device != nil && (e.Event == string(v1.Changed) || e.Event == v1.EventLabelled) {
			changed[*e.Device] = e.Event == string(v1.Changed)
		}
	}
	return changed, nil
}

// exportedDevices reads what `registry export` wrote.
func exportedDevices(path string) (devices []learning.Device, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("labels: %w", err)
	}
	defer f.Close()
	content, err := store.Import(f)
	if err != nil {
		return nil, fmt.Errorf("labels %s: %w", path, err)
	}
	for i := range content.Devices {
		s := &content.Devices[i]
		d := learning.Device{Names: s.Names(), Label: s.Label, State: s.State, Locked: s.Locked}
		for _, name := range d.Names {
			d.Facts = append(d.Facts, content.Facts[name]...)
		}
		devices = append(devices, d)
	}
	return devices, nil
}

// labelsDigest is another for other labels.
func labelsDigest(devices []learning.Device) string {
	var lines []string
	for _, d := range devices {
		if d.Label != "" {
			lines = append(lines, fmt.Sprintf("%s %s %v", d.Name(), d.Label, d.Locked))
		}
	}
	slices.Sort(lines)
	return fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(lines, "\n"))))
}

// refusedBefore says why it is not learned anew what the operator went back from; empty: it was
// not.
func refusedBefore(c *cli.Context, shelf model.Shelf, labels string) (why string, err error) {
	refused, err := shelf.Refused()
	if err != nil || c.Bool("again") {
		return "", err
	}
	for _, path := range refused {
		if m, err := model.Load(path); err == nil && m.Training.Options[labelsOption] == labels {
			return fmt.Sprintf("%s was learned of these labels and gone back from: correct them, or learn with --again", path), nil
		}
	}
	return "", nil
}

// take puts a model on the shelf and has the sensor judge by it; one that the sensor refuses
// goes.
func take(c *cli.Context, shelf model.Shelf, m *model.Model, done *learned) error {
	path, err := shelf.Put(model.Bundle{"": m}, time.Now())
	if err != nil {
		return err
	}
	if c.String("labels") == "" {
		taken, err := client.New(c.String("socket")).TakeModel(c.Context)
		if err != nil {
			return fmt.Errorf("the sensor does not take %s: %w", path, errors.Join(err, os.Remove(path)))
		}
		done.MemoriesKept = &taken.MemoriesKept
	}
	done.Taken, done.Model = true, &path
	return nil
}

func rollBack(c *cli.Context) error {
	from, to, err := model.Shelf(c.String("models")).Back()
	if err != nil {
		return err
	}
	taken, err := client.New(c.String("socket")).TakeModel(c.Context)
	if err != nil {
		terminal.Say("the sensor does not know yet, and judges by it from its next start on: %v", err)
	}
	if c.Bool("json") {
		return terminal.PrintJSON(c.App.Writer, map[string]any{"from": from, "to": nilIfEmpty(to), "sensor": nilIfEmpty(taken.Model)})
	}
	if to == "" {
		to = "the sensor's own model (run --model)"
	}
	_, err = fmt.Fprintf(c.App.Writer, "from %s back to %s\n", from, to)
	return err
}

func nilIfEmpty(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func printLearned(c *cli.Context, d *learned) error {
	if c.Bool("json") {
		return terminal.PrintJSON(c.App.Writer, d)
	}
	w := c.App.Writer
	if len(d.Classes) > 0 {
		t := terminal.NewTable(w, "label", "devices", "records", "before", "after", "by the others alone")
		for _, k := range d.Classes {
			t.AppendRow([]any{k.Label, k.Devices, k.Records, scoreText(k.Before), scoreText(k.After), scoreText(k.Others)})
		}
		t.Render()
	}
	for _, l := range d.Left {
		fmt.Fprintf(w, "left out: %s, %s: %s\n", l.Device, l.Label, l.Why)
	}
	for _, u := range d.Unlabelled {
		fmt.Fprintf(w, "without a label: %s would be %s instead of %s\n", u.Device, called(u.After), called(u.Before))
	}
	for _, u := range d.Unread {
		fmt.Fprintf(w, "not read: %s\n", u)
	}
	fmt.Fprintln(w, d.Why)
	verdict := "not better: the model stays as it is"
	switch {
	case d.MemoriesKept != nil:
		verdict = "better: the sensor judges by " + *d.Model
		if !*d.MemoriesKept {
			verdict += "; each device is judged by what comes from now on"
		}
	case d.Taken:
		verdict = "better: " + *d.Model + " is there for the sensor's next start"
	}
	_, err := fmt.Fprintf(w, "%s (%.0f s, %.0f MB)\n", verdict, d.Seconds, d.MemoryMB)
	return err
}

// scoreText is a class's score in words.
func scoreText(s learning.Score) string {
	n := s.Right + s.Wrong + s.Unnamed
	if n == 0 {
		return "-"
	}
	text := fmt.Sprintf("%d of %d", s.Right, n)
	if s.Wrong > 0 {
		text += fmt.Sprintf(", %d wrong", s.Wrong)
	}
	return text
}

func called(name *string) string {
	if name == nil {
		return "unknown"
	}
	return *name
}
