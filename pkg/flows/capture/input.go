package capture

// This file opens what packets are read from: files, and pipes and terminals that
// may keep a reader waiting for ever.

import (
	"context"
	"io"
	"os"
)

// openInput opens the file at path ("-": standard input). A wait for one that is no
// regular file, in its opening or in a Read, ends with ctx and its error.
func openInput(ctx context.Context, path string) (in io.Reader, closeIt func() error, err error) {
	if path == "-" {
		return &waitingReader{ctx: ctx, r: os.Stdin}, func() error { return nil }, nil
	}
	if info, err := os.Stat(path); err != nil || info.Mode().IsRegular() {
		f, err := os.Open(path)
		return f, f.Close, err
	}
	f, err := await(ctx, func() (*os.File, error) { return os.Open(path) })
	if err != nil {
		return nil, nil, err
	}
	return &waitingReader{ctx: ctx, r: f}, f.Close, nil
}

// await is what f returns, or ctx's error when that comes first: f may then wait on.
func await[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// waitingReader reads r until ctx ends.
type waitingReader struct {
	ctx    context.Context
	r      io.Reader
	buffer []byte
}

// Read implements io.Reader. After ctx's error r may still be read from.
func (w *waitingReader) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	if len(w.buffer) < len(p) { // its own: p is the caller's again when Read returns
		w.buffer = make([]byte, len(p))
	}
	b := w.buffer[:len(p)]
	n, err := await(w.ctx, func() (int, error) { return w.r.Read(b) })
	return copy(p, b[:n]), err
}
