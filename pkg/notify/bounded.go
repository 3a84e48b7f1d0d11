package notify

// This file bounds what a broker may have its client keep in memory: one that is mad, or no broker,
// is hung up on.

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
)

// bounded is a connection that look sees what comes of, before its client does; an error of its own
// is the end. What is sent first may say that the rest is encrypted.
type bounded struct {
	net.Conn
	look interface{ look([]byte) error }
	sent bool
}

// Read implements net.Conn.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	if b.look != nil {
		if err := b.look.look(p[:n]); err != nil {
			return 0, err
		}
	}
	return n, err
}

// Write implements net.Conn.
func (b *bounded) Write(p []byte) (int, error) {
	const handshake = 0x16 // TLS's record; NATS begins with it after the server's first line
	if !b.sent {
		b.sent = true
		if len(p) > 0 && p[0] == handshake {
			b.look = nil
		}
	}
	return b.Conn.Write(p)
}

// skip is b without what it holds of the bytes that are left to come of something.
func skip(b []byte, left *int) []byte {
	n := min(*left, len(b))
	*left -= n
	return b[n:]
}

// mqttPackets are a broker's. A client takes as much memory as a packet says that it is long,
// 256 MiB at most, before any of it has come.
type mqttPackets struct {
	left   int // bytes that are still to come of one whose length is known
	header int // bytes of the next one's
	length int
}

func (m *mqttPackets) look(b []byte) error {
	for b = skip(b, &m.left); len(b) > 0; b = skip(b, &m.left) {
		if m.header > 0 {
			m.length |= int(b[0]&0x7f) << (7 * (m.header - 1))
		}
		more := m.header == 0 || b[0]&0x80 != 0
		b, m.header = b[1:], m.header+1
		switch {
		case m.length > mostAnswer || more && m.header > 4:
			return fmt.Errorf("it sends a packet of more than %d KiB: no broker of MQTT?", mostAnswer>>10)
		case !more:
			*m = mqttPackets{left: m.length}
		}
	}
	return nil
}

// natsLines are those of a server. Behind that of a message come its bytes, and what there is up to the next
// end of a line.
type natsLines struct {
	left    int
	message bool // it is what comes now
	line    []byte
}

func (l *natsLines) look(b []byte) error {
	for b = skip(b, &l.left); len(b) > 0; b = skip(b, &l.left) {
		line, rest, ends := bytes.Cut(b, []byte("\n"))
		l.line, b = append(l.line, line...), rest
		if len(l.line) > mostAnswer {
			return fmt.Errorf("it sends a line of more than %d KiB: no server of NATS?", mostAnswer>>10)
		}
		if !ends {
			continue
		}
		if f := bytes.Fields(l.line); !l.message && len(f) > 1 && (bytes.EqualFold(f[0], []byte("MSG")) || bytes.EqualFold(f[0], []byte("HMSG"))) {
			n, err := strconv.Atoi(string(f[len(f)-1]))
			if err != nil || n < 0 || n > mostAnswer {
				return fmt.Errorf("it sends a message of %.20q bytes: no server of NATS?", f[len(f)-1])
			}
			l.left, l.message = n, true
		} else {
			l.message = false
		}
		l.line = l.line[:0]
	}
	return nil
}
