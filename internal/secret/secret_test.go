package secret

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	for _, tt := range []struct {
		name, content string
		mode          os.FileMode
		want, refused string
	}{
		{"a line", "pass word\n", 0o640, "pass word", ""},
		{"everybody's", "word", 0o604, "", "chmod 600"},
		{"empty", "\n", 0o600, "", "empty"},
		{"two lines", "a\nb\n", 0o600, "", "one line"},
		{"long", strings.Repeat("a", most+1), 0o600, "", "at most 1024 bytes"},
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(tt.content), tt.mode); err != nil {
			t.Fatal(err)
		}
		got, err := Read(path)
		if got != tt.want || (err == nil) != (tt.refused == "") || err != nil && (!strings.Contains(err.Error(), tt.refused) || !strings.Contains(err.Error(), path)) {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
	}
	if _, err := Read("/nonexistent"); !os.IsNotExist(err) {
		t.Error(err)
	}
}
