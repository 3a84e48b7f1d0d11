package box

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

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
