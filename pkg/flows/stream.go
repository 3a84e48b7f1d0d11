package flows

// This file orders a device's records into streams of rows (paper III-B, IV).

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

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

// StreamSpec says which of a device's records form its stream.
type StreamSpec struct {
	IPv6     bool      // the stream includes IPv6 records
	Services []Service // the stream is of these services; empty: all traffic
	// Among are services that a record may belong to instead, by ServiceOf: the
	// other parts of a specialised bundle.
	Among []Service
	// Scrub gives the record that enters the stream in place of another, which it
	// does not change; nil: each record itself.
	Scrub func(*Record) *Record
}

// includes reports whether the record belongs to the stream.
func (s *StreamSpec) includes(r *Record) bool {
	if r.IsIPv6() && !s.IPv6 {
		return false
	}
	if len(s.Services) == 0 {
		return true
	}
	service, ok := ServiceOf(r, slices.Concat(s.Services, s.Among))
	return ok && slices.Contains(s.Services, service)
}

// Step is the next row of one device's stream.
type Step struct {
	Row
	Number int // of the row in its stream; 0 begins the stream
}

// Streams makes the rows of many devices' streams of their records. What it keeps of
// a device is where its stream has come to; Forget frees it.
type Streams struct {
	spec  StreamSpec
	heads map[string]head
}

// head is where a device's stream has come to.
type head struct {
	previous int64 // FirstSeen of the stream's last record, whether or not it became a row
	rows     int
}

// NewStreams returns Streams without devices.
func NewStreams(spec StreamSpec) *Streams {
	return &Streams{spec: spec, heads: map[string]head{}}
}

// Add takes the next record of its device, in order. ok is false when it makes no
// row: it is not of the stream, or it is incomplete.
func (s *Streams) Add(r *Record) (step Step, ok bool) {
	if !s.spec.includes(r) {
		return Step{}, false
	}
	h, started := s.heads[r.Device]
	step = Step{Row{Record: r}, h.rows}
	if started {
		step.Since = max(0, r.FirstSeen-h.previous)
	}
	h.previous = r.FirstSeen
	if !r.Incomplete {
		h.rows++
	}
	s.heads[r.Device] = h
	if r.Incomplete {
		return Step{}, false
	}
	if s.spec.Scrub != nil {
		step.Record = s.spec.Scrub(r)
	}
	return step, true
}

// Copy makes a device's stream go on in another's Streams where it has come to here.
func (s *Streams) Copy(device string, to *Streams) {
	if h, ok := s.heads[device]; ok {
		to.heads[device] = h
	}
}

// Forget frees what is kept of a device.
func (s *Streams) Forget(device string) { delete(s.heads, device) }
