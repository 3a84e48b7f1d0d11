// Package api is how a running sensor is asked: HTTP with JSON over a unix
// socket. It holds the answers' types, the server and the client; it never
// computes an answer itself. Whatever clients do, the sensor's own work goes on:
// how often an answer is computed, and how many are given at once, has a bound.
package api

// This file holds the answers and the client.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strconv"
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
	Model             *string            `json:"model"` // in words; null: records only
	Interfaces        []loader.Interface `json:"interfaces"`
	Packets           flows.PacketStats  `json:"packets"`
	Samples           loader.SampleStats `json:"samples"`
	Flows             loader.FlowStats   `json:"flows"`
	Records           uint64             `json:"records"`
	IncompleteRecords uint64             `json:"incomplete_records"`
	Inferences        uint64             `json:"inferences"`
	DroppedVerdicts   uint64             `json:"dropped_verdicts"` // the listener was too slow for them
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
	// Flows lists at most so many lines; left is how many flows it is without.
	Flows(most int) (list []Flow, left int, err error)
}

// Client asks a sensor.
type Client struct {
	path string
	http http.Client
}

// NewClient returns a client of the sensor that listens on the socket at path.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", address(path))
	}
	return &Client{path, http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: 30 * time.Second}}
}

// Stats asks for the sensor's counters.
func (c *Client) Stats(ctx context.Context) (s Stats, err error) { return s, c.get(ctx, "/stats", &s) }

// Devices asks for the devices and their verdicts.
func (c *Client) Devices(ctx context.Context) (d []registry.DeviceVerdict, err error) {
	return d, c.get(ctx, "/devices", &d)
}

// Flows asks for the open flows; left is how many more there are than an answer
// lists, see MaxFlows.
func (c *Client) Flows(ctx context.Context) (f []Flow, left int, err error) {
	header, err := c.ask(ctx, "/flows", &f)
	if err == nil && header.Get(leftOut) != "" {
		if left, err = strconv.Atoi(header.Get(leftOut)); err != nil {
			err = fmt.Errorf("answer of the sensor on %s: %w", c.path, err)
		}
	}
	return f, left, err
}

func (c *Client) get(ctx context.Context, path string, into any) error {
	_, err := c.ask(ctx, path, into)
	return err
}

// tries is how often a busy sensor is asked, a second apart.
const tries = 5

func (c *Client) ask(ctx context.Context, path string, into any) (http.Header, error) {
	for n := 1; ; n++ {
		header, busy, err := c.askOnce(ctx, path, into)
		if !busy || n == tries {
			return header, err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// askOnce decodes the answer; busy tells of an error that may be gone soon.
func (c *Client) askOnce(ctx context.Context, path string, into any) (header http.Header, busy bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://iotsense"+path, nil)
	if err != nil {
		return nil, false, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, false, c.explain(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10)) // what was read is better than nothing
		return nil, response.StatusCode == http.StatusServiceUnavailable,
			fmt.Errorf("ask the sensor for %s: %s: %s", path, response.Status, bytes.TrimSpace(why))
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return nil, false, fmt.Errorf("answer of the sensor on %s: %w", c.path, err)
	}
	return response.Header, false, nil
}

// explain says what to do about a sensor that cannot be asked.
func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no sensor answers on %s: start `iotsense run`, or name its --socket", c.path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("socket %s: permission denied: ask as root or as a member of its group", c.path)
	}
	return fmt.Errorf("ask the sensor: %w", err)
}
