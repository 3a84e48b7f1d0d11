package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/client"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

func (a answers) Events(after uint64) ([]v1.Event, error) {
	return []v1.Event{{Seq: after + 1, Event: v1.EventNew}}, a.err
}

func (answers) News() (uint64, <-chan struct{}) { return 0, nil }

func (answers) Traffic(string) v1.Traffic {
	return v1.Traffic{Sent: []uint64{1}, Received: []uint64{2}}
}

func (answers) ShowsPayload() bool { return false }

func (answers) Names(int) []string { return []string{"TP-Link", "TP-Link/plug"} }

func (a answers) Correct(_ context.Context, device, do string, c v1.Correction) (v1.Corrected, error) {
	if c.Label == "bad" {
		return v1.Corrected{}, &RefusedError{errors.New("such a label is not taken")}
	}
	return v1.Corrected{Device: device + " " + do + " " + c.Label + c.With, Kept: true}, a.err
}

func (c *counting) Events(uint64) ([]v1.Event, error) { return nil, nil }

func (c *counting) News() (uint64, <-chan struct{}) { return 0, nil }

func (c *counting) Traffic(string) v1.Traffic { return v1.Traffic{} }

func (c *counting) ShowsPayload() bool { return false }

func (c *counting) Names(int) []string { return nil }

func (c *counting) Correct(context.Context, string, string, v1.Correction) (v1.Corrected, error) {
	return v1.Corrected{}, nil
}

func (answers) Model() (v1.Model, error) {
	return v1.Model{
		Judges:  &v1.Judge{Model: "x", File: "embedded", Digest: "00", Labels: []string{"plug"}, Architecture: []string{"stream"}, Since: v1.UnixMicro(1)},
		Learned: json.RawMessage(`{"taken":true}`),
	}, nil
}

func (a answers) TakeModel(context.Context) (v1.ModelTaken, error) {
	return v1.ModelTaken{Model: "learned", MemoriesKept: true}, a.err
}

func (a answers) WriteRecording(context.Context) (v1.RecordingStats, error) {
	return v1.RecordingStats{}, &RefusedError{errors.New("nothing is recorded")}
}

func (c *counting) Model() (v1.Model, error) { return v1.Model{}, nil }

func (c *counting) TakeModel(context.Context) (v1.ModelTaken, error) { return v1.ModelTaken{}, nil }

func (c *counting) WriteRecording(context.Context) (v1.RecordingStats, error) {
	return v1.RecordingStats{}, nil
}

// Who may write says each word, and gets the sensor's answer or why it is not taken.
func TestWords(t *testing.T) {
	c, ctx := client.New(serve(t, answers{})), context.Background()
	for _, w := range corrections {
		do := w.do
		done, err := c.Correct(ctx, "ip:fe80::1%eth0/x", do, v1.Correction{Label: "TP-Link/plug", With: "y"})
		if want := (v1.Corrected{Device: "ip:fe80::1%eth0/x " + do + " TP-Link/plugy", Kept: true}); err != nil || done != want {
			t.Errorf("%s: %+v, %v", do, done, err)
		}
	}
	if _, err := c.Correct(ctx, "x", v1.DoLabel, v1.Correction{Label: "bad"}); err == nil || err.Error() != "such a label is not taken" {
		t.Errorf("refused: %v", err)
	}
	if _, err := c.Correct(ctx, "x", v1.DoLabel, v1.Correction{Label: strings.Repeat("x", maxWord)}); err == nil {
		t.Error("a word without end was taken")
	}
	if _, err := c.Correct(ctx, "x", "rename", v1.Correction{}); err == nil {
		t.Error("a word that there is not was taken")
	}
	if taken, err := c.TakeModel(ctx); err != nil || taken != (v1.ModelTaken{Model: "learned", MemoriesKept: true}) {
		t.Errorf("model: %+v, %v", taken, err)
	}
	judging, err := c.Model(ctx)
	if want, _ := (answers{}).Model(); err != nil || !cmp.Equal(judging.Judges.Labels, want.Judges.Labels) || string(judging.Learned) != string(want.Learned) {
		t.Errorf("model: %+v, %v", judging, err)
	}
	if _, err := c.WriteRecording(ctx); err == nil || err.Error() != "nothing is recorded" {
		t.Errorf("recording: %v", err)
	}
	events, err := c.Events(ctx, 41)
	if want, _ := (answers{}).Events(41); err != nil || !cmp.Equal(events, want) {
		t.Errorf("events: %v, %v", events, err)
	}
}

func TestMayWrite(t *testing.T) {
	group := uint32(77)
	for _, tt := range []struct {
		name  string
		peer  peer
		group *uint32
		may   bool
	}{
		{"root", peer{0, []uint32{0}}, nil, true},
		{"the sensor's own user", peer{500, []uint32{500}}, nil, true},
		{"another", peer{501, []uint32{500, 501}}, &group, false},
		{"another, in the group", peer{501, []uint32{501, 77}}, &group, true},
		{"another, where there is no group", peer{501, []uint32{77}}, nil, false},
	} {
		if err := tt.peer.mayWrite(500, tt.group); (err == nil) != tt.may {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if err := mayWrite(context.Background()); err == nil {
		t.Error("one who is not known may write")
	}
}

// asEnv has the test binary label a device through the socket that it names.
const asEnv = "IOTSENSE_TEST_SOCKET"

// Another user, whom the socket's mode lets ask, may not write; the kernel says who it is.
func TestPeerIsChecked(t *testing.T) {
	if path := os.Getenv(asEnv); path != "" {
		if _, err := client.New(path).Stats(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := client.New(path).Correct(t.Context(), "x", v1.DoForget, v1.Correction{})
		_, model := client.New(path).TakeModel(t.Context())
		if (err == nil) != (model == nil) {
			err = fmt.Errorf("%w, but of the model: %w", err, model)
		}
		fmt.Println("said:", err)
		return
	}
	testenv.Root(t)
	path := serve(t, answers{})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(filepath.Dir(path), "test") // where the other may read it
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(copied, text, 0o755), os.Chmod(path, 0o666)); err != nil {
		t.Fatal(err)
	}
	for dir, up := filepath.Dir(path), 0; up < 3; dir, up = filepath.Dir(dir), up+1 { // up to the test's own
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for uid, want := range map[uint32]string{0: "said: <nil>", 65534: "said: user 65534 may not change"} {
		cmd := exec.Command(copied, "-test.run=TestPeerIsChecked")
		cmd.Env = append(os.Environ(), asEnv+"="+path)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("user %d: %v\n%s", uid, err, out)
		}
	}
}

// What the kernel says of the other end is what that is.
func TestPeerOf(t *testing.T) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer dialled.Close()
	c, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p, err := peerOf(c)
	if err != nil {
		t.Fatal(err)
	}
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range append(groups, os.Getegid()) {
		if !slices.Contains(p.groups, uint32(g)) {
			t.Errorf("groups %v lack %d", p.groups, g)
		}
	}
	if int(p.uid) != os.Geteuid() {
		t.Errorf("user %d", p.uid)
	}
}
