package api

// This file makes the socket, and takes away no other one.

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// ErrInUse is returned by Listen when another sensor has the socket.
var ErrInUse = errors.New("another sensor answers on the socket")

// longestPath is what fits a socket's address beside its final zero (unix(7)).
const longestPath = len(unix.RawSockaddrUnix{}.Path) - 1

const (
	// dialPatience is how long one who has the socket may take to accept.
	dialPatience = time.Second
	// lockPatience is how long another sensor may take to make or remove it.
	lockPatience = 3 * time.Second
)

// Listen makes the socket at path, readable by its owner and group. A stale one,
// which nobody answers on, is replaced; anything else there is left alone. The
// listener's Close removes the socket, but not another that has come to its path.
func Listen(path string) (net.Listener, error) {
	path = v1.SocketAddress(path)
	if len(path) > longestPath {
		return nil, fmt.Errorf("socket %s: its path has %d bytes, a socket's has %d at most: choose a shorter --socket", path, len(path), longestPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	groupID()
	var l *listener
	err := mayReplace(path) // before a lock file is made beside it
	if err == nil {
		err = locked(path, func() (err error) { l, err = replace(path); return err })
	}
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	return l, nil
}

// mayReplace looks at what lies at path: nothing, or a socket that nobody answers on.
func mayReplace(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("it is no socket (%v): choose another --socket, or move away what is there", info.Mode())
	}
	switch conn, err := net.DialTimeout("unix", path, dialPatience); {
	case err == nil:
		conn.Close()
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, syscall.EPROTOTYPE):
		return fmt.Errorf("it is a socket of another kind: choose another --socket: %w", err)
	case errors.Is(err, fs.ErrPermission):
		return err
	}
	return fmt.Errorf("%w: stop it or choose another --socket", ErrInUse)
}

// replace makes the socket, in place of a stale one; the caller has the lock.
func replace(path string) (*listener, error) {
	if err := mayReplace(path); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // listener looks first
	made, err := os.Lstat(path)
	if err = errors.Join(err, os.Chmod(path, 0o660)); err != nil {
		return nil, errors.Join(err, l.Close(), os.Remove(path))
	}
	return &listener{UnixListener: l, path: path, made: made}, nil
}

// listener is a socket with the file that it was made with.
type listener struct {
	*net.UnixListener
	path string
	made fs.FileInfo
	once sync.Once
	err  error
}

// Close implements net.Listener; only the first call does anything.
func (l *listener) Close() error {
	l.once.Do(func() {
		l.err = errors.Join(l.UnixListener.Close(), locked(l.path, l.remove))
	})
	return l.err
}

// remove removes the socket if it is the one that was made: the file's number alone
// may have been given to another.
func (l *listener) remove() error {
	there, err := os.Lstat(l.path)
	if err != nil || !os.SameFile(there, l.made) || !there.ModTime().Equal(l.made.ModTime()) {
		return nil
	}
	return os.Remove(l.path)
}

// locked calls f while no other sensor makes or removes the socket at path. The lock
// is on a file beside it that only its owner can open.
func locked(path string, f func() error) error {
	name := path + ".lock"
	deadline := time.Now().Add(lockPatience)
	for {
		lock, err := tryLock(name)
		if err == nil {
			err = f()
			os.Remove(name)
			lock.Close()
			return err
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("another sensor has locked %s for %v", name, lockPatience)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// tryLock makes and locks the file; EWOULDBLOCK: somebody else has it.
func tryLock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	opened, err := f.Stat()
	switch there, statErr := os.Lstat(name); {
	case err != nil:
	case opened.Size() > 0:
		err = fmt.Errorf("%s is no lock: move it away, or choose another --socket", name)
	case statErr != nil || !os.SameFile(opened, there): // its last owner has removed it
		err = syscall.EWOULDBLOCK
	default:
		return f, nil
	}
	f.Close()
	return nil, err
}
