// Package keep has what a sensor needs of another outlast that one's process: maps and links
// pinned in a directory of the BPF file system, what has been counted beside the maps, and
// what an orderly end hands over.
package keep

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/pkg/loader/object"
)

// schema is how a directory is laid out: raised when that changes.
const schema = 1

// Names in the directory beside those of programs and maps. bpffs has no dots in names.
const (
	ledgerPin   = "kept"
	handoverPin = "handover"
	linkPrefix  = "link_"
	dataPrefix  = "data_" // of the programs' own data
	newPrefix   = "new_"  // not in use yet
	oldPrefix   = "old_"  // staged by a sensor that ended before it was in use: its programs may be on interfaces
)

// Links is the path of a pin of a link of this name.
func Links(dir, name string) string { return filepath.Join(dir, linkPrefix+name) }

// pinName is a map's name as a file's.
func pinName(name string) string {
	if data, ok := strings.CutPrefix(name, "."); ok {
		return dataPrefix + data
	}
	return name
}

// Meta says what a directory's maps are for.
type Meta struct {
	Schema     int
	Layout     string // object.Layout
	Hook       string
	Interfaces []string
}

// NewMeta is that of a sensor of this build.
func NewMeta(hook string, interfaces []string) (Meta, error) {
	layout, err := object.Layout()
	return Meta{schema, layout, hook, interfaces}, err
}

// fits is an error that names what a sensor asks for and m is not for.
func (m Meta) fits(want Meta) error {
	switch {
	case m.Schema != want.Schema:
		return fmt.Errorf("they are pinned by schema %d, this is %d", m.Schema, want.Schema)
	case m.Layout != want.Layout:
		return errors.New("the programs of this build have other maps")
	case m.Hook != want.Hook:
		return fmt.Errorf("hook is %s now, and was %s", want.Hook, m.Hook)
	case !slices.Equal(m.Interfaces, want.Interfaces):
		return fmt.Errorf("interfaces are %v now, and were %v", want.Interfaces, m.Interfaces)
	}
	return nil
}

// Kept is what is taken over.
type Kept struct {
	Maps     map[string]*ebpf.Map // what object.Config.Adopt wants
	Ledger   *Ledger
	Handover []byte // nil: the other did not end in order
}

// Close frees what this process has of it; it is all the same pinned.
func (k *Kept) Close() {
	for _, m := range k.Maps {
		m.Close()
	}
}

// Load opens what is kept in a directory; nil: nothing is. Where it does not fit, the error
// says why, and Kept has what could be opened all the same.
func Load(dir string, want Meta) (*Kept, error) {
	m, err := ebpf.LoadPinnedMap(filepath.Join(dir, ledgerPin), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	k := &Kept{Maps: map[string]*ebpf.Map{}}
	if err != nil {
		return k, fmt.Errorf("open what is kept: %w", err)
	}
	var meta Meta
	if k.Ledger, meta, err = openLedger(m); err != nil {
		return k, err
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return k, fmt.Errorf("open what is kept: %w", err)
	}
	for _, f := range files {
		name := f.Name()
		if data, ok := strings.CutPrefix(name, dataPrefix); ok {
			name = "." + data
		}
		if !object.IsKept(name) && name != object.Constants {
			continue
		}
		if k.Maps[name], err = ebpf.LoadPinnedMap(filepath.Join(dir, f.Name()), nil); err != nil {
			delete(k.Maps, name)
			return k, fmt.Errorf("open what is kept: %w", err)
		}
	}
	if err := meta.fits(want); err != nil {
		return k, err
	}
	k.Handover, err = handedOver(filepath.Join(dir, handoverPin))
	return k, err
}

// Clear removes everything of this sensor's from the directory, for which links have their
// programs taken off.
func Clear(dir string) error {
	names, err := object.Names()
	if err != nil {
		return err
	}
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pins of another sensor: %w", err)
	}
	err = nil
	for _, f := range files {
		name := strings.TrimPrefix(strings.TrimPrefix(f.Name(), newPrefix), oldPrefix)
		ours := name == ledgerPin || name == handoverPin || strings.HasPrefix(name, linkPrefix) || strings.HasPrefix(name, dataPrefix)
		if ours || slices.Contains(names, name) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, f.Name())))
		}
	}
	return err
}

// Stage pins under names that are not in use yet what a sensor is about to work with:
// programs whose tail calls go through an array go on as long as the array has a pin.
// So does what another has staged and not committed, until this one commits.
func Stage(dir string, ledger *Ledger, handover *Handover, programs map[string]*ebpf.Program, maps map[string]*ebpf.Map) error {
	if err := rename(dir, newPrefix, oldPrefix); err != nil {
		return err
	}
	all := map[string]interface{ Pin(string) error }{}
	for name, p := range programs {
		all[name] = p
	}
	for name, m := range maps {
		all[pinName(name)] = m
	}
	all[ledgerPin], all[handoverPin] = ledger.m, handover.m
	for name, object := range all {
		if m, ok := object.(*ebpf.Map); ok && m.IsPinned() { // it has been taken over
			continue
		}
		if err := object.Pin(filepath.Join(dir, newPrefix+name)); err != nil {
			return fmt.Errorf("pin %s: %w", name, err)
		}
	}
	return nil
}

// Commit puts what was staged in its place: what was handed over is used up.
func Commit(dir string) error {
	if err := rename(dir, newPrefix, ""); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, oldPrefix+"*"))
	for _, path := range old {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// Holds is an error where what was committed is no longer there: whoever removes the pins takes
// the programs off.
func Holds(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, ledgerPin)); err != nil {
		return fmt.Errorf("somebody has removed the pins: %w", err)
	}
	return nil
}

// rename gives all files whose names begin in one way another beginning.
func rename(dir, from, to string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("pins: %w", err)
	}
	for _, f := range files {
		if name, found := strings.CutPrefix(f.Name(), from); found {
			if err := os.Rename(filepath.Join(dir, f.Name()), filepath.Join(dir, to+name)); err != nil {
				return fmt.Errorf("pins: %w", err)
			}
		}
	}
	return nil
}

const page = 4096 // bytes of a ledger

// Handover is a map for what an orderly end hands over: it is there from the start, as a
// confined process makes none, and takes memory with what is in it.
type Handover struct{ m *ebpf.Map }

const (
	handoverPart  = 2048     // bytes of an entry
	handoverParts = 16 << 10 // entries
)

// NewHandover makes an empty one.
func NewHandover() (*Handover, error) {
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: handoverPin, Type: ebpf.Hash, KeySize: 4, ValueSize: handoverPart, MaxEntries: handoverParts + 1, Flags: unix.BPF_F_NO_PREALLOC,
	})
	if err != nil {
		return nil, fmt.Errorf("make a map to hand over: %w", err)
	}
	return &Handover{m}, nil
}

// Put puts what the next sensor gets, all of it or nothing.
func (h *Handover) Put(data []byte) error {
	if most := handoverPart * handoverParts; len(data) > most {
		return fmt.Errorf("hand over %d bytes: %d are the most", len(data), most)
	}
	part := make([]byte, handoverPart)
	put := func(key uint32, b []byte) error {
		clear(part[copy(part, b):])
		if err := h.m.Put(key, part); err != nil {
			return fmt.Errorf("hand over %d bytes: %w", len(data), err)
		}
		return nil
	}
	key := uint32(0)
	for b := range slices.Chunk(data, handoverPart) {
		key++
		if err := put(key, b); err != nil {
			return err
		}
	}
	return put(0, binary.LittleEndian.AppendUint64(nil, uint64(len(data)))) // last: now it is whole
}

// Close frees this process's part.
func (h *Handover) Close() error {
	if h == nil {
		return nil
	}
	return h.m.Close()
}

// handedOver is what was put into a map that is pinned; nil: nothing.
func handedOver(path string) ([]byte, error) {
	m, err := ebpf.LoadPinnedMap(path, nil)
	if err != nil {
		return nil, fmt.Errorf("open what was handed over: %w", err)
	}
	defer m.Close()
	if m.Type() != ebpf.Hash || m.KeySize() != 4 || m.ValueSize() != handoverPart {
		return nil, fmt.Errorf("read what was handed over: it is no map of this schema: %v", m)
	}
	part := make([]byte, handoverPart)
	err = m.Lookup(uint32(0), part)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what was handed over: %w", err)
	}
	n := binary.LittleEndian.Uint64(part)
	if n > handoverPart*handoverParts {
		return nil, fmt.Errorf("read what was handed over: %d bytes", n)
	}
	data := make([]byte, 0, n+handoverPart)
	for key := uint32(1); uint64(len(data)) < n; key++ {
		if err := m.Lookup(key, part); err != nil {
			return nil, fmt.Errorf("read what was handed over: part %d: %w", key, err)
		}
		data = append(data, part...)
	}
	return data[:n], nil
}

// Ledger is what is counted beside the maps: it is as current as the process was when it
// ended, however it did. A nil one keeps nothing.
type Ledger struct {
	m      *ebpf.Map
	memory *ebpf.Memory
}

// Words is how many numbers a Ledger holds.
const Words = 64

const wordsAt = page - 8*Words // before them is the Meta

// NewLedger makes one.
func NewLedger(meta Meta) (*Ledger, error) {
	text, err := json.Marshal(meta)
	if err != nil {
		return nil, fmt.Errorf("keep counts: %w", err)
	}
	if len(text) >= wordsAt {
		return nil, fmt.Errorf("keep counts: %d interfaces have too long names", len(meta.Interfaces))
	}
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: ledgerPin, Type: ebpf.Array, KeySize: 4, ValueSize: page, MaxEntries: 1, Flags: unix.BPF_F_MMAPABLE})
	if err != nil {
		return nil, fmt.Errorf("keep counts: %w", err)
	}
	l := &Ledger{m: m}
	if l.memory, err = m.Memory(); err == nil {
		_, err = l.memory.WriteAt(text, 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("keep counts: %w", err), m.Close())
	}
	return l, nil
}

func openLedger(m *ebpf.Map) (l *Ledger, meta Meta, err error) {
	l = &Ledger{m: m}
	if l.memory, err = m.Memory(); err != nil {
		return nil, meta, fmt.Errorf("read what was counted: %w", err)
	}
	if l.memory.Size() != page {
		return nil, meta, fmt.Errorf("read what was counted: %d bytes, want %d", l.memory.Size(), page)
	}
	text := make([]byte, wordsAt)
	if _, err := l.memory.ReadAt(text, 0); err != nil {
		return nil, meta, fmt.Errorf("read what was counted: %w", err)
	}
	if err := json.Unmarshal([]byte(strings.TrimRight(string(text), "\x00")), &meta); err != nil {
		return nil, meta, fmt.Errorf("read what was counted: %w", err)
	}
	return l, meta, nil
}

// Set writes numbers from the one at place at on.
func (l *Ledger) Set(at int, numbers ...uint64) {
	if l == nil {
		return
	}
	var b []byte
	for _, n := range numbers {
		b = binary.NativeEndian.AppendUint64(b, n)
	}
	_, _ = l.memory.WriteAt(b, int64(wordsAt+8*at)) // fails out of bounds only
}

// All are the numbers.
func (l *Ledger) All() []uint64 {
	b := make([]byte, 8*Words)
	_, _ = l.memory.ReadAt(b, wordsAt)
	list := make([]uint64, Words)
	for i := range list {
		list[i] = binary.NativeEndian.Uint64(b[8*i:])
	}
	return list
}

// Close frees this process's part.
func (l *Ledger) Close() error {
	if l == nil {
		return nil
	}
	return l.m.Close()
}
