package store

// This file is a disk below SQLite that writes down what reaches it, loses what was not
// synced, and fails when it is told to.

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// op is something that a disk is told to do.
type op struct {
	kind opKind
	file string // its name, without the directory
	at   int64
	data []byte
	n    int // of a mark
}

type opKind byte

const (
	opWrite    opKind = 'w'
	opTruncate opKind = 't'
	opSync     opKind = 's'
	opDelete   opKind = 'd'
	opMark     opKind = 'm' // of the test: what n stands for has been acknowledged
	opSnapshot opKind = 'p' // of the test: the snapshot is this from now on
)

// disk writes down all that SQLite does to files through the VFS of its name.
type disk struct {
	name    string
	vfs     sqlite3.Tsqlite3_vfs
	methods map[uintptr]*sqlite3.Tsqlite3_io_methods // ours, by the system's
	theirs  sqlite3.Tsqlite3_vfs
	alive   []any // functions that SQLite has

	mu      sync.Mutex
	files   map[uintptr]string
	ops     []op
	quiet   bool                // no ops, only bytes
	written int64               // bytes
	syncs   int                 //
	fail    func(op) (rc int32) // not nil: asked before each
}

// disks are never collected: SQLite points to them.
var disks []*disk

// at is what lies at an address of SQLite's.
func at[T any](p uintptr) *T { return *(**T)(unsafe.Pointer(&p)) }

// function is one of SQLite's.
func function[F any](p uintptr) F { return *(*F)(unsafe.Pointer(&struct{ p uintptr }{p})) }

// address is a function as SQLite has it; it must be kept.
func address[F any](d *disk, f F) uintptr {
	d.alive = append(d.alive, f)
	return *(*uintptr)(unsafe.Pointer(&f))
}

type (
	openFunc   = func(tls *libc.TLS, vfs, name, file uintptr, flags int32, out uintptr) int32
	deleteFunc = func(tls *libc.TLS, vfs, name uintptr, dir int32) int32
	writeFunc  = func(tls *libc.TLS, file, buf uintptr, n int32, at int64) int32
	sizeFunc   = func(tls *libc.TLS, file uintptr, size int64) int32
	syncFunc   = func(tls *libc.TLS, file uintptr, flags int32) int32
)

func newDisk(t testing.TB) *disk {
	t.Helper()
	tls := libc.NewTLS()
	d := &disk{name: fmt.Sprintf("disk%d", len(disks)), methods: map[uintptr]*sqlite3.Tsqlite3_io_methods{}, files: map[uintptr]string{}}
	disks = append(disks, d)
	name, err := libc.CString(d.name)
	if err != nil {
		t.Fatal(err)
	}
	d.theirs = *at[sqlite3.Tsqlite3_vfs](sqlite3.Xsqlite3_vfs_find(tls, 0))
	d.vfs = d.theirs
	d.vfs.FpNext, d.vfs.FzName = 0, name
	d.vfs.FxOpen = address(d, openFunc(d.open))
	d.vfs.FxDelete = address(d, deleteFunc(d.delete))
	if rc := sqlite3.Xsqlite3_vfs_register(tls, uintptr(unsafe.Pointer(&d.vfs)), 0); rc != sqlite3.SQLITE_OK {
		t.Fatalf("register: %d", rc)
	}
	return d
}

// store opens a file on the disk.
func (d *disk) store(t testing.TB, path string) (*Store, *Opened) {
	t.Helper()
	s, o, err := (&Store{path: path, vfs: d.name, versions: versions}).open()
	if err != nil {
		t.Fatal(err)
	}
	return s, o
}

// do writes down what is to be done, or says how it fails.
func (d *disk) do(o op) int32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		if rc := d.fail(o); rc != sqlite3.SQLITE_OK {
			return rc
		}
	}
	switch o.kind {
	case opWrite:
		d.written += int64(len(o.data))
	case opSync:
		d.syncs++
	}
	if !d.quiet {
		o.data = append([]byte(nil), o.data...)
		d.ops = append(d.ops, o)
	}
	return sqlite3.SQLITE_OK
}

func (d *disk) nameOf(file uintptr) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.files[file]
}

func (d *disk) open(tls *libc.TLS, vfs, name, file uintptr, flags int32, out uintptr) int32 {
	rc := function[openFunc](d.theirs.FxOpen)(tls, vfs, name, file, flags, out)
	f := at[sqlite3.Tsqlite3_file](file)
	if rc != sqlite3.SQLITE_OK || f.FpMethods == 0 {
		return rc
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if name != 0 {
		d.files[file] = filepath.Base(libc.GoString(name))
	} else {
		d.files[file] = ""
	}
	ours := d.methods[f.FpMethods]
	if ours == nil {
		theirs := *at[sqlite3.Tsqlite3_io_methods](f.FpMethods)
		copied := theirs
		ours = &copied
		ours.FxWrite = address(d, writeFunc(func(tls *libc.TLS, file, buf uintptr, n int32, off int64) int32 {
			if rc := d.do(op{kind: opWrite, file: d.nameOf(file), at: off, data: unsafe.Slice(at[byte](buf), n)}); rc != sqlite3.SQLITE_OK {
				return rc
			}
			return function[writeFunc](theirs.FxWrite)(tls, file, buf, n, off)
		}))
		ours.FxTruncate = address(d, sizeFunc(func(tls *libc.TLS, file uintptr, size int64) int32 {
			if rc := d.do(op{kind: opTruncate, file: d.nameOf(file), at: size}); rc != sqlite3.SQLITE_OK {
				return rc
			}
			return function[sizeFunc](theirs.FxTruncate)(tls, file, size)
		}))
		ours.FxSync = address(d, syncFunc(func(tls *libc.TLS, file uintptr, flags int32) int32 {
			if rc := d.do(op{kind: opSync, file: d.nameOf(file)}); rc != sqlite3.SQLITE_OK {
				return rc
			}
			return sqlite3.SQLITE_OK // what is real need not wait
		}))
		d.methods[f.FpMethods] = ours
	}
	f.FpMethods = uintptr(unsafe.Pointer(ours))
	return rc
}

func (d *disk) delete(tls *libc.TLS, vfs, name uintptr, dir int32) int32 {
	if rc := d.do(op{kind: opDelete, file: filepath.Base(libc.GoString(name))}); rc != sqlite3.SQLITE_OK {
		return rc
	}
	return function[deleteFunc](d.theirs.FxDelete)(tls, vfs, name, dir)
}

// set has a disk fail, or not any more.
func (d *disk) set(fail func(op) int32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = fail
}

// mark writes down that what n stands for has been acknowledged.
func (d *disk) mark(n int) { d.do(op{kind: opMark, n: n}) }

// snapshot writes down what the snapshot of a file is now.
func (d *disk) snapshot(t testing.TB, path string) {
	t.Helper()
	data, err := os.ReadFile(path + SnapshotSuffix)
	if err != nil {
		t.Fatal(err)
	}
	d.do(op{kind: opSnapshot, file: filepath.Base(path) + SnapshotSuffix, data: data})
}

const sector = 512

// content is what a file holds, and what of that was there when it was synced last.
type content struct{ data, synced []byte }

// loss is a disk on its way through what it is told.
type loss struct {
	files        map[string]*content
	acknowledged int // the last mark
}

func (l *loss) step(o op) {
	f := l.files[o.file]
	if f == nil {
		f = &content{}
		l.files[o.file] = f
	}
	switch o.kind {
	case opWrite:
		f.data = grown(f.data, o.at+int64(len(o.data)))
		copy(f.data[o.at:], o.data)
	case opTruncate:
		f.data = append([]byte(nil), grown(f.data, o.at)[:o.at]...)
	case opSync:
		f.synced = append([]byte(nil), f.data...)
	case opDelete:
		delete(l.files, o.file)
	case opMark:
		l.acknowledged = o.n
	case opSnapshot:
		f.data, f.synced = o.data, o.data
	}
}

// leave makes in dir what the disk holds when its power is lost now: all that was synced,
// and of each sector what was written since or what was there before.
func (l *loss) leave(t testing.TB, dir string, random *rand.Rand) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(l.files)) {
		f := l.files[name]
		if name == "" {
			continue
		}
		left := append([]byte(nil), f.synced...)
		if random.IntN(2) == 0 { // its length may have come through
			left = grown(left, int64(len(f.data)))[:len(f.data)]
		}
		for from := 0; from < len(f.data); from += sector {
			to := min(from+sector, len(f.data))
			if random.IntN(2) == 0 && to <= len(left) {
				copy(left[from:to], f.data[from:to])
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), left, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// grown is data with at least so many bytes.
func grown(data []byte, n int64) []byte {
	if int64(len(data)) >= n {
		return data
	}
	return append(data, make([]byte, n-int64(len(data)))...)
}

// full is a disk without room.
func full(o op) int32 {
	if o.kind == opWrite {
		return sqlite3.SQLITE_FULL
	}
	return sqlite3.SQLITE_OK
}
