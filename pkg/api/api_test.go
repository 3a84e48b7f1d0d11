package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iotsense/iotsense/pkg/api/client"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

// answers is a Source of fixed answers.
type answers struct{ err error }

func (answers) ID() string { return "5e5e" }

func (a answers) Stats() (v1.Stats, error) { return v1.Stats{Records: 7}, a.err }

func (a answers) Devices() ([]v1.DeviceVerdict, error) {
	return []v1.DeviceVerdict{{Verdict: v1.Verdict{Device: "02:00:00:00:00:01"}, Addresses: []string{}}}, a.err
}

func (a answers) Flows(int) ([]v1.Flow, int, error) {
	return []v1.Flow{{Remote: "192.0.2.1", DevPort: -1}}, 3, a.err
}

func (a answers) Facts(device string) ([]v1.Fact, error) {
	return []v1.Fact{{Device: device, Kind: "maker"}}, a.err
}

func (a answers) Peers(device string) (v1.Peers, error) {
	by := v1.OpenedByDevice
	return v1.Peers{Device: device, Peers: []v1.Peer{{Peer: v1.LocalPeer, OpenedBy: &by}, {}}}, a.err
}

func (a answers) Explanation(_ context.Context, device string, q v1.ExplanationRequest) (*v1.Explanation, error) {
	return &v1.Explanation{Device: device, Output: q.Output, WhyNot: &q.WhyNot, Phi: [][]float64{{1, 0}}, Facts: []v1.ExplainedFact{}}, a.err
}

// serve answers on a new socket until the test ends.
func serve(t *testing.T, src Source) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "run", "s.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { Serve(ctx, l, src, slog.New(slog.DiscardHandler)); close(done) }()
	t.Cleanup(func() { stop(); <-done })
	return path
}

func TestRoundTrip(t *testing.T) {
	path := serve(t, answers{})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("socket: %v, %v, want mode 0660", info, err)
	}
	c, ctx := client.New(path), context.Background()
	stats, err := c.Stats(ctx)
	if want, _ := (answers{}).Stats(); err != nil || !cmp.Equal(stats, want) {
		t.Errorf("stats: %v, %v", err, cmp.Diff(want, stats))
	}
	devices, err := c.Devices(ctx)
	if want, _ := (answers{}).Devices(); err != nil || !cmp.Equal(devices, want) {
		t.Errorf("devices: %v, %v", err, cmp.Diff(want, devices))
	}
	list, left, err := c.Flows(ctx)
	if want, more, _ := (answers{}).Flows(0); err != nil || !cmp.Equal(list, want) || left != more {
		t.Errorf("flows: %v, %v, %d left out", err, cmp.Diff(want, list), left)
	}
	for _, device := range []string{"02:00:00:00:00:01", "ip:fe80::1%eth0/x"} {
		facts, err := c.Facts(ctx, device)
		if want, _ := (answers{}).Facts(device); err != nil || !cmp.Equal(facts, want) {
			t.Errorf("facts of %s: %v, %v", device, err, cmp.Diff(want, facts))
		}
		peers, err := c.Peers(ctx, device)
		if want, _ := (answers{}).Peers(device); err != nil || !cmp.Equal(peers, want) {
			t.Errorf("peers of %s: %v, %v", device, err, cmp.Diff(want, peers))
		}
		for _, q := range []v1.ExplanationRequest{{}, {Output: "probability", WhyNot: "a&b/c"}} {
			x, err := c.Explanation(ctx, device, q)
			if want, _ := (answers{}).Explanation(ctx, device, q); err != nil || !cmp.Equal(x, want) {
				t.Errorf("explanation of %s: %v, %v", device, err, cmp.Diff(want, x))
			}
		}
	}
}

// Each answer says which sensor gives it; what lies beside /v1 is nowhere.
func TestPaths(t *testing.T) {
	path := serve(t, answers{})
	ask := plainAt(path)
	for at, want := range map[string]int{
		v1.StatsPath: http.StatusOK, v1.DevicesPath: http.StatusOK, v1.FlowsPath: http.StatusOK, v1.FactsPath("x"): http.StatusOK, v1.PeersPath("x"): http.StatusOK,
		v1.ExplanationPath("x"): http.StatusOK, v1.EventsPath: http.StatusOK, v1.CorrectionPath("x", v1.DoForget): http.StatusNotFound,
		v1.DevicePath("x"): http.StatusNotFound, v1.DevicePath("02:00:00:00:00:01"): http.StatusOK,
		"/stats": http.StatusNotFound, "/devices": http.StatusNotFound, "/flows": http.StatusNotFound, "/v2/stats": http.StatusNotFound,
	} {
		answer, err := ask.Get("http://iotsense" + at)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if id := answer.Header.Get(v1.SensorHeader); answer.StatusCode != want || id != (answers{}).ID() {
			t.Errorf("%s: %s from %q, want %d", at, answer.Status, id, want)
		}
	}
}

func TestErrors(t *testing.T) {
	ctx := context.Background()
	failing := serve(t, answers{errors.New("the table is gone")})
	garbage := filepath.Join(t.TempDir(), "garbage.sock")
	l, err := net.Listen("unix", garbage)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[x"))
			conn.Close()
		}
	}()
	for _, tt := range []struct{ name, path, want string }{
		{"nobody there", filepath.Join(t.TempDir(), "none.sock"), "start `iotsense run`"},
		{"nobody answers", stale(t), "start `iotsense run`"},
		{"the sensor fails", failing, "the table is gone"},
		{"not a sensor", garbage, garbage},
	} {
		if _, err := client.New(tt.path).Stats(ctx); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// stale is a socket as a killed sensor leaves it.
func stale(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stale.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	return path
}
