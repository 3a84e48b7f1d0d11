// Package client asks a running sensor on its socket. It knows what package v1 says,
// and nothing else of the house.
package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

// Client asks a sensor.
type Client struct {
	path string
	http http.Client
}

// New returns a client of the sensor that listens on the socket at path.
func New(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", v1.SocketAddress(path))
	}
	return &Client{path, http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: 30 * time.Second}}
}

// Stats asks for the sensor's counters.
func (c *Client) Stats(ctx context.Context) (s v1.Stats, err error) {
	_, err = c.ask(ctx, v1.StatsPath, &s)
	return s, err
}

// Devices asks for the devices and their verdicts.
func (c *Client) Devices(ctx context.Context) (d []v1.DeviceVerdict, err error) {
	_, err = c.ask(ctx, v1.DevicesPath, &d)
	return d, err
}

// Facts asks for what is known of a device, by its name in a verdict; none of one that the
// sensor has not seen.
func (c *Client) Facts(ctx context.Context, device string) (f []v1.Fact, err error) {
	_, err = c.ask(ctx, v1.FactsPath(url.PathEscape(device)), &f)
	return f, err
}

// Peers asks with whom a device talks, as Facts.
func (c *Client) Peers(ctx context.Context, device string) (p v1.Peers, err error) {
	_, err = c.ask(ctx, v1.PeersPath(url.PathEscape(device)), &p)
	return p, err
}

// Explanation asks what the newest window of a device rests on.
func (c *Client) Explanation(ctx context.Context, device string, q v1.ExplanationRequest) (*v1.Explanation, error) {
	path := v1.ExplanationPath(url.PathEscape(device))
	if query := q.Query().Encode(); query != "" {
		path += "?" + query
	}
	x := &v1.Explanation{}
	if _, err := c.ask(ctx, path, x); err != nil {
		return nil, err
	}
	return x, nil
}

// Flows asks for the open flows; left is how many more there are than an answer
// lists, at most 131,072.
func (c *Client) Flows(ctx context.Context) (f []v1.Flow, left int, err error) {
	header, err := c.ask(ctx, v1.FlowsPath, &f)
	if err == nil && header.Get(v1.LeftOutHeader) != "" {
		if left, err = strconv.Atoi(header.Get(v1.LeftOutHeader)); err != nil {
			err = fmt.Errorf("answer of the sensor on %s: %w", c.path, err)
		}
	}
	return f, left, err
}

// Events asks what happened after the event of that number.
func (c *Client) Events(ctx context.Context, after uint64) (e []v1.Event, err error) {
	_, err = c.ask(ctx, v1.EventsPath+"?"+v1.After+"="+strconv.FormatUint(after, 10), &e)
	return e, err
}

// Follow gives each event behind the one of that number, and then each that happens, until one
// is not taken, ctx ends or no sensor answers any more. A stream that breaks off is begun again
// where it was.
func (c *Client) Follow(ctx context.Context, after uint64, take func(*v1.Event) error) error {
	for {
		err := c.follow(ctx, &after, take)
		if err != nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(followAgain):
		case <-ctx.Done():
			return nil
		}
	}
}

const (
	followAgain = time.Second
	// followPatience is how long a stream may be silent: a sensor sends at least a comment four
	// times in that.
	followPatience = time.Minute
	longestEvent   = 64 << 10 // bytes
)

// follow reads one stream to its end; nil: it may be begun again.
func (c *Client) follow(ctx context.Context, after *uint64, take func(*v1.Event) error) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	silent := time.AfterFunc(followPatience, stop)
	defer silent.Stop()
	path := v1.EventsPath + "?" + v1.After + "=" + strconv.FormatUint(*after, 10)
	var response *http.Response
	err := retry(reading, func() (busy bool, err error) {
		response, busy, err = c.open(reading, &http.Client{Transport: c.http.Transport}, http.MethodGet, path, nil, "text/event-stream")
		return busy, err
	})
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if kind := response.Header.Get("Content-Type"); kind != "text/event-stream" {
		return fmt.Errorf("the sensor on %s gives no stream of events (%s): it is of an earlier version, ask without --follow", c.path, kind)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, longestEvent)
	for lines.Scan() {
		silent.Reset(followPatience)
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok {
			continue
		}
		var e v1.Event
		if err := json.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("event of the sensor on %s: %w", c.path, err)
		}
		if err := take(&e); err != nil {
			return err
		}
		*after = e.Seq
	}
	return nil
}

// Correct says something of a device, and returns once it is on the disk.
func (c *Client) Correct(ctx context.Context, device, do string, word v1.Correction) (done v1.Corrected, err error) {
	body, err := json.Marshal(word)
	if err != nil {
		return done, err
	}
	_, err = c.request(ctx, http.MethodPost, v1.CorrectionPath(url.PathEscape(device), do), body, &done)
	return done, err
}

// Model asks what judges now.
func (c *Client) Model(ctx context.Context) (m v1.Model, err error) {
	_, err = c.ask(ctx, v1.ModelPath, &m)
	return m, err
}

// TakeModel has the sensor judge by the newest model that was learned.
func (c *Client) TakeModel(ctx context.Context) (taken v1.ModelTaken, err error) {
	_, err = c.request(ctx, http.MethodPost, v1.ModelPath, nil, &taken)
	return taken, err
}

// WriteRecording has the sensor write what is recorded to a file.
func (c *Client) WriteRecording(ctx context.Context) (s v1.RecordingStats, err error) {
	_, err = c.request(ctx, http.MethodPost, v1.RecordingPath, nil, &s)
	return s, err
}

// tries is how often a busy sensor is asked, a second apart.
const tries = 5

func (c *Client) ask(ctx context.Context, path string, into any) (http.Header, error) {
	return c.request(ctx, http.MethodGet, path, nil, into)
}

func (c *Client) request(ctx context.Context, method, path string, body []byte, into any) (header http.Header, err error) {
	err = retry(ctx, func() (bool, error) {
		response, busy, err := c.open(ctx, &c.http, method, path, body, "application/json")
		if err != nil {
			return busy, err
		}
		defer response.Body.Close()
		header = response.Header
		if err := json.NewDecoder(response.Body).Decode(into); err != nil {
			return false, fmt.Errorf("answer of the sensor on %s: %w", c.path, err)
		}
		return false, nil
	})
	return header, err
}

// retry asks a sensor again that is busy.
func retry(ctx context.Context, ask func() (busy bool, err error)) error {
	for n := 1; ; n++ {
		busy, err := ask()
		if !busy || n == tries {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// open begins an answer of that kind; busy tells of an error that may be gone soon.
func (c *Client) open(ctx context.Context, by *http.Client, method, path string, body []byte, kind string) (response *http.Response, busy bool, err error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://iotsense"+path, bytes.NewReader(body))
	if err != nil {
		return nil, false, err
	}
	request.Header.Set("Accept", kind)
	if response, err = by.Do(request); err != nil {
		return nil, false, c.explain(err)
	}
	if response.StatusCode == http.StatusOK {
		return response, false, nil
	}
	defer response.Body.Close()
	why, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10)) // what was read is better than nothing
	why = bytes.TrimSpace(why)
	switch response.StatusCode {
	case http.StatusConflict, http.StatusForbidden, http.StatusInternalServerError:
		if len(why) > 0 { // it says all that there is to say
			return nil, false, errors.New(string(why))
		}
	}
	return nil, response.StatusCode == http.StatusServiceUnavailable,
		fmt.Errorf("ask the sensor for %s: %s: %s", path, response.Status, why)
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
