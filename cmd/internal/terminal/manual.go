package terminal

// This file makes the manual page of a program from its commands.

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// manCommand prints the manual page, for `make man`.
func (p *Program) manCommand() *cli.Command {
	return &cli.Command{
		Name: "man", Usage: "print the manual page, for man(1)", Hidden: true, Flags: []cli.Flag{asFlag},
		Action: func(c *cli.Context) error {
			return p.printManual(c.App.Writer, p.programName(c))
		},
	}
}

// roff is s as text of a manual page: nothing in it is an instruction.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `'`, `\(aq`, "^", `\(ha`, "~", `\(ti`, "`", `\(ga`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

func (p *Program) printManual(w io.Writer, name string) error {
	app := p.App()
	version, _ := p.versions()
	page := fmt.Sprintf(".TH %s 1 \"\" \"%s\" \"User Commands\"\n.SH NAME\n%s \\- %s\n.SH SYNOPSIS\n.B %s\n.I COMMAND\n[\\fIOPTION\\fR]...\n[\\fIARGUMENT\\fR]...\n",
		roff(strings.ToUpper(name)), roff(name+" "+version), roff(name), roff(app.Usage), roff(name)) +
		".SH COMMANDS\n" + p.manualOf(name, app.Commands) +
		".SH OPTIONS\n" + manualOptions(app.Flags) +
		".SH EXIT STATUS\n.TP\n0\ndone\n.TP\n1\nfailed: a line on standard error says what, and what to do\n.TP\n2\nwrong usage\n" +
		".SH ENVIRONMENT\n.TP\n.B NO_COLOR\nnot empty: text is shown without colours\n"
	if _, err := io.WriteString(w, page); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// manualOf describes commands, and those below them.
func (p *Program) manualOf(before string, commands []*cli.Command) string {
	var b strings.Builder
	for _, c := range commands {
		if c.Hidden {
			continue
		}
		full := before + " " + c.Name
		if len(c.Subcommands) > 0 {
			b.WriteString(p.manualOf(full, c.Subcommands))
			continue
		}
		_, words, _ := strings.Cut(full, " ")
		fmt.Fprintf(&b, ".SS %s\n%s\n.PP\n.B %s\n", roff(words), roff(c.Usage), roff(full))
		if len(c.Flags) > 0 {
			b.WriteString("[\\fIOPTION\\fR]...\n")
		}
		if c.ArgsUsage != "" {
			fmt.Fprintf(&b, "%s\n", roff(c.ArgsUsage))
		}
		if c.Description != "" {
			fmt.Fprintf(&b, ".PP\n%s\n", roff(c.Description))
		}
		b.WriteString(manualOptions(c.Flags))
		if lines := p.examples(words); len(lines) > 0 {
			fmt.Fprintf(&b, ".PP\nExample:\n.PP\n.RS 4\n.nf\n%s\n.fi\n.RE\n", roff(strings.Join(lines, "\n")))
		}
	}
	return b.String()
}

func manualOptions(flags []cli.Flag) string {
	var b strings.Builder
	for _, f := range flags {
		if v, is := f.(cli.VisibleFlag); is && v.IsVisible() {
			o := option(f)
			fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(o.name), roff(o.meaning))
		}
	}
	return b.String()
}
