package train

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iotsense/iotsense/pkg/model"
)

// checkpointed trains with a checkpoint after every step.
func checkpointed(t *testing.T, file string, progress func(Progress)) (*model.Model, *Report, error) {
	t.Helper()
	o := options()
	o.Epochs, o.Checkpoint, o.CheckpointEvery = 3, file, 0
	return trainOn(t, context.Background(), o, examples(1, 30), examples(2, 10), progress)
}

func bytesOf(t *testing.T, m *model.Model) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := m.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestKilled is the process that TestResumeAfterKill kills.
func TestKilled(t *testing.T) {
	file := os.Getenv("IOTSENSE_TEST_CHECKPOINT")
	if file == "" {
		t.Skip("the other half of TestResumeAfterKill")
	}
	_, _, err := checkpointed(t, file, func(p Progress) { fmt.Println("at", p.Epoch, p.Batch, p.Ended) })
	t.Fatal("not killed:", err)
}

// A run that is killed with SIGKILL, in the middle of an epoch and between two,
// and started again gives the bytes of one that never stopped.
func TestResumeAfterKill(t *testing.T) {
	dir := t.TempDir()
	m, _, err := checkpointed(t, filepath.Join(dir, "whole"), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := bytesOf(t, m)
	for _, at := range []string{"at 2 3 false", "at 1 8 true", "at 3 8 false"} {
		file := filepath.Join(dir, strings.ReplaceAll(at, " ", "-"))
		kill(t, file, at)
		m, report, err := checkpointed(t, file, nil)
		if err != nil {
			t.Fatal(err)
		}
		if report.Resumed == 0 || len(report.Epochs) != 3 {
			t.Errorf("killed %s: resumed in epoch %d, %d epochs", at, report.Resumed, len(report.Epochs))
		}
		if !bytes.Equal(bytesOf(t, m), want) {
			t.Errorf("killed %s: the resumed run gives other bytes", at)
		}
		again, _, err := checkpointed(t, file, func(Progress) { t.Error("a run that is over goes on") })
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bytesOf(t, again), want) {
			t.Errorf("killed %s: the checkpoint of the run's end gives other bytes", at)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 4 {
		t.Errorf("%v, %v: want the four checkpoints alone", left, err)
	}
}

// A run that is cancelled says that it cannot keep its state, wherever it is.
func TestCancelledWithoutCheckpoint(t *testing.T) {
	for _, ended := range []bool{false, true} { // between two steps, between two epochs
		dir := filepath.Join(t.TempDir(), "state")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		o := options()
		o.Checkpoint = filepath.Join(dir, "checkpoint")
		_, _, err := trainOn(t, ctx, o, examples(1, 30), examples(2, 10), func(p Progress) {
			if p.Epoch == 2 && p.Ended == ended {
				if err := os.RemoveAll(dir); err != nil {
					t.Error(err)
				}
				cancel()
			}
		})
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("epoch ended %v: %v, want an error that names the checkpoint", ended, err)
		}
	}
}

// kill runs this test binary until it prints the line, and ends it with SIGKILL.
func kill(t *testing.T, file, line string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), "IOTSENSE_TEST_CHECKPOINT="+file)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == line {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // killed
			return
		}
	}
	t.Fatalf("the run ended without %q: %v", line, cmd.Wait())
}

func TestResumeRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "checkpoint")
	if _, _, err := checkpointed(t, file, nil); err != nil {
		t.Fatal(err)
	}
	o := options()
	o.Checkpoint, o.Seed = file, 99
	_, _, err := trainOn(t, context.Background(), o, examples(1, 30), examples(2, 10), nil)
	if err == nil || !strings.Contains(err.Error(), "other data or options") {
		t.Errorf("another seed: %v", err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"cut": whole[:len(whole)/2], "empty": nil, "not one": []byte("hello")} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := checkpointed(t, file, nil); err == nil || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An epoch's duration has what went before an interruption in its middle, and
// nothing of the epochs before.
func TestDurationAfterInterruption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // only sleep takes time
		o := options()
		o.Epochs, o.Checkpoint = 2, filepath.Join(t.TempDir(), "checkpoint")
		ctx, cancel := context.WithCancel(t.Context())
		slow := func(p Progress) {
			switch {
			case p.Epoch == 1 && p.Batch == 1:
				time.Sleep(time.Hour)
			case p.Epoch == 2 && p.Batch == 2:
				time.Sleep(2 * time.Hour)
				cancel()
			case p.Epoch == 2 && p.Batch == 4:
				time.Sleep(4 * time.Hour)
			}
		}
		if _, _, err := trainOn(t, ctx, o, examples(1, 30), examples(2, 10), slow); err != nil {
			t.Fatal(err)
		}
		_, report, err := trainOn(t, t.Context(), o, examples(1, 30), examples(2, 10), slow)
		if err != nil {
			t.Fatal(err)
		}
		if e := report.Epochs; len(e) != 2 || e[0].Duration != time.Hour || e[1].Duration != 6*time.Hour {
			t.Errorf("%+v, want 1 h and 6 h", e)
		}
	})
}

// A checkpoint that is a link stays one, and leads to the state.
func TestCheckpointLink(t *testing.T) {
	dir := t.TempDir()
	link, file := filepath.Join(dir, "link"), filepath.Join(dir, "file")
	if err := os.Symlink("file", link); err != nil {
		t.Fatal(err)
	}
	if _, _, err := checkpointed(t, link, nil); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(link)
	if err != nil {
		t.Fatal(err)
	}
	if state, err := os.Stat(file); err != nil || state.Size() == 0 || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("the link is %v, the file %v, %v", info.Mode(), state, err)
	}
}
