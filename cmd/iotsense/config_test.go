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
	all := regexp.MustCompile(`(?m)^# ([a-z_]+: .*)$`).ReplaceAllString(string(text), "$1")
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
