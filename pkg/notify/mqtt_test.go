package notify

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

// mosquitto is the real broker, on ports of its own of this machine.
type mosquitto struct {
	t             *testing.T
	config        string
	plain, secure string // their addresses
	ca, password  string // files
	process       *exec.Cmd
}

func startMosquitto(t *testing.T) *mosquitto {
	t.Helper()
	m := &mosquitto{t: t}
	tool, hash := testenv.Tool(t, "mosquitto"), testenv.Tool(t, "mosquitto_passwd")
	dir := t.TempDir()
	m.config, m.ca, m.password = filepath.Join(dir, "conf"), filepath.Join(dir, "ca.pem"), file(t, "password", "pass word\n")
	key := certificate(t, m.ca)
	users := filepath.Join(dir, "users")
	if out, err := exec.Command(hash, "-b", "-c", users, "me", "pass word").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m.plain, m.secure = freePort(t), freePort(t)
	_, plainPort, _ := net.SplitHostPort(m.plain)
	_, securePort, _ := net.SplitHostPort(m.secure)
	conf := fmt.Sprintf("user root\nlog_dest stderr\npersistence false\nallow_anonymous false\npassword_file %s\nlistener %s 127.0.0.1\nlistener %s 127.0.0.1\ncertfile %s\nkeyfile %s\n",
		users, plainPort, securePort, m.ca, key)
	if err := os.WriteFile(m.config, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	m.start(tool)
	t.Cleanup(m.stop)
	return m
}

func (m *mosquitto) start(tool string) {
	m.t.Helper()
	var said bytes.Buffer
	m.process = exec.Command(tool, "-c", m.config)
	m.process.Stderr = &said
	if err := m.process.Start(); err != nil {
		m.t.Fatal(err)
	}
	for ctx, end := context.WithTimeout(m.t.Context(), 20*time.Second); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", m.secure); err == nil {
			end()
			c.Close()
			return
		}
		if ctx.Err() != nil {
			m.stop()
			m.t.Fatalf("mosquitto does not listen: %s", &said)
		}
	}
}

func (m *mosquitto) stop() {
	m.process.Process.Kill()
	m.process.Wait()
}

// freePort is an address that nobody listens at.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// certificate writes one of 127.0.0.1 that is its own signer, and returns its key's file.
func certificate(t *testing.T, path string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

// observer is a client that sees all that is published.
type observer struct {
	t      *testing.T
	client mqtt.Client

	mu     sync.Mutex
	topics map[string]string // what is kept, by topic
	events []string
	news   chan struct{}
}

func (m *mosquitto) observe() *observer {
	m.t.Helper()
	o := &observer{t: m.t, topics: map[string]string{}, news: make(chan struct{}, 1)}
	o.client = mqtt.NewClient(mqtt.NewClientOptions().AddBroker("mqtt://" + m.plain).SetUsername("me").SetPassword("pass word").SetAutoReconnect(false))
	if c := o.client.Connect(); c.Wait() && c.Error() != nil {
		m.t.Fatal(c.Error())
	}
	s := o.client.Subscribe("#", 1, func(_ mqtt.Client, message mqtt.Message) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if topic := message.Topic(); strings.HasSuffix(topic, "/event") {
			o.events = append(o.events, string(message.Payload()))
		} else if o.topics[topic] = string(message.Payload()); len(message.Payload()) == 0 {
			delete(o.topics, topic)
		}
		select {
		case o.news <- struct{}{}:
		default:
		}
	})
	if s.Wait() && s.Error() != nil {
		m.t.Fatal(s.Error())
	}
	m.t.Cleanup(func() { o.client.Disconnect(0) })
	return o
}

// until waits for what is published to be so.
func (o *observer) until(what string, so func(topics map[string]string) bool) {
	o.t.Helper()
	for late := time.After(time.Minute); ; {
		o.mu.Lock()
		ok := so(o.topics)
		o.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-o.news:
		case <-late:
			o.mu.Lock()
			defer o.mu.Unlock()
			o.t.Fatalf("never: %s\n%q", what, o.topics)
		}
	}
}

// is waits for a topic to have a content.
func (o *observer) is(topic, content string) {
	o.t.Helper()
	o.until(topic+" is "+content, func(topics map[string]string) bool { return topics[topic] == content })
}

// has waits for a topic whose content has a part.
func (o *observer) has(topic, part string) {
	o.t.Helper()
	o.until(topic+" has "+part, func(topics map[string]string) bool { return strings.Contains(topics[topic], part) })
}

// below counts the topics that have a part.
func below(topics map[string]string, part string) (n int) {
	for topic := range topics {
		if strings.Contains(topic, part) {
			n++
		}
	}
	return n
}

const (
	plugTracker = "homeassistant/device_tracker/iotsense/50c7bf000001/config"
	plugState   = "iotsense/50c7bf000001/state"
	status      = "iotsense/status"
)

// Home Assistant is told of devices that have a name, of what becomes of them, and of nothing
// once they are forgotten.
func TestMQTT(t *testing.T) {
	m := startMosquitto(t)
	o := m.observe()
	h, dir := &house{}, t.TempDir()
	device := func(change func(*v1.DeviceVerdict)) {
		h.put(plug, func(d *v1.DeviceVerdict) {
			d.ID, d.Label, d.Confidence, d.Vendor = 3, ptr("HS110"), ptr(.4), ptr("TP-Link")
			change(d)
		})
	}
	device(func(*v1.DeviceVerdict) {})
	cfg := Config{MQTT: MQTT{
		URL: "mqtts://" + m.secure, CAFile: m.ca, Username: "me", PasswordFile: m.password, Topic: DefaultTopic, Discovery: DefaultDiscovery,
	}}
	n := notifier(t, dir, cfg, h)
	tell := func(what string) { n.Event(event(plug, what)) }
	o.is(status, online)
	tell("unknown")
	o.until("its event", func(topics map[string]string) bool { return len(o.events) == 1 && below(topics, "50c7bf") == 0 })

	named := func(d *v1.DeviceVerdict) {
		d.State, d.Known, d.Confidence, d.Path = v1.Known, true, ptr(.934), ptr("TP-Link/plug/HS110")
	}
	device(named)
	tell("known")
	o.is("iotsense/50c7bf000001/presence", "home")
	o.is(plugState, `{"type":"HS110","confidence":93,"vendor":"TP-Link","state":"known","label":"HS110","user_label":null,"macs":["50:c7:bf:00:00:01"],"in_zones":["home"]}`)
	o.has(plugTracker, `"name":"HS110"`)
	discovered(t, o, 5)

	device(func(d *v1.DeviceVerdict) { named(d); d.UserLabel = ptr("kettle") })
	tell("labelled")
	o.has(plugTracker, `"name":"kettle"`)
	device(func(d *v1.DeviceVerdict) { named(d); d.UserLabel, d.Gone = ptr("kettle"), true })
	tell("gone")
	o.is("iotsense/50c7bf000001/presence", "not_home")
	o.has(plugState, `"in_zones":[]`)

	if n.Close(10 * time.Second); n.Stats().Sent != 4 {
		t.Errorf("%+v", n.Stats())
	}
	o.is(status, offline)
	o.mu.Lock()
	events := o.events
	o.mu.Unlock()
	for i, want := range []string{"unknown", "known", "labelled", "gone"} {
		if e := events[i]; !strings.HasPrefix(e, `{"event_type":"`+want+`","seq":`) || !strings.Contains(e, `"device":"`+plug+`"`) {
			t.Errorf("event %s: %s", want, e)
		}
	}
	h.put(plug, func(d *v1.DeviceVerdict) { d.ID = 4 }) // it was forgotten meanwhile, and has come back
	n = notifier(t, dir, cfg, h)
	o.is(status, online)
	o.until("nothing of it", func(topics map[string]string) bool { return below(topics, "50c7bf") == 0 })
	const nothing = `{"At":["iotsense","homeassistant"],"Devices":{}}` + "\n"
	noted := func() string { text, _ := os.ReadFile(filepath.Join(dir, mqttKind+shownSuffix)); return string(text) }
	for end := time.Now().Add(10 * time.Second); noted() != nothing && time.Now().Before(end); { // the broker has yet to say that it took the last
		time.Sleep(10 * time.Millisecond)
	}
	n.Close(10 * time.Second)
	if noted() != nothing {
		t.Error(noted())
	}
}

// discovered checks what is announced, in so many messages, against what is documented.
func discovered(t *testing.T, o *observer, want int) {
	t.Helper()
	o.mu.Lock()
	topics := maps.Clone(o.topics)
	o.mu.Unlock()
	text, err := os.ReadFile("testdata/homeassistant.json")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("homeassistant.json", rules); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for topic, text := range topics {
		words := strings.Split(topic, "/")
		if words[0] != DefaultDiscovery {
			continue
		}
		if len(words) != 5 || words[4] != "config" || words[2] != DefaultTopic {
			t.Errorf("topic %s", topic)
			continue
		}
		schema, err := c.Compile("homeassistant.json#/$defs/" + words[1])
		if err != nil {
			t.Fatal(err)
		}
		said, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err == nil {
			err = schema.Validate(said)
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", topic, err, text)
			continue
		}
		e := said.(map[string]any)
		ids[e["unique_id"].(string)] = true
		for _, key := range []string{"state_topic", "json_attributes_topic", "availability_topic"} {
			at, ok := e[key].(string)
			if _, there := topics[at]; ok && !there && words[1] != "event" {
				t.Errorf("%s: nothing is at the %s %s", topic, key, at)
			}
		}
		if template, ok := e["value_template"].(string); ok {
			key := strings.TrimSuffix(strings.TrimPrefix(template, "{{ value_json."), " }}")
			if state := topics[e["state_topic"].(string)]; !strings.Contains(state, `"`+key+`":`) {
				t.Errorf("%s: no %s in %s", topic, key, state)
			}
		}
	}
	if len(ids) != want {
		t.Errorf("announced %v, want %d", slices.Sorted(maps.Keys(ids)), want)
	}
}

// A connection that breaks has the will published, and another one follows; a broker that has
// forgotten everything is told all of it.
func TestMQTTReconnects(t *testing.T) {
	m := startMosquitto(t)
	o := m.observe()
	h := &house{}
	h.put(plug, func(d *v1.DeviceVerdict) { d.ID, d.UserLabel = 3, ptr("lamp") })
	between := newRelay(t, m.plain)
	cfg := MQTT{URL: "mqtt://" + between.address, Username: "me", PasswordFile: m.password, Topic: "house/iotsense", Discovery: DefaultDiscovery}
	n := notifier(t, "", Config{MQTT: cfg}, h)
	const status, tracker = "house/iotsense/status", "homeassistant/device_tracker/house_iotsense/50c7bf000001/config"
	o.is(status, online)
	o.has(tracker, `"name":"lamp"`)
	between.cut()
	o.is(status, offline)
	o.is(status, online)
	m.stop()
	n.Event(event(plug, "gone")) // waits
	m.start(m.process.Path)
	o = m.observe()
	o.is(status, online)
	o.has(tracker, `"name":"lamp"`)
	o.until("the event", func(map[string]string) bool { return len(o.events) > 0 })
	h.put(plug, nil) // without a name
	n.Event(event(plug, "labelled"))
	o.until("nothing of it", func(topics map[string]string) bool { return below(topics, "50c7bf") == 0 })

	h.put(plug, func(d *v1.DeviceVerdict) { d.ID, d.UserLabel = 3, ptr("lamp") })
	n.Event(event(plug, "labelled"))
	o.has(tracker, `"name":"lamp"`)
	h.mu.Lock()
	delete(h.devices, plug)
	h.mu.Unlock()
	n.Forget([]string{plug})
	o.until("nothing of it", func(topics map[string]string) bool { return below(topics, "50c7bf") == 0 })
}

// What is shown under other topics, or at all, by a reload or behind a start, is in no place that
// it was in.
func TestMQTTMoves(t *testing.T) {
	m := startMosquitto(t)
	o := m.observe()
	h := &house{}
	h.put(plug, func(d *v1.DeviceVerdict) { d.ID, d.UserLabel = 3, ptr("lamp") })
	h.put(phone, func(d *v1.DeviceVerdict) { d.ID, d.UserLabel = 4, ptr("phone") })
	at := func(topic, discovery string) Config {
		return Config{MQTT: MQTT{URL: "mqtt://" + m.plain, Username: "me", PasswordFile: m.password, Topic: topic, Discovery: discovery}}
	}
	const each = 2*6 + 2 // topics: two devices, their sensor's own
	shown := func(cfg Config) {
		t.Helper()
		o.until(fmt.Sprintf("all of it at %s and %s alone", cfg.MQTT.Topic, cfg.MQTT.Discovery), func(topics map[string]string) bool {
			for topic := range topics {
				if !strings.HasPrefix(topic, cfg.MQTT.Topic+"/") && !strings.HasPrefix(topic, cfg.MQTT.Discovery+"/") {
					return false
				}
			}
			return len(topics) == each
		})
	}
	set := func(n *Notifier, cfg Config) {
		t.Helper()
		if err := n.Set(cfg); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{t.TempDir(), ""} {
		first, second, third := at("a/b", "c"), at("a/b", "d"), at("e", "d")
		n := notifier(t, dir, first, h)
		shown(first)
		set(n, second)
		shown(second)
		set(n, third)
		shown(third)
		if dir != "" {
			n.Close(10 * time.Second)
			n = notifier(t, dir, first, h)
			shown(first)
		}
		set(n, Config{})
		o.until("nothing", func(topics map[string]string) bool { return len(topics) == 0 })
	}
}

// relay passes connections on, until they are cut.
type relay struct {
	address string
	mu      sync.Mutex
	open    []net.Conn
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{address: l.Addr().String()}
	t.Cleanup(func() { l.Close(); r.cut() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			r.mu.Lock()
			r.open = append(r.open, in, out)
			r.mu.Unlock()
			go func() { io.Copy(in, out); in.Close() }()
			go func() { io.Copy(out, in); out.Close() }()
		}
	}()
	return r
}

func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.open {
		c.Close()
	}
	r.open = nil
}

// A broker that never answers, not even to say hello, holds up neither events nor the end.
func TestMQTTNeverAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, scheme := range []string{"mqtt", "mqtts"} {
		h := &house{}
		h.put(plug, nil)
		n := notifier(t, "", Config{MQTT: MQTT{URL: scheme + "://" + l.Addr().String(), Topic: "a", Discovery: "b"}}, h)
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil { // it waits for an answer
			t.Fatal(err)
		}
		for range 100 {
			n.Event(event(plug, "known"))
		}
		begun := time.Now()
		n.Close(0)
		if took := time.Since(begun); took >= within {
			t.Errorf("%s: the end took %v", scheme, took)
		}
		c.Close()
	}
}

func TestCheckMQTT(t *testing.T) {
	good := MQTT{URL: "mqtts://broker:8883", Username: "me", PasswordFile: file(t, "p", "x"), Topic: "a/b", Discovery: "c"}
	for want, change := range map[string]func(*MQTT){
		"":                                     func(*MQTT) {},
		"mqtt.url: want mqtt":                  func(m *MQTT) { m.URL = "http://broker" },
		"mqtt.url: no name and":                func(m *MQTT) { m.URL = "mqtt://me:secret@broker" },
		"mqtt.url: want mqtts://HOST:PORT and": func(m *MQTT) { m.URL = "mqtts://broker/topic" },
		"mqtt.url: it is missing":              func(m *MQTT) { m.URL = "" },
		"mqtt.topic: \"a/#\"":                  func(m *MQTT) { m.Topic = "a/#" },
		"mqtt.topic: \"/a\"":                   func(m *MQTT) { m.Topic = "/a" },
		"mqtt.topic: \"$SYS\"":                 func(m *MQTT) { m.Topic = "$SYS" },
		"mqtt.discovery: \"\"":                 func(m *MQTT) { m.Discovery = "" },
		"mqtt.username: it is missing":         func(m *MQTT) { m.Username = "" },
		"mqtt.password_file: open /nonexist":   func(m *MQTT) { m.PasswordFile = "/nonexistent" },
		"mqtt.ca_file: open /nonexistent":      func(m *MQTT) { m.CAFile = "/nonexistent" },
	} {
		m := good
		change(&m)
		err := (&Config{MQTT: m}).Check()
		if (err == nil) != (want == "") || err != nil && (!strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// Whatever a device and its operator are called, topics stay within the sensor's, and what is
// published is JSON.
func FuzzDiscovery(f *testing.F) {
	f.Add(plug, "TP-Link", "a/+/#")
	f.Add("ip:fe80::1", "\x00\xff", "{{ value_json.x }}")
	f.Add("../../x", "", "")
	f.Fuzz(func(t *testing.T, device, vendor, label string) {
		m := MQTT{Topic: DefaultTopic, Discovery: DefaultDiscovery}
		d := v1.DeviceVerdict{Verdict: v1.Verdict{Device: device, Vendor: &vendor, UserLabel: &label}, MACs: []string{device}}
		for _, topic := range m.shown(device) {
			words := strings.Split(topic, "/")
			if strings.ContainsAny(topic, "+#\x00") || words[0] != DefaultTopic && words[0] != DefaultDiscovery || slices.Contains(words, "..") || device != "" && slices.Contains(words, "") {
				t.Errorf("topic %q", topic)
			}
		}
		c, _ := conditions(&d)
		for _, said := range []any{m.entities(&d), c} {
			if text, err := json.Marshal(said); err != nil || !json.Valid(text) {
				t.Errorf("%s, %v", text, err)
			}
		}
	})
}
