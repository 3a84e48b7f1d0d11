// Package api is how a running sensor is asked: HTTP with JSON over a unix
// socket. It holds the answers' types, the server and the client; it never
// computes an answer itself.
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/loader"
	"github.com/iotsense/iotsense/pkg/registry"
)

// DefaultSocket is where the sensor listens when nothing else is said.
const DefaultSocket = "/run/iotsense/iotsense.sock"

// Stats is the answer to `iotsense stats`.
type Stats struct {
	UptimeS           float64            `json:"uptime_s"`
	Interfaces        []loader.Interface `json:"interfaces"`
	Packets           flows.PacketStats  `json:"packets"`
	Samples           loader.SampleStats `json:"samples"`
	Flows             loader.FlowStats   `json:"flows"`
	Records           uint64             `json:"records"`
	IncompleteRecords uint64             `json:"incomplete_records"`
	Inferences        uint64             `json:"inferences"`
	EvictedDevices    uint64             `json:"evicted_devices"`
	UserCPUS          float64            `json:"user_cpu_s"`
	KernelNSTotal     *uint64            `json:"kernel_ns_total"` // null without --kernel-stats
	KernelRuns        *uint64            `json:"kernel_runs"`     // null without --kernel-stats
}

// Flow is one open flow, from the point of view of one device end: a line of
// `iotsense flows`. A flow without a device has Device null.
type Flow struct {
	Device    *string       `json:"device"`
	Remote    string        `json:"remote"`
	Proto     uint8         `json:"proto"`
	DevPort   int32         `json:"dev_port"` // -1: none
	RemPort   int32         `json:"rem_port"` // -1: none
	FirstSeen registry.Time `json:"first_seen"`
	Packets   uint64        `json:"packets"`
	Bytes     uint64        `json:"bytes"`
	Interface string        `json:"interface"`
}

// Source answers for the sensor.
type Source interface {
	Stats() (Stats, error)
	Devices() ([]registry.DeviceVerdict, error)
	Flows() ([]Flow, error)
}

// ErrInUse is returned by Listen when another sensor answers on the socket.
var ErrInUse = errors.New("another sensor answers on the socket")

// Listen makes the socket at path, readable by its owner and group. A stale one,
// which nobody answers on, is replaced.
func Listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		conn.Close()
		return nil, fmt.Errorf("socket %s: %w: stop it or choose another --socket", path, ErrInUse)
	} else if errors.Is(err, syscall.ECONNREFUSED) {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("socket: %w", err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close()
		return nil, fmt.Errorf("socket: %w", err)
	}
	return l, nil
}

// Serve answers on l until ctx ends.
func Serve(ctx context.Context, l net.Listener, src Source, log *slog.Logger) {
	mux := http.NewServeMux()
	mux.Handle("GET /stats", answer(src.Stats, log))
	mux.Handle("GET /devices", answer(src.Devices, log))
	mux.Handle("GET /flows", answer(src.Flows, log))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		log.Error("socket stopped answering", "error", err)
	}
}

func answer[T any](ask func() (T, error), log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := ask()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			log.Warn("answer not sent", "path", r.URL.Path, "error", err)
		}
	})
}

// Client asks a sensor.
type Client struct {
	path string
	http http.Client
}

// NewClient returns a client of the sensor that listens on the socket at path.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	return &Client{path, http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: 30 * time.Second}}
}

// Stats asks for the sensor's counters.
func (c *Client) Stats(ctx context.Context) (s Stats, err error) { return s, c.get(ctx, "/stats", &s) }

// Devices asks for the devices and their verdicts.
func (c *Client) Devices(ctx context.Context) (d []registry.DeviceVerdict, err error) {
	return d, c.get(ctx, "/devices", &d)
}

// Flows asks for the open flows.
func (c *Client) Flows(ctx context.Context) (f []Flow, err error) { return f, c.get(ctx, "/flows", &f) }

func (c *Client) get(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://iotsense"+path, nil)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no sensor answers on %s: start `iotsense run`, or name its --socket", c.path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("socket %s: permission denied: ask as root or as a member of its group", c.path)
	case err != nil:
		return fmt.Errorf("ask the sensor: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10)) // what was read is better than nothing
		return fmt.Errorf("ask the sensor for %s: %s: %s", path, response.Status, bytes.TrimSpace(why))
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return fmt.Errorf("answer of the sensor on %s: %w", c.path, err)
	}
	return nil
}
