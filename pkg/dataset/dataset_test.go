package dataset_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
)

// The captures' windows by split: figures of the data set, counted once and kept.
func TestWindowsOfDataSet(t *testing.T) {
	manifest := filepath.Join(testenv.Data(t), "manifest.csv")
	for _, tt := range []struct {
		name              string
		split             string
		stream            flows.StreamConfig
		captures, windows int
	}{
		{"train strict", "train", flows.StreamConfig{Mode: flows.Strict}, 330, 8241},
		{"train padded", "train", flows.StreamConfig{}, 330, 9493},
		{"test strict", "test", flows.StreamConfig{Mode: flows.Strict}, 110, 2970},
		{"test padded", "test", flows.StreamConfig{}, 110, 3389},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set, err := dataset.Open(dataset.Options{Manifest: manifest, Splits: []string{tt.split}})
			if err != nil {
				t.Fatal(err)
			}
			windows := 0
			captures, err := set.Windows(context.Background(), tt.stream, func(dataset.Example) error {
				windows++
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(captures) != tt.captures || windows != tt.windows {
				t.Errorf("%d captures, %d windows, want %d and %d", len(captures), windows, tt.captures, tt.windows)
			}
		})
	}
}
