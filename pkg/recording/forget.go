package recording

// This file removes what was recorded of devices.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/iotsense/iotsense/internal/wholefile"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/flows/recordfile"
)

// Forget removes all that was recorded of devices. It returns once that cannot be undone
// any more, by a loss of power neither: their records may be in files for some seconds
// longer, until these are written anew without them.
func (r *Recorder) Forget(devices []string) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	for _, d := range devices {
		r.pool.forget(d)
		r.void[d] = r.number.Load()
	}
	r.mu.Unlock()
	r.files.Lock()
	defer r.files.Unlock()
	listed, err := readVoid(r.cfg.Dir)
	if err == nil {
		listed = append(listed, devices...)
		slices.Sort(listed)
		err = writeVoid(r.cfg.Dir, slices.Compact(listed))
	}
	if err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	r.voiding.Go(r.erase)
	return nil
}

// erase removes records of the devices listed from the files.
func (r *Recorder) erase() {
	r.files.Lock()
	defer r.files.Unlock()
	if err := r.eraseListed(); err != nil {
		r.failures.Add(1)
		r.cfg.Log.Error("recording: records of forgotten devices are left in files; they go when the sensor starts again", "error", err)
	}
}

func (r *Recorder) eraseListed() error {
	listed, err := readVoid(r.cfg.Dir)
	if err != nil || len(listed) == 0 {
		return err
	}
	files, err := Files(r.cfg.Dir)
	if err != nil {
		return err
	}
	for _, path := range files {
		if err := r.eraseFrom(path, listed); err != nil {
			return err
		}
	}
	if err := os.Remove(filepath.Join(r.cfg.Dir, voidName)); err != nil {
		return err
	}
	return r.trim(0)
}

// eraseFrom writes a file anew without records of devices, if it has any; a file that has no
// others goes, and one that cannot be read, which may have some.
func (r *Recorder) eraseFrom(path string, devices []string) error {
	var kept []flows.LabelledRecord
	found := false
	err := recordfile.Read(context.Background(), path, nil, func(rec flows.LabelledRecord) error {
		if slices.Contains(devices, rec.Device) {
			found = true
		} else {
			kept = append(kept, rec)
		}
		return nil
	})
	switch {
	case err != nil:
		r.cfg.Log.Warn("recording: removed with all that it holds, as some of it may be of a forgotten device", "error", err)
		return os.Remove(path)
	case !found:
		return nil
	case len(kept) == 0:
		return os.Remove(path)
	}
	return wholefile.Write(path, func(w io.Writer) error {
		return write(w, r.cfg.Spec, func(yield func(*flows.LabelledRecord) bool) {
			for i := range kept {
				if !yield(&kept[i]) {
					return
				}
			}
		})
	})
}

// readVoid is the list of devices of which nothing may be left.
func readVoid(dir string) (devices []string, err error) {
	path := filepath.Join(dir, voidName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		if err = json.Unmarshal(text, &devices); err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
	}
	return devices, err
}

func writeVoid(dir string, devices []string) error {
	return wholefile.Write(filepath.Join(dir, voidName), func(w io.Writer) error { return json.NewEncoder(w).Encode(devices) })
}
