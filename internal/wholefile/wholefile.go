// Package wholefile writes files that appear under their names only when they are
// whole. In go a path and what writes the content, out comes the new file in place
// of the old one, or an error and the old one. What is no regular file, such as
// /dev/null or a FIFO, is never replaced but written to.
package wholefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// Write makes the file at path of what write gives to it, on the disk before it has
// its name. Where path is a link, the file that it leads to is replaced. A file that
// is replaced leaves its mode and owner to the new one; a new file has the mode that
// the umask leaves. Errors of write are returned as they are.
func Write(path string, write func(io.Writer) error) error {
	f, target, err := begin(path)
	if err != nil {
		return err
	}
	if f == nil {
		return writeThrough(path, write)
	}
	parts.Store(f.Name(), true)
	defer parts.Delete(f.Name())
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), target)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(target))
}

// parts are the names of files that are not whole yet.
var parts sync.Map

// Abandon removes what calls of Write that are still under way have written, for a
// process that ends without waiting for them.
func Abandon() {
	for name := range parts.Range {
		os.Remove(name.(string))
	}
}

// Check reports why Write could not make a file at path, before there is anything to
// write.
func Check(path string) error {
	f, _, err := begin(path)
	if err != nil || f == nil { // opening a FIFO would be seen at its other end
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// begin makes the file that is to take the name target, where path leads; nil: what is
// there is not to be replaced.
func begin(path string) (f *os.File, target string, err error) {
	old, err := os.Stat(path)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, "", err
	case err == nil && old.IsDir():
		return nil, "", errDirectory
	}
	if target, err = Target(path); err != nil || old != nil && !replaceable(old, target) {
		return nil, "", err
	}
	f, err = create(target, old)
	return f, target, err
}

// errDirectory does not name the directory: callers do.
var errDirectory = errors.New("it is a directory: name a file")

// maxLinks is how many links Linux follows in one path.
const maxLinks = 40

// Target is where the links that end path lead: the name that a new file is to have.
func Target(path string) (string, error) {
	target := path
	for range maxLinks {
		link, err := os.Readlink(target)
		if err != nil {
			return target, nil // no link, or nothing yet
		}
		if !filepath.IsAbs(link) {
			link = filepath.Join(filepath.Dir(target), link)
		}
		target = link
	}
	return "", &fs.PathError{Op: "write", Path: path, Err: syscall.ELOOP}
}

// replaceable reports whether what is there is a regular file that has the name
// target: what a link of /proc leads to may have none.
func replaceable(old fs.FileInfo, target string) bool {
	found, err := os.Lstat(target)
	return old.Mode().IsRegular() && err == nil && os.SameFile(old, found)
}

// writeThrough writes to a device, a FIFO or a file without a name.
func writeThrough(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// create makes the file that is to take the target's name, beside it: from $TMPDIR it
// could not be renamed. Nobody may read more of it than of the old one.
func create(target string, old fs.FileInfo) (*os.File, error) {
	mode := fs.FileMode(0o666) // less the umask
	if old != nil {
		mode = 0o600
		if err := mayWrite(target); err != nil {
			return nil, err
		}
	}
	dir, name := filepath.Split(target)
	for {
		// Begins with a dot and keeps below the 255 bytes that a name may have.
		part := dir + "." + name[:min(len(name), 200)] + "." + strconv.FormatUint(rand.Uint64(), 36)
		f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if old == nil {
			return f, nil
		}
		if err := inherit(f, old); err != nil {
			return nil, errors.Join(err, f.Close(), os.Remove(part))
		}
		return f, nil
	}
}

// mayWrite refuses a file that could not be opened for writing: its directory would
// let it be replaced nevertheless.
func mayWrite(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// inherit gives f the owner and mode of the file that it replaces.
func inherit(f *os.File, old fs.FileInfo) error {
	if was, ok := old.Sys().(*syscall.Stat_t); ok {
		is, err := f.Stat()
		if err != nil {
			return err
		}
		now := is.Sys().(*syscall.Stat_t)
		if now.Uid != was.Uid || now.Gid != was.Gid {
			if err := f.Chown(int(was.Uid), int(was.Gid)); err != nil {
				return fmt.Errorf("the file there belongs to user %d, group %d: remove it or name another: %w", was.Uid, was.Gid, err)
			}
		}
	}
	return f.Chmod(old.Mode().Perm())
}

// syncDir makes a new name in the directory survive a loss of power. A directory that
// may be written but not read has no way to; nor have some file systems.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, d.Close())
}
