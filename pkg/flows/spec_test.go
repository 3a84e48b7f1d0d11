package flows

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestRecordSpecUnion(t *testing.T) {
	paper := DefaultRecordSpec()
	short := RecordSpec{Packets: 5, Prefix: 100, Payload: 6000, Lifetime: Lifetime}
	joined, err := paper.Union(short)
	want := RecordSpec{Packets: 10, Prefix: 1000, Payload: 6000, Lifetime: time.Minute}
	if err != nil || joined != want {
		t.Errorf("union %+v, %v; want %+v", joined, err, want)
	}
	for _, tt := range []struct {
		other RecordSpec
		says  string
	}{
		{RecordSpec{Direction: Uni, Lifetime: Lifetime}, "direction bi and of uni"},
		{RecordSpec{Lifetime: 30 * time.Second}, "lifetime 1m0s and of 30s"},
	} {
		if _, err := paper.Union(tt.other); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("union with %+v: %v, want %q", tt.other, err, tt.says)
		}
	}
}

func TestRecordSpecJSON(t *testing.T) {
	text, err := json.Marshal(RecordSpec{Direction: Uni}.WithDefaults())
	want := `{"direction":"uni","packets":10,"prefix":1000,"payload":3000,"lifetime_ns":60000000000}`
	if err != nil || string(text) != want {
		t.Errorf("%s, %v; want %s", text, err, want)
	}
	for _, bad := range []string{`{"direction":"up"}`, `{"direction":1}`} {
		if err := json.Unmarshal([]byte(bad), &RecordSpec{}); err == nil {
			t.Errorf("%s is read", bad)
		}
	}
	var s Service
	if err := json.Unmarshal([]byte(`"tcp/443"`), &s); err != nil || s != (Service{protoTCP, 443}) {
		t.Errorf("service %v, %v", s, err)
	}
	if _, err := json.Marshal(Service{}); err == nil {
		t.Error("all traffic has a service's name")
	}
}
