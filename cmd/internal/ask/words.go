package ask

// This file says something of devices, and prints what happened to them.

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api/client"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

// word is a command that says something of a device.
type word struct {
	do, usage, args string // what it says is its name too
	count           int    // of arguments
	off, undo       string // usage of --off, and what that says; empty: there is no such flag
	did             string
}

var wordList = []word{
	{v1.DoLabel, "give a device a name: a path like TP-Link/plug/HS110, or any other", "MAC NAME", 2, "take the name back", v1.DoLabel, "labelled"},
	{v1.DoForget, "remove all that is known of a device", "MAC", 1, "", "", "forgotten"},
	{v1.DoMerge, "make one device of two: the second's MACs are the first's from now on", "MAC MAC", 2, "", "", "merged"},
	{v1.DoSplit, "make a MAC that was merged a device of its own again", "MAC", 1, "", "", "split off"},
	{v1.DoLock, "keep what was said of a device as it is", "MAC", 1, "let it be changed again", v1.DoUnlock, "locked"},
	{v1.DoIgnore, "count a device and give no verdict on it", "MAC", 1, "judge it again, anew", v1.DoHeed, "ignored"},
}

// wordCommands are those of wordList.
func wordCommands() (list []*cli.Command) {
	for _, w := range wordList {
		flags := []cli.Flag{SocketFlag, terminal.JSONFlag}
		if w.off != "" {
			flags = append(flags, &cli.BoolFlag{Name: "off", Usage: w.off})
		}
		list = append(list, &cli.Command{Name: w.do, Usage: w.usage, ArgsUsage: w.args, Flags: flags, Action: w.run})
	}
	return list
}

func (w word) run(c *cli.Context) error {
	args, do, count := c.Args().Slice(), w.do, w.count
	off := c.Bool("off")
	if off {
		do, count = w.undo, 1
	}
	if len(args) != count {
		return terminal.Usagef("%s: want %s, got %d arguments", w.do, w.args, len(args))
	}
	sensor := client.New(c.String("socket"))
	device, err := nameOf(c.Context, sensor, args[0])
	if err != nil {
		return err
	}
	var said v1.Correction
	switch {
	case do == v1.DoLabel && !off:
		said.Label = args[1]
	case do == v1.DoMerge:
		if said.With, err = nameOf(c.Context, sensor, args[1]); err != nil {
			return err
		}
	}
	done, err := sensor.Correct(c.Context, device, do, said)
	if err != nil {
		return fmt.Errorf("%s %s: %w%s", w.do, device, err, Meant(c.Context, sensor, device))
	}
	if do == v1.DoLabel && !off { // which takes a device that is not there yet, too
		if near := Meant(c.Context, sensor, device); near != "" {
			terminal.Say("%s is not seen yet%s", device, near)
		}
	}
	if c.Bool("json") {
		return terminal.PrintJSON(c.App.Writer, done)
	}
	text := w.did
	if off {
		text = "no longer " + text
	}
	if !done.Kept {
		text += ", until the sensor ends: it runs without --state"
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s: %s\n", device, text)
	return err
}

func events(c *cli.Context) error {
	sensor := client.New(c.String("socket"))
	show := func(e *v1.Event) error { return printEvent(c.App.Writer, e, c.Bool("json")) }
	if c.Bool("follow") {
		return sensor.Follow(c.Context, 0, show)
	}
	list, err := sensor.Events(c.Context, 0)
	if err == nil && len(list) == 0 {
		terminal.Say("no event yet: a device's first comes a minute after its first packet")
	}
	for i := range list {
		if err := show(&list[i]); err != nil {
			return err
		}
	}
	return err
}

func printEvent(w io.Writer, e *v1.Event, json bool) error {
	if json {
		return terminal.PrintJSON(w, e)
	}
	text := func(s *string) string {
		if s == nil {
			return "-"
		}
		return terminal.Cell(*s)
	}
	change := ""
	switch {
	case e.Old != nil:
		change = fmt.Sprintf("%s -> %s", text(e.Old), text(e.New))
	case e.New != nil && *e.New != e.Event: // it came from nothing
		change = text(e.New)
	}
	line := fmt.Sprintf("%s  %-17s  %-11s  %s", e.Time.Local().Format(time.DateTime), text(e.Device), e.Event, change)
	if _, err := fmt.Fprintln(w, strings.TrimRight(line, " ")); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}
