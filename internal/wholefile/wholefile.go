// Package wholefile writes files that appear under their names only when they are
// whole. In go a path and what writes the content, out comes the new file in place
// of the old one, or an error and the old one.
package wholefile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// Write makes the file at path of what write gives to it, on the disk before it has
// its name. Errors of files name them.
func Write(path string, write func(io.Writer) error) error {
	dir, name := filepath.Split(path)
	f, err := os.CreateTemp(filepath.Clean(dir+"."), "."+name+".*") // not in $TMPDIR, where it could not be renamed from
	if err != nil {
		return err
	}
	if err = write(f); err == nil {
		err = errors.Join(f.Chmod(0o644), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
