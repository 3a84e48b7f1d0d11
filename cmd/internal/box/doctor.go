package box

// This file holds the command that looks at the machine before the sensor runs.

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/doctor"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "what this kernel, driver and privilege set allow, and what to change",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "interface", Aliases: []string{"i"}, Usage: "`IFACE` to look at (default: every one that is up)"},
			terminal.JSONFlag,
		},
		Action: func(c *cli.Context) error {
			return printFindings(c.App.Writer, doctor.Run(c.String("interface")), c.Bool("json"))
		},
	}
}

// printFindings prints the findings and fails when one of them stands in the way.
func printFindings(w io.Writer, checks []doctor.Check, asJSON bool) error {
	if asJSON {
		if err := terminal.PrintJSON(w, map[string][]doctor.Check{"checks": checks}); err != nil {
			return err
		}
	} else {
		printChecks(w, checks)
	}
	failed := doctor.Failed(checks)
	if len(failed) == 0 {
		return nil
	}
	return fmt.Errorf("doctor: %d of %d checks failed: %s", len(failed), len(checks), strings.Join(failed, ", "))
}

// printChecks gives each finding its advice on a line of its own, unbroken, so
// that commands can be copied.
func printChecks(w io.Writer, checks []doctor.Check) {
	name := 0
	for _, c := range checks {
		name = max(name, len(c.Name))
	}
	margin, below := strings.Repeat(" ", len("warn  ")+name+len("  ")), ""
	if len(margin) > terminal.Width()/2 { // a finding stands below its name
		margin, name, below = "  ", 0, "\n"
	}
	width := terminal.Width() - len(margin)
	for _, c := range checks {
		head := fmt.Sprintf("%-4s  %-*s%s  ", c.Status, name, c.Name, below)
		for line := range strings.Lines(text.WrapSoft(c.Found, width)) {
			fmt.Fprintf(w, "%s%s\n", head, strings.TrimSpace(line))
			head = margin
		}
		if c.Advice != "" {
			fmt.Fprintf(w, "%s-> %s\n", margin, c.Advice)
		}
	}
}
