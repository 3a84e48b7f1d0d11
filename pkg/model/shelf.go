package model

// This file keeps models that were learned one after the other.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/iotsense/iotsense/internal/wholefile"
)

// Shelf is a directory of learned models: the newest judges, the others are there to go back
// to, and those that were gone back from stay too. Other files in it are nobody's business.
type Shelf string

const (
	// keptModels is how many learned models a shelf has, and how many refused ones.
	keptModels = 3

	shelfPrefix, shelfSuffix, refusedSuffix = "model-", ".safetensors", ".refused"
	shelfTime                               = "20060102T150405.000Z"

	noteName = "learned.json"
	maxNote  = 1 << 20 // bytes
)

// Models are the paths of the models on the shelf, the newest first; none where there is no
// shelf.
func (s Shelf) Models() ([]string, error) { return s.list(shelfSuffix) }

// Refused are those that were gone back from, the newest first.
func (s Shelf) Refused() ([]string, error) { return s.list(shelfSuffix + refusedSuffix) }

func (s Shelf) list(suffix string) (paths []string, err error) {
	entries, err := os.ReadDir(string(s))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("learned models: %w", err)
	}
	for _, e := range slices.Backward(entries) { // they are sorted
		if e.Type().IsRegular() && strings.HasPrefix(e.Name(), shelfPrefix) && strings.HasSuffix(e.Name(), suffix) {
			paths = append(paths, filepath.Join(string(s), e.Name()))
		}
	}
	return paths, nil
}

// Newest reads the newest model; a nil bundle: there is none. One that cannot be read is the
// error.
func (s Shelf) Newest() (b Bundle, path string, err error) {
	paths, err := s.Models()
	if err != nil || len(paths) == 0 {
		return nil, "", err
	}
	b, err = LoadBundle(paths[0])
	return b, paths[0], err
}

// Put makes a model the newest, as of a time, and drops the oldest ones.
func (s Shelf) Put(b Bundle, at time.Time) (path string, err error) {
	if err := os.MkdirAll(string(s), 0o750); err != nil {
		return "", fmt.Errorf("learned models: %w", err)
	}
	others, err := s.Models()
	if err != nil {
		return "", err
	}
	if len(others) > 0 { // a clock may have been ahead
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(others[0]), shelfPrefix), shelfSuffix)
		if last, err := time.Parse(shelfTime, name); err == nil && !at.After(last) {
			at = last.Add(time.Millisecond)
		}
	}
	path = filepath.Join(string(s), shelfPrefix+at.UTC().Format(shelfTime)+shelfSuffix)
	if err := b.Save(path); err != nil {
		return "", err
	}
	return path, s.tidy()
}

// Back goes back from the newest model to the one before, and returns the paths of both; to
// is empty where there is none before.
func (s Shelf) Back() (from, to string, err error) {
	paths, err := s.Models()
	switch {
	case err != nil:
		return "", "", err
	case len(paths) == 0:
		return "", "", fmt.Errorf("%s: no learned model to go back from", string(s))
	case len(paths) > 1:
		to = paths[1]
	}
	if err := os.Rename(paths[0], paths[0]+refusedSuffix); err != nil {
		return "", "", fmt.Errorf("learned models: %w", err)
	}
	return paths[0], to, s.tidy()
}

// Note keeps beside the models what came of learning last: a JSON object.
func (s Shelf) Note(outcome any) error {
	text, err := json.Marshal(outcome)
	if err == nil {
		err = os.MkdirAll(string(s), 0o750)
	}
	if err == nil {
		err = wholefile.Write(filepath.Join(string(s), noteName), func(w io.Writer) error {
			_, err := w.Write(text)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("keep what came of learning: %w", err)
	}
	return nil
}

// Noted is what [Shelf.Note] kept last; nil where there is nothing. What is no JSON object
// or too long is an error.
func (s Shelf) Noted() (json.RawMessage, error) {
	if s == "" {
		return nil, nil
	}
	path := filepath.Join(string(s), noteName)
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // which waits for nobody who writes to a FIFO
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("what came of learning: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxNote+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("what came of learning: %w", err)
	case len(text) > maxNote:
		return nil, fmt.Errorf("what came of learning: %s has more than %d bytes", path, maxNote)
	case !bytes.HasPrefix(text, []byte("{")) || !json.Valid(text):
		return nil, fmt.Errorf("what came of learning: %s is no JSON object", path)
	}
	return text, nil
}

func (s Shelf) tidy() error {
	for _, list := range []func() ([]string, error){s.Models, s.Refused} {
		paths, err := list()
		for _, old := range paths[min(len(paths), keptModels):] {
			err = errors.Join(err, os.Remove(old))
		}
		if err != nil {
			return fmt.Errorf("learned models: %w", err)
		}
	}
	return nil
}
