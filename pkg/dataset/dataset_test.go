package dataset_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
)

// The rows of the captures' streams by split, all and those with four before them:
// figures of the data set, counted once and kept.
func TestStepsOfDataSet(t *testing.T) {
	manifest := filepath.Join(testenv.Data(t), "manifest.csv")
	for _, tt := range []struct {
		name              string
		split             string
		first             int
		captures, windows int
	}{
		{"train strict", "train", 4, 330, 8241},
		{"train padded", "train", 0, 330, 9493},
		{"test strict", "test", 4, 110, 2970},
		{"test padded", "test", 0, 110, 3389},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set, err := dataset.Open(dataset.Options{Manifest: manifest, Splits: []string{tt.split}})
			if err != nil {
				t.Fatal(err)
			}
			windows := 0
			captures, err := set.Steps(context.Background(), flows.StreamSpec{}, func(e dataset.Example) error {
				if e.Number >= tt.first {
					windows++
				}
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

// A capture that is cut gives the records of its first part, and says that it was
// cut; one that is none gives an error of another kind. Devices that sent nothing
// are named.
func TestDamagedCaptures(t *testing.T) {
	source := filepath.Join(testenv.Data(t), "Aria", "Setup-A-1-STA.pcap")
	whole, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	const aria, nobody = "20:f8:5e:ca:91:52", "02:00:00:00:00:01"
	for _, tt := range []struct {
		name     string
		captures map[string][]byte
		err      string // part of it; empty: none
		partial  bool
		without  int // devices without a window: nobody sent anything
	}{
		{"whole", map[string][]byte{"a.pcap": whole}, "", false, 1},
		{"cut", map[string][]byte{"a.pcap": whole, "b.pcap": whole[:len(whole)/2+3]}, "truncated", true, 2},
		{"cut in its header", map[string][]byte{"a.pcap": whole[:10]}, "truncated", false, 2},
		{"cut, and none", map[string][]byte{"a.pcap": whole[:len(whole)-1], "b.pcap": []byte("hello, world, hello")}, "not a pcap", false, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			manifest := "capture,mac,label\n"
			for name, text := range tt.captures {
				if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
					t.Fatal(err)
				}
				manifest += name + "," + aria + ",Aria\n" + name + "," + nobody + ",Nobody\n"
			}
			path := filepath.Join(dir, "manifest.csv")
			if err := os.WriteFile(path, []byte(manifest), 0o644); err != nil {
				t.Fatal(err)
			}
			set, err := dataset.Open(dataset.Options{Manifest: path})
			if err != nil {
				t.Fatal(err)
			}
			store := dataset.NewStore(dataset.DefaultMemory)
			defer store.Close()
			err = set.Fill(t.Context(), flows.StreamSpec{}, 0, store, nil, nil)
			if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want one with %q", err, tt.err)
			}
			if got := err != nil && dataset.OnlyPartial(err); got != tt.partial {
				t.Errorf("only partial: %v, want %v", got, tt.partial)
			}
			if got := set.Without(store); len(got) != tt.without {
				t.Errorf("without a window: %v, want %d", got, tt.without)
			}
		})
	}
}

// A capture whose packets do not add up is not one that was read in part.
func TestOnlyPartial(t *testing.T) {
	cut := &dataset.PartialError{Err: errors.New("a.pcap: cut")}
	wrong := &dataset.PartialError{Err: fmt.Errorf("b.pcap: %w", errors.Join(errors.New("cut"), (&flows.PacketStats{Seen: 1}).Check()))}
	for err, want := range map[error]bool{cut: true, errors.Join(cut, cut): true, wrong: false, errors.Join(cut, wrong): false, errors.New("none"): false} {
		if got := dataset.OnlyPartial(err); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}
