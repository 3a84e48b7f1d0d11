package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/replay"
)

// block is commands of a tutorial, and how lines begin that they print.
type block struct {
	commands string
	prints   []string
}

// blocks are those of a page: what is fenced as sh, with what is fenced as text below it.
func blocks(t *testing.T, page string) (list []block) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		switch {
		case m[1] == "sh":
			list = append(list, block{commands: m[2]})
		case m[1] == "text" && len(list) > 0:
			last := &list[len(list)-1]
			last.prints = append(last.prints, strings.Split(strings.TrimSpace(m[2]), "\n")...)
		default:
			t.Errorf("%s: a block of %s: want sh, or text below one", page, m[1])
		}
	}
	return list
}

var numbers = regexp.MustCompile(`[0-9]+`)

// alike is a line without what differs from run to run: figures, and how wide columns are.
func alike(line string) string {
	return strings.Join(strings.Fields(numbers.ReplaceAllString(line, "0")), " ")
}

// tutorial is where the commands of a page run: a directory, in which iotsense is this test's
// binary, and programs stand in for what takes time or somebody's hands.
type tutorial struct {
	t    *testing.T
	dir  string
	bin  string
	page string
}

func newTutorial(t *testing.T, page string) *tutorial {
	t.Helper()
	return &tutorial{t, t.TempDir(), asProgram(t), filepath.Join("../../docs/tutorials", page)}
}

// program puts a shell script into PATH.
func (u *tutorial) program(name, script string) {
	u.t.Helper()
	if err := os.WriteFile(filepath.Join(u.bin, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		u.t.Fatal(err)
	}
}

func (u *tutorial) copy(from, to string) {
	u.t.Helper()
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(filepath.Join(u.dir, to), content, 0o644)
	}
	if err != nil {
		u.t.Fatal(err)
	}
}

// run runs the commands, in one shell, by start, and holds what they print against the page.
func (u *tutorial) run(start func(*exec.Cmd) (<-chan error, error), change func(string) string) {
	u.t.Helper()
	const mark = "=== block "
	list, script := blocks(u.t, u.page), strings.Builder{}
	for i, b := range list {
		fmt.Fprintf(&script, "echo '%s%d'\n%s", mark, i, change(b.commands))
	}
	out, err := os.Create(filepath.Join(u.t.TempDir(), "out"))
	if err != nil {
		u.t.Fatal(err)
	}
	defer out.Close()
	// A socket at its usual place is this tutorial's alone, and what it starts ends with it.
	c := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-ec", "mount -t tmpfs none /run && exec sh -eu ./tutorial")
	c.Dir, c.Stdout, c.Stderr = u.dir, out, out
	c.Env = append(os.Environ(), "PATH="+u.bin+":"+os.Getenv("PATH"))
	if err := os.WriteFile(filepath.Join(u.dir, "tutorial"), []byte(script.String()), 0o644); err != nil {
		u.t.Fatal(err)
	}
	ended, err := start(c)
	if err != nil {
		u.t.Fatal(err)
	}
	select {
	case err = <-ended:
	case <-time.After(deadlock):
		_ = c.Process.Kill()
		err = fmt.Errorf("it does not end")
	}
	printed, _ := os.ReadFile(out.Name())
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(u.dir, "sensor.log"))
		u.t.Fatalf("%s: %v\n%s\n%s", u.page, err, printed, log)
	}
	for i, part := range strings.Split(string(printed), mark)[1:] {
		lines := strings.Split(part, "\n")
		for _, want := range list[i].prints {
			want := alike(change(want))
			if want != "..." && !slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(alike(line), want) }) {
				u.t.Errorf("%s: no line like %q in what is printed:\n%s", u.page, want, part)
			}
		}
	}
}

// here starts a command as it is.
func here(c *exec.Cmd) (<-chan error, error) {
	ended := make(chan error, 1)
	if err := c.Start(); err != nil {
		return nil, err
	}
	go func() { ended <- c.Wait() }()
	return ended, nil
}

// asWritten changes nothing.
func asWritten(s string) string { return s }

// live runs a tutorial beside an interface on which, once its n-th `sleep` waits, a plug that the
// model knows and a bulb that it does not are switched on. A `sleep` lasts until one of the
// conditions, of its own place, is true of the sensor.
func (u *tutorial) live(n int, conditions ...string) {
	testenv.Root(u.t)
	const speed = 40
	u.program("iotsense", fmt.Sprintf(`[ "$1" != run ] || { shift; set -- run --speed %d --pin= "$@"; }
%s=1 exec '%s' "$@"
`, speed, asCommand, os.Args[0]))
	sleep := "echo >>slept\ncase $(wc -l <slept) in\n"
	for i, c := range conditions {
		sleep += fmt.Sprintf("%d) until %s; do /bin/sleep 0.05; done >/dev/null 2>&1 ;;\n", i+1, c)
	}
	u.program("sleep", sleep+"esac\n")
	network := liveNetwork(u.t)
	frames := replay.Merge(time.Second,
		framesOf(u.t, filepath.Join(testenv.Data(u.t), "TP-LinkPlugHS110/Setup-A-3-STA.pcap"), "50:c7:bf:00:c7:03"),
		framesOf(u.t, filepath.Join(testenv.Strangers(u.t), "unknown-iot/kl125.pcap"), "6c:5a:b0:e6:03:cd"))
	ctx, stop := context.WithCancel(u.t.Context())
	defer stop()
	play := func() {
		for ctx.Err() == nil {
			time.Sleep(20 * time.Millisecond)
			if slept, _ := os.ReadFile(filepath.Join(u.dir, "slept")); len(slept) >= n {
				_, _ = network.Play(ctx, frames, replay.PlayOptions{Speed: speed}) // the conditions see what came
			}
		}
	}
	go play()
	u.run(network.Start, func(s string) string { return strings.ReplaceAll(s, "eth0", replay.Interface) })
}

// framesOf are those of a device's first minute.
func framesOf(t *testing.T, capture, device string) []lab.Frame {
	t.Helper()
	mac, err := flows.ParseMAC(device)
	if err != nil {
		t.Fatal(err)
	}
	frames, err := replay.ReadCapture(capture, mac)
	if err != nil {
		t.Fatal(err)
	}
	for i := range frames {
		if frames[i].Time.Sub(frames[0].Time) > time.Minute {
			return frames[:i]
		}
	}
	return frames
}

// Conditions of a sensor.
const (
	bothThere = `iotsense devices --json | grep 50:c7:bf:00:c7:03 | grep -q '"state":"known"' && iotsense devices --json | grep 6c:5a:b0:e6:03:cd | grep -q '"state":"unknown"'`
	attached  = `iotsense stats --json | grep -q '"attached":true'`
	noDevice  = `iotsense stats --json | grep -q '"no_device":[1-9]'`
)

// The commands of each tutorial do what it says.
func TestTutorials(t *testing.T) {
	t.Run("first sensor", func(t *testing.T) {
		newTutorial(t, "first-sensor.md").live(1, bothThere)
	})
	t.Run("silent interface", func(t *testing.T) {
		newTutorial(t, "silent-interface.md").live(2, attached, noDevice, bothThere)
	})
	t.Run("train on your devices", func(t *testing.T) {
		testenv.Root(t) // for a /run of its own
		u := newTutorial(t, "train-on-your-devices.md")
		for n := range 6 {
			c, err := lab.Generate("smart-plug", 0, int64(n+1), time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if c.Device.String() != "c2:40:3c:b5:c8:8b" {
				t.Fatalf("the lab's plug is %s: the page has another", c.Device)
			}
			var b strings.Builder
			if err := lab.WritePCAP(&b, c); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(u.dir, fmt.Sprintf("recorded-plug-%d.pcap", n+1)), []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		u.program("tcpdump", `[ "$3" = -w ] && exec cp "recorded-$4" "$4"`) // nobody switches a plug off and on here
		u.run(here, asWritten)
	})
	t.Run("read an explanation", func(t *testing.T) {
		testenv.Root(t) // for a /run of its own
		u := newTutorial(t, "read-an-explanation.md")
		u.copy(filepath.Join(testenv.Data(t), "TP-LinkPlugHS110/Setup-A-3-STA.pcap"), "plug.pcap")
		u.run(here, asWritten)
	})
}
