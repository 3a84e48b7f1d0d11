// Package confine has a sensor that is attached give up what it needs no more.
package confine

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/settings"
	"github.com/iotsense/iotsense/internal/sandbox"
	"github.com/iotsense/iotsense/pkg/sensor"
)

// Flag keeps a sensor's privileges.
var Flag = &cli.BoolFlag{Name: "no-sandbox", Usage: "keep all capabilities, files and system calls once attached"}

// Enter confines the process to what a sensor with these flags still needs, and says so.
func Enter(c *cli.Context, cfg sensor.Config) error {
	if c.Bool(Flag.Name) {
		cfg.Log.Warn("not sandboxed: --no-sandbox")
		return nil
	}
	state, err := sandbox.Enter(needs(c, cfg))
	if err != nil {
		return fmt.Errorf("sandbox: %w: --no-sandbox does without", err)
	}
	cfg.Log.Info("sandboxed", "capabilities", state.Capabilities, "landlock", state.Landlock, "seccomp", state.Seccomp)
	return nil
}

// Connects reports whether a sensor that begins so may ever connect to others.
func Connects(c *cli.Context, cfg sensor.Config) bool {
	return cfg.Sinks.Tells() || cfg.Export.IPFIX.Collector != "" || c.Bool(Flag.Name)
}

// needs are the files and calls of a sensor at work. Of files that are read anew it
// needs the directory: the one that replaces another is another file. Without --config
// that is none but what sinks and the collector are reached with.
func needs(c *cli.Context, cfg sensor.Config) sandbox.Config {
	var s sandbox.Config
	for _, name := range []string{"config", "model", "token-file", "tls-cert", "tls-key"} {
		path := c.String(name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() { // else it is a word, such as none
			if c.String(settings.Flag.Name) != "" {
				path = directory(path)
			}
			s.Read = append(s.Read, path)
		}
	}
	for _, path := range append(cfg.Sinks.Files(), cfg.Export.IPFIX.CAFile) {
		if path != "" {
			s.Read = append(s.Read, directory(path))
		}
	}
	if dir := c.String("models"); dir != "" {
		if _, err := os.Stat(dir); err != nil { // it comes with the first model
			dir = filepath.Dir(dir)
		}
		s.Read = append(s.Read, dir)
	}
	s.Connect = Connects(c, cfg)
	for _, path := range []string{cfg.State, cfg.Socket, cfg.Export.Lines.Path} {
		if path != "" {
			s.Write = append(s.Write, filepath.Dir(path))
		}
	}
	if dir := cfg.Recording; dir != "" {
		s.Write = append(s.Write, dir)
	}
	if pin := cfg.Loader.Pin; pin != "" {
		s.Write, s.Emptied = append(s.Write, pin), append(s.Emptied, filepath.Dir(pin))
	}
	s.Promisc = cfg.Loader.UsesPromisc()
	return s
}

// directory is where a file lies, but for directories that hold too much of others'.
func directory(path string) string {
	dir := filepath.Dir(path)
	if abs, err := filepath.Abs(dir); err == nil && (abs == "/" || abs == "/etc") {
		return path
	}
	return dir
}
