package notify

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

// natsServer is the real one, on a port of its own of this machine, with a user `me` of the
// password `pass word`.
type natsServer struct {
	t       *testing.T
	address string
	config  string
	process *exec.Cmd
}

// startNATS starts a server with more settings; one that trusts an operator has no JetStream,
// which wants an account of the system there.
func startNATS(t *testing.T, settings string) *natsServer {
	t.Helper()
	tool := testenv.Tool(t, "nats-server")
	s := &natsServer{t: t, address: freePort(t), config: filepath.Join(t.TempDir(), "conf")}
	text := fmt.Sprintf("listen: %q\n%s\n", s.address, settings)
	if !strings.HasPrefix(settings, "operator") {
		text = fmt.Sprintf("jetstream {store_dir: %q}\n", t.TempDir()) + text
	}
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start(tool)
	t.Cleanup(s.stop)
	return s
}

func (s *natsServer) start(tool string) {
	s.t.Helper()
	s.process = exec.Command(tool, "-c", s.config)
	said, err := s.process.StderrPipe()
	if err == nil {
		err = s.process.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	var all bytes.Buffer
	for line := make([]byte, 4096); !strings.Contains(all.String(), "Server is ready"); {
		n, err := said.Read(line)
		if all.Write(line[:n]); err != nil {
			s.t.Fatalf("nats-server: %s", &all)
		}
	}
	go io.Copy(io.Discard, said)
}

func (s *natsServer) stop() {
	s.process.Process.Kill()
	s.process.Wait()
}

const natsUser = `authorization {users: [{user: me, password: "pass word"}]}`

// client is another who is connected.
func (s *natsServer) client(options ...nats.Option) (*nats.Conn, nats.JetStreamContext) {
	s.t.Helper()
	c, err := nats.Connect("nats://"+s.address, options...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	js, err := c.JetStream()
	if err != nil {
		s.t.Fatal(err)
	}
	return c, js
}

// listen hears what nobody stores.
func (s *natsServer) listen(options ...nats.Option) *nats.Subscription {
	s.t.Helper()
	c, _ := s.client(options...)
	all, err := c.SubscribeSync("house.>")
	if err == nil {
		err = c.Flush()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// store makes the stream that stores all.
func store(t *testing.T, js nats.JetStreamContext) *nats.Subscription {
	t.Helper()
	if _, err := js.AddStream(&nats.StreamConfig{Name: "house", Subjects: []string{"house.>"}, Storage: nats.FileStorage}); err != nil {
		t.Fatal(err)
	}
	all, err := js.SubscribeSync("house.>", nats.OrderedConsumer())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// next is the next message; of devices only where asked for.
func next(t *testing.T, s *nats.Subscription, devices bool) *nats.Msg {
	t.Helper()
	for {
		m, err := s.NextMsg(time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(m.Subject, ".devices.") == devices {
			return m
		}
	}
}

// A stream has what happened and what is known of devices, under their subjects, over TLS;
// what happens while the server is away waits up to its bound, and what more there was is
// counted; a device that is forgotten has an empty last message, after a restart too.
func TestNATS(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	key := certificate(t, ca)
	s := startNATS(t, natsUser+fmt.Sprintf("\ntls {cert_file: %q, key_file: %q}", ca, key))
	me := []nats.Option{nats.UserInfo("me", "pass word"), nats.RootCAs(ca)}
	_, js := s.client(me...)
	all := store(t, js)
	h, dir := &house{}, t.TempDir()
	h.put(plug, func(d *v1.DeviceVerdict) {
		d.ID, d.State, d.Known, d.Label, d.Confidence, d.Vendor = 3, v1.Known, true, ptr("HS110"), ptr(.934), ptr("TP-Link")
	})
	cfg := Config{NATS: NATS{
		URL: "tls://" + s.address, CAFile: ca, Username: "me", PasswordFile: file(t, "password", "pass word\n"), Subject: "house.box", JetStream: true,
	}}
	n := notifier(t, dir, cfg, h)
	m := next(t, all, true)
	if want := `{"device":"50:c7:bf:00:00:01","id":3,"macs":["50:c7:bf:00:00:01"],"name":null,"user_label":null,"vendor":"TP-Link","state":"known","known":true,"label":"HS110",` +
		`"confidence":0.93,"path":null,"path_confidence":null,"gone":false}`; m.Subject != "house.box.devices.50c7bf000001" || string(m.Data) != want {
		t.Errorf("%s: %s, want %s", m.Subject, m.Data, want)
	}
	n.Event(event(plug, "gone"))
	var told v1.Notice
	if m = next(t, all, false); m.Subject != "house.box.events.gone" || json.Unmarshal(m.Data, &told) != nil || *told.Device != plug {
		t.Errorf("%s: %s", m.Subject, m.Data)
	}

	for n.Stats().Sent == 0 { // the server has yet to say that it has it
		time.Sleep(time.Millisecond)
	}
	s.stop()
	const more = 20
	for i := range mostWaiting + more {
		e := event(plug, "known")
		e.Seq = uint64(i)
		n.tell(notice(&e, nil)) // each is a message: there is no digest
	}
	if c := n.Stats(); c.Lost != more || c.Waiting != mostWaiting {
		t.Errorf("%+v, want %d to be lost", c, more)
	}
	s.start(s.process.Path)
	_, js = s.client(me...)
	all, err := js.SubscribeSync("house.box.events.known", nats.OrderedConsumer())
	if err != nil {
		t.Fatal(err)
	}
	for i := range mostWaiting {
		if m = next(t, all, false); json.Unmarshal(m.Data, &told) != nil || told.Seq != uint64(i+more) {
			t.Fatalf("message %d: %s", i, m.Data)
		}
	}
	n.Close(10 * time.Second)
	if c := n.Stats(); c.Lost != more || c.Waiting != 0 || c.Sent != mostWaiting+1 {
		t.Errorf("%+v", c)
	}

	if all, err = js.SubscribeSync("house.*.devices.50c7bf000001", nats.OrderedConsumer(), nats.DeliverNew()); err != nil {
		t.Fatal(err)
	}
	for _, where := range []string{"moved", "box"} { // it is taken back from where it was
		cfg.NATS.Subject = "house." + where
		n = notifier(t, dir, cfg, h)
		for _, left := range []bool{false, true} {
			if m = next(t, all, true); strings.HasPrefix(m.Subject, cfg.NATS.Subject) != left || (len(m.Data) > 0) != left {
				t.Errorf("%s: %s", m.Subject, m.Data)
			}
		}
		n.Close(10 * time.Second)
	}
	h.mu.Lock()
	delete(h.devices, plug)
	h.mu.Unlock()
	if all, err = js.SubscribeSync("house.box.devices.50c7bf000001", nats.OrderedConsumer(), nats.DeliverLast()); err != nil {
		t.Fatal(err)
	}
	if m = next(t, all, true); len(m.Data) == 0 {
		t.Fatal("it is forgotten already")
	}
	notifier(t, dir, cfg, h)
	if m = next(t, all, true); len(m.Data) > 0 {
		t.Errorf("%s is left", m.Data)
	}
}

// A message that comes again, as after a cut before its acknowledgement or in another
// process, is stored once; one that tells something else is not taken for it.
func TestNATSDeduplicates(t *testing.T) {
	s := startNATS(t, "")
	_, js := s.client()
	store(t, js)
	for range 2 {
		b, err := newBus(NATS{URL: "nats://" + s.address, Subject: "house.box", JetStream: true}, "", &house{}, &counts{}, slog.New(slog.DiscardHandler))
		if err == nil {
			err = b.connect(t.Context(), func(error) {})
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, seq := range []uint64{7, 8, 7} {
			e := event(plug, "known")
			e.Seq = seq
			n := notice(&e, nil)
			if err := b.notice(t.Context(), &n); err != nil {
				t.Fatal(err)
			}
		}
		b.conn.Close()
	}
	if info, err := js.StreamInfo("house"); err != nil || info.State.Msgs != 2 {
		t.Errorf("%+v, %v, want 2 messages", info.State, err)
	}
}

// lines are what is logged.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// said are the lines that are errors.
func (l *lines) said() (list []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, "level=ERROR") {
			list = append(list, line)
		}
	}
	return list
}

// What a server refuses is said once, with what to do, and tried again: nothing of it is lost.
func TestNATSRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, settings string
		// repair makes it right; what it returns hears of it, where a subscription would before
		// have been taken for a stream.
		cfg     func(t *testing.T) (cfg NATS, repair func(*natsServer) *nats.Subscription)
		options []nats.Option
		want    string
	}{
		{"a wrong password", natsUser, func(t *testing.T) (NATS, func(*natsServer) *nats.Subscription) {
			cfg := NATS{Username: "me", PasswordFile: file(t, "password", "wrong")}
			return cfg, func(*natsServer) *nats.Subscription { return overwrite(t, cfg.PasswordFile, "pass word") }
		}, []nats.Option{nats.UserInfo("me", "pass word")}, "nats: Authorization Violation: look at username and password_file"},
		{"a wrong token", `authorization {token: "right"}`, func(t *testing.T) (NATS, func(*natsServer) *nats.Subscription) {
			cfg := NATS{TokenFile: file(t, "token", "wrong")}
			return cfg, func(*natsServer) *nats.Subscription { return overwrite(t, cfg.TokenFile, "right") }
		}, []nats.Option{nats.Token("right")}, "Authorization Violation"},
		{"no permission", `authorization {users: [{user: me, password: me, permissions: {publish: other}}, {user: all, password: all}]}`, func(t *testing.T) (NATS, func(*natsServer) *nats.Subscription) {
			return NATS{Username: "me", PasswordFile: file(t, "password", "me")}, func(s *natsServer) *nats.Subscription {
				return s.reload(natsUser[:strings.Index(natsUser, "users")] + "users: [{user: me, password: me}, {user: all, password: all}]}")
			}
		}, []nats.Option{nats.UserInfo("all", "all")}, `publish house.box.devices.50c7bf000001: nats: permissions violation`},
		{"no stream", "", func(*testing.T) (NATS, func(*natsServer) *nats.Subscription) {
			return NATS{JetStream: true}, func(s *natsServer) *nats.Subscription {
				_, js := s.client()
				return store(t, js)
			}
		}, nil, "no stream of the server has stored it: make one with the subjects house.box.>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := startNATS(t, tt.settings)
			h := &house{}
			h.put(plug, nil)
			cfg, repair := tt.cfg(t)
			cfg.URL, cfg.Subject = "nats://"+s.address, "house.box"
			log := &lines{}
			n, err := New("", Config{NATS: cfg}, h, slog.New(slog.NewTextHandler(log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { n.Close(0) })
			var all *nats.Subscription
			if !cfg.JetStream {
				all = s.listen(tt.options...)
			}
			n.Event(event(plug, "known"))
			for n.Stats().Retries < 2 {
				time.Sleep(10 * time.Millisecond)
			}
			if said := log.said(); len(said) != 1 || !strings.Contains(said[0], tt.want) || strings.Contains(said[0], "wrong") {
				t.Errorf("%q, want once %q", said, tt.want)
			}
			if stored := repair(s); stored != nil {
				all = stored
			}
			for m := (*nats.Msg)(nil); m == nil || m.Subject != "house.box.events.known"; {
				if m, err = all.NextMsg(time.Minute); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func overwrite(t *testing.T, path, text string) *nats.Subscription {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return nil
}

// reload gives the server other settings of who may do what.
func (s *natsServer) reload(settings string) *nats.Subscription {
	s.t.Helper()
	text, err := os.ReadFile(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	overwrite(s.t, s.config, string(text[:bytes.Index(text, []byte("authorization"))])+settings)
	if err := s.process.Process.Signal(syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
	return nil
}

// Credentials as nsc writes them are a user's word.
func TestNATSCredentials(t *testing.T) {
	operator, account, user := pair(t, nkeys.CreateOperator), pair(t, nkeys.CreateAccount), pair(t, nkeys.CreateUser)
	account.limits = `,"limits":{"subs":-1,"data":-1,"payload":-1,"imports":-1,"exports":-1,"wildcards":true,"conn":-1,"leaf":-1}`
	user.limits = `,"subs":-1,"data":-1,"payload":-1`
	s := startNATS(t, fmt.Sprintf("operator: %s\nresolver: MEMORY\nresolver_preload: {%s: %s}", operator.token(operator, "operator"), account.public, account.token(operator, "account")))
	creds := fmt.Sprintf("-----BEGIN NATS USER JWT-----\n%s\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n%s\n------END USER NKEY SEED------\n", user.token(account, "user"), user.seed)
	path := file(t, "creds", creds)
	all := s.listen(nats.UserCredentials(path))
	h := &house{}
	h.put(plug, nil)
	notifier(t, "", Config{NATS: NATS{URL: "nats://" + s.address, CredsFile: path, Subject: "house"}}, h)
	if m := next(t, all, true); m.Subject != "house.devices.50c7bf000001" {
		t.Error(m.Subject)
	}
}

// identity is a pair of keys of an operator, an account or a user.
type identity struct {
	t            *testing.T
	keys         nkeys.KeyPair
	public, seed string
	limits       string
}

func pair(t *testing.T, create func() (nkeys.KeyPair, error)) *identity {
	t.Helper()
	keys, err := create()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := keys.PublicKey()
	seed, _ := keys.Seed()
	return &identity{t: t, keys: keys, public: public, seed: string(seed)}
}

// token is a JWT of who it is, signed by another.
func (i *identity) token(by *identity, kind string) string {
	i.t.Helper()
	code := base64.RawURLEncoding.EncodeToString
	text := code([]byte(`{"typ":"JWT","alg":"ed25519-nkey"}`)) + "." +
		code(fmt.Appendf(nil, `{"jti":"x","iat":1,"iss":%q,"name":"me","sub":%q,"nats":{"type":%q,"version":2%s}}`, by.public, i.public, kind, i.limits))
	signature, err := by.keys.Sign([]byte(text))
	if err != nil {
		i.t.Fatal(err)
	}
	return text + "." + code(signature)
}

// A server that says nothing, or nothing more, holds up neither events nor the end.
func TestNATSNeverAnswers(t *testing.T) {
	for name, answers := range map[string][]string{
		"at all": nil, "after its hello": {"INFO {\"max_payload\":1048576}\r\n"}, "when connected": {"INFO {\"max_payload\":1048576}\r\n", "PONG\r\n"},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		h := &house{}
		h.put(plug, nil)
		n := notifier(t, "", Config{NATS: NATS{URL: "nats://" + l.Addr().String(), Subject: "house"}}, h)
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		heard := make([]byte, 4096)
		for i, answer := range answers {
			if _, err := io.WriteString(c, answer); err != nil {
				t.Fatal(err)
			}
			for text := ""; i > 0 == !strings.Contains(text, "PUB house."); { // CONNECT and PING, then what it publishes
				n, err := c.Read(heard)
				if err != nil {
					t.Fatal(err)
				}
				if text += string(heard[:n]); i == 0 && strings.Contains(text, "PING") {
					break
				}
			}
		}
		for range 10 * mostEvents {
			n.Event(event(plug, "known"))
		}
		begun := time.Now()
		n.Close(0)
		if took := time.Since(begun); took >= within {
			t.Errorf("%s: the end took %v", name, took)
		}
		c.Close()
	}
}

func TestCheckNATS(t *testing.T) {
	good := NATS{URL: "tls://bus:4222", Username: "me", PasswordFile: file(t, "p", "x"), Subject: "a.b", JetStream: true}
	token := file(t, "t", "x")
	for want, change := range map[string]func(*NATS){
		"":                                   func(*NATS) {},
		"nats.url: want nats":                func(n *NATS) { n.URL = "mqtt://bus" },
		"nats.url: no name and":              func(n *NATS) { n.URL = "nats://me:secret@bus" },
		"nats.url: want tls://HOST:PORT and": func(n *NATS) { n.URL = "tls://bus/a" },
		"nats.url: it is missing":            func(n *NATS) { *n = NATS{JetStream: true} },
		"nats.url: want one of":              func(n *NATS) { n.TokenFile = token },
		"nats.subject: \"a..b\"":             func(n *NATS) { n.Subject = "a..b" },
		"nats.subject: \"a.>\"":              func(n *NATS) { n.Subject = "a.>" },
		"nats.subject: \"$JS.a\"":            func(n *NATS) { n.Subject = "$JS.a" },
		"nats.username: want it":             func(n *NATS) { n.PasswordFile = "" },
		"nats.password_file: open /nonexist": func(n *NATS) { n.PasswordFile = "/nonexistent" },
		"nats.token_file: open /nonexistent": func(n *NATS) { n.TokenFile = "/nonexistent" },
		"nats.creds_file: /":                 func(n *NATS) { n.CredsFile = token },
		"nats.ca_file: open /nonexistent":    func(n *NATS) { n.CAFile = "/nonexistent" },
	} {
		n := good
		change(&n)
		err := (&Config{NATS: n}).Check()
		if (err == nil) != (want == "") || err != nil && (!strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	all := Config{NATS: NATS{PasswordFile: "a", TokenFile: "b", CredsFile: "c"}}
	if files := all.Files(); !slices.Equal(files, []string{"a", "b", "c"}) {
		t.Errorf("it reads %q", files)
	}
}
