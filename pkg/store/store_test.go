package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/registry"
)

// saved is a device, another in each round.
func saved(id, round int) registry.Saved {
	random := rand.New(rand.NewPCG(uint64(id), uint64(round)))
	judged := make([]byte, 430)
	for i := range judged {
		judged[i] = byte(random.Uint32())
	}
	at := int64(1_800_000_000_000_000) + int64(round)*Every.Microseconds()
	return registry.Saved{
		ID: uint64(id), Name: fmt.Sprintf("50:c7:bf:00:%02x:%02x", id>>8, id&0xff), First: 1_800_000_000_000_000, Last: at, Flows: uint64(round * 9), IPv6: 1,
		Packets: uint64(round * 100), Bytes: math.MaxUint64, Newest: at - 5, Shared: id%2 == 0,
		Addresses: []registry.SavedAddress{{Addr: netip.AddrFrom4([4]byte{192, 168, 0, byte(id)}), Last: at}, {Addr: netip.MustParseAddr("fe80::1"), Last: at, Back: 3}},
		Presence:  registry.Presence{Gone: id%3 == 0, Since: at - 100, After: 77},
		State:     v1.Known, As: "TP-LinkPlugHS110", Model: "0123456789abcdef", Judged: judged,
	}
}

// spoken are facts of a device.
func spoken(id, round int) []facts.Fact {
	return []facts.Fact{
		{Kind: facts.Maker, Source: facts.Link, Count: uint32(round + 1), Value: "TP-Link", First: 1, Last: int64(round)},
		{Kind: facts.DNSName, Source: facts.Sent, Count: 1, Value: fmt.Sprint("n", id, ".example"), First: 2, Last: 2},
		{Kind: facts.DNSName, Source: facts.Heard, Count: 1, Value: "é \"quoted\"", First: 3, Last: 4},
	}
}

func event(seq int) v1.Event {
	name, label := "50:c7:bf:00:00:01", "HueBridge"
	return v1.Event{Seq: uint64(seq), Time: v1.UnixMicro(int64(seq) * 1000), Event: v1.EventNew, Device: &name, Label: &label}
}

// opened is what a file holds.
func opened(t testing.TB, path string) *Opened {
	t.Helper()
	s, o, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.disconnect(); err != nil {
		t.Fatal(err)
	}
	return o
}

// made makes a file of some devices and events.
func made(t testing.TB, path string, devices int) *Content {
	t.Helper()
	s, o, err := Open(path)
	if err != nil || o.Damage != "" {
		t.Fatal(err, o)
	}
	c := &Change{Facts: map[string][]facts.Fact{}}
	for id := 1; id <= devices; id++ {
		d := saved(id, 1)
		c.Devices = append(c.Devices, d)
		c.Facts[d.Name] = spoken(id, 1)
		c.Events = append(c.Events, event(id))
	}
	if err := s.Write(c); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return &Content{Devices: c.Devices, Facts: c.Facts, Events: c.Events}
}

// What is written comes out again; of a device that is gone nothing is left.
func TestWriteAndOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?c%20&d.db")
	want := made(t, path, 40)
	o := opened(t, path)
	if o.Damage != "" || !reflect.DeepEqual(o.Content, *want) {
		t.Fatalf("%q\n%+v\nwant %+v", o.Damage, o.Content, *want)
	}
	s, _, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	c := &Change{Gone: []registry.Gone{{ID: 1, Names: []string{saved(1, 1).Name}}, {ID: 3, Names: []string{saved(3, 1).Name}}}, Devices: []registry.Saved{saved(2, 9), {ID: 50, Name: "ip:10.0.0.1", Label: "not seen yet"}}, Facts: map[string][]facts.Fact{saved(2, 9).Name: nil}, Events: []v1.Event{event(41)}}
	if err := s.Write(c); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o = opened(t, path)
	if n := len(o.Devices); n != 39 || o.Devices[38].Label != "not seen yet" || !reflect.DeepEqual(o.Devices[0], saved(2, 9)) || len(o.Facts) != 37 || len(o.Events) != 41 {
		t.Errorf("%d devices, %d with facts, %d events; first %+v", n, len(o.Facts), len(o.Events), o.Devices[0])
	}
	for _, name := range []string{path, path + SnapshotSuffix} {
		if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// Events beyond a file's bound make room, the oldest first.
func TestEventsAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	s, _, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	c := &Change{}
	for i := range MaxEvents + 5 {
		c.Events = append(c.Events, event(i+1))
	}
	if err := errors.Join(s.Write(c), s.Close()); err != nil {
		t.Fatal(err)
	}
	if o := opened(t, path); len(o.Events) != MaxEvents || o.Events[0].Seq != 6 {
		t.Errorf("%d events, the first %d", len(o.Events), o.Events[0].Seq)
	}
}

// What is no registry, or is another's, is left as it is.
func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(path("text"), []byte(strings.Repeat("no database at all\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, statements := range map[string]string{
		"other": "CREATE TABLE a (b)", "other app": "PRAGMA application_id=7; CREATE TABLE a (b)",
	} {
		db, err := sql.Open("sqlite", path(name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(statements); err != nil {
			t.Fatal(err)
		}
		db.Close()
	}
	made(t, path("newer"), 1)
	s, _, err := Open(path("newer"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.put(metaTable, "version", int64(99)), s.exec("PRAGMA user_version=99"), s.disconnect()); err != nil {
		t.Fatal(err)
	}
	made(t, path("used"), 1)
	user, _, err := Open(path("used"))
	if err != nil {
		t.Fatal(err)
	}
	defer user.Close()
	for name, want := range map[string]error{"text": ErrForeign, "other": ErrForeign, "other app": ErrForeign, "newer": ErrNewer, "used": ErrInUse} {
		before, err := os.ReadFile(path(name))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := Open(path(name)); !errors.Is(err, want) || !strings.Contains(err.Error(), path(name)) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if after, err := os.ReadFile(path(name)); err != nil || !slices.Equal(before, after) {
			t.Errorf("%s: it was changed, %v", name, err)
		}
	}
	if err := syscall.Mkfifo(path("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{os.DevNull, path("fifo")} { // the latter for good
		if _, _, err := Open(path); !errors.Is(err, ErrForeign) {
			t.Fatalf("%s: %v", path, err)
		}
	}
	if left, err := filepath.Glob(path("*" + DamagedSuffix + "*")); err != nil || len(left) > 0 {
		t.Errorf("put aside: %v, %v", left, err)
	}
	if _, _, err := Open(path("none/such")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such directory: %v", err)
	}
}

// Whatever is done to a file, it opens with what it held, or with the last snapshot, and
// then says so.
func TestDamagedFiles(t *testing.T) {
	dir := t.TempDir()
	first := filepath.Join(dir, "first.db")
	snapshot := made(t, first, 60)
	s, _, err := Open(first)
	if err != nil {
		t.Fatal(err)
	}
	later := &Change{Devices: []registry.Saved{saved(1, 2), saved(61, 2)}}
	if err := errors.Join(s.Write(later), s.exec("PRAGMA wal_checkpoint(TRUNCATE)"), s.disconnect()); err != nil { // no snapshot of this
		t.Fatal(err)
	}
	whole, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	held := opened(t, first).Content
	copied, err := os.ReadFile(first + SnapshotSuffix)
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for n := range 50 {
		random := rand.New(rand.NewPCG(7, uint64(n)))
		data := slices.Clone(whole)
		switch n % 5 {
		case 0: // cut
			data = data[:random.IntN(len(data))]
		case 1: // one bit
			data[random.IntN(len(data))] ^= 1 << random.IntN(8)
		case 2: // a sector of zeros
			clear(data[random.IntN(len(data)/512)*512:][:512])
		case 3: // a page of something else
			at := random.IntN(len(data)/4096) * 4096
			for i := range 4096 {
				data[at+i] = byte(random.Uint32())
			}
		case 4: // a page in another's place
			copy(data[random.IntN(len(data)/4096)*4096:], data[random.IntN(len(data)/4096)*4096:][:4096])
		}
		path := filepath.Join(dir, fmt.Sprint("damaged", n, ".db"))
		if err := errors.Join(os.WriteFile(path, data, 0o600), os.WriteFile(path+SnapshotSuffix, copied, 0o600)); err != nil {
			t.Fatal(err)
		}
		o := opened(t, path)
		want := held
		if o.Damage != "" {
			want = *snapshot
			told++
			aside, err := filepath.Glob(path + DamagedSuffix + "*Z")
			if err != nil || len(aside) != 1 || !strings.Contains(o.Damage, "60 devices") || !strings.Contains(o.Damage, filepath.Base(aside[0])) {
				t.Errorf("%d: %s; aside %v, %v", n, o.Damage, aside, err)
			} else if kept, err := os.ReadFile(aside[0]); err != nil || len(kept) == 0 && len(data) > 0 {
				t.Errorf("%d: aside are %d bytes, %v", n, len(kept), err)
			}
		}
		if !reflect.DeepEqual(o.Content, want) {
			t.Errorf("%d: %q, and %d devices, %d events that are neither the file's nor the snapshot's", n, o.Damage, len(o.Devices), len(o.Events))
		}
	}
	if told < 25 {
		t.Errorf("%d of 50 were found damaged", told)
	}
}

// Where the snapshot is damaged too the registry begins empty, and both are kept.
func TestDamagedSnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	made(t, path, 3)
	for _, name := range []string{path, path + SnapshotSuffix} {
		if err := os.WriteFile(name, []byte("nothing that was written"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := opened(t, path)
	if len(o.Devices) > 0 || !strings.Contains(o.Damage, "all that was known is lost") {
		t.Errorf("%d devices, %q", len(o.Devices), o.Damage)
	}
	if aside, err := filepath.Glob(path + DamagedSuffix + "*"); err != nil || len(aside) != 2 {
		t.Errorf("aside: %v, %v", aside, err)
	}
	if o := opened(t, path); o.Damage != "" {
		t.Errorf("once more: %s", o.Damage)
	}
}

// At most MaxDamaged files are kept, the newest.
func TestDamagedAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r[1]*.db")
	made(t, path, 1)
	for range MaxDamaged + 3 {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if o := opened(t, path); o.Damage == "" || len(o.Devices) != 1 {
			t.Fatalf("%q, %d devices", o.Damage, len(o.Devices))
		}
	}
	if aside, err := filepath.Glob(globEscape(path) + DamagedSuffix + "*Z"); err != nil || len(aside) != MaxDamaged {
		t.Errorf("aside: %v, %v", aside, err)
	}
}

// Empty files, which starts leave that find no room for the snapshot, do not push out the
// damaged one that was there before.
func TestEmptyOnesPushNothingOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	made(t, path, 1)
	for n := range 2 + MaxDamaged {
		if err := os.Truncate(path, int64(max(0, 1-n))*5000); err != nil {
			t.Fatal(err)
		}
		if got := opened(t, path); got.Damage == "" {
			t.Fatal("this test damages nothing")
		}
	}
	old, err := filepath.Glob(path + DamagedSuffix + "*Z")
	if err != nil || len(old) != 2 || empty(old[0]) {
		t.Errorf("left: %v, %v", old, err)
	}
}

// A keeper writes what changes, the facts of a device now and then, and at the end all.
func TestKeeper(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	synctest.Test(t, func(t *testing.T) {
		s, o, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		r := registry.New(registry.Config{Noted: func(v1.Event) {}})
		said := uint32(1)
		k := NewKeeper(s, o, Source{Registry: r, Facts: func(string) (uint32, []facts.Fact) { return said, spoken(1, int(said)) }}, slog.New(slog.DiscardHandler))
		r.Restore([]registry.Saved{saved(1, 200), saved(2, 200)}) // no longer young
		r.Resave()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- k.Run(ctx) }()
		if err := k.Sync(ctx); err != nil {
			t.Fatal(err)
		}
		look := func(what string, devices, writes int, count uint32) {
			t.Helper()
			var n int
			var c uint32
			synctest.Wait()
			if err := s.conn.QueryRowContext(t.Context(), "SELECT (SELECT count(*) FROM device), (SELECT json_extract(facts, '$[0][3]') FROM fact WHERE mac=?)", saved(1, 1).Name).Scan(&n, &c); err != nil {
				t.Fatal(err)
			}
			if got := k.Stats(); n != devices || c != count || got.Writes != uint64(writes) || got.Failures > 0 {
				t.Errorf("%s: %d devices, maker said %d times, %+v; want %d, %d and %d writes", what, n, c, got, devices, count, writes)
			}
		}
		look("synced", 2, 1, 2)
		said = 2
		r.Resave()
		time.Sleep(Every)
		look("after five minutes, its facts not", 2, 2, 2)
		time.Sleep(10 * Every)
		look("nothing changed", 2, 2, 2)
		r.Note(event(0))
		k.Noted()
		time.Sleep(soon)
		look("an event", 2, 3, 2)
		r.Resave()
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if err := k.Sync(t.Context()); err == nil {
			t.Error("acknowledged after its end")
		}
	})
	got := opened(t, path)
	if len(got.Devices) != 2 || len(got.Events) != 1 || got.Facts[saved(1, 1).Name][0].Count != 3 {
		t.Errorf("at the end %d devices, %d events, %+v", len(got.Devices), len(got.Events), got.Facts)
	}
}

// A full disk is counted and said once; when there is room again, nothing is missing.
func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	d := newDisk(t)
	d.quiet = true
	s, o := d.store(t, path)
	r := registry.New(registry.Config{Noted: func(v1.Event) {}})
	var log strings.Builder
	k := NewKeeper(s, o, Source{Registry: r}, slog.New(slog.NewTextHandler(&log, nil)))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- k.Run(ctx) }()
	r.Restore([]registry.Saved{saved(1, 1)})
	r.Resave()
	d.set(full)
	for range 3 {
		if err := k.Sync(ctx); err == nil || !strings.Contains(err.Error(), path) {
			t.Fatalf("on a full disk: %v", err)
		}
	}
	if n := strings.Count(log.String(), "not written"); n != 1 || k.Stats().Failures != 3 {
		t.Errorf("%d lines, %+v: %s", n, k.Stats(), log.String())
	}
	d.set(nil)
	if err := k.Sync(ctx); err != nil || k.Stats().Writes != 1 {
		t.Fatalf("with room: %v, %+v", err, k.Stats())
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got := opened(t, path); got.Damage != "" || len(got.Devices) != 1 {
		t.Errorf("%q, %d devices", got.Damage, len(got.Devices))
	}
}

// A file that turns out to be damaged is begun anew, with all that there is in memory before
// anything is told to be on the disk; where the disk has no room for another, as soon as it has.
func TestDamagedWhileItIsWritten(t *testing.T) {
	for _, room := range []bool{true, false} {
		path := filepath.Join(t.TempDir(), "r.db")
		d := newDisk(t)
		d.quiet = true
		s, o := d.store(t, path)
		r := registry.New(registry.Config{Noted: func(v1.Event) {}})
		k := NewKeeper(s, o, Source{Registry: r}, slog.New(slog.DiscardHandler))
		r.Restore([]registry.Saved{saved(1, 1), saved(2, 1)})
		r.Resave()
		if err := k.writeAll(0); err != nil {
			t.Fatal(err)
		}
		if err := r.Label(saved(1, 1).Name, "Kettle", 3); err != nil {
			t.Fatal(err)
		}
		damaged := false
		d.set(func(o op) int32 {
			switch {
			case !damaged && o.kind == opWrite:
				damaged = true
				return sqlite3.SQLITE_CORRUPT
			case damaged && !room:
				return full(o)
			}
			return sqlite3.SQLITE_OK
		})
		for range 5 {
			if err := k.writeAll(0); (err == nil) != room {
				t.Fatalf("room %t: %v", room, err)
			}
		}
		d.set(nil)
		if err := k.writeAll(0); err != nil {
			t.Fatalf("room %t, then with room: %v", room, err)
		}
		if err := s.disconnect(); err != nil { // as a process that is killed: without a last write
			t.Fatal(err)
		}
		if got := opened(t, path); got.Damage != "" || len(got.Devices) != 2 || got.Devices[0].Label+got.Devices[1].Label != "Kettle" {
			t.Errorf("room %t: %q, %+v", room, got.Damage, got.Devices)
		}
		if old, err := filepath.Glob(path + DamagedSuffix + "*Z"); err != nil || len(old) != 1 {
			t.Errorf("room %t: put aside %v, %v", room, old, err)
		}
	}
}

// A file of each earlier version is brought to the newest with all that it holds, and a
// snapshot of what it was stays until the next.
func TestMigration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	old := &Store{path: path, versions: versions[:1]}
	if _, _, err := old.open(); err == nil {
		t.Fatal("a file without the later columns was read as if it had them")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path + SnapshotSuffix); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(make0600(path), old.connect(), old.prepare()); err != nil {
		t.Fatal(err)
	}
	first := table{"device", deviceTable.columns[:18]}
	row, err := deviceRow(ptr(saved(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(old.put(first, row[:18]...), old.disconnect()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if o := opened(t, path); o.Damage != "" || !reflect.DeepEqual(o.Devices, []registry.Saved{saved(1, 1)}) {
			t.Fatalf("%q, %+v", o.Damage, o.Devices)
		}
	}
	s, _, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	d := saved(1, 1)
	d.MACs, d.Label, d.Labelled, d.Locked, d.Ignored = []string{"50:c7:bf:00:00:02"}, "TP-Link/plug", 9, true, true
	if err := errors.Join(s.Write(&Change{Devices: []registry.Saved{d}}), s.Close()); err != nil {
		t.Fatal(err)
	}
	if o := opened(t, path); !reflect.DeepEqual(o.Devices, []registry.Saved{d}) {
		t.Errorf("%+v, want %+v", o.Devices, d)
	}
}

func ptr[T any](v T) *T { return &v }

// Of what is erased no byte is left: in the file, beside it, in the snapshot.
func TestErasedIsGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	s, o, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	r := registry.New(registry.Config{Noted: func(v1.Event) {}})
	r.RestoreEvents([]v1.Event{event(1), event(2)})
	r.Restore([]registry.Saved{saved(1, 1), saved(2, 1)})
	r.Resave()
	if err := r.Label(saved(1, 1).Name, "A secret name", 3); err != nil {
		t.Fatal(err)
	}
	k := NewKeeper(s, o, Source{Registry: r, Facts: func(name string) (uint32, []facts.Fact) {
		return 1, []facts.Fact{{Kind: facts.DHCPHost, Source: facts.Sent, Value: "host of " + name}}
	}}, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- k.Run(ctx) }()
	if err := k.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	if left(t, path, saved(1, 1).Name) == 0 || left(t, path, "A secret name") == 0 {
		t.Fatal("this test looks at the wrong place")
	}
	if _, err := r.Erase(saved(1, 1).Name); err != nil {
		t.Fatal(err)
	}
	if err := k.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{saved(1, 1).Name, "A secret name"} {
		if n := left(t, path, text); n > 0 {
			t.Errorf("%q stands in %d places", text, n)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if o := opened(t, path); o.Damage != "" || len(o.Devices) != 1 || o.Devices[0].Name != saved(2, 1).Name || len(o.Facts) != 1 {
		t.Errorf("%+v", o)
	}
}

// A device that made room for another and is back before the next write has its facts in
// the file.
func TestFactsOfOneThatIsBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	s, o, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	r := registry.New(registry.Config{MaxDevices: 1, Noted: func(v1.Event) {}})
	k := NewKeeper(s, o, Source{Registry: r, Facts: func(string) (uint32, []facts.Fact) { return 1, spoken(1, 1) }}, slog.New(slog.DiscardHandler))
	names := []string{saved(1, 1).Name, saved(2, 1).Name, saved(1, 1).Name}
	for i, name := range names {
		r.Record(&flows.Record{Device: name, FirstSeen: int64(i) + 1, LastSeen: int64(i) + 1})
		if i == 1 { // written next with the third
			continue
		}
		if err := k.writeAll(math.MaxInt64); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := opened(t, path); len(got.Devices) != 1 || len(got.Facts[names[0]]) == 0 {
		t.Errorf("%+v", got)
	}
}

// An event that was erased before it was written is not one that was lost.
func TestErasedIsNotUnwritten(t *testing.T) {
	s, o, err := Open(filepath.Join(t.TempDir(), "r.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := registry.New(registry.Config{Noted: func(v1.Event) {}})
	k := NewKeeper(s, o, Source{Registry: r}, slog.New(slog.DiscardHandler))
	if err := r.Label(saved(1, 1).Name, "Kettle", 3); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Erase(saved(1, 1).Name); err != nil {
		t.Fatal(err)
	}
	r.Note(event(0))
	if err := k.writeAll(0); err != nil || k.Stats().Unwritten != 0 {
		t.Errorf("%+v, %v", k.Stats(), err)
	}
	for range 2*registry.MaxEvents + 1 {
		r.Note(event(0))
	}
	if err := k.writeAll(0); err != nil || k.Stats().Unwritten != registry.MaxEvents+1 {
		t.Errorf("more than are remembered: %+v, %v", k.Stats(), err)
	}
}

// What was erased is gone from the snapshot too when the disk has room for another, and not
// told to be so before.
func TestErasedWaitsForTheSnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	d := newDisk(t)
	d.quiet = true
	s, o := d.store(t, path)
	r := registry.New(registry.Config{Noted: func(v1.Event) {}})
	k := NewKeeper(s, o, Source{Registry: r}, slog.New(slog.DiscardHandler))
	name := saved(1, 1).Name
	if err := errors.Join(r.Label(name, "A secret name", 3), k.writeAll(0), s.Snapshot()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Erase(name); err != nil {
		t.Fatal(err)
	}
	d.set(func(o op) int32 {
		if strings.Contains(o.file, SnapshotSuffix) {
			return full(o)
		}
		return sqlite3.SQLITE_OK
	})
	for range 2 {
		if err := k.writeAll(0); err == nil {
			t.Fatal("told to be gone while the snapshot has it")
		}
	}
	k.word = true
	k.snapshot()
	if !k.word {
		t.Error("a snapshot that failed is not taken again")
	}
	d.set(nil)
	if err := k.writeAll(0); err != nil {
		t.Fatal(err)
	}
	if n := left(t, path, "A secret name"); n > 0 {
		t.Errorf("it stands in %d places", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// left counts a text in a file and all beside it.
func left(t *testing.T, path, text string) (n int) {
	t.Helper()
	dir := filepath.Dir(path)
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		n += strings.Count(string(data), text)
	}
	return n
}
