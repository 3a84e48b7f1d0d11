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
