package box

// This file holds what `run` says of itself beside verdicts, and whom it ignores.

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/ask"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/sensor"
)

const noDeviceEvery = ask.NoDeviceAfter / 2

// noDevice watches for a sensor that sees traffic but no device.
type noDevice struct {
	since time.Time // the first look that found traffic
}

// look takes the counters at a time. due is true after a minute of traffic without a
// flow of a device, done when there was one.
func (n *noDevice) look(p flows.PacketStats, now time.Time) (due, done bool) {
	switch {
	case p.WithDevice > 0:
		return false, true
	case p.Seen == 0:
		return false, false
	case n.since.IsZero():
		n.since = now
	}
	return now.Sub(n.since) > ask.NoDeviceAfter-time.Second, false // ticks come a little early, too
}

// runWatched runs the sensor, and says what to expect of it and what is odd.
func runWatched(ctx context.Context, s *sensor.Sensor, cfg sensor.Config) error {
	if cfg.Model != nil {
		cfg.Log.Info("gathering: the first verdicts come seconds after a device's first packets", "model", cfg.ModelName.Text)
	}
	watched, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { warnWithoutDevice(watched, s, cfg.Log) })
	err := s.Run(ctx)
	stop()
	watching.Wait()
	return err
}

// warnWithoutDevice warns once of a sensor that sees no device in its traffic.
func warnWithoutDevice(ctx context.Context, s api.Source, log *slog.Logger) {
	tick := time.NewTicker(noDeviceEvery)
	defer tick.Stop()
	var n noDevice
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			stats, err := s.Stats()
			if err != nil {
				return // whoever asks for them is told
			}
			due, done := n.look(stats.Packets, now)
			if done {
				return
			}
			if !due {
				continue
			}
			if devices, err := s.Devices(); err == nil && len(devices) == 0 { // of flows still open too
				log.Warn("no device seen", "why", v1.WhyNoDevice(stats.Packets))
			}
			return
		}
	}
}

// parseIgnore reads --ignore; nil when it was not given.
func parseIgnore(c *cli.Context) (func(*flows.Record) bool, error) {
	ignored := map[ask.DeviceName]bool{}
	for _, s := range c.StringSlice("ignore") {
		name, err := ask.ParseDeviceName(s)
		if err != nil {
			return nil, terminal.WrongUsage(fmt.Errorf("--ignore: %w", err))
		}
		ignored[name] = true
	}
	if len(ignored) == 0 {
		return nil, nil
	}
	return func(r *flows.Record) bool {
		return ignored[ask.DeviceName{Name: r.Device}] || ignored[ask.DeviceName{Addr: r.DeviceAddr}]
	}, nil
}
