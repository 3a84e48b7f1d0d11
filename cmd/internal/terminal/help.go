package terminal

// This file prints help that fits the terminal, with an example of each command.

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/urfave/cli/v2"
)

const helpTemplate = `NAME:
   {{template "helpNameTemplate" .}}

USAGE:
   {{if .VisibleCommands}}{{.HelpName}} COMMAND [options]{{else}}{{usage .HelpName .ArgsUsage}}{{end}}{{if .Description}}

DESCRIPTION:
   {{template "descriptionTemplate" .}}{{end}}{{if .VisibleCommands}}

COMMANDS:
{{commands .VisibleCommands}}{{end}}{{if .VisibleFlags}}

OPTIONS:
{{options .VisibleFlags}}{{end}}{{with examples .HelpName}}

EXAMPLE:{{range .}}
   {{.}}{{end}}{{end}}
`

const (
	helpIndent = 3
	helpColumn = 28 // a name that is longer stands in a line of its own
)

// printHelp has help printed as that of this program.
func (p *Program) printHelp() {
	cli.AppHelpTemplate, cli.CommandHelpTemplate, cli.SubcommandHelpTemplate = helpTemplate, helpTemplate, helpTemplate
	cli.HelpPrinter = func(w io.Writer, template string, data any) {
		cli.HelpPrinterCustom(w, template, data, map[string]any{
			"wrapAt": Width, "usage": usageHelp, "commands": commandsHelp, "options": optionsHelp,
			"examples": func(called string) []string { return p.examples(strings.TrimPrefix(called, p.Name+" ")) },
		})
	}
}

// examples are those of a command, by its words without the program's.
func (p *Program) examples(command string) (lines []string) {
	for line := range strings.Lines(p.Examples) {
		line = strings.TrimSpace(line)
		words := strings.Fields(line)
		at := descend(&cli.App{Commands: p.commands()}, words[min(1, len(words)):])
		if strings.Join(at.head, " ") == command {
			lines = append(lines, p.Name+strings.TrimPrefix(line, words[0]))
		}
	}
	return lines
}

func usageHelp(called, args string) string {
	lines := text.WrapSoft(strings.TrimSpace(called+" [options] "+args), max(1, Width()-2*helpIndent))
	return strings.ReplaceAll(strings.ReplaceAll(lines, " \n", "\n"), "\n", "\n"+strings.Repeat(" ", 2*helpIndent))
}

// definition is a name and what it means.
type definition struct{ name, meaning string }

func commandsHelp(list []*cli.Command) string {
	var all []definition
	for _, c := range list {
		all = append(all, definition{strings.Join(c.Names(), ", "), c.Usage})
	}
	return definitions(all)
}

func optionsHelp(list []cli.Flag) string {
	var all []definition
	for _, f := range list {
		all = append(all, option(f))
	}
	return definitions(all)
}

// option is a flag with its aliases and what its value is called.
func option(f cli.Flag) definition {
	name, meaning, _ := strings.Cut(f.String(), "\t")
	name, _, _ = strings.Cut(name, " [ ") // of a repeatable flag
	meaning = strings.TrimSuffix(strings.TrimSpace(meaning), " (default: false)")
	if says, _, twice := cutLast(meaning, " (default: "); twice && strings.Contains(says, "default: ") {
		meaning = says // in words, better than the zero that stands for it
	}
	return definition{strings.TrimSpace(name), meaning}
}

// cutLast is strings.Cut at the last sep.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// definitions are lines of two columns; where the second would be narrow, meanings stand
// below names.
func definitions(list []definition) string {
	width, column := Width(), 0
	for _, d := range list {
		column = max(column, min(text.StringWidth(d.name), helpColumn)+2)
	}
	if width < 2*column {
		column = helpIndent
	}
	margin := strings.Repeat(" ", helpIndent+column)
	var b strings.Builder
	for _, d := range list {
		fmt.Fprintf(&b, "%*s%s", helpIndent, "", text.WrapHard(d.name, max(1, width-helpIndent)))
		used := text.StringWidth(d.name)
		if used+2 > column {
			b.WriteString("\n" + margin)
		} else {
			b.WriteString(strings.Repeat(" ", column-used))
		}
		lines := strings.Split(text.WrapSoft(d.meaning, max(1, width-len(margin))), "\n")
		for i := range lines {
			lines[i] = strings.TrimSpace(lines[i])
		}
		b.WriteString(strings.Join(lines, "\n"+margin) + "\n")
	}
	return strings.TrimRight(b.String(), " \n")
}
