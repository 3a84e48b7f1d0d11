// Package logs gives a sensor's log its form: lines of text or JSON, or entries of the
// journal with fields. However often something happens, it is said so often only.
package logs

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
)

// Flag is the form of a sensor's log, LevelFlag what it leaves out.
var (
	Flag      = &cli.StringFlag{Name: "log", Value: "auto", Usage: "`auto|text|json|journal`: form of the log, lines on standard error or entries of systemd's journal with its fields (auto: where standard error goes there)"}
	LevelFlag = &cli.StringFlag{Name: "log-level", Value: "info", Usage: "`info|warn|error`: what is less is not logged"}
)

// Later takes work that may wait for a reader.
type Later interface{ Later(func() error) }

// Handler makes what gives lines the form and level that a command's flags ask for. Entries of
// the journal take a writer that is a Later.
func Handler(c *cli.Context) (func(io.Writer) slog.Handler, error) {
	return handler(c.String(Flag.Name), c.String(LevelFlag.Name))
}

func handler(form, level string) (func(io.Writer) slog.Handler, error) {
	least, ok := map[string]slog.Level{"info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}[level]
	if !ok {
		return nil, terminal.Usagef("--log-level %q: want info, warn or error", level)
	}
	if form == "auto" {
		form = "text"
		if here, err := journal.StderrIsJournalStream(); here && err == nil && journal.Enabled() {
			form = "journal"
		}
	}
	var line func(io.Writer) slog.Handler
	switch form {
	case "text":
		line = func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, &slog.HandlerOptions{Level: least}) }
	case "json":
		line = func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: least}) }
	case "journal":
		if !journal.Enabled() {
			return nil, terminal.Usagef("--log journal: no journal of systemd is here: want text or json")
		}
		line = func(w io.Writer) slog.Handler { return &entries{least: least, send: journal.Send, later: w.(Later)} }
	default:
		return nil, terminal.Usagef("--log %q: want auto, text, json or journal", form)
	}
	return func(w io.Writer) slog.Handler { return &limited{Handler: line(w), said: &said{}} }, nil
}

const (
	most  = 20 // lines of one message in a period
	every = time.Minute
	// mostMessages is how many messages are told apart.
	mostMessages = 256
)

// limited holds back what comes too often; the first line of the next period has how many.
type limited struct {
	slog.Handler
	said *said
}

type said struct {
	mu       sync.Mutex
	messages map[string]*count
}

type count struct {
	since time.Time
	n     int
}

// Handle implements slog.Handler.
func (l *limited) Handle(ctx context.Context, r slog.Record) error {
	held, ok := l.said.take(r.Message, r.Time)
	if !ok {
		return nil
	}
	if held > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("held_back", held))
	}
	return l.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (l *limited) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &limited{l.Handler.WithAttrs(attrs), l.said}
}

// WithGroup implements slog.Handler.
func (l *limited) WithGroup(name string) slog.Handler {
	return &limited{l.Handler.WithGroup(name), l.said}
}

// take reports whether a line is said, and how many like it were held back before.
func (s *said) take(message string, now time.Time) (held int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.messages[message]
	if c == nil {
		if s.messages == nil || len(s.messages) >= mostMessages {
			s.messages = map[string]*count{}
		}
		s.messages[message] = &count{now, 1}
		return 0, true
	}
	if now.Sub(c.since) >= every {
		held = max(0, c.n-most)
		*c = count{since: now}
	}
	c.n++
	return held, c.n <= most
}

// entries are those of the journal: the message with its attributes as text, and each as a
// field.
type entries struct {
	least  slog.Level
	send   func(message string, p journal.Priority, fields map[string]string) error
	later  Later
	attrs  []slog.Attr
	groups []string
}

// Enabled implements slog.Handler.
func (e *entries) Enabled(_ context.Context, l slog.Level) bool { return l >= e.least }

// Handle implements slog.Handler.
func (e *entries) Handle(_ context.Context, r slog.Record) error {
	fields := map[string]string{"SYSLOG_IDENTIFIER": "iotsense"}
	var text strings.Builder
	text.WriteString(r.Message)
	add := func(groups []string, a slog.Attr) bool {
		name, value := strings.Join(append(groups, a.Key), "."), a.Value.Resolve().String()
		fields[fieldName(name)] = value
		text.WriteString(" " + name + "=" + value)
		return true
	}
	for _, a := range e.attrs {
		add(nil, a)
	}
	r.Attrs(func(a slog.Attr) bool { return add(e.groups, a) })
	e.later.Later(func() error { return e.send(text.String(), priority(r.Level), fields) })
	return nil
}

// WithAttrs implements slog.Handler.
func (e *entries) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *e
	with.attrs = e.attrs[:len(e.attrs):len(e.attrs)]
	for _, a := range attrs {
		a.Key = strings.Join(append(e.groups, a.Key), ".")
		with.attrs = append(with.attrs, a)
	}
	return &with
}

// WithGroup implements slog.Handler.
func (e *entries) WithGroup(name string) slog.Handler {
	with := *e
	with.groups = append(e.groups[:len(e.groups):len(e.groups)], name)
	return &with
}

// fieldName is an attribute's name as the journal takes them.
func fieldName(name string) string {
	upper := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, name)
	return strings.TrimLeft(upper, "_")
}

// priority is a level as syslog(3) has them.
func priority(l slog.Level) journal.Priority {
	switch {
	case l >= slog.LevelError:
		return journal.PriErr
	case l >= slog.LevelWarn:
		return journal.PriWarning
	}
	return journal.PriInfo
}
