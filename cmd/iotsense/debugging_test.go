package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/client"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/replay"
)

const guide = "../../docs/DEBUGGING.md"

// guideLine is a command of the guide and the words that its output must have.
type guideLine struct {
	command string
	words   []string
}

var (
	shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")
	quoted     = regexp.MustCompile(`"([^"]+)"`)
)

// guideLines reads the commands: the words are quoted in the comment behind them.
func guideLines(t *testing.T) (list []guideLine) {
	t.Helper()
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range shellBlock.FindAllStringSubmatch(string(text), -1) {
		for line := range strings.Lines(block[1]) {
			command, comment, _ := strings.Cut(strings.TrimSpace(line), "   # ")
			l := guideLine{command: command}
			for _, word := range quoted.FindAllStringSubmatch(comment, -1) {
				l.words = append(l.words, word[1])
			}
			list = append(list, l)
		}
	}
	return list
}

// TestDebuggingGuide runs every command of the guide against a live sensor.
func TestDebuggingGuide(t *testing.T) {
	testenv.Root(t)
	for _, tool := range []string{"bpftool", "ip", "tc", "nsenter"} {
		testenv.Tool(t, tool)
	}
	lines := guideLines(t)
	if len(lines) < 10 {
		t.Fatalf("%d commands in %s: want at least 10", len(lines), guide)
	}
	n, err := replay.NewNetwork("guide")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	pins := testenv.PinDirectory(t)
	pid, socket, stop := guideSensor(t, n, pins)
	defer stop()
	ctx, quiet := context.WithCancel(t.Context())
	var playing sync.WaitGroup
	playing.Go(func() { _, _ = n.Play(ctx, guideFrames(), replay.PlayOptions{}) }) // ends with the context's error
	defer playing.Wait()
	defer quiet()
	here := strings.NewReplacer("eth0", replay.Interface, "/sys/fs/bpf/iotsense/", pins+"/", "$(pidof iotsense)", fmt.Sprint(pid),
		"iotsense stats", "iotsense stats --socket "+socket, "iotsense flows", "iotsense flows --socket "+socket)
	for _, l := range lines {
		sh := exec.Command("sh", "-c", here.Replace(l.command))
		sh.Env = guideEnv(t)
		var out []byte
		if err := n.Do(func() (err error) { out, err = sh.CombinedOutput(); return err }); err != nil {
			t.Errorf("%s: %v\n%s", l.command, err, out)
			continue
		}
		for _, word := range l.words {
			if !strings.Contains(string(out), word) {
				t.Errorf("%s: no %q in\n%s", l.command, word, out)
			}
		}
	}
}

// guideFrames is a flow that outlasts the test, a packet every 50 ms.
func guideFrames() []lab.Frame {
	ask := packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: packet.UDPProto}, packet.UDP(4000, 53, packet.Payload(40))))
	list := make([]lab.Frame, 5*60*20)
	for i := range list {
		list[i] = lab.Frame{Time: time.Unix(0, 0).Add(time.Duration(i) * 50 * time.Millisecond), Data: ask, FromDevice: true}
	}
	return list
}

// guideEnv has this test binary in its PATH, as iotsense.
func guideEnv(t *testing.T) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "iotsense")); err != nil {
		t.Fatal(err)
	}
	return append(os.Environ(), asCommand+"=1", "PATH="+bin+":"+os.Getenv("PATH")+":/usr/sbin:/sbin")
}

// guideSensor runs a sensor on the network; it answers once it is attached.
func guideSensor(t *testing.T, n *replay.Network, pins string) (pid int, socket string, stop func()) {
	t.Helper()
	socket = filepath.Join(n.Dir, "socket")
	cmd := exec.Command(os.Args[0], "run", "-i", replay.Interface, "--model", "none", "--pin", pins, "--socket", socket)
	cmd.Env = guideEnv(t)
	var log strings.Builder
	cmd.Stderr = &log
	ended, err := n.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			t.Errorf("sensor: %v\n%s", err, &log)
		}
		if _, err := os.Stat(pins); err == nil {
			t.Errorf("%s is left", pins)
		}
	}
	client := client.New(socket)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		if _, err := client.Stats(ctx); err == nil {
			return cmd.Process.Pid, socket, stop
		}
		if ctx.Err() != nil {
			_ = cmd.Process.Kill()
			<-ended
			t.Fatalf("the sensor does not answer\n%s", &log)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
