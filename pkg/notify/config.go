package notify

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/iotsense/iotsense/internal/plaintext"
	"github.com/iotsense/iotsense/internal/secret"
	"github.com/iotsense/iotsense/internal/trust"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

// What holds where nothing else is said.
const (
	DefaultHold      = 10 * time.Minute
	DefaultDigest    = time.Minute
	DefaultTopic     = "iotsense"
	DefaultDiscovery = "homeassistant"
)

// Config says who is told of events, and what is not worth telling.
type Config struct {
	Hold   time.Duration // so long a new device waits for a name before it is told of
	Digest time.Duration // within it a sink gets one message at most
	// Allow are devices that are never told of: their MACs, labels of the operator, or paths
	// that such labels begin with.
	Allow   []string
	Webhook HTTP
	Ntfy    HTTP // its URL ends in the topic
	MQTT    MQTT
	NATS    NATS
}

// HTTP is a sink that is POSTed to; without a URL there is none.
type HTTP struct {
	URL       string
	TokenFile string   // of a bearer token; empty: none is wanted
	CAFile    string   // PEM, of who signed its certificate; empty: the system's
	Events    []string // that it is told of; nil: all of [Events], or [NtfyEvents]
}

// MQTT is a broker that Home Assistant listens to; without a URL there is none.
type MQTT struct {
	URL          string // mqtt://HOST[:PORT], or mqtts
	Username     string
	PasswordFile string
	CAFile       string
	Topic        string // that all of the sensor's begin with
	Discovery    string // that all of Home Assistant's begin with
}

// NATS is a server of that; without a URL there is none.
type NATS struct {
	URL          string // nats://HOST[:PORT], or tls
	Username     string
	PasswordFile string
	TokenFile    string // instead of name and password
	CredsFile    string // instead of both: a JWT with its key's seed, as nsc writes them
	CAFile       string
	Subject      string // that all of the sensor's begin with; empty: iotsense.HOST
	// JetStream has each message acknowledged by a stream before it counts as delivered.
	JetStream bool
}

// Events are what sinks are told of where nothing else is said; ntfy, which wakes people, of
// NtfyEvents.
var (
	Events = []string{
		v1.EventNew, string(v1.Known), string(v1.Unknown), string(v1.Changed), string(v1.Conflict), v1.EventGone, v1.EventBack, v1.EventLabelled,
		v1.EventDropsBegan, v1.EventDropsEnded,
	}
	NtfyEvents = []string{v1.EventNew, string(v1.Changed), string(v1.Conflict), v1.EventDropsBegan, v1.EventDropsEnded}
)

// Tells reports whether there is anybody to be told.
func (c *Config) Tells() bool {
	return c.Webhook.URL != "" || c.Ntfy.URL != "" || c.MQTT.URL != "" || c.NATS.URL != ""
}

// Files are those that sinks read while they are at work: with each connection, so that they
// may be changed.
func (c *Config) Files() (list []string) {
	for _, path := range []string{
		c.Webhook.TokenFile, c.Webhook.CAFile, c.Ntfy.TokenFile, c.Ntfy.CAFile, c.MQTT.PasswordFile, c.MQTT.CAFile,
		c.NATS.PasswordFile, c.NATS.TokenFile, c.NATS.CredsFile, c.NATS.CAFile,
	} {
		if path != "" {
			list = append(list, path)
		}
	}
	return list
}

// FieldError names the setting that is wrong.
type FieldError struct {
	Field string // webhook.url
	Err   error
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }
func (e *FieldError) Unwrap() error { return e.Err }

// Check returns a [FieldError] for the first setting that could not work. It reads the files
// that are named.
func (c *Config) Check() error {
	for _, d := range []struct {
		field string
		value time.Duration
	}{{"hold", c.Hold}, {"digest", c.Digest}} {
		if d.value < 0 || d.value > 24*time.Hour {
			return &FieldError{d.field, fmt.Errorf("%v: want 0s to 24h", d.value)}
		}
	}
	if i := slices.IndexFunc(c.Allow, func(s string) bool { return s == "" || plaintext.Check(s) != nil }); i >= 0 {
		return &FieldError{"allow", fmt.Errorf("%q is neither a MAC nor a label", c.Allow[i])}
	}
	if err := c.Webhook.check(); err != nil {
		return under("webhook", err)
	}
	if err := c.Ntfy.check(); err != nil {
		return under("ntfy", err)
	}
	if _, _, err := ntfyTopic(c.Ntfy.URL); c.Ntfy.URL != "" && err != nil {
		return &FieldError{"ntfy.url", err}
	}
	if err := c.MQTT.check(); err != nil {
		return under("mqtt", err)
	}
	return under("nats", c.NATS.check())
}

// under puts the section before the field of an error.
func under(section string, err error) error {
	var wrong *FieldError
	if errors.As(err, &wrong) {
		return &FieldError{section + "." + wrong.Field, wrong.Err}
	}
	return err
}

// check says what is wrong with a setting by itself first.
func (h *HTTP) check() error {
	if err := checkURL(h.URL, "http", "https"); err != nil {
		return err
	}
	for _, e := range h.Events {
		if _, ok := words[e]; !ok {
			return &FieldError{"events", fmt.Errorf("there is no event %q, as %s", e, strings.Join(Events, ", "))}
		}
	}
	if err := checkFiles("token_file", h.TokenFile, h.CAFile); err != nil {
		return err
	}
	if h.URL == "" && (h.TokenFile != "" || h.CAFile != "" || h.Events != nil) {
		return &FieldError{"url", errors.New("it is missing")}
	}
	return nil
}

func (m *MQTT) check() error {
	if err := checkURL(m.URL, "mqtt", "mqtts"); err != nil {
		return err
	}
	for _, t := range []struct{ field, topic string }{{"topic", m.Topic}, {"discovery", m.Discovery}} {
		if (m.URL != "" || t.topic != "") && wrongTopic(t.topic) {
			return &FieldError{t.field, fmt.Errorf("%q: want words with / between them, without + and #", t.topic)}
		}
	}
	if err := checkFiles("password_file", m.PasswordFile, m.CAFile); err != nil {
		return err
	}
	switch {
	case m.PasswordFile != "" && m.Username == "":
		return &FieldError{"username", errors.New("it is missing beside the password_file")}
	case m.URL == "" && (m.Username != "" || m.CAFile != ""):
		return &FieldError{"url", errors.New("it is missing")}
	}
	return nil
}

func (n *NATS) check() error {
	if err := checkURL(n.URL, "nats", "tls"); err != nil {
		return err
	}
	if n.Subject != "" && wrongSubject(n.Subject) {
		return &FieldError{"subject", fmt.Errorf("%q: want words with . between them, without * and >", n.Subject)}
	}
	if err := checkFiles("password_file", n.PasswordFile, n.CAFile); err != nil {
		return err
	}
	if err := checkFiles("token_file", n.TokenFile, ""); err != nil {
		return err
	}
	if n.CredsFile != "" {
		if err := checkCreds(n.CredsFile); err != nil {
			return &FieldError{"creds_file", err}
		}
	}
	proofs := 0
	for _, proof := range []string{n.Username, n.TokenFile, n.CredsFile} {
		if proof != "" {
			proofs++
		}
	}
	switch {
	case (n.PasswordFile != "") != (n.Username != ""):
		return &FieldError{"username", errors.New("want it together with the password_file")}
	case proofs > 1:
		return &FieldError{"url", errors.New("want one of username, token_file and creds_file")}
	case n.URL == "" && (proofs > 0 || n.CAFile != "" || n.Subject != "" || n.JetStream):
		return &FieldError{"url", errors.New("it is missing")}
	}
	return nil
}

func wrongSubject(s string) bool {
	words := strings.Split(s, ".")
	return len(s) > 256 || slices.Contains(words, "") || strings.ContainsAny(s, "*> ") || strings.HasPrefix(s, "$") || plaintext.Check(s) != nil
}

func wrongTopic(s string) bool {
	return s == "" || len(s) > 256 || strings.ContainsAny(s, "#+") || strings.HasPrefix(s, "$") || path.Clean("/"+s) != "/"+s || plaintext.Check(s) != nil
}

func checkURL(text string, schemes ...string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		err = fmt.Errorf("no address: want %s://HOST", schemes[0]) // which may hold a secret
	case !slices.Contains(schemes, u.Scheme) || u.Hostname() == "":
		err = fmt.Errorf("want %s://HOST", strings.Join(schemes, ":// or "))
	case u.User != nil:
		err = errors.New("no name and password in it: everybody may read them here; name a file")
	case schemes[0] != "http" && strings.Trim(u.Path, "/")+u.RawQuery+u.Fragment != "":
		err = fmt.Errorf("want %s://HOST:PORT and nothing behind it", u.Scheme)
	default:
		return nil
	}
	return &FieldError{"url", err}
}

// checkFiles reads the files that a sink needs.
func checkFiles(secretField, secretFile, caFile string) error {
	if secretFile != "" {
		if _, err := secret.Read(secretFile); err != nil {
			return &FieldError{secretField, err}
		}
	}
	if _, err := trust.Config(caFile); err != nil {
		return &FieldError{"ca_file", err}
	}
	return nil
}
