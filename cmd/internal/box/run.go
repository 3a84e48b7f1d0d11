package box

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/ask"
	"github.com/iotsense/iotsense/cmd/internal/confine"
	"github.com/iotsense/iotsense/cmd/internal/logs"
	"github.com/iotsense/iotsense/cmd/internal/service"
	"github.com/iotsense/iotsense/cmd/internal/settings"
	"github.com/iotsense/iotsense/cmd/internal/sinks"
	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/loader"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/loader/object"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/recording"
	"github.com/iotsense/iotsense/pkg/registry"
	"github.com/iotsense/iotsense/pkg/sensor"
)

// defaultPin is where bpftool users find the maps and programs.
const defaultPin = "/sys/fs/bpf/iotsense"

func runCommand() *cli.Command {
	return &cli.Command{
		Name:  "run",
		Usage: "the sensor: watch interfaces, name devices, answer on the socket",
		Flags: slices.Concat(sinks.Flags(), exportFlags, []cli.Flag{
			&cli.StringSliceFlag{Name: "interface", Aliases: []string{"i"}, Usage: "`IFACE` to watch (repeatable)"},
			&cli.StringFlag{Name: "hook", Value: string(attach.HookAuto), Usage: "`auto|xdp|xdp-generic|tcx|tc|tc-ingress`: where packets are seen"},
			&cli.BoolFlag{Name: "promisc", Usage: "promiscuous mode, for a mirror port (default: with the XDP hooks)"},
			&cli.StringFlag{Name: "model", Usage: "model `FILE`, or none for records only (default: the embedded model)"},
			ModelsFlag,
			&cli.StringSliceFlag{Name: "local", Usage: "local `CIDR` (repeatable; default: private, unique local and link-local ranges and the interfaces' own)"},
			&cli.StringSliceFlag{Name: "ignore", Usage: "no verdict on the device with this `MAC|IP`, such as the gateway (repeatable)"},
			&cli.StringFlag{Name: "ring-size", Value: "8MiB", Usage: "`SIZE` of the ring buffer"},
			&cli.IntFlag{Name: "max-flows", Value: object.DefaultMaxFlows, Usage: "`N` flows open at once"},
			&cli.IntFlag{Name: "max-devices", Value: registry.DefaultMaxDevices, Usage: "`N` devices remembered"},
			ask.SocketFlag,
			&cli.StringFlag{Name: "listen", Usage: "answer at `HOST:PORT` too, page and all, to who has the token (default: on the socket alone)"},
			&cli.BoolFlag{Name: "page-payload", Usage: "show on a device's page what the bytes of payload are that weigh in its explanation"},
			&cli.StringFlag{Name: "token-file", Usage: "`FILE` with the token of --listen, which only its owner and group may read"},
			&cli.StringFlag{Name: "tls-cert", Usage: "certificate `FILE` (PEM) for --listen"},
			&cli.StringFlag{Name: "tls-key", Usage: "its key's `FILE` (PEM)"},
			settings.Flag,
			logs.Flag,
			logs.LevelFlag,
			&cli.StringFlag{Name: "state", Usage: "`FILE` that the registry of devices is kept in, beside its snapshot; empty: in memory only"},
			&cli.StringFlag{Name: "record", Usage: "`DIR` that the records of devices are kept in, to learn from (default: nowhere)"},
			&cli.StringFlag{Name: "record-size", Value: "256MiB", Usage: "`SIZE` of all that is there, which is kept for 14 days at most"},
			&cli.StringFlag{Name: "pin", Value: defaultPin, Usage: "bpffs `DIR` for maps and programs; empty: no pins"},
			&cli.BoolFlag{Name: "keep", Usage: "leave the programs on at SIGTERM, and whatever happens, for the next sensor, which goes on with counters and open flows (needs --pin)"},
			&cli.BoolFlag{Name: "no-facts", Usage: "keep nothing of what devices say of themselves: maker, names, services"},
			&cli.IntFlag{Name: "explain-rate", Usage: "explain `N` verdicts a minute, with a twentieth of a processor, and keep flows for `explain --device` (default: none)"},
			confine.Flag,
			terminal.JSONFlag,
			&cli.DurationFlag{Name: "duration", Usage: "stop after `D`"},
			&cli.BoolFlag{Name: "kernel-stats", Usage: "measure the time spent in the kernel (needs CAP_SYS_ADMIN)"},
			&cli.IntFlag{Name: "packets", Usage: "packets sampled per flow (only the model's own value is taken; 0 with --model none: count, make no records)"},
			&cli.IntFlag{Name: "prefix", Usage: "payload bytes sampled per packet (only the model's own value is taken)"},
			&cli.DurationFlag{Name: "flow-timeout", Usage: "a record's life (only the model's own value is taken)"},
			&cli.StringFlag{Name: "direction", Usage: "bi or uni (only the model's own value is taken)"},
			&cli.Float64Flag{Name: "speed", Hidden: true, Value: 1}, // of the traffic that `demo` plays
		}),
		Action: runSensor,
	}
}

func runSensor(c *cli.Context) error {
	spareMemory()
	ctx, stop := context.WithCancelCause(c.Context)
	defer stop(nil)
	var hangups <-chan struct{} // without a file they end the sensor
	if c.String(settings.Flag.Name) != "" {
		hangups = terminal.Hangups(ctx)
	}
	file, err := settings.Of(c, runCommand)
	if err != nil {
		return err
	}
	form, err := logs.Handler(c)
	if err != nil {
		return file.Blame(c, err, checkFlags)
	}
	log := terminal.NewPatientLog(terminal.NewStream(ctx, os.Stderr), form, stop)
	defer log.Close()
	cfg, err := sensorConfig(c, log.Logger)
	if err != nil {
		return file.Blame(c, err, checkFlags)
	}
	if err := terminal.Undoes(ctx); err != nil {
		return err
	}
	if cfg.Listener, err = service.Socket(cfg.Socket); err != nil {
		return err
	}
	out := &verdictLog{w: c.App.Writer, json: c.Bool("json"), gone: stop}
	if c.Bool("keep") {
		cfg.Loader.Keep = func() bool { return terminal.Terminated(ctx) }
	}
	cfg.Verdict, cfg.Hurry = out.show, terminal.EndingOf(ctx).Hurry
	s, err := sensor.Open(cfg)
	if err != nil {
		return err
	}
	if err := slacken(); err != nil {
		log.Debug("a sensor at rest takes a little more", "error", err)
	}
	if err := endStart(); err != nil {
		log.Warn("the start's memory stays", "error", err)
	}
	if err := confine.Enter(c, cfg); err != nil {
		return errors.Join(err, s.Close())
	}
	if d := c.Duration("duration"); d > 0 {
		var end context.CancelFunc
		ctx, end = context.WithTimeout(ctx, d)
		defer end()
	}
	end := (&reloader{file: file, run: c, sensor: s, cfg: cfg, connects: confine.Connects(c, cfg), setForm: log.SetForm}).follow(ctx, hangups)
	told := service.Follow(ctx, s)
	err = runWatched(ctx, s, cfg)
	told()
	end()
	logAccounts(cfg, s)
	return errors.Join(err, s.Close(), out.failure())
}

// logAccounts says at the end what became of every packet.
func logAccounts(cfg sensor.Config, s *sensor.Sensor) {
	stats, err := s.Stats()
	if err != nil {
		cfg.Log.Error("final counters", "error", err)
		return
	}
	var counters []any
	for _, c := range v1.Counters(stats) {
		if n, counts := c.Value.(uint64); counts {
			counters = append(counters, c.Key, n)
		}
	}
	cfg.Log.Info("stopped", counters...)
}

// checkFlags is what run refuses of its flags before it does anything.
func checkFlags(c *cli.Context) error {
	_, err := sensorConfig(c, slog.New(slog.DiscardHandler))
	return err
}

func sensorConfig(c *cli.Context, log *slog.Logger) (sensor.Config, error) {
	cfg := sensor.Config{MaxDevices: c.Int("max-devices"), Socket: c.String("socket"), State: c.String("state"), Speed: c.Float64("speed"), NoFacts: c.Bool("no-facts"), Log: log}
	if err := GuardInputs(c); err != nil { // again: a file's settings came after the first time
		return cfg, err
	}
	if _, err := logs.Handler(c); err != nil {
		return cfg, err
	}
	if len(c.StringSlice("interface")) == 0 {
		return cfg, terminal.Usagef("run: -i IFACE is missing, or `interfaces` in the file that --config names")
	}
	for _, name := range c.StringSlice("interface") {
		if !canBeInterface(name) {
			return cfg, terminal.Usagef("-i %.40q: no interface can have this name: `ip link` lists those that there are", name)
		}
	}
	if c.Duration("duration") < 0 {
		return cfg, terminal.Usagef("--duration %v: want a time, or 0 for no end", c.Duration("duration"))
	}
	hook, err := attach.ParseHook(c.String("hook"))
	if err != nil {
		return cfg, terminal.WrongUsage(fmt.Errorf("--hook: %w", err))
	}
	ring, err := ParseSize(c.String("ring-size"), loader.MaxRingSize)
	if err != nil {
		return cfg, terminal.WrongUsage(fmt.Errorf("--ring-size: %w", err))
	}
	if err := checkNumbers(c); err != nil {
		return cfg, err
	}
	if cfg.Recording, cfg.RecordingSize, err = parseRecording(c); err != nil {
		return cfg, err
	}
	if err := parseAsked(c, &cfg); err != nil {
		return cfg, err
	}
	local, err := ParseLocal(c)
	if err != nil {
		return cfg, err
	}
	if cfg.Ignored, err = parseIgnore(c); err != nil {
		return cfg, err
	}
	if err := chooseModel(c, &cfg); err != nil {
		return cfg, err
	}
	cfg.CountOnly, cfg.ShowPayload = countOnly(c), c.Bool("page-payload")
	cfg.Loader = loader.Config{
		Interfaces: c.StringSlice("interface"), Hook: hook, MaxFlows: c.Int("max-flows"), RingSize: ring,
		Local: local, Pin: c.String("pin"), KernelStats: c.Bool("kernel-stats"), Log: cfg.Log,
	}
	if c.IsSet("promisc") {
		on := c.Bool("promisc")
		cfg.Loader.Promisc = &on
	}
	if err := cfg.Loader.Check(); err != nil {
		return cfg, terminal.WrongUsage(err)
	}
	return cfg, checkRecordFlags(c, cfg.Model)
}

// parseAsked reads who may ask the sensor and what is told unasked.
func parseAsked(c *cli.Context, cfg *sensor.Config) (err error) {
	if cfg.Gate, err = parseGate(c); err != nil {
		return err
	}
	if cfg.ExplainRate, err = parseExplainRate(c); err != nil {
		return err
	}
	if cfg.Export, err = parseExport(c); err != nil {
		return err
	}
	cfg.Sinks, err = sinks.Config(c)
	return err
}

// chooseModel finds the model, and how to find another. A learned one that cannot be read keeps
// no sensor from starting.
func chooseModel(c *cli.Context, cfg *sensor.Config) (err error) {
	cfg.Model, cfg.ModelName, err = chosenModel(c, func(err error) error {
		cfg.Log.Error("a learned model is left out: `iotsense model rollback` goes back to the one before", "error", err)
		return nil
	})
	if c.String("models") != "" {
		cfg.Models = model.Shelf(c.String("models"))
		cfg.Choose = func() (model.Bundle, sensor.Named, error) {
			return chosenModel(c, func(err error) error { return err })
		}
	}
	return err
}

// checkNumbers refuses numbers that are too small.
func checkNumbers(c *cli.Context) error {
	for _, name := range []string{"max-flows", "max-devices"} {
		if c.Int(name) < 1 {
			return terminal.Usagef("--%s %d: want at least 1", name, c.Int(name))
		}
	}
	if c.Bool("keep") && c.String("pin") == "" {
		return terminal.Usagef("--keep: what is kept is pinned in the directory of --pin, which is empty")
	}
	if c.Float64("speed") < 1 {
		return terminal.Usagef("--speed %v: want 1 or more", c.Float64("speed"))
	}
	return nil
}

// parseExplainRate reads how many verdicts a minute are explained.
func parseExplainRate(c *cli.Context) (int, error) {
	rate := c.Int("explain-rate")
	switch {
	case rate < 0 || rate > sensor.MaxExplainRate:
		return 0, terminal.Usagef("--explain-rate %d: want 1 to %d a minute, or 0 for none", rate, sensor.MaxExplainRate)
	case rate > 0 && c.String("model") == ask.NoModel:
		return 0, terminal.Usagef("--explain-rate %d: with --model none there is no verdict to explain", rate)
	}
	return rate, nil
}

// parseRecording reads where records are kept, and how many bytes of them.
func parseRecording(c *cli.Context) (dir string, size int64, err error) {
	n, err := ParseSize(c.String("record-size"), math.MaxInt)
	switch {
	case err != nil:
		return "", 0, terminal.WrongUsage(fmt.Errorf("--record-size: %w", err))
	case n < recording.LeastSize:
		return "", 0, terminal.Usagef("--record-size %s: want %d MiB or more", c.String("record-size"), recording.LeastSize>>20)
	case c.IsSet("record-size") && c.String("record") == "":
		return "", 0, terminal.Usagef("--record-size is of --record DIR, which is missing")
	case c.String("record") != "" && countOnly(c):
		return "", 0, terminal.Usagef("--record %s: with --packets 0 there is no record", c.String("record"))
	}
	return c.String("record"), int64(n), nil
}

// parseGate reads where else than on its socket the sensor answers; nil: nowhere.
func parseGate(c *cli.Context) (*api.Gate, error) {
	g := api.GateConfig{Addr: c.String("listen"), TokenFile: c.String("token-file"), Cert: c.String("tls-cert"), Key: c.String("tls-key")}
	switch {
	case g == api.GateConfig{}:
		return nil, nil
	case g.Addr == "":
		return nil, terminal.Usagef("--token-file, --tls-cert and --tls-key are of --listen HOST:PORT, which is missing")
	case g.TokenFile == "":
		return nil, terminal.Usagef("--listen %s: --token-file FILE is missing; nobody may ask over TCP without a token", g.Addr)
	case (g.Cert == "") != (g.Key == ""):
		return nil, terminal.Usagef("--tls-cert and --tls-key go together: one of them is missing")
	}
	gate, err := api.NewGate(g)
	var wrong *net.AddrError
	switch {
	case errors.As(err, &wrong):
		return nil, terminal.WrongUsage(fmt.Errorf("--listen: %w", err))
	case err != nil:
		return nil, fmt.Errorf("--listen: %w", err)
	}
	return gate, nil
}

// canBeInterface reports whether an interface of the name, or alternative name, can
// come; it would be waited for.
func canBeInterface(name string) bool {
	const longest = 127 // ALTIFNAMSIZ with its NUL is 128
	return name != "" && len(name) <= longest && !strings.ContainsAny(name, "/ \t\n")
}

// countOnly reports whether packets are only to be counted.
func countOnly(c *cli.Context) bool {
	return c.String("model") == ask.NoModel && c.IsSet("packets") && c.Int("packets") == 0
}

// checkRecordFlags refuses values that differ from what the model was trained on.
func checkRecordFlags(c *cli.Context, bundle model.Bundle) error {
	spec, err := bundle.Record()
	if err != nil {
		return err
	}
	for _, f := range []struct{ name, asked, trained string }{
		{"packets", strconv.Itoa(c.Int("packets")), strconv.Itoa(spec.Packets)},
		{"prefix", strconv.Itoa(c.Int("prefix")), strconv.Itoa(spec.Prefix)},
		{"flow-timeout", c.Duration("flow-timeout").String(), spec.Lifetime.String()},
		{"direction", c.String("direction"), spec.Direction.String()},
	} {
		if c.IsSet(f.name) && f.asked != f.trained && !(f.name == "packets" && countOnly(c)) {
			return terminal.Usagef("--%s %s: the model needs %s; leave the flag out, or train a model for it", f.name, f.asked, f.trained)
		}
	}
	return nil
}

// ParseSize reads bytes, at most so many, with an optional unit of KiB, MiB or GiB (also
// KB, K, ...).
func ParseSize(s string, most int) (int, error) {
	number := strings.TrimRight(s, "KMGkmgiIbB ")
	shift, ok := map[string]int{"": 0, "k": 10, "m": 20, "g": 30}[strings.TrimRight(strings.ToLower(strings.TrimSpace(s[len(number):])), "ib")]
	n, err := strconv.Atoi(number)
	if err != nil || !ok || n < 1 || n > most>>shift {
		return 0, fmt.Errorf("size %q: want a number of bytes, or one with KiB, MiB or GiB, up to %d MiB", s, most>>20)
	}
	return n << shift, nil
}

// verdictLog prints a line per inference and provisional verdict (JSON), or a line whenever what is said
// of a device changes, with the time at which it is said.
type verdictLog struct {
	w    io.Writer
	json bool
	gone func(error) // called when nobody will read any more

	mu  sync.Mutex
	err error // the first that printing met
}

// show prints a verdict.
func (l *verdictLog) show(v v1.Verdict) error {
	err := l.print(v)
	if err == nil {
		return nil
	}
	if errors.Is(err, terminal.ErrLeftover) {
		l.gone(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = cmp.Or(l.err, err)
	return err
}

func (l *verdictLog) print(v v1.Verdict) error {
	if l.json {
		return terminal.PrintJSON(l.w, v)
	}
	if !v.News {
		return nil
	}
	label, confidence := ask.LabelText(&v)
	note := ""
	if v.Provisional {
		note = ", provisional"
	}
	if _, err := fmt.Fprintf(l.w, "%s  %s  %-8s %-24s %s  (windows: %d%s)\n",
		time.Now().Format(time.TimeOnly), v.Device, v.State, label, confidence, v.Windows, note); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// failure is the first error of printing. A reader that has seen enough is none.
func (l *verdictLog) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(l.err, terminal.ErrLeftover) {
		return nil
	}
	return l.err
}
