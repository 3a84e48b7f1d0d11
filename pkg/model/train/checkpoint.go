package train

// This file keeps a run's state in a file, so that a run that was killed goes on
// as if nothing had happened.

import (
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/iotsense/iotsense/internal/wholefile"
)

// CheckpointPart is what ends the name of a checkpoint that is being written.
const CheckpointPart = ".part"

// CheckpointOf is the checkpoint of one of several services.
func CheckpointOf(path, service string) string {
	return path + "." + strings.ReplaceAll(service, "/", "_")
}

// checkpoint is what a checkpoint file holds.
type checkpoint struct {
	State   state
	Steps   uint64 // of Adam, and of dropout's random numbers
	Values  [][]float32
	Means   [][]float32
	Squares [][]float32
	Average [][]float32
}

// fingerprint tells runs apart that would give different models.
func (r *trainer) fingerprint() string {
	o := r.o
	o.Threads, o.Checkpoint, o.CheckpointEvery = 0, "", 0
	h := sha256.Sum256(fmt.Appendf(nil, "%s %+v %+v %+v %+v %v", r.m.Training.Digest, o, r.m.Net.Shape(), r.m.Record, r.m.Scaling, r.m.Training.Options))
	return hex.EncodeToString(h[:])
}

// save writes the checkpoint file. Whenever the process ends, one whole state is
// there: the last or the one before.
func (r *trainer) save() error {
	if r.o.Checkpoint == "" {
		return nil
	}
	r.saved = time.Now()
	r.Elapsed = time.Since(r.began)
	c := checkpoint{r.state, r.adam.steps, r.learner.Values(), r.adam.means, r.adam.squares, r.average.values}
	path, err := wholefile.Target(r.o.Checkpoint)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	// Always under one name: what a killed run leaves of it, the next one takes.
	f, err := os.OpenFile(path+CheckpointPart, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("checkpoint %s: %w", r.o.Checkpoint, err)
	}
	err = gob.NewEncoder(f).Encode(c)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("checkpoint %s: %w", r.o.Checkpoint, errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// resume goes on from the checkpoint file, if there is one.
func (r *trainer) resume() error {
	r.saved = r.began
	if r.o.Checkpoint == "" {
		return nil
	}
	f, err := os.Open(r.o.Checkpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	defer f.Close()
	var c checkpoint
	if err := gob.NewDecoder(f).Decode(&c); err != nil {
		return fmt.Errorf("checkpoint %s: %w: remove it to start again", r.o.Checkpoint, err)
	}
	if c.State.Run != r.Run {
		return fmt.Errorf("checkpoint %s: it is of a run with other data or options: remove it, or name another file", r.o.Checkpoint)
	}
	for _, part := range []struct{ to, from [][]float32 }{
		{r.learner.Values(), c.Values}, {r.adam.means, c.Means}, {r.adam.squares, c.Squares},
		{r.average.values, c.Average},
	} {
		if len(part.to) != len(part.from) {
			return fmt.Errorf("checkpoint %s: %d tensors, want %d: remove it to start again", r.o.Checkpoint, len(part.from), len(part.to))
		}
		for i, v := range part.from {
			if copy(part.to[i], v) != len(part.to[i]) {
				return fmt.Errorf("checkpoint %s: tensor %d has %d values, want %d: remove it to start again", r.o.Checkpoint, i, len(v), len(part.to[i]))
			}
		}
	}
	r.state = c.State
	r.adam.steps = c.Steps
	r.began = r.began.Add(-r.Elapsed)
	r.report.Resumed = r.Epoch
	return nil
}
