// Package store keeps what a registry knows in a file that survives the process, a kill and
// a loss of power: a SQLite database with one writer. In go rows of devices, their facts and
// what happened to them; out they come when the file is opened, and only then: who runs
// reads from memory. What of a file is damaged is told, put aside, and begun anew from the
// last snapshot.
package store

// This file opens a file, and says what is wrong with one.

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/iotsense/iotsense/internal/wholefile"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/registry"
)

// SnapshotSuffix is what the name of a file's last snapshot ends with, DamagedSuffix what is
// before the time in the name of one that was put aside.
const (
	SnapshotSuffix = ".snapshot"
	DamagedSuffix  = ".damaged-"
)

// MaxDamaged is how many damaged files are kept, the newest.
const MaxDamaged = 3

// Reasons why a file is not opened. None of them changes it.
var (
	ErrInUse   = errors.New("another process has it open")
	ErrForeign = errors.New("it is no registry")
	ErrNewer   = errors.New("a newer version of iotsense made it")
)

// Content is all that a file holds.
type Content struct {
	Devices []registry.Saved
	Facts   map[string][]facts.Fact // by device
	Events  []v1.Event              // oldest first
}

// Change is what one write changes. All of it is on the disk, or nothing.
type Change struct {
	Gone    []registry.Gone         // of which nothing is kept any more, before what follows
	Devices []registry.Saved        // new and changed ones
	Facts   map[string][]facts.Fact // all of those devices, or theirs stay as they are
	Events  []v1.Event              // new ones
}

// Empty reports whether there is nothing to write.
func (c *Change) Empty() bool { return len(c.Gone)+len(c.Devices)+len(c.Events) == 0 }

// Store is an open file. It is for one goroutine.
type Store struct {
	path     string
	vfs      string   // of SQLite; empty: the system's files
	versions []string // of the schema
	conn     *sql.Conn
	db       *sql.DB
	aside    bool // the damaged file is, and another could not be made yet
}

// Opened is what there was to read and to say when a file was opened.
type Opened struct {
	Content
	// Damage says what was wrong with the file, where it is now and what is lost; empty: it
	// was whole.
	Damage string
}

// Open opens a file, or makes it; of one that is damaged the last snapshot takes the place.
func Open(path string) (*Store, *Opened, error) {
	return (&Store{path: path, versions: versions}).open()
}

func (s *Store) open() (*Store, *Opened, error) {
	path := s.path
	if err := make0600(path); err != nil {
		return nil, nil, fmt.Errorf("registry: %w", err)
	}
	content, err := s.read()
	var damage *damageError
	if errors.As(err, &damage) {
		return s.replace(damage)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("registry %s: %w", path, s.explain(err))
	}
	return s, &Opened{Content: *content}, nil
}

// replace puts a damaged file aside, and opens the last snapshot in its place.
func (s *Store) replace(damage *damageError) (*Store, *Opened, error) {
	aside, err := s.putAside()
	if err != nil {
		return nil, nil, fmt.Errorf("registry %s is damaged (%w), and cannot be put aside: %w", s.path, damage, err)
	}
	text := fmt.Sprintf("%s is damaged (%v) and now called %s", s.path, damage, filepath.Base(aside))
	taken, err := s.fromSnapshot()
	var content *Content
	if err == nil {
		content, err = s.read()
	}
	var again *damageError
	switch {
	case errors.As(err, &again): // begun without anything
		if err := os.Remove(s.path); err != nil {
			return nil, nil, fmt.Errorf("registry %s: %w", s.path, err)
		}
		if err := make0600(s.path); err != nil {
			return nil, nil, fmt.Errorf("registry: %w", err)
		}
		if err := os.Rename(s.path+SnapshotSuffix, aside+SnapshotSuffix); err != nil {
			return nil, nil, fmt.Errorf("registry %s: %w", s.path, err)
		}
		if content, err = s.read(); err != nil {
			return nil, nil, fmt.Errorf("registry %s: %w", s.path, err)
		}
		text += fmt.Sprintf("; so is its snapshot (%v): all that was known is lost, the registry begins empty", again)
	case err != nil:
		return nil, nil, fmt.Errorf("registry %s: %w", s.path, s.explain(err))
	case taken.IsZero():
		text += "; there is no snapshot: all that was known is lost, the registry begins empty"
	default:
		text += fmt.Sprintf("; the snapshot of %s took its place, with %d devices: what was learned or said since is lost",
			taken.UTC().Format(time.RFC3339), len(content.Devices))
	}
	return s, &Opened{Content: *content, Damage: text}, nil
}

// damageError says that a file holds what this program never wrote.
type damageError struct{ err error }

func (e *damageError) Error() string { return e.err.Error() }
func (e *damageError) Unwrap() error { return e.err }

func damagedf(format string, args ...any) error { return &damageError{fmt.Errorf(format, args...)} }

// asDamage makes of an error of SQLite one that says so, where the file is to blame. One that
// is opened holds what a statement does not expect only if it is damaged.
func asDamage(err error, opening bool) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch code := e.Code(); {
	case code == sqlite3.SQLITE_IOERR_SHORT_READ, code&0xff == sqlite3.SQLITE_CORRUPT, code&0xff == sqlite3.SQLITE_NOTADB:
	case opening && code&0xff == sqlite3.SQLITE_ERROR:
	default:
		return err
	}
	return &damageError{err}
}

// explain says what to do about an error.
func (s *Store) explain(err error) error {
	var e *sqlite.Error
	switch {
	case errors.Is(err, ErrForeign):
		return fmt.Errorf("%w: name another --state", err)
	case errors.Is(err, ErrNewer):
		return fmt.Errorf("%w: install that, or name another --state", err)
	case errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_BUSY:
		return fmt.Errorf("%w: stop that, or name another --state", ErrInUse)
	}
	return err
}

// read opens the database and reads all of it.
func (s *Store) read() (content *Content, err error) {
	if foreign, err := s.foreign(); err != nil || foreign {
		return nil, cmp.Or(err, ErrForeign)
	}
	if err := s.connect(); err != nil {
		return nil, asDamage(err, true)
	}
	defer func() {
		if err != nil {
			s.disconnect()
		}
	}()
	if err := s.prepare(); err != nil {
		return nil, asDamage(err, true)
	}
	if content, err = s.load(); err != nil {
		return nil, asDamage(err, true)
	}
	return content, nil
}

// foreign reports whether a file is no database, and never was a registry. The error is why
// it cannot be written.
func (s *Store) foreign() (bool, error) {
	f, err := os.OpenFile(s.path, os.O_RDWR, 0) // which does not wait for who writes to a FIFO
	if err != nil {
		return false, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return true, err
	}
	const magic = "SQLite format 3\x00" // https://www.sqlite.org/fileformat.html, section 1.3
	head := make([]byte, len(magic))
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	begun := strings.Trim(string(head), "\x00") == "" // by a process that lost its power
	return n > 0 && string(head) != magic && !begun && !s.hasSnapshot(), nil
}

// connect opens the file for this process alone.
func (s *Store) connect() error {
	name := (&url.URL{Scheme: "file", OmitHost: true, Path: s.path}).String()
	if !filepath.IsAbs(s.path) {
		name = "file:" + (&url.URL{Path: s.path}).EscapedPath()
	}
	if s.vfs != "" {
		name += "?vfs=" + url.QueryEscape(s.vfs)
	}
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return err
	}
	s.db = db
	if s.conn, err = db.Conn(context.Background()); err != nil {
		return errors.Join(err, db.Close())
	}
	for _, pragma := range []string{
		"locking_mode=EXCLUSIVE", // no shared memory, and nobody else writes
		"busy_timeout=1000",
		"trusted_schema=OFF", "cell_size_check=ON", "secure_delete=ON", // what is forgotten is gone
		"cache_size=-512", // KiB: the registry is in memory
		"synchronous=FULL", "wal_autocheckpoint=1000", "journal_size_limit=4194304",
	} {
		if err := s.exec("PRAGMA " + pragma); err != nil {
			return errors.Join(err, s.disconnect())
		}
	}
	return nil
}

func (s *Store) disconnect() error {
	err := errors.Join(s.conn.Close(), s.db.Close())
	s.conn, s.db = nil, nil
	return err
}

func (s *Store) exec(text string, args ...any) error {
	if s.conn == nil {
		return errors.New("its file is closed")
	}
	_, err := s.conn.ExecContext(context.Background(), text, args...)
	return err
}

// Close takes a last snapshot and closes the file.
func (s *Store) Close() error {
	if s.conn == nil {
		return nil
	}
	return errors.Join(s.Snapshot(), s.disconnect())
}

// Snapshot copies what the file holds now beside it.
func (s *Store) Snapshot() error {
	dir, name := filepath.Split(s.path)
	part := dir + "." + name + SnapshotSuffix
	if err := remove(part); err != nil {
		return fmt.Errorf("snapshot of %s: %w", s.path, err)
	}
	err := s.exec("VACUUM INTO ?", part)
	if err == nil {
		err = wholefile.Write(s.path+SnapshotSuffix, copyOf(part))
	}
	if err = errors.Join(err, remove(part)); err != nil {
		return fmt.Errorf("snapshot of %s: %w", s.path, err)
	}
	return nil
}

// copyOf writes what a file holds, into one that nobody else may read.
func copyOf(path string) func(io.Writer) error {
	return func(w io.Writer) error {
		if to, ok := w.(*os.File); ok {
			if err := to.Chmod(0o600); err != nil {
				return err
			}
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, f)
		return errors.Join(err, f.Close())
	}
}

// fromSnapshot makes the file of the last snapshot, and says when that was made; the zero
// time: there is none, and the file is empty.
func (s *Store) fromSnapshot() (taken time.Time, err error) {
	info, err := os.Stat(s.path + SnapshotSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, make0600(s.path)
	}
	if err != nil {
		return time.Time{}, err
	}
	if err := make0600(s.path); err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), wholefile.Write(s.path, copyOf(s.path+SnapshotSuffix))
}

// beside are the names of files that SQLite keeps beside a database.
var beside = []string{"", "-wal", "-journal", "-shm"}

// putAside gives the file, and what lies beside it, another name.
func (s *Store) putAside() (aside string, err error) {
	const form = "20060102T150405Z"
	old, err := filepath.Glob(globEscape(s.path+DamagedSuffix) + "????????T??????Z")
	if err != nil {
		return "", err
	}
	slices.Sort(old)
	now := time.Now().UTC().Truncate(time.Second)
	if n := len(old); n > 0 { // where it happens twice within a second, or the clock was set back, the names stay in order
		if newest, err := time.Parse(form, strings.TrimPrefix(old[n-1], s.path+DamagedSuffix)); err == nil && !now.After(newest) {
			now = newest.Add(time.Second)
		}
	}
	aside = s.path + DamagedSuffix + now.Format(form)
	for _, suffix := range slices.Backward(beside) {
		if err := os.Rename(s.path+suffix, aside+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	kept := 0
	for _, path := range slices.Backward(append(old, aside)) {
		if !empty(path) {
			kept++
		}
		if path == aside || !empty(path) && kept <= MaxDamaged {
			continue
		}
		for _, suffix := range append(beside, SnapshotSuffix) {
			if err := remove(path + suffix); err != nil {
				return "", err
			}
		}
	}
	return aside, nil
}

// empty reports whether a damaged file has nothing to tell: starts on a full disk leave one
// each, which must not take the place of what they were to replace.
func empty(path string) bool {
	for _, suffix := range beside {
		if info, err := os.Stat(path + suffix); err == nil && info.Size() > 0 {
			return false
		}
	}
	return true
}

// globEscape is a path as a pattern.
func globEscape(path string) string {
	var escaped []rune
	for _, c := range path {
		if c == '*' || c == '?' || c == '[' || c == '\\' {
			escaped = append(escaped, '\\')
		}
		escaped = append(escaped, c)
	}
	return string(escaped)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// make0600 makes a file that nobody else may read, if there is none.
func make0600(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}
