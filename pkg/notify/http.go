package notify

// This file POSTs messages: webhook and ntfy.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/iotsense/iotsense/internal/secret"
	"github.com/iotsense/iotsense/internal/trust"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

const (
	// within is how long one attempt may take.
	within = 10 * time.Second
	// firstPause is between the first two attempts; each pause is twice the one before, up to
	// longestPause, and up to half of it less, so that many sensors do not come at once.
	firstPause, longestPause = time.Second, 5 * time.Minute
	mostAnswer               = 64 << 10
)

// poster delivers messages by HTTP.
type poster struct {
	HTTP
	kind   string
	form   func(*v1.Notice) (url string, body any)
	client *http.Client
	log    *slog.Logger
	counts *counts
}

func newPoster(kind string, h HTTP, counts *counts, log *slog.Logger) *poster {
	p := &poster{HTTP: h, kind: kind, counts: counts, log: log.With("sink", kind)}
	p.form = p.webhook
	if kind == ntfyKind {
		p.form = p.ntfy
	}
	p.client = &http.Client{
		Timeout:   within,
		Transport: renewed{h.CAFile},
		// A POST that is sent on would become a GET, or take the token elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return p
}

// renewed makes a connection for each message, and reads then whom to trust. Messages are rare.
type renewed struct{ caFile string }

// RoundTrip implements [http.RoundTripper].
func (r renewed) RoundTrip(request *http.Request) (*http.Response, error) {
	trusted, err := trust.Config(r.caFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: trusted, DisableKeepAlives: true, MaxResponseHeaderBytes: mostAnswer, ForceAttemptHTTP2: true}
	return t.RoundTrip(request)
}

// run implements outlet. What waits is read anew for each attempt: it may be forgotten meanwhile.
func (p *poster) run(ctx context.Context, s *spool) {
	for failed := 0; ; {
		b, number, ok := s.next(ctx)
		if !ok {
			return
		}
		n := b.notice()
		err := p.post(ctx, &n)
		var refused *refusedError
		again := err != nil && !errors.As(err, &refused)
		if s.stuck.Store(again); !again {
			s.done(number)
			p.delivered(refused, failed)
			failed = 0
			continue
		}
		if ctx.Err() != nil {
			return
		}
		p.counts.retries.Add(1)
		if failed == 0 {
			p.log.Error("a message cannot be delivered; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause(failed)):
		}
		failed++
	}
}

// delivered notes the end of a message after so many attempts that failed.
func (p *poster) delivered(refused *refusedError, failed int) {
	if refused != nil {
		p.counts.refused.Add(1)
		p.log.Error("a message is refused, and given up", "error", refused)
		return
	}
	p.counts.sent.Add(1)
	if failed > 0 {
		p.log.Info("messages are delivered again")
	}
}

// pause is how long to wait after an attempt that failed, and so many before it.
func pause(before int) time.Duration {
	d := min(firstPause<<min(before, 20), longestPause)
	return d - rand.N(d/2)
}

// refusedError is an answer that another attempt would get again.
type refusedError struct{ status string }

func (e *refusedError) Error() string { return e.status }

// post tries once.
func (p *poster) post(ctx context.Context, n *v1.Notice) error {
	address, content := p.form(n)
	body, err := json.Marshal(content)
	if err != nil {
		return &refusedError{err.Error()}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return &refusedError{"no address to send to"} // Check has looked
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "iotsense")
	if p.TokenFile != "" {
		token, err := secret.Read(p.TokenFile) // anew, so that it may be changed
		if err != nil {
			return fmt.Errorf("token: %w", err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := p.client.Do(r)
	if err != nil {
		return plainly(err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, mostAnswer)) // some are unhappy with who hangs up
	switch status := answer.StatusCode; {
	case status >= 200 && status < 300:
		return nil
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500:
		return errors.New("the answer is " + answer.Status)
	}
	return &refusedError{"the answer is " + answer.Status}
}

// plainly is an error of a client without the address, which may hold what nobody should know.
func plainly(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

// webhook posts the notice as it is.
func (p *poster) webhook(n *v1.Notice) (string, any) { return p.URL, n }

// ntfyTopic splits an address of a topic into that of its server and the topic.
func ntfyTopic(address string) (server, topic string, err error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", "", errors.New("no address")
	}
	at := strings.LastIndex(u.Path, "/")
	if topic = u.Path[at+1:]; topic == "" || len(topic) > 64 || strings.Trim(topic, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
		return "", "", errors.New("want that of a topic, like https://ntfy.sh/TOPIC: 64 letters, digits, - or _ at most")
	}
	u.Path, u.RawPath = u.Path[:at+1], ""
	return u.String(), topic, nil
}

// mostNtfy is how long ntfy takes a message to be, in bytes; a longer one becomes a file.
const mostNtfy = 4096

// ntfy publishes as JSON: POSTed to the server, not to the topic.
func (p *poster) ntfy(n *v1.Notice) (string, any) {
	server, topic, _ := ntfyTopic(p.URL) // Check has looked
	events := n.Events
	if events == nil {
		events = []v1.Notice{*n}
	}
	priority, tags := 1, []string{}
	for i := range events {
		if w := words[events[i].Event.Event]; w.priority > priority || len(tags) == 0 {
			priority, tags = max(priority, w.priority), []string{w.tag}
		}
	}
	text := n.Text
	if len(text) > mostNtfy {
		text = text[:mostNtfy-len("...")]
		for !utf8.ValidString(text) {
			text = text[:len(text)-1]
		}
		text += "..."
	}
	return server, map[string]any{"topic": topic, "title": title(n), "message": text, "priority": priority, "tags": tags}
}
