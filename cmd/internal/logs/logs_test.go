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
	handler, err := Handler("text")
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

func TestUnknownForm(t *testing.T) {
	if _, err := Handler("xml"); err == nil || !strings.Contains(err.Error(), `--log "xml"`) {
		t.Error(err)
	}
}
