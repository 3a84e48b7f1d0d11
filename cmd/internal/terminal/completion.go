package terminal

// This file completes command lines in shells.

import (
	"embed"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

//go:embed completion.bash completion.zsh completion.fish
var scripts embed.FS

// asFlag names a program that is installed under another name.
var asFlag = &cli.StringFlag{Name: "as", Hidden: true, Usage: "the `NAME` that the program is installed by"}

// programName is the name that the program is called by.
func (p *Program) programName(c *cli.Context) string {
	if as := c.String(asFlag.Name); as != "" {
		return as
	}
	return p.Name
}

// completionCommand prints what a shell reads to complete command lines. The scripts ask
// the program itself for the words, by `completion words`.
func (p *Program) completionCommand() *cli.Command {
	command := &cli.Command{
		Name: "completion", Usage: "print a script that completes command lines in a shell",
		Description: "bash: source <(" + p.Name + " completion bash)\n" +
			"zsh:  source <(" + p.Name + " completion zsh), behind compinit\n" +
			"fish: " + p.Name + " completion fish | source",
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		command.Subcommands = append(command.Subcommands, &cli.Command{
			Name: shell, Usage: "for " + shell, Flags: []cli.Flag{asFlag},
			Action: func(c *cli.Context) error {
				script, err := scripts.ReadFile("completion." + shell)
				if err != nil {
					return err
				}
				_, err = fmt.Fprint(c.App.Writer, strings.ReplaceAll(string(script), "PROGRAM", p.programName(c)))
				return err
			},
		})
	}
	command.Subcommands = append(command.Subcommands, &cli.Command{
		Name: "words", ArgsUsage: "WORD...", Hidden: true, SkipFlagParsing: true,
		Usage:  "what the last word of a command line may be, a line each",
		Action: p.printWords,
	})
	return command
}

// filesWord is the line of `completion words` by which files fit too.
const filesWord = ":files"

func (p *Program) printWords(c *cli.Context) error {
	words := c.Args().Slice()
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	if len(words) == 0 {
		words = []string{""}
	}
	list, files := p.complete(p.App(), words[:len(words)-1], words[len(words)-1])
	for _, d := range list {
		if _, err := fmt.Fprintf(c.App.Writer, "%s\t%s\n", Cell(d.name), Cell(d.meaning)); err != nil {
			return err
		}
	}
	if !files {
		return nil
	}
	_, err := fmt.Fprintln(c.App.Writer, filesWord)
	return err
}

// complete lists what the word after others may be that begins so; files: those fit too.
func (p *Program) complete(app *cli.App, words []string, begin string) (list []definition, files bool) {
	at := descend(app, words)
	socket := valueOf("--socket", words)
	switch name, value, assigned := strings.Cut(begin, "="); {
	case strings.HasPrefix(begin, "-") && assigned:
		if f := flagOf(at.flags, name); f != nil {
			list, files = p.values(placeholder(f), socket)
		}
		list, begin = beginning(list, value), ""
		for i := range list {
			list[i].name = name + "=" + list[i].name
		}
	case len(at.rest) > 0 && takesValue(at.flags, at.rest[len(at.rest)-1]):
		list, files = p.values(placeholder(flagOf(at.flags, at.rest[len(at.rest)-1])), socket)
	case strings.HasPrefix(begin, "-"):
		for _, f := range at.flags {
			if v, is := f.(cli.VisibleFlag); is && v.IsVisible() {
				list = append(list, definition{"--" + f.Names()[0], option(f).meaning})
			}
		}
		list = append(list, definition{"--help", "show help"})
	case len(at.commands) > 0 && len(at.rest) == 0:
		for _, c := range at.commands {
			if !c.Hidden {
				list = append(list, definition{c.Name, c.Usage})
			}
		}
	case at.command != nil:
		list, files = p.values(at.command.ArgsUsage, socket)
	}
	return beginning(list, begin), files
}

// beginning are those whose names begin so.
func beginning(list []definition, begin string) []definition {
	return slices.DeleteFunc(list, func(d definition) bool { return !strings.HasPrefix(d.name, begin) })
}

// valueOf is what follows a flag.
func valueOf(flag string, words []string) string {
	for i, w := range words {
		if w == flag && i+1 < len(words) {
			return words[i+1]
		}
		if value, found := strings.CutPrefix(w, flag+"="); found {
			return value
		}
	}
	return ""
}

var (
	fileWords = regexp.MustCompile(`\b(FILE|DIR|DATA|PATH)\b`)
	choices   = regexp.MustCompile(`^[a-z0-9-]+(\|[a-z0-9-]+)+$`)
)

// placeholder is what a flag's usage calls its value: text|json.
func placeholder(f cli.Flag) string {
	documented, is := f.(cli.DocGenerationFlag)
	if !is {
		return ""
	}
	_, after, _ := strings.Cut(documented.GetUsage(), "`")
	word, _, _ := strings.Cut(after, "`")
	return word
}

// values are those of what help calls MAC, IFACE, FILE or text|json.
func (p *Program) values(called, socket string) (list []definition, files bool) {
	switch {
	case choices.MatchString(called):
		for c := range strings.SplitSeq(called, "|") {
			list = append(list, definition{c, ""})
		}
	case called == "IFACE":
		interfaces, _ := net.Interfaces() // without them there is nothing to offer
		for _, i := range interfaces {
			list = append(list, definition{i.Name, i.HardwareAddr.String()})
		}
	case strings.HasPrefix(strings.Trim(called, "["), "MAC") && p.Devices != nil:
		for mac, meaning := range p.Devices(socket) {
			list = append(list, definition{mac, meaning})
		}
	}
	return list, fileWords.MatchString(called)
}
