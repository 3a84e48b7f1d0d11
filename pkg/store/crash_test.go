package store

// This file kills those who write, and takes their disk's power.

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/facts"
	"github.com/iotsense/iotsense/pkg/registry"
)

const (
	// writerEnv makes the test binary write to the file that it names until it is killed.
	writerEnv = "IOTSENSE_TEST_WRITER"
	// crashesEnv is how many kills and losses of power there are, instead of some.
	crashesEnv  = "IOTSENSE_CRASHES"
	someKills   = 8
	someLosses  = 60
	writeOf     = 30 // devices that writes are about
	changedOnes = 5  // devices that a write changes
)

func TestMain(m *testing.M) {
	if path := os.Getenv(writerEnv); path != "" {
		fmt.Fprintln(os.Stderr, beWriter(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func crashes(t *testing.T, some int) int {
	t.Helper()
	text := os.Getenv(crashesEnv)
	if text == "" {
		return some
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// nth is the change of the n-th write.
func nth(n int) *Change {
	c := &Change{Facts: map[string][]facts.Fact{}}
	for i := range changedOnes {
		d := saved((n*changedOnes+i)%writeOf+1, n)
		c.Devices = append(c.Devices, d)
		c.Facts[d.Name] = spoken(int(d.ID), n)
	}
	c.Events = append(c.Events, event(n))
	return c
}

// after is how many writes a file holds; it fails the test if these are not whole.
func after(t *testing.T, what string, o *Opened) int {
	t.Helper()
	n := written(o)
	want := Content{Facts: map[string][]facts.Fact{}}
	devices := map[uint64]registry.Saved{}
	for i := 1; i <= n; i++ {
		c := nth(i)
		want.Events = append(want.Events, c.Events...)
		for _, d := range c.Devices {
			devices[d.ID] = d
			want.Facts[d.Name] = c.Facts[d.Name]
		}
	}
	want.Events = want.Events[max(0, n-MaxEvents):]
	for id := uint64(1); id <= writeOf; id++ {
		if d, there := devices[id]; there {
			want.Devices = append(want.Devices, d)
		}
	}
	if o.Damage != "" || !reflect.DeepEqual(o.Content, want) {
		t.Fatalf("%s: damage %q, %d devices, %d events: not what %d writes leave", what, o.Damage, len(o.Devices), len(o.Events), n)
	}
	return n
}

// written is how many writes a file has had.
func written(o *Opened) int {
	if len(o.Events) == 0 {
		return 0
	}
	return int(o.Events[len(o.Events)-1].Seq)
}

// beWriter writes for ever, and prints the number of each write that was acknowledged.
func beWriter(path string) error {
	s, o, err := Open(path)
	if err != nil {
		return err
	}
	if o.Damage != "" {
		return errors.New(o.Damage)
	}
	for n := written(o) + 1; ; n++ {
		if err := s.Write(nth(n)); err != nil {
			return err
		}
		fmt.Println(n)
		if n%50 == 0 {
			if err := s.Snapshot(); err != nil {
				return err
			}
		}
	}
}

// A process that is killed at any time leaves all that it has acknowledged.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(11, 12))
	kills, had := crashes(t, someKills), 0
	for kill := range kills {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), writerEnv+"="+path)
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatalf("kill %d: the writer ended: %s", kill, said.String())
		}
		time.Sleep(time.Duration(random.IntN(120)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(lines)
		if err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // says that it was killed
		acknowledged := had + 1
		if list := strings.Fields(string(rest)); len(list) > 1 { // the last line may be cut
			if acknowledged, err = strconv.Atoi(list[len(list)-2]); err != nil {
				t.Fatal(err)
			}
		}
		n := after(t, fmt.Sprint("kill ", kill), opened(t, path))
		if n < acknowledged {
			t.Fatalf("kill %d: %d writes were acknowledged, %d are there", kill, acknowledged, n)
		}
		had = n
	}
	t.Logf("%d kills, %d writes", kills, had)
}

// A disk that loses its power at any time, and with it any of what was not synced, leaves
// all that was acknowledged.
func TestPowerLoss(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "r.db")
	d := newDisk(t)
	s, _ := d.store(t, path)
	d.snapshot(t, path)
	if err := s.exec("PRAGMA wal_autocheckpoint=60"); err != nil { // more often
		t.Fatal(err)
	}
	const writes = 150
	for n := 1; n <= writes; n++ {
		if err := s.Write(nth(n)); err != nil {
			t.Fatal(err)
		}
		d.mark(n)
		if n%60 == 0 {
			if err := s.Snapshot(); err != nil {
				t.Fatal(err)
			}
			d.snapshot(t, path)
		}
	}
	checkpoints := 0
	for _, o := range d.ops {
		if o.kind == opSync && o.file == "r.db" {
			checkpoints++
		}
	}
	if err := s.disconnect(); err != nil {
		t.Fatal(err)
	}
	losses := crashes(t, someLosses)
	random := rand.New(rand.NewPCG(21, 22))
	cuts := make([]int, losses)
	for i := range cuts {
		cuts[i] = random.IntN(len(d.ops))
	}
	l := loss{files: map[string]*content{}}
	told := 0
	for i, cut := range slices.Sorted(slices.Values(cuts)) {
		for ; told < cut; told++ {
			l.step(d.ops[told])
		}
		left := filepath.Join(dir, fmt.Sprint("left", i))
		if err := os.Mkdir(left, 0o700); err != nil {
			t.Fatal(err)
		}
		l.leave(t, left, random)
		what := fmt.Sprintf("loss at %d of %d", cut, len(d.ops))
		o := opened(t, filepath.Join(left, "r.db"))
		if l.acknowledged == 0 { // a file that was being made may be damaged
			o.Damage = ""
		}
		if n := after(t, what, o); n != l.acknowledged && n != l.acknowledged+1 {
			t.Fatalf("%s: %d writes were acknowledged, %d are there", what, l.acknowledged, n)
		}
	}
	if checkpoints < 3 {
		t.Errorf("%d checkpoints: what is written to the database itself was not lost", checkpoints)
	}
	t.Logf("%d losses of %d writes in %d steps, %d syncs of the database itself", losses, writes, len(d.ops), checkpoints)
}
