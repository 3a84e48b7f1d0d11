package flows

// This file says how packets become records: the choices of the paper's sections
// III-A and III-C that a model is made for and that its input must keep to.

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"time"
)

// RecordSpec says which packets a record covers and how much of them it keeps.
// Zero fields stand for the paper's values, [DefaultRecordSpec].
type RecordSpec struct {
	Direction Direction     `json:"direction"`
	Packets   int           `json:"packets"`     // i: packets described one by one, 1 to RowPackets (III-A)
	Prefix    int           `json:"prefix"`      // j: payload bytes kept of each, at most PayloadPrefix (III-A)
	Payload   int           `json:"payload"`     // B: values of a row's payload section, at most MaxPayload (III-C)
	Lifetime  time.Duration `json:"lifetime_ns"` // of a record from its first packet (III-A)
}

// MaxPayload is how many payload values a row can have: those of all its packets'
// whole prefixes, delimiters included.
const MaxPayload = RowPackets * (PayloadPrefix + 2)

// DefaultRecordSpec is the paper's record, bidirectional.
func DefaultRecordSpec() RecordSpec { return RecordSpec{}.WithDefaults() }

// WithDefaults is s with the paper's values in place of zeros.
func (s RecordSpec) WithDefaults() RecordSpec {
	s.Packets, s.Prefix = cmp.Or(s.Packets, RowPackets), cmp.Or(s.Prefix, PayloadPrefix)
	s.Payload, s.Lifetime = cmp.Or(s.Payload, PayloadTokens), cmp.Or(s.Lifetime, Lifetime)
	return s
}

// Validate names the first value that no record can have.
func (s RecordSpec) Validate() error {
	for _, c := range []struct {
		name           string
		got, low, high int
	}{
		{"packets", s.Packets, 1, RowPackets},
		{"prefix", s.Prefix, 0, PayloadPrefix},
		{"payload", s.Payload, 0, MaxPayload},
	} {
		if c.got < c.low || c.got > c.high {
			return fmt.Errorf("%s is %d, want %d to %d", c.name, c.got, c.low, c.high)
		}
	}
	if s.Lifetime <= 0 {
		return fmt.Errorf("lifetime is %v, want more than 0", s.Lifetime)
	}
	return nil
}

// Union is the spec of records that serve both s and t: the longer of their
// prefixes and so on. Direction and lifetime cannot be joined: where they differ,
// the error names them.
func (s RecordSpec) Union(t RecordSpec) (RecordSpec, error) {
	if s.Direction != t.Direction {
		return s, fmt.Errorf("records of direction %v and of %v", s.Direction, t.Direction)
	}
	if s.Lifetime != t.Lifetime {
		return s, fmt.Errorf("records of lifetime %v and of %v", s.Lifetime, t.Lifetime)
	}
	s.Packets, s.Prefix, s.Payload = max(s.Packets, t.Packets), max(s.Prefix, t.Prefix), max(s.Payload, t.Payload)
	return s, nil
}

// Serve reports why records made as s says cannot be input where want is asked for;
// nil when they can. More packets and bytes than wanted are no hindrance.
func (s RecordSpec) Serve(want RecordSpec) error {
	s, want = s.WithDefaults(), want.WithDefaults()
	joined, err := s.Union(want)
	switch {
	case err != nil && s.Direction != want.Direction:
		return fmt.Errorf("its records are of direction %v, not %v (see --direction and --model)", s.Direction, want.Direction)
	case err != nil:
		return fmt.Errorf("its records live %v, not %v", s.Lifetime, want.Lifetime)
	case joined != s:
		return fmt.Errorf("its records keep %d packets of %d bytes in %d payload values, wanted are %d of %d in %d",
			s.Packets, s.Prefix, s.Payload, want.Packets, want.Prefix, want.Payload)
	}
	return nil
}

// The names of directions and services stand for them in JSON.
var (
	_ encoding.TextMarshaler   = Direction(0)
	_ encoding.TextUnmarshaler = (*Direction)(nil)
	_ encoding.TextMarshaler   = Service{}
	_ encoding.TextUnmarshaler = (*Service)(nil)
)

// MarshalText gives the direction's name.
func (d Direction) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what [ParseDirection] does.
func (d *Direction) UnmarshalText(text []byte) error { return readText(d, ParseDirection, text) }

// MarshalText gives the service's name; the zero Service, all traffic, has none.
func (s Service) MarshalText() ([]byte, error) {
	if s == (Service{}) {
		return nil, errors.New("all traffic is no service")
	}
	return []byte(s.String()), nil
}

// UnmarshalText reads what [ParseService] does.
func (s *Service) UnmarshalText(text []byte) error { return readText(s, ParseService, text) }

func readText[T any](to *T, parse func(string) (T, error), text []byte) (err error) {
	*to, err = parse(string(text))
	return err
}
