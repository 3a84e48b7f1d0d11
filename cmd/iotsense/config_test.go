package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The example of a configuration is one, as it is and with every setting in force.
func TestExampleConfiguration(t *testing.T) {
	const example = "../../dist/config.yaml"
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile(`(?m)^# ( *[a-z_]+:.*)$`).ReplaceAllString(string(text), "$1")
	all = strings.Replace(all, "/var/lib/iotsense/mine.safetensors", "none", 1)
	for name, path := range map[string]string{"as it is": example, "all settings": write(t, "config.yaml", []byte(all))} {
		stdout, stderr, status := command(t, "config", "check", path)
		if status != 0 || !strings.Contains(stdout, "all in order") {
			t.Errorf("%s: status %d, %s%s", name, status, stdout, stderr)
		}
	}
	if strings.Count(all, "\n#") == strings.Count(string(text), "\n#") {
		t.Error("no setting was commented out")
	}
}

// A sink that could not work is told with its line, and nobody is shown a secret.
func TestSinksConfiguration(t *testing.T) {
	token := write(t, "token", []byte("tk_secret"))
	if err := os.Chmod(token, 0o600); err != nil {
		t.Fatal(err)
	}
	good := "interfaces: lo\nmodel: none\nsinks:\n  webhook:\n    url: https://example.org/hook\n    token_file: " + token + "\n"
	for text, want := range map[string]string{
		good:                              "all in order",
		good + "    events: [new, nwe]\n": `line 7: sinks.webhook.events: there is no event "nwe"`,
		good + "  ntfy: {url: https://ntfy.sh/a/b.c}\n":       "line 7: sinks.ntfy.url: want that of a topic",
		good + "  ntfy: {token_file: " + token + "}\n":        "line 7: sinks.ntfy.url: it is missing",
		good + "    ca_file: /nonexistent\n":                  "line 7: sinks.webhook.ca_file: open /nonexistent",
		good + "  nats: {url: \"nats://me:tk_secret@bus\"}\n": "line 7: sinks.nats.url: no name and password in it",
		good + "  hold: -1s\n":                                "line 7: sinks.hold: -1s: want 0s to 24h",
		good + "  webhok: {}\n":                               `line 7: there is no setting "sinks.webhok"`,
	} {
		path := write(t, "config.yaml", []byte(text))
		stdout, stderr, status := command(t, "config", "check", path)
		if !strings.Contains(stdout+stderr, want) || (status == 0) != (text == good) || strings.Contains(stdout+stderr, "tk_secret") {
			t.Errorf("%sstatus %d, %s%s, want %q", text, status, stdout, stderr, want)
		}
	}
	stdout, stderr, status := command(t, "config", "show", write(t, "config.yaml", []byte(good)))
	if status != 0 || !strings.Contains(stdout, "sinks.webhook.token_file: "+token) || strings.Contains(stdout, "tk_secret") {
		t.Errorf("status %d, %s%s", status, stdout, stderr)
	}
}

// A file's settings name no file to be read and written, as flags may not.
func TestConfigurationIsGuarded(t *testing.T) {
	model := write(t, "mine.safetensors", []byte("a model"))
	path := write(t, "config.yaml", []byte("interfaces: nosuch0\nstate: "+model+"\nmodel: "+model+"\n"))
	for _, args := range [][]string{{"config", "check", path}, {"run", "--config", path}, {"run", "-i", "nosuch0", "--config", path, "--model", "none", "--state", path}} {
		_, stderr, status := command(t, args...)
		if status == 0 || !strings.Contains(stderr, "which is the same file") {
			t.Errorf("%q: status %d, %s", args, status, stderr)
		}
	}
	if text, err := os.ReadFile(model); err != nil || string(text) != "a model" {
		t.Errorf("the model is %q, %v", text, err)
	}
}
