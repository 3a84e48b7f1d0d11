package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/box"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/classify"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/replay"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "watch the sensor name devices on a private pair of interfaces (needs root)",
		Description: "Makes two network namespaces joined by a veth pair, attaches the sensor to one end, and plays\n" +
			"traffic through the kernel: real captures, or that of the project's own device lab. Verdicts\n" +
			"stand beside what the devices truly are. Everything made is removed at the end.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "captures", Usage: "play the captures that `DIR`/manifest.csv lists, split=test where it has one (default: the device lab)"},
			&cli.Float64Flag{Name: "speed", Usage: "play `N` times faster than recorded (default: what makes it last 1 to 2 minutes)"},
			&cli.StringFlag{Name: "hook", Value: "auto", Usage: "`auto|xdp|xdp-generic|tcx|tc`: where packets are seen"},
			&cli.DurationFlag{Name: "duration", Usage: "stop playing after `D`"},
			&cli.StringFlag{Name: "model", Usage: "model `FILE`, or lab for the device lab's (default: the embedded model that fits the traffic)"},
			&cli.Int64Flag{Name: "seed", Value: 1, Usage: "`N` of the device lab's traffic"},
			&cli.BoolFlag{Name: "page", Usage: "open the sensor's page on an address of this machine, and play on, as fast as recorded, until Ctrl-C"},
			&cli.BoolFlag{Name: "learn", Usage: "show a home of strangers instead, and how labels of some give names to the others"},
			terminal.JSONFlag,
		},
		Action: demo,
	}
}

// demoOptions are the choices that the sensor shares.
type demoOptions struct {
	hook, model string
	speed       float64
	flags, env  []string // more of the sensor's
	unread      bool     // its verdicts, until listen
}

func demo(c *cli.Context) error {
	if c.IsSet("speed") && c.Float64("speed") < 1 {
		return terminal.Usagef("--speed %v: want 1 or more", c.Float64("speed"))
	}
	if c.IsSet("seed") && c.String("captures") != "" {
		return terminal.Usagef("--seed: what is played is of --captures, not the device lab's")
	}
	if err := checkScene(c); err != nil {
		return err
	}
	if err := checkSensor(c, "demo"); err != nil {
		return err
	}
	if c.Bool("learn") {
		return learnDemo(c)
	}
	traffic, opts, err := demoChoices(c)
	if err != nil {
		return err
	}
	return onDemoNetwork(c.Context, func(n *replay.Network) error { return runDemo(c, n, traffic, opts) })
}

// demoChoices settles traffic, model and speed.
func demoChoices(c *cli.Context) (*demoTraffic, demoOptions, error) {
	opts := demoOptions{hook: c.String("hook"), model: c.String("model"), speed: c.Float64("speed")}
	var traffic *demoTraffic
	var err error
	if dir := c.String("captures"); dir != "" {
		traffic, err = captureTraffic(dir)
	} else {
		traffic, err = labTraffic(c.Int64("seed"))
		if opts.model == "" {
			opts.model = box.LabModel
		}
	}
	if err != nil {
		return nil, opts, err
	}
	if c.Bool("page") {
		opts.flags = []string{"--explain-rate", "60"}
		opts.speed = cmp.Or(opts.speed, 1)
	}
	if opts.speed == 0 {
		opts.speed = traffic.speed()
	}
	return traffic, opts, nil
}

// runDemo plays the traffic past a sensor and prints what it says.
func runDemo(c *cli.Context, n *replay.Network, traffic *demoTraffic, opts demoOptions) error {
	bundle, err := box.LoadNamedModel(opts.model)
	if err != nil {
		return err
	}
	sensor, err := startSensor(c.Context, n, opts)
	if err != nil {
		return err
	}
	summary := demoSummary{Data: traffic.data, Model: box.ModelText(opts.model, bundle), Hook: sensor.hook, Speed: opts.speed}
	if !c.Bool("json") {
		introduce(c, &summary, traffic)
	}
	if c.Bool("page") {
		shut, err := openPage(c, n.Dir, sensor.socket)
		if err != nil {
			return errors.Join(err, sensor.leave())
		}
		defer shut()
	}
	ctx, stop := context.WithCancel(c.Context)
	defer stop()
	played := make(chan error, 1)
	go func() { played <- conduct(ctx, n, sensor, traffic, c, &summary) }()
	b := newBoard(c.App.Writer, c.Bool("json"), traffic.truth, classify.Labels(bundle))
	b.header()
	var failed error
	for v := range sensor.verdicts {
		if failed != nil {
			continue
		}
		if failed = b.show(v); failed != nil {
			stop() // there is nobody to play for
		}
	}
	stop() // the same where the sensor has ended by itself
	switch err := <-played; {
	case errors.Is(failed, terminal.ErrLeftover): // who read has seen enough
		return err
	case failed != nil || err != nil:
		return errors.Join(failed, err)
	}
	b.score(&summary)
	return b.summary(summary)
}

// conduct plays the traffic, lets its flows live out their time and stops the
// sensor. An interrupt cuts it short; what was seen until then is judged. For a page it is played
// again and again.
func conduct(ctx context.Context, n *replay.Network, s *demoSensor, t *demoTraffic, c *cli.Context, summary *demoSummary) error {
	if most := c.Duration("duration"); most > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, most)
		defer cancel()
	}
	var err error
	for again := true; again; again = c.Bool("page") && err == nil && ctx.Err() == nil {
		var played replay.Played
		played, err = n.Play(ctx, t.frames, replay.PlayOptions{Speed: summary.Speed, FarEnd: strings.HasPrefix(s.hook, "xdp")})
		summary.Played += played.Frames
	}
	if ctx.Err() != nil {
		err = nil
	}
	var asked error
	if err == nil {
		lifetime := time.Duration(float64(flows.Lifetime) / summary.Speed)
		summary.Stats, asked = s.settle(ctx, lifetime+demoBlindTime)
	}
	return errors.Join(err, asked, s.stop())
}

// speedText says how fast traffic is played.
func speedText(speed float64) string {
	if speed == 1 {
		return "as fast as recorded"
	}
	return fmt.Sprintf("%v times faster than recorded", speed)
}

// introduce says what is going to be shown.
func introduce(c *cli.Context, s *demoSummary, t *demoTraffic) {
	lifetime := time.Duration(float64(flows.Lifetime) / s.Speed).Round(100 * time.Millisecond)
	fmt.Fprintf(c.App.Writer, `traffic  %s
         %d devices, %d frames, %v played %s
model    %s
sensor   %s on %s, in a network namespace of its own; every packet goes through the kernel

The first verdicts rest on flows that are still open; their records are complete a minute after the first packet, here %v.
A verdict with a question mark is the best guess about a device that stays unknown: the model is not sure enough.
`, s.Data, len(t.truth), len(t.frames), t.length().Round(time.Second), speedText(s.Speed), s.Model, s.Hook, replay.Interface, lifetime)
}
