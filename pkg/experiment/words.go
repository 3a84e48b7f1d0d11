package experiment

// This file prints plans: as the command line that gives the same model, and as what a
// model's file keeps of how it was made.

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
)

// setting is a flag of `iotsense train` with its value in a plan.
type setting struct {
	flag     string
	values   []string // one, or as many as the flag was given
	given    bool     // it is not what the flag is by itself
	shapes   bool     // it shapes the model, whose file keeps it
	ofDesign bool     // it is an option of some networks only
}

// settings are all flags of a plan in the order of a command line.
func (p *Plan) settings() []setting {
	usual, err := NewPlan(p.Preset, p.Strategy, p.Arch)
	if err != nil {
		usual, _ = NewPlan("", p.Strategy, p.Arch)
	}
	var list []setting
	add := func(flag string, given, shapes bool, values ...any) {
		s := setting{flag: flag, given: given, shapes: shapes}
		for _, v := range values {
			s.values = append(s.values, word(v))
		}
		list = append(list, s)
	}
	const shapes, not = true, false
	add("seed", true, not, p.Train.Seed)
	add("manifest", p.Data.Manifest != "", not, p.Data.Manifest)
	add("local", len(p.Local) > 0, shapes, anys(p.Local)...)
	add("offloaded", p.Data.Capture.Offloaded, shapes, p.Data.Capture.Offloaded)
	list = append(list, p.partSettings(usual)...)
	add("preset", p.Preset != "", shapes, p.Preset)
	add("ipv6", p.Record.IPv6, shapes, p.Record.IPv6)
	add("scale-delimiters", p.Record.ScaleDelimiters, shapes, p.Record.ScaleDelimiters)
	add("scrub", p.Record.Scrub, shapes, p.Record.Scrub)
	add("augment", p.Augment != usual.Augment, shapes && p.Augment, p.Augment) // files made without never named it
	add("negatives", p.Negatives != usual.Negatives, shapes && p.Negatives, p.Negatives)
	add("taxonomy", p.Taxonomy.File != "", not, p.Taxonomy.File) // the model has what it says
	add("no-facts", p.NoFacts, shapes && p.NoFacts, p.NoFacts)
	add("memory", p.Memory != usual.Memory, not, p.Memory)
	add("arch", p.Arch != usualArch(p.Preset), p.Arch != PaperArch, p.Arch) // files of the paper's network never named it
	list = append(list, p.designSettings(usual)...)
	mode := said(p.WindowMode)
	add("window-mode", mode != said(usual.WindowMode), shapes, mode)
	o, d := p.Train, usual.Train
	add("epochs", o.Epochs != d.Epochs, shapes, o.Epochs)
	add("batch", o.Batch != d.Batch, shapes, o.Batch)
	add("lr", o.LearningRate != d.LearningRate, shapes, o.LearningRate)
	add("ema", o.EMA != d.EMA, shapes, o.EMA)
	add("patience", o.Patience != d.Patience, shapes, o.Patience)
	add("threads", o.Threads != d.Threads, not, o.Threads)
	add("min-per-class", o.MinPerClass != d.MinPerClass, shapes, o.MinPerClass)
	add("max-per-class", o.MaxPerClass != d.MaxPerClass, shapes, o.MaxPerClass)
	add("packets", p.Record.Packets != usual.Record.Packets, shapes, p.Record.Packets)
	add("payload", p.Record.Payload != usual.Record.Payload, shapes, p.Record.Payload)
	add("without", len(p.Record.Without) > 0, shapes, anys(p.Record.Without)...)
	strategy := p.Strategy
	if strategy == "" {
		strategy = Everything
	}
	add("strategy", p.Strategy != "", shapes, strategy)
	add("direction", p.Direction != nil, shapes, said(p.Direction))
	add("services", !slices.Equal(p.Services, usual.Services), shapes, ServiceList(p.Services))
	return list
}

// partSettings are those that say which part of the data is for what.
func (p *Plan) partSettings(usual Plan) []setting {
	list := []setting{
		{flag: "split", values: p.Data.Splits, given: len(p.Data.Splits) > 0, shapes: true},
		{flag: "dates", values: dates(p.part()), given: !p.Data.Period.IsZero(), shapes: true},
	}
	if f := p.Folds; f != nil {
		for _, s := range []struct{ flag, value string }{
			{"split-by", f.By}, {"folds", word(f.Count)}, {"fold", word(f.Tested)}, {"fold-seed", word(f.Seed)},
		} {
			list = append(list, setting{flag: s.flag, values: []string{s.value}, given: s.flag != "fold" || f.Tested != 0, shapes: true})
		}
	}
	return append(list,
		setting{flag: "validation", values: []string{word(p.Share)}, given: p.Share != usual.Share, shapes: true},
		setting{flag: "validation-split", values: p.Validation.Splits, given: len(p.Validation.Splits) > 0, shapes: true},
		setting{flag: "validation-dates", values: dates(p.Validation), given: !p.Validation.Period.IsZero(), shapes: true})
}

// designSettings are those that only some networks have.
func (p *Plan) designSettings(usual Plan) []setting {
	return []setting{
		{"window", []string{word(p.Paper.Rows)}, p.Paper.Rows != usual.Paper.Rows, true, true},
		{"filters", []string{word(p.Paper.Filters)}, p.Paper.Filters != usual.Paper.Filters, true, true},
		{"ablate", p.Paper.Ablate, len(p.Paper.Ablate) > 0, true, true},
	}
}

// Args is the command line, from its first word on, that gives the same model in the
// file output. On another machine it is the same only where the plan says how many
// threads.
func (p *Plan) Args(output string) []string {
	args := []string{"train", "--json", "-o", output}
	for _, s := range p.settings() {
		for _, v := range s.values {
			if s.given || slices.Contains(p.Said, s.flag) {
				args = append(args, "--"+s.flag+"="+v)
			}
		}
	}
	return append(args, p.Data.Data...)
}

// Options are the plan's settings that shape a model, by their flags: what its file
// keeps as training.options. Where files lie or how fast it goes is not among them.
func (p *Plan) Options() map[string]string {
	kept := map[string]string{}
	for _, s := range p.settings() {
		v := strings.Join(s.values, ",")
		if s.shapes && v != "" && (!s.ofDesign || designs[p.Arch].takes(s.flag)) {
			kept[s.flag] = v
		}
	}
	return kept
}

// word is a value as a flag takes it.
func word(v any) string {
	if f, ok := v.(float64); ok {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return fmt.Sprint(v)
}

// said is a value that may not have been given.
func said[T fmt.Stringer](v *T) string {
	if v == nil {
		return ""
	}
	return (*v).String()
}

// dates is the part's period, if it has one.
func dates(p dataset.Part) []string {
	if p.Period.IsZero() {
		return nil
	}
	text := p.Period.String()
	if first, last, _ := strings.Cut(text, ".."); first == last {
		text = first // a day alone
	}
	return []string{text}
}

// anys are the values of a list.
func anys[T any](list []T) []any {
	all := make([]any, len(list))
	for i, v := range list {
		all[i] = v
	}
	return all
}

// ServiceList is services as --services takes them.
func ServiceList(services []flows.Service) string {
	names := make([]string, len(services))
	for i, s := range services {
		names[i] = s.String()
	}
	return strings.Join(names, ",")
}

// CommandLine is what to type for the arguments into a shell.
func CommandLine(args []string) string {
	line := "iotsense"
	for _, a := range args {
		line += " " + shellWord(a)
	}
	return line
}

// shellWord is an argument as a POSIX shell reads it whole.
func shellWord(arg string) string {
	if arg != "" && strings.Trim(arg, plain) == "" {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}

// plain are characters that mean themselves in a shell.
const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+,.:/@%"
