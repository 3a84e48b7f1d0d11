package export

// This file sends IPFIX messages to a collector.

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/internal/trust"
)

// What holds where nothing else is said.
const (
	DefaultDomain     = 1
	DefaultEnterprise = 32473 // for documentation and examples (RFC 5612): we have none of our own
)

const (
	plainPort, tlsPort = "4739", "4740" // IANA's
	// templatesEvery is how often they are sent again over UDP: a collector that has lost them,
	// or comes later, understands no record until then.
	templatesEvery = time.Minute
	// linger is how long a record waits for others to share its message.
	linger = 250 * time.Millisecond
	// mostMTU is the most that is believed of a path: what lies behind it is not known.
	mostMTU = 1500
	// patience is how long a collector may take for a connection, or for a message.
	patience                 = 10 * time.Second
	firstPause, longestPause = time.Second, time.Minute
)

// IPFIX says which collector records go to; without Collector there is none.
type IPFIX struct {
	Collector  string // HOST[:PORT] for UDP, or after udp://, tcp:// or tls://
	Domain     uint32 // observation domain
	Enterprise uint32 // private enterprise number of our own elements
	CAFile     string // PEM, of who signed the collector's certificate; empty: the system's
}

// session is what is said to a collector. Who holds mu may wait for it.
type session struct {
	cfg           IPFIX
	network, addr string
	secure        bool // by TLS
	counts        *counts
	log           *slog.Logger
	ctx           context.Context // ends what waits
	cancel        context.CancelFunc

	mu       sync.Mutex
	conn     net.Conn    // nil: there is none
	release  func() bool // undoes what waits for the end on its account
	sequence uint32      // data records that were sent over it
	told     time.Time
	failing  int       // failures since the last success
	missed   time.Time // the last of them all
	away     bool      // the collector; that was said
	message  message
	most     int         // bytes that it may have
	timer    *time.Timer // of the message's end
}

// parseCollector is a collector's address, with a port.
func parseCollector(text string) (scheme, addr string, err error) {
	scheme, addr, found := strings.Cut(text, "://")
	if !found {
		scheme, addr = "udp", text
	}
	port := plainPort
	switch scheme {
	case "udp", "tcp":
	case "tls":
		port = tlsPort
	default:
		return "", "", fmt.Errorf("%q: want HOST:PORT, or that after udp://, tcp:// or tls://", text)
	}
	host, given, err := net.SplitHostPort(addr)
	if err != nil { // without a port, or nothing that could have one
		host, given, err = net.SplitHostPort(addr + ":" + port)
	}
	if err != nil || host == "" || strings.ContainsAny(host, "/ ") {
		return "", "", fmt.Errorf("%q: want HOST:PORT, or that after udp://, tcp:// or tls://", text)
	}
	if n, err := net.LookupPort("udp", given); err != nil || n == 0 {
		return "", "", fmt.Errorf("%q: %q is no port", text, given)
	}
	return scheme, net.JoinHostPort(host, given), nil
}

// Check says what is wrong with a configuration, of which it reads the file.
func (c *IPFIX) Check() error {
	if c.Collector == "" {
		return nil
	}
	_, err := newSession(*c, nil, nil)
	return err
}

func newSession(cfg IPFIX, counts *counts, log *slog.Logger) (*session, error) {
	scheme, addr, err := parseCollector(cfg.Collector)
	if err != nil {
		return nil, err
	}
	s := &session{cfg: cfg, network: scheme, addr: addr, counts: counts, log: log}
	if scheme == "tls" {
		s.network, s.secure = "tcp", true
		if _, err = trust.Config(cfg.CAFile); err != nil {
			return nil, err
		}
	} else if cfg.CAFile != "" {
		return nil, fmt.Errorf("%s: it is of collectors that are reached by tls://", cfg.CAFile)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// take adds a record to the message, which is sent when it is full.
func (s *session) take(r *Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.connected(); err != nil {
		return err
	}
	if !s.message.add(r, s.most) {
		s.send()
		s.message.add(r, 0)
	}
	if s.message.records == 1 {
		s.most = s.room()
		s.timer = time.AfterFunc(linger, s.flush)
	}
	return nil
}

// flush sends what there is.
func (s *session) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.send()
}

// end implements way.
func (s *session) end(within time.Duration) {
	stop := time.AfterFunc(max(0, within), s.cancel)
	defer stop.Stop()
	s.flush()
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop()
}

// connected waits until there is a connection; an error says that none is to come any more.
func (s *session) connected() error {
	for s.conn == nil {
		if s.failing > 0 {
			pause := min(firstPause<<min(s.failing-1, 10), longestPause)
			select {
			case <-s.ctx.Done():
			case <-time.After(pause - rand.N(pause/2)):
			}
		}
		conn, err := s.dial()
		switch {
		case err == nil:
			s.hold(conn)
		case s.ctx.Err() != nil:
			return s.ctx.Err()
		default:
			s.failed(err)
		}
	}
	return nil
}

func (s *session) dial() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	if !s.secure {
		return (&net.Dialer{}).DialContext(ctx, s.network, s.addr)
	}
	trusted, err := trust.Config(s.cfg.CAFile) // anew, so that it may be changed
	if err != nil {
		return nil, err
	}
	return (&tls.Dialer{Config: trusted}).DialContext(ctx, s.network, s.addr)
}

// hold begins to talk over a connection: a collector that closes it is noticed at once, and
// nobody waits for one at the end.
func (s *session) hold(conn net.Conn) {
	s.conn, s.sequence, s.told = conn, 0, time.Time{}
	s.release = context.AfterFunc(s.ctx, func() { conn.Close() })
	if s.network == "tcp" {
		go func() {
			io.Copy(io.Discard, conn)
			conn.Close()
		}()
	}
}

// drop ends the connection.
func (s *session) drop() {
	if s.conn != nil {
		s.release()
		s.conn.Close()
		s.conn = nil
	}
}

// failed counts a failure, and says the first of those without a success in between.
func (s *session) failed(err error) {
	s.counts.failures.Add(1)
	s.failing++
	s.missed = time.Now()
	if !s.away {
		s.away = true
		s.log.Error("the IPFIX collector cannot be reached", "collector", s.cfg.Collector, "error", err)
	}
}

// reached notes a success. Over UDP it is one when nobody has said otherwise for a while.
func (s *session) reached() {
	s.failing = 0
	if s.away && (s.network == "tcp" || time.Since(s.missed) > templatesEvery) {
		s.away = false
		s.log.Info("the IPFIX collector can be reached again", "collector", s.cfg.Collector)
	}
}

// send sends the message, if it has a record, and empties it.
func (s *session) send() {
	records := uint64(s.message.records)
	if records == 0 {
		return
	}
	s.timer.Stop()
	defer s.message.empty()
	for {
		err := s.connected()
		if err == nil {
			if err = s.say(); err == nil {
				s.reached()
				s.counts.sent.Add(records)
				return
			}
			if s.ctx.Err() == nil {
				s.failed(err)
			}
			s.drop()
		}
		if s.network == "udp" || s.ctx.Err() != nil {
			s.counts.lost.Add(records)
			return
		}
	}
}

// say writes the message, and templates before it where the collector may have none.
func (s *session) say() error {
	now := time.Now()
	if s.told.IsZero() || s.network == "udp" && now.Sub(s.told) >= templatesEvery {
		var first message
		first.templates(s.cfg.Enterprise)
		if err := s.write(&first, now); err != nil {
			return err
		}
		s.told = now
	}
	return s.write(&s.message, now)
}

func (s *session) write(m *message, now time.Time) error {
	s.conn.SetWriteDeadline(now.Add(patience)) // else Write says what is wrong
	b := m.bytes(s.sequence, s.cfg.Domain, now)
	_, err := s.conn.Write(b)
	if s.network == "udp" && errors.Is(err, syscall.ECONNREFUSED) { // of the message before, this one has not been sent
		s.failed(err)
		_, err = s.conn.Write(b)
	}
	if err == nil {
		s.sequence += m.records
	}
	return err
}

// room is how many bytes a message may have, so that no router has to cut it.
func (s *session) room() int {
	const ipv4, ipv6 = 20 + 8, 40 + 8
	mtu := mostMTU
	udp, ok := s.conn.(*net.UDPConn)
	if !ok {
		return mtu - ipv6
	}
	level, option, headers := unix.IPPROTO_IP, unix.IP_MTU, ipv4
	if addr, ok := udp.RemoteAddr().(*net.UDPAddr); ok && addr.IP.To4() == nil {
		level, option, headers = unix.IPPROTO_IPV6, unix.IPV6_MTU, ipv6
	}
	if raw, err := udp.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			if known, err := unix.GetsockoptInt(int(fd), level, option); err == nil {
				mtu = min(mtu, known)
			}
		})
	}
	return mtu - headers
}
