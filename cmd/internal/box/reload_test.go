package box

import "testing"

// Of what is taken over the log names the value, but no address that lets who has it send there.
func TestInWords(t *testing.T) {
	for _, tt := range []struct {
		flag  string
		value any
		want  string
	}{
		{"log", "json", "json"},
		{"local", nil, "the default"},
		{"sinks.digest", "5s", "5s"},
		{"sinks.webhook.url", "https://hooks.example/T0/secret", "an address"},
		{"sinks.ntfy.url", "https://ntfy.example/secret", "an address"},
		{"sinks.ntfy.url", nil, "the default"},
	} {
		if got := inWords(tt.flag, tt.value); got != tt.want {
			t.Errorf("%s %v is %q, want %q", tt.flag, tt.value, got, tt.want)
		}
	}
}
