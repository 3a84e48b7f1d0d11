package lab

// This file holds TLS: live crypto/tls handshakes, made repeatable.
//
// crypto/tls takes its secrets from the system's random source whatever the
// Config says (since Go 1.26), so two handshakes never have equal bytes. They do
// have equal structure: lengths, extensions, certificates and the order of
// flights depend on the two configurations alone. A session therefore runs the
// handshake for real and then replaces what was random or encrypted - hello
// randoms, session ids, key shares, signatures, ciphertext - by bytes of the
// capture's own generator. What an observer can read is what crypto/tls wrote.

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"time"
)

// tlsProfile is how a device's TLS library shows itself.
type tlsProfile struct {
	low, high uint16
	suites    []uint16 // TLS 1.2 only; nil: crypto/tls's own
	groups    []tls.CurveID
	alpn      []string
	cut       bool // sends no close_notify
}

// flight is what one side sends before it has to wait for the other.
type flight struct {
	from int // client or server
	data []byte
}

// tlsSession is one TLS connection between two crypto/tls ends in this process.
type tlsSession struct {
	ends      [2]*tls.Conn
	pipe      *turnPipe
	rng       *rand.Rand
	cipher    [2]bool  // this side's records are encrypted from here on
	sessionID [32]byte // of the client's hello
	version   uint16
	suite     uint16
}

// newTLS shakes hands and returns the session with the handshake's flights.
func newTLS(p tlsProfile, name string, a *authority, rng *rand.Rand) (*tlsSession, []flight, error) {
	cert, err := a.issue(name)
	if err != nil {
		return nil, nil, err
	}
	now := func() time.Time { return a.now }
	cfg := &tls.Config{ServerName: name, RootCAs: a.pool, MinVersion: p.low, MaxVersion: p.high,
		CipherSuites: p.suites, CurvePreferences: p.groups, NextProtos: p.alpn, Time: now, SessionTicketsDisabled: p.high < tls.VersionTLS13}
	srv := &tls.Config{Certificates: []tls.Certificate{*cert}, NextProtos: p.alpn, Time: now,
		CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256}, SessionTicketsDisabled: p.high < tls.VersionTLS13}

	pipe := newTurnPipe()
	s := &tlsSession{pipe: pipe, rng: rng}
	s.ends[client], s.ends[server] = tls.Client(pipe.end(client), cfg), tls.Server(pipe.end(server), srv)
	if err := pipe.run(s.ends[client].Handshake, s.ends[server].Handshake); err != nil {
		return nil, nil, fmt.Errorf("TLS handshake with %s: %w", name, err)
	}
	state := s.ends[client].ConnectionState()
	s.version, s.suite = state.Version, state.CipherSuite
	flights, err := s.take()
	return s, flights, err
}

// write is the flight that carries data from one side.
func (s *tlsSession) write(from int, data []byte) ([]flight, error) {
	if _, err := s.ends[from].Write(data); err != nil {
		return nil, fmt.Errorf("TLS write: %w", err)
	}
	return s.take()
}

// close is the flight of one side's close_notify.
func (s *tlsSession) close(from int) ([]flight, error) {
	if err := s.ends[from].CloseWrite(); err != nil {
		return nil, fmt.Errorf("TLS close: %w", err)
	}
	return s.take()
}

// take empties the pipe's log and makes its flights repeatable.
func (s *tlsSession) take() ([]flight, error) {
	flights := s.pipe.flights
	s.pipe.flights = nil
	for _, f := range flights {
		if err := s.redraw(f); err != nil {
			return nil, fmt.Errorf("TLS records: %w", err)
		}
	}
	return flights, nil
}

// Record and handshake types (RFC 8446, section 5.1 and 4; RFC 5246).
const (
	recordChangeCipher = 20
	recordAlert        = 21
	recordHandshake    = 22

	helloClient       = 1
	helloServer       = 2
	newSessionTicket  = 4
	serverKeyExchange = 12
	clientKeyExchange = 16

	extensionKeyShare = 51
)

var errRecord = errors.New("not what crypto/tls is known to write")

// redraw replaces the random and the encrypted bytes of a flight, in place.
func (s *tlsSession) redraw(f flight) error {
	for b := f.data; len(b) > 0; {
		if len(b) < 5 || len(b) < 5+int(binary.BigEndian.Uint16(b[3:])) {
			return errRecord
		}
		typ, body := b[0], b[5:5+int(binary.BigEndian.Uint16(b[3:]))]
		b = b[5+len(body):]
		switch {
		case typ == recordChangeCipher:
			s.cipher[f.from] = true
		case typ == recordHandshake && !s.cipher[f.from]:
			if err := s.redrawHandshake(f.from, body); err != nil {
				return err
			}
		case typ == recordAlert && !s.cipher[f.from]:
			return errRecord
		default:
			s.fill(body[min(len(body), s.explicitNonce()):])
		}
	}
	return nil
}

// explicitNonce is how many readable bytes precede a ciphertext: AES-GCM of TLS
// 1.2 counts there (RFC 5288), ChaCha20-Poly1305 and TLS 1.3 send none.
func (s *tlsSession) explicitNonce() int {
	if s.version == tls.VersionTLS13 || s.suite == tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 {
		return 0
	}
	return 8
}

// redrawHandshake replaces the random parts of readable handshake messages.
func (s *tlsSession) redrawHandshake(from int, b []byte) error {
	for len(b) > 0 {
		if len(b) < 4 {
			return errRecord
		}
		n := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
		if len(b) < 4+n {
			return errRecord
		}
		typ, m := b[0], b[4:4+n]
		b = b[4+n:]
		var err error
		switch typ {
		case helloClient, helloServer:
			err = s.redrawHello(typ, m)
		case serverKeyExchange: // curve type, group, length, point; scheme, length, signature
			if len(m) < 4 || len(m) < 4+int(m[3])+4+signatureLength {
				return errRecord
			}
			point, rest := m[4:4+int(m[3])], m[4+int(m[3]):]
			err = s.redrawShare(tls.CurveID(binary.BigEndian.Uint16(m[1:])), point)
			copy(rest[4:], s.signature())
		case clientKeyExchange:
			group := tls.X25519
			if len(m) == 1+65 {
				group = tls.CurveP256
			}
			err = s.redrawShare(group, m[1:])
		case newSessionTicket:
			return errRecord // readable only in TLS 1.2, where tickets are off
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// redrawHello replaces random, session id and key shares of a hello. The server
// echoes the client's session id in TLS 1.3.
func (s *tlsSession) redrawHello(typ byte, m []byte) error {
	r := reader{b: m}
	r.skip(2)
	s.fill(r.take(32))
	id := r.take(int(r.uint8()))
	if typ == helloClient {
		s.fill(id)
		copy(s.sessionID[:], id)
	} else {
		copy(id, s.sessionID[:])
	}
	if typ == helloClient {
		r.skip(int(r.uint16())) // cipher suites
		r.skip(int(r.uint8()))  // compression methods
	} else {
		r.skip(2 + 1)
	}
	ext := reader{b: r.take(int(r.uint16()))}
	for len(ext.b) > 0 && !ext.short {
		kind, body := ext.uint16(), reader{}
		body.b = ext.take(int(ext.uint16()))
		if kind != extensionKeyShare {
			continue
		}
		if typ == helloClient {
			body.skip(2)
		}
		for len(body.b) > 0 && !body.short {
			group := tls.CurveID(body.uint16())
			if err := s.redrawShare(group, body.take(int(body.uint16()))); err != nil {
				return err
			}
		}
		ext.short = ext.short || body.short
	}
	if r.short || ext.short {
		return errRecord
	}
	return nil
}

// redrawShare puts another public key of the same group in a share's place.
func (s *tlsSession) redrawShare(group tls.CurveID, share []byte) error {
	curve := ecdh.X25519()
	if group == tls.CurveP256 {
		curve = ecdh.P256()
	} else if group != tls.X25519 {
		return fmt.Errorf("key share of group %v: %w", group, errRecord)
	}
	key, err := curve.NewPrivateKey(scalar(s.rng))
	if err != nil {
		return fmt.Errorf("key share: %w", err)
	}
	pub := key.PublicKey().Bytes()
	if len(pub) != len(share) {
		return errRecord
	}
	copy(share, pub)
	return nil
}

func (s *tlsSession) fill(b []byte) { copy(b, randomBytes(s.rng, len(b))) }

// signatureLength is the length of every signature of the lab's servers: an
// ECDSA P-256 signature in DER is 70 to 72 bytes long, the lab waits for this.
const signatureLength = 71

// signature is an ECDSA signature in form, made of drawn numbers.
func (s *tlsSession) signature() []byte {
	r, t := randomBytes(s.rng, 32), randomBytes(s.rng, 32)
	r[0], t[0] = r[0]|0x80, t[0]&0x7f|0x01
	sig := append([]byte{0x30, signatureLength - 2, 0x02, 33, 0}, r...)
	return append(append(sig, 0x02, 32), t...)
}

// scalar draws a private key below the order of P-256.
func scalar(r *rand.Rand) []byte {
	b := randomBytes(r, 32)
	b[0] = b[0]&0x7f | 0x01
	return b
}

// reader takes fields off a message; once short it stays short.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if r.short = r.short || n > len(r.b); r.short {
		return nil
	}
	head := r.b[:n]
	r.b = r.b[n:]
	return head
}

func (r *reader) skip(n int) { r.take(n) }

func (r *reader) uint8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// authority issues the certificates of the world's servers, the same ones each
// time: keys come from names, signatures are deterministic (RFC 6979).
type authority struct {
	now    time.Time
	pool   *x509.CertPool
	issuer *x509.Certificate
	key    *ecdsa.PrivateKey
	issued map[string]*tls.Certificate
}

func newAuthority(now time.Time) *authority {
	return &authority{now: now, issued: map[string]*tls.Certificate{}}
}

// fixedLength signs until the signature has the length the lab expects, so that
// encrypted flights are as long in every run.
type fixedLength struct{ crypto.Signer }

func (f fixedLength) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	for range 256 {
		sig, err := f.Signer.Sign(random, digest, opts)
		if err != nil || len(sig) == signatureLength {
			return sig, err
		}
	}
	return nil, fmt.Errorf("no ECDSA signature of %d bytes in 256 tries", signatureLength)
}

// issue returns the certificate of a name.
func (a *authority) issue(name string) (*tls.Certificate, error) {
	if c, ok := a.issued[name]; ok {
		return c, nil
	}
	if a.issuer == nil {
		if err := a.found(); err != nil {
			return nil, fmt.Errorf("issuing certificate: %w", err)
		}
	}
	key, err := namedKey(name)
	if err != nil {
		return nil, fmt.Errorf("key of %s: %w", name, err)
	}
	from := epoch.AddDate(0, 0, -int(key.X.Uint64()%60))
	leaf := &x509.Certificate{
		SerialNumber: serial(name), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: from, NotAfter: from.AddDate(2, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		OCSPServer: []string{"http://ocsp.trust.example"}, IssuingCertificateURL: []string{"http://ca.trust.example/e1.crt"},
	}
	der, err := x509.CreateCertificate(nil, leaf, a.issuer, &key.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", name, err)
	}
	c := &tls.Certificate{Certificate: [][]byte{der, a.issuer.Raw}, PrivateKey: fixedLength{key}}
	a.issued[name] = c
	return c, nil
}

// found creates the issuing certificate that devices trust.
func (a *authority) found() error {
	const name = "Example Trust Services E1"
	key, err := namedKey(name)
	if err != nil {
		return err
	}
	ca := &x509.Certificate{
		SerialNumber: serial(name), Subject: pkix.Name{Country: []string{"XX"}, Organization: []string{"Example Trust Services"}, CommonName: name},
		NotBefore: epoch.AddDate(-2, 0, 0), NotAfter: epoch.AddDate(8, 0, 0), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(nil, ca, ca, &key.PublicKey, key)
	if err != nil {
		return err
	}
	if a.issuer, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	a.key, a.pool = key, x509.NewCertPool()
	a.pool.AddCert(a.issuer)
	return nil
}

func namedKey(name string) (*ecdsa.PrivateKey, error) {
	return ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar(newRand("key", name)))
}

func serial(name string) *big.Int {
	sum := sha256.Sum256([]byte(name))
	sum[0] = 0x03
	return new(big.Int).SetBytes(sum[:18])
}

// turnPipe joins two ends that take turns: one runs until it has to wait for
// bytes, then the other runs. The order of what they write is therefore the same
// in every run, and each turn's bytes are one flight.
type turnPipe struct {
	in      [2]bytes.Buffer // what each end has yet to read
	wake    [2]chan struct{}
	done    [2]bool
	flights []flight
}

func newTurnPipe() *turnPipe {
	return &turnPipe{wake: [2]chan struct{}{make(chan struct{}), make(chan struct{})}}
}

// run lets both ends run to their end, the client first, and joins their errors.
func (p *turnPipe) run(c, s func() error) error {
	failed := make(chan error, 1)
	go func() {
		<-p.wake[server]
		err := s()
		p.done[server] = true
		failed <- err
		p.wake[client] <- struct{}{}
	}()
	err := c()
	p.done[client] = true
	if !p.done[server] {
		p.wake[server] <- struct{}{}
		<-p.wake[client]
	}
	return errors.Join(err, <-failed)
}

func (p *turnPipe) end(side int) net.Conn {
	unused, _ := net.Pipe()
	return &pipeEnd{unused, p, side}
}

// pipeEnd is one end as crypto/tls wants it; deadlines and addresses mean nothing.
type pipeEnd struct {
	net.Conn
	p    *turnPipe
	side int
}

func (e *pipeEnd) Read(b []byte) (int, error) {
	for e.p.in[e.side].Len() == 0 {
		if e.p.done[1-e.side] {
			return 0, io.EOF
		}
		e.p.wake[1-e.side] <- struct{}{}
		<-e.p.wake[e.side]
	}
	return e.p.in[e.side].Read(b)
}

func (e *pipeEnd) Write(b []byte) (int, error) {
	p := e.p
	p.in[1-e.side].Write(b)
	if n := len(p.flights); n > 0 && p.flights[n-1].from == e.side {
		p.flights[n-1].data = append(p.flights[n-1].data, b...)
	} else {
		p.flights = append(p.flights, flight{e.side, bytes.Clone(b)})
	}
	return len(b), nil
}
