package lab

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

// shake runs one session with an exchange and a close, all flights in order.
func shake(t *testing.T, p tlsProfile, seed int) []flight {
	t.Helper()
	s, all, err := newTLS(p, "api.homecloud.example", newAuthority(epoch), newRand("test", seed))
	if err != nil {
		t.Fatal(err)
	}
	for from, data := range [][]byte{client: []byte("ping"), server: bytes.Repeat([]byte("pong"), 2000)} {
		f, err := s.write(from, data)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f...)
	}
	f, err := s.close(client)
	if err != nil {
		t.Fatal(err)
	}
	return append(all, f...)
}

// lengths are the record types and lengths of flights: what no redrawing may change.
func lengths(t *testing.T, all []flight) []int {
	t.Helper()
	var n []int
	for _, f := range all {
		n = append(n, f.from)
		for b := f.data; len(b) > 0; {
			l := 5 + int(binary.BigEndian.Uint16(b[3:]))
			if l > len(b) {
				t.Fatalf("record of %d bytes in a flight with %d left", l, len(b))
			}
			n = append(n, int(b[0]), l)
			b = b[l:]
		}
	}
	return n
}

var profiles = map[string]tlsProfile{"modern": modernTLS, "older": olderTLS, "small": smallTLS}

func TestTLSIsRepeatable(t *testing.T) {
	for name, p := range profiles {
		t.Run(name, func(t *testing.T) {
			first, other := shake(t, p, 0), shake(t, p, 1)
			for range 20 { // signatures of varying length must never show
				again := shake(t, p, 0)
				if !slices.EqualFunc(first, again, func(a, b flight) bool { return a.from == b.from && bytes.Equal(a.data, b.data) }) {
					t.Fatal("the same seed gives other bytes")
				}
			}
			if slices.EqualFunc(first, other, func(a, b flight) bool { return bytes.Equal(a.data, b.data) }) {
				t.Error("another seed gives the same bytes")
			}
			if a, b := lengths(t, first), lengths(t, other); !slices.Equal(a, b) {
				t.Errorf("another seed changes the records: %v and %v", a, b)
			}
		})
	}
}

// TestTLSRedrawKeepsWhatIsReadable: names and versions survive, what two real
// handshakes never share does not.
func TestTLSRedrawKeepsWhatIsReadable(t *testing.T) {
	for name, p := range profiles {
		t.Run(name, func(t *testing.T) {
			all := shake(t, p, 0)
			if !bytes.Contains(all[0].data, []byte("api.homecloud.example")) {
				t.Error("the client hello names no server")
			}
			issued := bytes.Contains(all[1].data, []byte("Example Trust Services"))
			if readable := p.high == tls.VersionTLS12; issued != readable {
				t.Errorf("certificate readable: %t, want %t", issued, readable)
			}
			for _, f := range all {
				if bytes.Contains(f.data, []byte("pongpong")) {
					t.Error("application data is readable")
				}
			}
		})
	}
}

// TestRedrawRefuses: anything but what crypto/tls writes is an error, no panic.
func TestRedrawRefuses(t *testing.T) {
	hello := shake(t, modernTLS, 0)[0].data
	tests := []struct {
		name string
		data []byte
	}{
		{"half a record header", hello[:3]},
		{"half a record", hello[:40]},
		{"a hello cut inside its record", append([]byte{22, 3, 1, 0, 50}, hello[5:55]...)},
		{"an alert in the clear", []byte{21, 3, 3, 0, 2, 2, 40}},
		{"an unknown group", []byte{22, 3, 3, 0, 8, 12, 0, 0, 4, 3, 0xff, 0xff, 0}},
		{"a readable ticket", []byte{22, 3, 3, 0, 4, 4, 0, 0, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &tlsSession{rng: newRand(tt.name), pipe: newTurnPipe()}
			if err := s.redraw(flight{client, bytes.Clone(tt.data)}); !errors.Is(err, errRecord) {
				t.Errorf("error %v, want %v", err, errRecord)
			}
		})
	}
	for n := range len(hello) { // every cut of a hello whose lengths are made to fit
		cut := bytes.Clone(hello[:n])
		if n > 9 {
			binary.BigEndian.PutUint16(cut[3:], uint16(n-5))
			cut[6], cut[7], cut[8] = 0, byte((n-9)>>8), byte(n-9)
		}
		s := &tlsSession{rng: newRand(n), pipe: newTurnPipe()}
		if err := s.redraw(flight{client, cut}); n > 0 && !errors.Is(err, errRecord) {
			t.Errorf("hello cut at %d: error %v, want %v", n, err, errRecord)
		}
	}
}

func TestHandshakeErrors(t *testing.T) {
	p := smallTLS
	p.suites = []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA} // the server's key cannot serve it
	if _, _, err := newTLS(p, "api.homecloud.example", newAuthority(epoch), newRand(0)); err == nil {
		t.Error("no error from a handshake without a common cipher suite")
	}
}
