package box

// This file has a running sensor follow its configuration file: SIGHUP reads it again.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/logs"
	"github.com/iotsense/iotsense/cmd/internal/settings"
	"github.com/iotsense/iotsense/cmd/internal/sinks"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/sensor"
)

// reloader has a sensor, and what it runs with.
type reloader struct {
	file     *settings.File
	run      *cli.Context
	sensor   *sensor.Sensor
	cfg      sensor.Config
	connects bool                               // the process may connect to others
	setForm  func(func(io.Writer) slog.Handler) // of the log
}

// live are the flags whose settings a sensor takes over while it runs, each with how; next
// is the command as the file has it now, and cfg what it is read as. An error leaves what was.
var live = map[string]func(r *reloader, next *cli.Context, cfg *sensor.Config) error{
	"local": func(r *reloader, _ *cli.Context, cfg *sensor.Config) error {
		return r.sensor.SetLocal(cfg.Loader.Local)
	},
	logs.Flag.Name:      (*reloader).setLog,
	logs.LevelFlag.Name: (*reloader).setLog,
	modelFlag: func(r *reloader, _ *cli.Context, cfg *sensor.Config) error {
		if cfg.Model == nil {
			return errors.New("none: that takes a restart")
		}
		_, err := r.sensor.SetModel(cfg.Model, cfg.ModelName)
		return err
	},
}

// takes is how a flag's setting is taken over; nil: it takes a restart.
func takes(flag string) func(r *reloader, next *cli.Context, cfg *sensor.Config) error {
	switch { // of each section all at once
	case sinks.Is(flag):
		return (*reloader).setSinks
	case strings.HasPrefix(flag, ipfixFlag):
		return (*reloader).setIPFIX
	}
	return live[flag]
}

func (r *reloader) setLog(next *cli.Context, _ *sensor.Config) error {
	form, err := logs.Handler(next)
	if err == nil {
		r.setForm(form)
	}
	return err
}

// mayConnect is an error where a sensor that began without others to tell is to have some.
func (r *reloader) mayConnect(wants bool) error {
	if !wants || r.connects {
		return nil
	}
	return errors.New("the sensor is confined, and began without sinks and collector: the first takes a restart")
}

func (r *reloader) setSinks(_ *cli.Context, cfg *sensor.Config) error {
	if err := r.mayConnect(cfg.Sinks.Tells()); err != nil {
		return err
	}
	return r.sensor.SetSinks(cfg.Sinks)
}

func (r *reloader) setIPFIX(_ *cli.Context, cfg *sensor.Config) error {
	if err := r.mayConnect(cfg.Export.IPFIX.Collector != ""); err != nil {
		return err
	}
	return r.sensor.SetIPFIX(cfg.Export.IPFIX)
}

// modelFlag names the model, which is taken over last, as it cannot be taken back, and
// whenever there is another one under the same name.
const modelFlag = "model"

// follow takes over what the file says at each hang-up, until the function that it returns
// is called.
func (r *reloader) follow(ctx context.Context, hangups <-chan struct{}) (end func()) {
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangups:
				if err := r.reload(); err != nil {
					r.cfg.Log.Error("configuration: nothing of it is taken over", "error", terminal.OneLine(err))
				}
			}
		}
	}()
	return func() { stop(); <-ended }
}

// reload takes over what the file says now: all of it, or nothing.
func (r *reloader) reload() error {
	file, next, err := r.file.Again(r.run)
	if err != nil {
		return err
	}
	cfg, err := sensorConfig(next, r.cfg.Log)
	if err != nil {
		return file.Blame(next, err, checkFlags)
	}
	changes, err := r.changes(file, next, &cfg)
	if err != nil {
		return err
	}
	var refused []error
	for _, c := range changes {
		if takes(c.Flag) == nil {
			refused = append(refused, file.Error(c, fmt.Sprintf("%v, and the sensor runs with %v: that takes a restart", inWords(c.Flag, c.Now), inWords(c.Flag, c.Before))))
		}
	}
	if refused != nil {
		return errors.Join(refused...)
	}
	if err := r.sinksAgain(changes, &cfg); err != nil {
		return err
	}
	for i, c := range changes {
		if err := takes(c.Flag)(r, next, &cfg); err != nil {
			for _, done := range changes[:i] {
				err = errors.Join(err, takes(done.Flag)(r, r.run, &r.cfg))
			}
			return file.Error(c, err.Error())
		}
	}
	for _, c := range changes {
		if c.Flag != modelFlag { // else the sensor says so
			r.cfg.Log.Info("configuration: taken over", "setting", c.Key, "now", inWords(c.Flag, c.Now), "before", inWords(c.Flag, c.Before))
		}
	}
	if len(changes) == 0 {
		r.cfg.Log.Info("configuration: nothing has changed")
	}
	r.file, r.run, r.cfg = file, next, cfg
	return nil
}

// sinksAgain has sinks of which no setting has changed try again what they could not deliver: their
// files may be others.
func (r *reloader) sinksAgain(changes []settings.Change, cfg *sensor.Config) error {
	if slices.ContainsFunc(changes, func(c settings.Change) bool { return sinks.Is(c.Flag) }) {
		return nil
	}
	return r.sensor.SetSinks(cfg.Sinks)
}

// changes are what differs, the model last.
func (r *reloader) changes(file *settings.File, next *cli.Context, cfg *sensor.Config) (list []settings.Change, err error) {
	named := settings.Change{Flag: modelFlag, Key: modelFlag}
	for _, c := range file.Changes(r.run, next) {
		if c.Flag == modelFlag {
			named = c
		} else {
			list = append(list, c)
		}
	}
	same, err := r.sensor.Judges(cfg.Model)
	if err == nil && !same {
		list = append(list, named)
	}
	return list, err
}

// inWords is a setting's value for people who read logs: who knows a sink's address may send
// there.
func inWords(flag string, value any) string {
	switch {
	case value == nil:
		return "the default"
	case sinks.Is(flag) && strings.HasSuffix(flag, ".url"):
		return "an address"
	}
	return fmt.Sprint(value)
}
