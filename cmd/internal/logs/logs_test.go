package logs

import (
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
)

// What happens a thousand times a minute is said some times, with how often it was not.
func TestLinesAreLimited(t *testing.T) {
	var b strings.Builder
	handler, err := handler("text", "info")
	if err != nil {
		t.Fatal(err)
	}
	h := handler(&b)
	log := func(message string, at time.Duration) {
		t.Helper()
		r := slog.NewRecord(time.Unix(1_800_000_000, 0).Add(at), slog.LevelWarn, message, 0)
		if err := h.WithAttrs([]slog.Attr{slog.Int("n", 1)}).Handle(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1000 {
		log("often", time.Duration(i)*time.Millisecond)
	}
	log("seldom", time.Second)
	if often, seldom := strings.Count(b.String(), "msg=often"), strings.Count(b.String(), "msg=seldom"); often != most || seldom != 1 {
		t.Errorf("%d and %d lines, want %d and 1", often, seldom, most)
	}
	b.Reset()
	log("often", every)
	log("often", every)
	if want := "held_back=980"; strings.Count(b.String(), "msg=often") != 2 || strings.Count(b.String(), want) != 1 {
		t.Errorf("in the next minute\n%swant %s once", b.String(), want)
	}
}

// Messages that are made of what comes from outside do not fill the memory.
func TestMessagesAreBounded(t *testing.T) {
	s := &said{}
	for i := range 10 * mostMessages {
		if _, ok := s.take(strings.Repeat("x", i), time.Unix(int64(i), 0)); !ok {
			t.Fatalf("message %d is held back", i)
		}
	}
	if len(s.messages) > mostMessages {
		t.Errorf("%d messages are kept", len(s.messages))
	}
}

type atOnce struct{ t *testing.T }

func (a atOnce) Later(f func() error) {
	if err := f(); err != nil {
		a.t.Error(err)
	}
}

func TestJournalEntries(t *testing.T) {
	var text string
	var at journal.Priority
	var got map[string]string
	log := slog.New(&entries{later: atOnce{t}, send: func(message string, p journal.Priority, fields map[string]string) error {
		text, at, got = message, p, fields
		return nil
	}})
	log.With("interface", "eth0").WithGroup("packets").Warn("blind", "seen", 7, "_in-ring", "a\nb")
	want := map[string]string{"SYSLOG_IDENTIFIER": "iotsense", "INTERFACE": "eth0", "PACKETS_SEEN": "7", "PACKETS__IN_RING": "a\nb"}
	if !maps.Equal(got, want) || text != "blind interface=eth0 packets.seen=7 packets._in-ring=a\nb" || at != journal.PriWarning {
		t.Errorf("%q, %d, %q", text, at, got)
	}
}

func TestForms(t *testing.T) {
	for _, tt := range []struct{ form, level, lines string }{
		{"auto", "info", "level=INFO msg=a\nlevel=WARN msg=b\nlevel=ERROR msg=c\n"}, // a test's standard error is no journal's
		{"text", "warn", "level=WARN msg=b\nlevel=ERROR msg=c\n"},
		{"json", "error", `{"level":"ERROR","msg":"c"}` + "\n"},
		{"xml", "info", `--log "xml": want auto, text, json or journal`},
		{"text", "debug", `--log-level "debug": want info, warn or error`},
	} {
		handler, err := handler(tt.form, tt.level)
		if err != nil {
			if err.Error() != tt.lines {
				t.Error(err)
			}
			continue
		}
		var b strings.Builder
		h := handler(&b)
		for _, r := range []slog.Record{slog.NewRecord(time.Time{}, slog.LevelInfo, "a", 0), slog.NewRecord(time.Time{}, slog.LevelWarn, "b", 0), slog.NewRecord(time.Time{}, slog.LevelError, "c", 0)} {
			if !h.Enabled(t.Context(), r.Level) {
				continue
			}
			if err := h.Handle(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		if b.String() != tt.lines {
			t.Errorf("%s, %s: %q, want %q", tt.form, tt.level, &b, tt.lines)
		}
	}
}

// The journal gets what is as weighty as was asked for.
func TestEntriesHaveALevel(t *testing.T) {
	e := &entries{least: slog.LevelWarn}
	if e.Enabled(t.Context(), slog.LevelInfo) || !e.WithGroup("x").Enabled(t.Context(), slog.LevelWarn) {
		t.Error("not those of a warning and more")
	}
}
