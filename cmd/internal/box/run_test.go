package box

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

// Lines of run have the time at which they are said, which is in order: records of
// several devices come as their flows end.
func TestRunLinesHaveTheirTime(t *testing.T) {
	var b bytes.Buffer
	l := &verdictLog{w: &b}
	v := unknownPlug()
	v.News, v.Time.Time = true, time.Now().Add(-6*time.Hour)
	if err := l.show(v); err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(b.String(), v.Time.Format("15:")) || !strings.Contains(b.String(), "unknown  Plug? ") {
		t.Error(b.String())
	}
}

// In text, a line is printed when what is said of a device changes, however often
// the device has been forgotten since.
func TestVerdictLog(t *testing.T) {
	var b bytes.Buffer
	l := &verdictLog{w: &b}
	v := unknownPlug()
	for _, news := range []bool{true, false, true} {
		v.News = news
		if err := l.show(v); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Count(b.String(), "\n") != 2 {
		t.Error(b.String())
	}
	if strings.Contains(b.String(), "provisional") {
		t.Error(b.String())
	}
	b.Reset()
	v.Provisional = true
	if err := l.show(v); err != nil || !strings.Contains(b.String(), "(windows: 1, provisional)") {
		t.Error(err, b.String())
	}
	b.Reset()
	l.json = true
	if err := l.show(v); err != nil || !json.Valid(b.Bytes()) {
		t.Errorf("%v, %s", err, &b)
	}
}

func unknownPlug() v1.Verdict {
	label, confidence := "Plug", 0.5
	return v1.Verdict{Device: "00:17:88:0a:0b:0c", Label: &label, Confidence: &confidence, State: v1.Unknown, Windows: 1}
}

// Nobody asks over TCP without a token, and what goes with it goes with nothing else.
func TestListenFlags(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		line string
		code int // of the exit; 0: taken
	}{
		{"", 0},
		{"--listen 127.0.0.1:1 --token-file " + token, 0},
		{"--listen 127.0.0.1:1", 2},
		{"--token-file " + token, 2},
		{"--tls-cert a --tls-key b", 2},
		{"--listen 127.0.0.1:1 --tls-cert a --token-file " + token, 2},
		{"--listen nowhere --token-file " + token, 2},
		{"--listen 127.0.0.1:1 --token-file " + token + ".not", 1},
		{"--listen 127.0.0.1:1 --tls-cert a --tls-key b --token-file " + token, 1},
	} {
		var err error
		command := runCommand()
		command.Action = func(c *cli.Context) error { _, err = parseGate(c); return nil }
		app := &cli.App{Commands: []*cli.Command{command}}
		if run := app.Run(append([]string{"x", "run"}, strings.Fields(tt.line)...)); run != nil {
			t.Fatal(run)
		}
		code := 0
		if err != nil {
			code = 1
		}
		if errors.As(err, &terminal.UsageError{}) {
			code = 2
		}
		if code != tt.code {
			t.Errorf("%s: exit %d, want %d: %v", tt.line, code, tt.code, err)
		}
	}
}
