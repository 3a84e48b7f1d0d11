package box

// This file keeps commands from writing over what they read.

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/dataset"
)

// Flags that name files to write, directories to write into, and files to read.
var (
	outputFlags = []string{"output", "state", "checkpoint", "predictions", "flows-json"}
	reportFlags = []string{"report", "dump"}
	inputFlags  = []string{"manifest", "strangers", "taxonomy", "model", "like", "labels", "config", "token-file", "tls-cert", "tls-key", "ipfix-ca"}
)

// GuardInputs refuses a command line by which a file would be read and written: the same
// file under whatever name, and what a manifest lists. Files below directories that are
// read are for dataset.Open, which looks there.
func GuardInputs(c *cli.Context) error {
	outputs := outputFiles(c)
	for i, o := range outputs {
		for _, other := range outputs[:i] {
			if sameFile(o, other) {
				return terminal.Usagef("%s and %s are one file: name two", other, o)
			}
		}
	}
	if path := c.String("checkpoint"); path != "" {
		if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
			return terminal.Usagef("--checkpoint %s: it is no regular file, from which a run could go on", path)
		}
	}
	for _, dir := range reportFlags {
		outputs = append(outputs, reportFiles(c.String(dir), c.Command.Name)...)
	}
	if len(outputs) == 0 {
		return nil
	}
	names := inputFiles(c)
	inputs := make([]fs.FileInfo, len(names))
	for i, in := range names {
		inputs[i] = writable(in)
	}
	for _, o := range outputs {
		out := writable(o)
		if i := slices.IndexFunc(inputs, func(in fs.FileInfo) bool { return os.SameFile(in, out) }); i >= 0 {
			return terminal.Usagef("%s is to be read, and %s to be written, which is the same file: name another output", names[i], o)
		}
	}
	return nil
}

// MoreOutputs are the files that a command writes beside those that its flags name: a
// program whose commands do so sets it.
var MoreOutputs = func(*cli.Context) []string { return nil }

// outputFiles are the files that a command's flags name to be written.
func outputFiles(c *cli.Context) []string {
	var files []string
	for _, name := range outputFlags {
		if path := c.String(name); path != "" {
			files = append(files, path)
		}
	}
	files = append(files, MoreOutputs(c)...)
	if dir := c.String("report"); dir != "" && c.Command.Name == "train" {
		files = append(files, filepath.Join(dir, "train.json"))
	}
	if page := c.String("report"); filepath.Ext(page) == ".html" {
		files = append(files, page)
	}
	return files
}

// globQuote is a path as a pattern of itself.
func globQuote(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// Names that reports give to files, by what they end in; models are of series alone.
var (
	reportEnds = []string{".json", ".html", ".png", ".svg", ".npy", "folds.csv", "predictions.csv"}
	seriesEnds = []string{".safetensors", ".st"}
	series     = []string{"strategies", "ablation", "inference"}
)

// reportFiles are the files in a report's directory, and in those in it, that the report
// may replace.
func reportFiles(dir, command string) []string {
	if dir == "" {
		return nil
	}
	ends := reportEnds
	if slices.Contains(series, command) {
		ends = slices.Concat(ends, seriesEnds)
	}
	var files []string
	for _, depth := range []string{"*", "*/*"} {
		found, err := filepath.Glob(filepath.Join(globQuote(dir), depth))
		if err != nil {
			continue
		}
		for _, f := range found {
			if slices.ContainsFunc(ends, func(end string) bool { return strings.HasSuffix(f, end) }) {
				files = append(files, f)
			}
		}
	}
	return files
}

// inputFiles are the files that a command line names to be read, those of its manifests
// among them. What is missing or wrong with them is told when they are read.
func inputFiles(c *cli.Context) []string {
	var files []string
	if c.Command.Name != "lab" { // its argument is written
		files = c.Args().Slice()
	}
	for _, name := range inputFlags {
		if path := c.String(name); path != "" {
			files = append(files, path)
		}
	}
	for _, manifest := range []string{"manifest", "strangers"} {
		path := c.String(manifest)
		if path == "" {
			continue
		}
		if listed, err := dataset.ReadManifest(path); err == nil {
			for _, capture := range listed {
				files = append(files, capture.Path)
			}
		}
	}
	return files
}

// sameFile reports whether two paths are one file, or would be.
func sameFile(a, b string) bool {
	return filepath.Clean(a) == filepath.Clean(b) || os.SameFile(writable(a), writable(b))
}

// writable is the file behind a path, standard input for "-"; nil where there is none,
// and where nothing can be written over: a directory, a device.
func writable(path string) fs.FileInfo {
	info, err := os.Stat(path)
	if path == "-" {
		info, err = os.Stdin.Stat()
	}
	if err != nil || info.IsDir() || info.Mode()&fs.ModeDevice != 0 {
		return nil
	}
	return info
}
