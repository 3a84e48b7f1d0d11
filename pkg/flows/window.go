package flows

// This file groups a device's records into streams and windows (paper III-B, IV).

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// WindowMode says when a stream's first windows come.
type WindowMode uint8

const (
	// Padded windows come from the first record on; missing older rows are padding.
	Padded WindowMode = iota
	// Strict windows come once K records exist, as in the paper.
	Strict
)

// String is the mode's name in flags and model files.
func (m WindowMode) String() string {
	if m == Strict {
		return "strict"
	}
	return "padded"
}

// ParseWindowMode reads "strict" or "padded".
func ParseWindowMode(s string) (WindowMode, error) {
	switch s {
	case "padded":
		return Padded, nil
	case "strict":
		return Strict, nil
	}
	return Padded, fmt.Errorf("window mode %q: want strict or padded", s)
}

// Service is a transport service such as tcp/443 (paper IV: P/N).
type Service struct {
	Proto uint8
	Port  uint16
}

// ParseService reads "tcp/443" or "udp/53".
func ParseService(s string) (Service, error) {
	proto, port, _ := strings.Cut(s, "/")
	n, err := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil:
	case proto == "tcp":
		return Service{protoTCP, uint16(n)}, nil
	case proto == "udp":
		return Service{protoUDP, uint16(n)}, nil
	}
	return Service{}, fmt.Errorf("service %q: want tcp/PORT or udp/PORT", s)
}

// ParseServices reads a list of services, with or without spaces around each.
func ParseServices(names []string) ([]Service, error) {
	var services []Service
	for _, name := range names {
		s, err := ParseService(strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		services = append(services, s)
	}
	return services, nil
}

// String is the service's name, as ParseService reads it.
func (s Service) String() string {
	if s.Proto == protoTCP {
		return fmt.Sprintf("tcp/%d", s.Port)
	}
	return fmt.Sprintf("udp/%d", s.Port)
}

// ServiceOf is the one of services that the record belongs to: by its remote
// port, else by its device port.
func ServiceOf(r *Record, services []Service) (Service, bool) {
	for _, port := range []int32{r.RemPort, r.DevPort} {
		for _, s := range services {
			if r.Proto == s.Proto && port == int32(s.Port) {
				return s, true
			}
		}
	}
	return Service{}, false
}

// StreamConfig says which of a device's records form a stream and how its
// windows are cut.
type StreamConfig struct {
	Rows     int // K; 0: WindowRows
	Mode     WindowMode
	IPv6     bool      // the stream includes IPv6 records
	Services []Service // the stream is of these services; empty: all traffic
	// Among are services that a record may belong to instead, by ServiceOf: the
	// other parts of a specialised bundle.
	Among []Service
	// Scrub gives the record that enters windows in place of another, which it does
	// not change; nil: each record itself.
	Scrub func(*Record) *Record
}

// includes reports whether the record belongs to the stream.
func (c *StreamConfig) includes(r *Record) bool {
	if r.IsIPv6() && !c.IPv6 {
		return false
	}
	if len(c.Services) == 0 {
		return true
	}
	s, ok := ServiceOf(r, slices.Concat(c.Services, c.Among))
	return ok && slices.Contains(c.Services, s)
}

// Windower cuts the streams of many devices into windows. Its memory is K rows
// for each device; Forget frees a device's.
type Windower struct {
	cfg     StreamConfig
	streams map[string]*stream
}

type stream struct {
	previous int64 // FirstSeen of the stream's last record, windowed or not
	started  bool
	rows     []Row // the last K, oldest first
}

// NewWindower returns a Windower without devices.
func NewWindower(cfg StreamConfig) *Windower {
	if cfg.Rows == 0 {
		cfg.Rows = WindowRows
	}
	return &Windower{cfg: cfg, streams: map[string]*stream{}}
}

// Add takes the next record of its device, in order. ok is false when the record
// completes no window: it is not of the stream, it is incomplete, or a strict
// window still lacks rows. The window's rows are the caller's to keep.
func (w *Windower) Add(r *Record) (win Window, ok bool) {
	if !w.cfg.includes(r) {
		return Window{}, false
	}
	s := w.streams[r.Device]
	if s == nil {
		s = &stream{}
		w.streams[r.Device] = s
	}
	row := Row{Record: r}
	if s.started {
		row.Since = max(0, r.FirstSeen-s.previous)
	}
	s.previous, s.started = r.FirstSeen, true
	if r.Incomplete {
		return Window{}, false
	}
	if w.cfg.Scrub != nil {
		row.Record = w.cfg.Scrub(r)
	}
	if len(s.rows) == w.cfg.Rows {
		s.rows = slices.Delete(s.rows, 0, 1)
	}
	s.rows = append(s.rows, row)
	if w.cfg.Mode == Strict && len(s.rows) < w.cfg.Rows {
		return Window{}, false
	}
	return Window{Device: r.Device, Rows: slices.Clone(s.rows)}, true
}

// Forget frees what is kept of a device.
func (w *Windower) Forget(device string) { delete(w.streams, device) }
