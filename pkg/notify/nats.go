package notify

// This file keeps a server of NATS told: of events, and of what is known of devices. With
// JetStream a stream has stored each message before it counts as delivered.

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/iotsense/iotsense/internal/secret"
	"github.com/iotsense/iotsense/internal/trust"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

const (
	// natsPort is where a server listens where nothing else is said.
	natsPort = "4222"
	// natsPing is how often a silent server is asked whether it is there.
	natsPing = 30 * time.Second
	// mostCreds is how many bytes credentials have at most: a JWT and a seed.
	mostCreds = 64 << 10
)

// bus is an outlet to a server.
type bus struct {
	NATS
	connection
	subject string // that all begin with

	// What follows is run's alone.
	last   map[string]string // what the session has published of devices, by name
	conn   *nats.Conn
	stream nats.JetStream // nil: nobody stores
}

// standing is what is told of a device, in the words of its verdict.
type standing struct {
	Device         string   `json:"device"`
	ID             uint64   `json:"id"`
	MACs           []string `json:"macs"`
	Name           *string  `json:"name"`
	UserLabel      *string  `json:"user_label"`
	Vendor         *string  `json:"vendor"`
	State          v1.State `json:"state"`
	Known          bool     `json:"known"`
	Label          *string  `json:"label"`
	Confidence     *float64 `json:"confidence"` // in steps of 0.01: each other one is told
	Path           *string  `json:"path"`
	PathConfidence *float64 `json:"path_confidence"`
	Gone           bool     `json:"gone"`
}

func newBus(cfg NATS, file string, source Source, counts *counts, log *slog.Logger) (*bus, error) {
	subject := cfg.Subject
	if subject == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("subject: this host's name: %w", err)
		}
		subject = DefaultTopic + "." + identifier(host)
	}
	s := &bus{NATS: cfg, connection: newConnection(natsKind, cfg.URL, []string{subject}, file, source, counts, log), subject: subject}
	s.screen = s
	return s, nil
}

// checkCreds looks for a JWT and a seed.
func checkCreds(path string) error {
	b, err := secret.Bytes(path, mostCreds)
	if err != nil {
		return err
	}
	if _, err = nkeys.ParseDecoratedJWT(b); err == nil {
		_, err = nkeys.ParseDecoratedNKey(b)
	}
	if err != nil {
		return fmt.Errorf("%s: want a user's JWT and seed, as `nsc generate creds` writes them: %w", path, err)
	}
	return nil
}

// run implements outlet.
func (s *bus) run(ctx context.Context, waiting *spool) { s.stay(ctx, waiting, s.session) }

// session connects, and tells until ctx ends or the connection is lost.
func (s *bus) session(ctx context.Context, waiting *spool) (connected bool, err error) {
	ctx, lost := context.WithCancelCause(ctx)
	defer lost(nil)
	if err := s.connect(ctx, lost); err != nil {
		return false, err
	}
	defer s.conn.Close()
	s.last = map[string]string{}
	if err := s.takeBack(ctx); err != nil {
		return false, err
	}
	return s.converse(ctx, waiting)
}

// connect connects within a bounded time, and no longer than ctx; lost is told of what goes
// wrong with the connection.
func (s *bus) connect(ctx context.Context, lost context.CancelCauseFunc) error {
	trusted, err := trust.Config(s.CAFile) // anew, so that it may be changed
	if err != nil {
		return fmt.Errorf("ca_file: %w", err)
	}
	o := nats.GetDefaultOptions()
	o.Url, o.Name, o.TLSConfig = s.URL, "iotsense", trusted
	o.AllowReconnect, o.SkipHostLookup, o.NoCallbacksAfterClientClose = false, true, true
	o.Timeout, o.FlusherTimeout, o.PingInterval = within, within, natsPing
	o.CustomDialer = dialer{ctx, s.URL}
	o.ClosedCB = func(c *nats.Conn) { lost(cmp.Or(c.LastError(), nats.ErrConnectionClosed)) }
	o.AsyncErrorCB = func(_ *nats.Conn, _ *nats.Subscription, err error) { lost(err) }
	if err := s.prove(&o); err != nil {
		return err
	}
	if s.conn, err = o.Connect(); err != nil {
		if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) {
			err = fmt.Errorf("%w: look at username and password_file, token_file or creds_file", err)
		}
		return err
	}
	s.stream = nil
	if s.JetStream {
		s.stream, err = s.conn.JetStream()
	}
	return err
}

// prove adds what says who the sensor is, read anew, so that it may be changed.
func (s *bus) prove(o *nats.Options) (err error) {
	o.User = s.Username
	if s.PasswordFile != "" {
		if o.Password, err = secret.Read(s.PasswordFile); err != nil {
			return fmt.Errorf("password: %w", err)
		}
	}
	if s.TokenFile != "" {
		if o.Token, err = secret.Read(s.TokenFile); err != nil {
			return fmt.Errorf("token: %w", err)
		}
	}
	if s.CredsFile != "" {
		creds, err := secret.Bytes(s.CredsFile, mostCreds)
		if err != nil {
			return fmt.Errorf("credentials: %w", err)
		}
		return nats.UserCredentialBytes(creds)(o)
	}
	return nil
}

// dialer opens a connection that lasts no longer than its context: a server may say nothing.
type dialer struct {
	ctx context.Context
	url string
}

// Dial implements nats.CustomDialer. The address that it is given has no port where the
// configuration's has none.
func (d dialer) Dial(network, _ string) (net.Conn, error) {
	u, err := url.Parse(d.url)
	if err != nil {
		return nil, err // Check has looked
	}
	ctx, cancel := context.WithTimeout(d.ctx, within)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), natsPort)))
	if err == nil {
		context.AfterFunc(d.ctx, func() { conn.Close() })
		return &bounded{Conn: conn, look: &natsLines{}}, nil
	}
	return nil, err
}

// publish returns when the server has taken a message, with JetStream when a stream has stored
// it; an id that it knows is stored once.
func (s *bus) publish(ctx context.Context, subject, id string, content []byte) error {
	none := fmt.Errorf("no answer within %v", within)
	if s.stream != nil {
		none = fmt.Errorf("no stream of the server has stored it: make one with the subjects %s.>", s.subject)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, within, none) // who listens and stores nothing does not answer
	defer cancel()
	m := nats.NewMsg(subject)
	m.Data = content
	if id != "" {
		m.Header.Set(nats.MsgIdHdr, id)
	}
	var err error
	if s.stream != nil {
		_, err = s.stream.PublishMsg(m, nats.Context(ctx))
	} else if err = s.conn.PublishMsg(m); err == nil {
		if err = s.conn.FlushWithContext(ctx); err == nil {
			err = s.conn.LastError() // a refusal comes before the flush's answer
		}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrNoStreamResponse):
		err = none
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	return fmt.Errorf("publish %s: %w", subject, err)
}

// notice implements screen. The id says what is told, so that it is the same after a restart.
func (s *bus) notice(ctx context.Context, n *v1.Notice) error {
	content, err := json.Marshal(n)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(append([]byte(s.subject), content...))
	return s.publish(ctx, s.subject+".events."+n.Event.Event, hex.EncodeToString(sum[:16]), content)
}

// expect implements screen.
func (s *bus) expect(list []v1.DeviceVerdict) (news bool) {
	for i := range list {
		if now := (shown{ID: list[i].ID}); s.published[list[i].Device] != now {
			s.published[list[i].Device], news = now, true
		}
	}
	return news
}

// show implements screen.
func (s *bus) show(ctx context.Context, d *v1.DeviceVerdict) error {
	content, err := json.Marshal(standing{
		d.Device, d.ID, d.MACs, d.Name, d.UserLabel, d.Vendor, d.State, d.Known, d.Label, hundredths(d.Confidence), d.Path, hundredths(d.PathConfidence), d.Gone,
	})
	if err != nil || s.last[d.Device] == string(content) {
		return err
	}
	if err = s.publish(ctx, s.of(d.Device), "", content); err == nil {
		s.last[d.Device] = string(content)
	}
	return err
}

// remove implements screen.
func (s *bus) remove(ctx context.Context, device string) error {
	if s.published[device] == (shown{}) {
		return nil
	}
	if err := s.publish(ctx, s.of(device), "", nil); err != nil {
		return err
	}
	delete(s.last, device)
	delete(s.published, device)
	return nil
}

// retire implements screen.
func (s *bus) retire(ctx context.Context, e *exhibition) error {
	for _, device := range slices.Sorted(maps.Keys(e.Devices)) {
		if err := s.publish(ctx, subjectOf(e.At[0], device), "", nil); err != nil {
			return err
		}
	}
	return nil
}

// of is a device's subject.
func (s *bus) of(device string) string { return subjectOf(s.subject, device) }

// subjectOf is a device's below another.
func subjectOf(subject, device string) string { return subject + ".devices." + objectID(device) }

// hundredths rounds what there is.
func hundredths(p *float64) *float64 {
	if p == nil {
		return nil
	}
	rounded := math.Round(*p*100) / 100
	return &rounded
}
