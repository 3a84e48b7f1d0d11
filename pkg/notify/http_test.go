package notify

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iotsense/iotsense/pkg/api/v1"
)

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// asked is a request that a server got.
type asked struct {
	path, method, auth, content string
	body                        []byte
}

// server notes what it is asked, and answers with the statuses in turn, the last for good.
func server(t *testing.T, statuses ...int) (*httptest.Server, chan asked) {
	t.Helper()
	got := make(chan asked, 100)
	answer := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- asked{r.URL.Path, r.Method, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), body}
		w.WriteHeader(statuses[min(answer, len(statuses)-1)])
		answer++
	}))
	t.Cleanup(s.Close)
	return s, got
}

func notifier(t *testing.T, dir string, cfg Config, h *house) *Notifier {
	t.Helper()
	n, err := New(dir, cfg, h, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close(0) })
	return n
}

// A webhook gets an event as it is listed, with what is known of the device, or a digest.
func TestWebhook(t *testing.T) {
	s, got := server(t, http.StatusNoContent)
	h := &house{}
	h.put(plug, func(d *v1.DeviceVerdict) {
		d.State, d.Label, d.Confidence, d.Vendor, d.Name = v1.Known, ptr("HS110"), ptr(.93), ptr("TP-Link"), ptr("kitchen")
	})
	n := notifier(t, "", Config{Digest: time.Hour, Webhook: HTTP{URL: s.URL + "/hook?a=b", TokenFile: file(t, "token", "tk_1\n")}}, h)
	e := event(plug, "known")
	e.Seq, e.Time, e.New, e.Old = 7, v1.UnixMicro(1e15), ptr("HS110"), ptr("unknown")
	n.Event(e)
	r := <-got
	if want := (asked{"/hook", http.MethodPost, "Bearer tk_1", "application/json", r.body}); fmt.Sprint(r) != fmt.Sprint(want) {
		t.Errorf("%+v, want %+v", r, want)
	}
	const one = `{"seq":7,"time":"2001-09-09T01:46:40.000000Z","event":"known","device":"50:c7:bf:00:00:01","label":null,"path":null,"old":"unknown","new":"HS110",` +
		`"name":"kitchen","vendor":"TP-Link","state":"known","confidence":0.93,"text":"Device recognised: kitchen (50:c7:bf:00:00:01, TP-Link), HS110, was unknown","count":1,"events":null}`
	if string(r.body) != one {
		t.Errorf("%s, want %s", r.body, one)
	}
	e.Event = "new"
	n.Event(e)
	n.Event(event(plug, "known"))
	var digest v1.Notice
	n.Close(10 * time.Second)
	if err := json.Unmarshal((<-got).body, &digest); err != nil || digest.Event.Event != v1.EventDigest || digest.Device != nil || digest.Count != 2 || len(digest.Events) != 2 ||
		digest.Text != "New device: kitchen (50:c7:bf:00:00:01, TP-Link), HS110, was unknown\nDevice recognised: kitchen (50:c7:bf:00:00:01, TP-Link)" {
		t.Errorf("%+v, %v", digest, err)
	}
	if s := n.Stats(); s.Sent != 2 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
}

// ntfy is published to as it documents: JSON to the server's root.
func TestNtfy(t *testing.T) {
	s, got := server(t, http.StatusOK)
	h := &house{}
	h.put(plug, func(d *v1.DeviceVerdict) { d.Name = ptr("Küche") })
	n := notifier(t, "", Config{Digest: time.Hour, Ntfy: HTTP{URL: s.URL + "/sub/my_topic", TokenFile: file(t, "token", "tk_1")}}, h)
	n.Event(event(plug, "gone")) // nobody is woken by that
	n.Event(event(plug, "conflict"))
	r := <-got
	want := `{"message":"Device is not what it says: Küche (50:c7:bf:00:00:01)","priority":4,"tags":["warning"],"title":"Device is not what it says","topic":"my_topic"}`
	if r.path != "/sub/" || r.method != http.MethodPost || r.auth != "Bearer tk_1" || string(r.body) != want {
		t.Errorf("%+v %s, want %s", r, r.body, want)
	}
	h.put(plug, func(d *v1.DeviceVerdict) { d.Name = ptr(strings.Repeat("ü", 100)) })
	for range mostListed {
		n.Event(event(plug, "changed"))
	}
	n.Close(10 * time.Second)
	var m struct {
		Message, Title string
		Priority       int
	}
	if err := json.Unmarshal((<-got).body, &m); err != nil || m.Title != "50 events" || m.Priority != 4 || len(m.Message) > mostNtfy || len(m.Message) < mostNtfy-8 || strings.Contains(m.Message, "\ufffd") {
		t.Errorf("%d bytes: %+v, %v", len(m.Message), m, err)
	}
}

// Which answers are tried again, and which are not.
func TestAnswers(t *testing.T) {
	for status, want := range map[int]string{
		200: "sent", 202: "sent", 204: "sent", 301: "refused", 302: "refused", 307: "refused", 400: "refused", 401: "refused", 403: "refused", 404: "refused", 410: "refused", 413: "refused",
		408: "retried", 429: "retried", 500: "retried", 502: "retried", 503: "retried", 504: "retried",
	} {
		s, _ := server(t, status)
		p := newPoster(webhookKind, HTTP{URL: s.URL}, &counts{}, slog.New(slog.DiscardHandler))
		var refused *refusedError
		got := "sent"
		if err := p.post(t.Context(), &v1.Notice{}); errors.As(err, &refused) {
			got = "refused"
		} else if err != nil {
			got = "retried"
		}
		if got != want {
			t.Errorf("%d: %s, want %s", status, got, want)
		}
	}
}

// The certificate's signer is the one that ca_file names now, and no error names the address.
func TestTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	defer s.Close()
	right := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	ca := file(t, "ca.pem", right)
	other := filepath.Join(t.TempDir(), "other.pem")
	certificate(t, other)
	wrong, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	named := newPoster(webhookKind, HTTP{URL: s.URL + "/secret", CAFile: ca}, &counts{}, slog.New(slog.DiscardHandler))
	system := newPoster(webhookKind, HTTP{URL: s.URL + "/secret"}, &counts{}, slog.New(slog.DiscardHandler))
	for _, tt := range []struct {
		p         *poster
		now, want string
	}{{named, right, ""}, {named, string(wrong), "certificate"}, {named, "", "ca_file: "}, {named, right, ""}, {system, right, "certificate"}} {
		if err := os.WriteFile(ca, []byte(tt.now), 0o600); err != nil {
			t.Fatal(err)
		}
		err := tt.p.post(t.Context(), &v1.Notice{})
		if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "/secret")) {
			t.Errorf("ca_file %q: %v, want %q", tt.p.CAFile, err, tt.want)
		}
	}
}

// tripper answers in place of a server.
type tripper func(*http.Request) (*http.Response, error)

func (t tripper) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

func through(n *Notifier, t tripper) {
	s := n.sinks[webhookKind]
	s.halt()
	s.out.(*poster).client.Transport = t
	s.start()
}

// Attempts come ever more seldom, and not all at once.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{}
		h.put(plug, nil)
		n := notifier(t, "", Config{Webhook: HTTP{URL: "http://nosuch.invalid"}}, h)
		var at []time.Duration
		begun := time.Now()
		through(n, func(*http.Request) (*http.Response, error) {
			at = append(at, time.Since(begun))
			if len(at) == 14 {
				return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
			}
			return nil, errors.New("no route")
		})
		n.Event(event(plug, "known"))
		time.Sleep(2 * time.Hour)
		if s := n.Stats(); len(at) != 14 || s.Retries != 13 || s.Sent != 1 || s.Waiting != 0 {
			t.Fatalf("%v, %+v", at, s)
		}
		for i := range at[1:] {
			if pause, most := at[i+1]-at[i], min(time.Second<<i, longestPause); pause > most || pause <= most/2-1 {
				t.Errorf("pause %d is %v, want %v to %v", i, pause, most/2, most)
			}
		}
	})
}

// What could not be delivered is tried at once when the same settings are read again: their files
// may be others.
func TestTriedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{}
		h.put(plug, nil)
		cfg := Config{Webhook: HTTP{URL: "http://nosuch.invalid"}}
		n := notifier(t, "", cfg, h)
		var refuses atomic.Bool
		refuses.Store(true)
		through(n, func(*http.Request) (*http.Response, error) {
			if refuses.Load() {
				return nil, errors.New("a certificate of nobody's")
			}
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		})
		n.Event(event(plug, "known"))
		time.Sleep(time.Hour) // the next attempt is minutes away
		refuses.Store(false)
		synctest.Wait()
		if err := n.Set(cfg); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := n.Stats(); s.Sent != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// What is tried again and again is not told once its device is forgotten.
func TestForgottenMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{}
		h.put(plug, nil)
		h.put(phone, nil)
		n := notifier(t, "", Config{Webhook: HTTP{URL: "http://nosuch.invalid"}}, h)
		var mu sync.Mutex
		status, got := http.StatusBadGateway, []string{}
		through(n, func(r *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(r.Body)
			mu.Lock()
			defer mu.Unlock()
			got = append(got, string(body))
			return &http.Response{StatusCode: status, Body: http.NoBody}, err
		})
		n.Event(event(phone, "known"))
		n.Event(event(plug, "known"))
		synctest.Wait()
		n.Forget([]string{phone})
		mu.Lock()
		status, got = http.StatusOK, nil
		mu.Unlock()
		time.Sleep(time.Hour)
		mu.Lock()
		defer mu.Unlock()
		if len(got) != 1 || !strings.Contains(got[0], plug) {
			t.Errorf("told %q", got)
		}
	})
}

// A server that never answers holds up nobody: not events, not a new set of sinks, not the end.
func TestNeverAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{}
		h.put(plug, nil)
		dir := t.TempDir()
		cfg := Config{Webhook: HTTP{URL: "http://nosuch.invalid"}}
		n := notifier(t, dir, cfg, h)
		deaf := func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		through(n, deaf)
		for range 20 {
			n.Event(event(plug, "known"))
			time.Sleep(DefaultDigest)
		}
		begun := time.Now()
		cfg.Webhook.URL = "http://nosuch.invalid/2"
		if err := n.Set(cfg); err != nil || time.Since(begun) > 0 {
			t.Errorf("a new set after %v: %v", time.Since(begun), err)
		}
		through(n, deaf)
		n.Close(3 * time.Second)
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("the end took %v", took)
		}
		s := n.Stats()
		again := notifier(t, dir, Config{}, h)
		if s.Sent != 0 || s.Retries == 0 || again.Stats().Waiting != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// What waits goes to the new address, after a restart too; without a sink it is discarded.
func TestSpoolOutlasts(t *testing.T) {
	bad, _ := server(t, http.StatusServiceUnavailable)
	good, got := server(t, http.StatusOK)
	h := &house{}
	h.put(plug, nil)
	dir := filepath.Join(t.TempDir(), "sinks")
	cfg := Config{Webhook: HTTP{URL: bad.URL}}
	n := notifier(t, dir, cfg, h)
	n.Event(event(plug, "gone"))
	n.Event(event(plug, "back"))
	n.Close(time.Minute) // an answer is enough to know that it is no use
	n = notifier(t, dir, cfg, h)
	if s := n.Stats(); s.Waiting != 2 {
		t.Fatalf("%+v", s)
	}
	cfg.Webhook.URL = good.URL
	if err := n.Set(Config{Webhook: HTTP{URL: "ftp://x"}}); err == nil {
		t.Error("a set that is wrong is taken")
	}
	if err := n.Set(cfg); err != nil {
		t.Fatal(err)
	}
	var heard []string
	for range 2 {
		var e v1.Notice
		if err := json.Unmarshal((<-got).body, &e); err != nil {
			t.Fatal(err)
		}
		heard = append(heard, e.Event.Event)
	}
	if !slices.Equal(heard, []string{"gone", "back"}) {
		t.Errorf("heard %v", heard)
	}
	cfg.Webhook.URL = bad.URL
	if err := n.Set(cfg); err != nil {
		t.Fatal(err)
	}
	n.Event(event(plug, "gone"))
	if err := n.Set(Config{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, webhookKind)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what waited is left: %v", err)
	}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	if err := os.WriteFile(open, []byte("token"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"nothing", Config{}, ""},
		{"all", Config{Hold: time.Hour, Allow: []string{plug, "a/b"}, Webhook: HTTP{URL: "https://h", TokenFile: file(t, "t", "x"), Events: []string{"new", "likely"}}, Ntfy: HTTP{URL: "http://n/t"}}, ""},
		{"hold", Config{Hold: -1}, "hold: "},
		{"digest", Config{Digest: 25 * time.Hour}, "digest: "},
		{"allow", Config{Allow: []string{"a\n"}}, "allow: "},
		{"scheme", Config{Webhook: HTTP{URL: "ftp://h"}}, "webhook.url: want http:// or https://HOST"},
		{"no host", Config{Webhook: HTTP{URL: "http:///x"}}, "webhook.url: "},
		{"no URL", Config{Ntfy: HTTP{URL: "http://h/%zz"}}, "ntfy.url: no address"},
		{"password in it", Config{Webhook: HTTP{URL: "http://me:secret@h"}}, "webhook.url: no name and password"},
		{"token alone", Config{Webhook: HTTP{TokenFile: file(t, "t", "x")}}, "webhook.url: it is missing"},
		{"token of all", Config{Webhook: HTTP{URL: "http://h", TokenFile: open}}, "webhook.token_file: "},
		{"no token", Config{Ntfy: HTTP{URL: "http://h/t", TokenFile: "/nonexistent"}}, "ntfy.token_file: open /nonexistent"},
		{"no certificate", Config{Webhook: HTTP{URL: "http://h", CAFile: open}}, "webhook.ca_file: "},
		{"event", Config{Webhook: HTTP{URL: "http://h", Events: []string{"nwe"}}}, `webhook.events: there is no event "nwe"`},
		{"no topic", Config{Ntfy: HTTP{URL: "https://ntfy.sh/"}}, "ntfy.url: want that of a topic"},
		{"odd topic", Config{Ntfy: HTTP{URL: "https://ntfy.sh/a.b"}}, "ntfy.url: want that of a topic"},
	} {
		err := tt.cfg.Check()
		if (err == nil) != (tt.want == "") || err != nil && (!strings.HasPrefix(err.Error(), tt.want) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
