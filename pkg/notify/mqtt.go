package notify

// This file keeps a broker of MQTT 3.1.1 told: of events, and of devices that have a name, as
// Home Assistant discovers them. What is told of a device stays with the broker (retained)
// until the device is forgotten.

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/iotsense/iotsense/internal/secret"
	"github.com/iotsense/iotsense/internal/wholefile"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

const (
	// publishedFile names the devices that the broker knows of, each with whose name it has.
	publishedFile = "mqtt.json"
	// refresh is how often all devices are compared with what is published: confidence, and
	// what became of merged ones, is no event.
	refresh = 5 * time.Minute
	// lastWords is how long the end of a session may take.
	lastWords = time.Second
	// mostChanged is how many devices are looked at one by one; for more all are.
	mostChanged = 64
)

// broker is an outlet to one.
type broker struct {
	MQTT
	trust  *tls.Config
	source Source
	counts *counts
	log    *slog.Logger
	file   string // of what is published; empty: memory

	mu    sync.Mutex
	dirty map[string]bool // devices to look at
	wake  chan struct{}

	// What follows is run's alone.
	published map[string]shown  // devices that the broker knows of
	last      map[string]string // what the session has published, by topic
	client    mqtt.Client
	lost      chan error
}

// shown is a device that the broker knows of.
type shown struct {
	ID    uint64 // another one is another device of that name: the first was forgotten
	Namer string // whose name it has
}

func newBroker(cfg MQTT, file string, source Source, counts *counts, log *slog.Logger) (*broker, error) {
	trust, err := tlsConfig(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	return &broker{
		MQTT: cfg, trust: trust, source: source, counts: counts, log: log.With("sink", mqttKind), file: file,
		dirty: map[string]bool{}, wake: make(chan struct{}, 1), published: map[string]shown{},
	}, nil
}

// changed implements mirror.
func (b *broker) changed(device string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.dirty) <= mostChanged {
		b.dirty[device] = true
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// run implements outlet: it connects again whenever the connection is lost.
func (b *broker) run(ctx context.Context, s *spool) {
	b.load()
	for attempt := 0; ctx.Err() == nil; attempt++ {
		connected, err := b.session(ctx, s)
		if ctx.Err() != nil {
			return
		}
		s.stuck.Store(true)
		b.counts.retries.Add(1)
		if connected {
			attempt = 0
		}
		if attempt == 0 {
			b.log.Error("no connection to the broker; it is tried again", "error", plainly(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause(attempt)):
		}
	}
}

// session connects, and tells until ctx ends or the connection is lost.
func (b *broker) session(ctx context.Context, s *spool) (connected bool, err error) {
	if err := b.connect(ctx); err != nil {
		return false, err
	}
	defer b.client.Disconnect(uint(lastWords.Milliseconds()))
	b.last = map[string]string{}
	if err = b.begin(ctx, s); err == nil {
		s.stuck.Store(false)
		b.log.Info("connected to the broker")
		connected, err = true, b.follow(ctx, s)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	_ = b.keep(last, b.availability(), offline) // where it cannot, the will says so
	return connected, err
}

// begin publishes all that there is.
func (b *broker) begin(ctx context.Context, s *spool) error {
	topic, events := b.events()
	if err := b.keep(ctx, topic, events); err != nil {
		return err
	}
	if err := b.keep(ctx, b.availability(), online); err != nil {
		return err
	}
	if err := b.showAll(ctx); err != nil {
		return err
	}
	return b.tell(ctx, s)
}

// follow publishes what changes.
func (b *broker) follow(ctx context.Context, s *spool) (err error) {
	every := time.NewTicker(refresh)
	defer every.Stop()
	for err == nil {
		select {
		case <-ctx.Done():
			return nil
		case err = <-b.lost:
		case <-b.wake:
			err = b.showChanged(ctx)
		case <-every.C:
			err = b.showAll(ctx)
		case <-s.wake:
			err = b.tell(ctx, s)
		}
	}
	return err
}

// connect connects within a bounded time, and no longer than ctx.
func (b *broker) connect(ctx context.Context) error {
	o := mqtt.NewClientOptions().AddBroker(b.URL).SetClientID("iotsense-"+rand.Text()[:8]).SetProtocolVersion(4).
		SetAutoReconnect(false).SetConnectTimeout(within).SetWriteTimeout(within).SetUsername(b.Username).
		SetWill(b.availability(), offline, 1, true)
	if b.PasswordFile != "" {
		password, err := secret.Read(b.PasswordFile) // anew, so that it may be changed
		if err != nil {
			return fmt.Errorf("password: %w", err)
		}
		o.SetPassword(password)
	}
	b.lost = make(chan error, 1)
	lost := b.lost
	o.SetConnectionLostHandler(func(_ mqtt.Client, err error) { lost <- err })
	connecting, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	release := func() bool { return false }
	o.SetCustomOpenConnectionFn(func(u *url.URL, _ mqtt.ClientOptions) (net.Conn, error) {
		conn, err := b.dial(connecting, u)
		if err == nil { // what answers CONNECT may never do so
			release = context.AfterFunc(connecting, func() { conn.Close() })
		}
		return conn, err
	})
	b.client = mqtt.NewClient(o)
	t := b.client.Connect()
	t.Wait()
	release()
	return t.Error()
}

// dial opens a connection, with the handshake of TLS where the address wants that.
func (b *broker) dial(ctx context.Context, u *url.URL) (net.Conn, error) {
	port, secure := "1883", u.Scheme == "mqtts"
	if secure {
		port = "8883"
	}
	address := net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port))
	if secure {
		return (&tls.Dialer{Config: b.trust}).DialContext(ctx, "tcp", address)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

// publish returns when the broker has taken a message.
func (b *broker) publish(ctx context.Context, topic string, retain bool, payload []byte) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	t := b.client.Publish(topic, 1, retain, payload)
	select {
	case <-t.Done():
		return t.Error()
	case err := <-b.lost:
		return err
	case <-ctx.Done():
		return fmt.Errorf("publish: %w", ctx.Err())
	}
}

// keep publishes what the broker keeps of a topic, unless the session has done so; text
// as it is, all else as JSON, nil: nothing any more.
func (b *broker) keep(ctx context.Context, topic string, content any) error {
	var payload []byte
	var err error
	switch content := content.(type) {
	case nil:
	case string:
		payload = []byte(content)
	default:
		if payload, err = json.Marshal(content); err != nil {
			return err
		}
	}
	if had, ok := b.last[topic]; ok && had == string(payload) {
		return nil
	}
	if err = b.publish(ctx, topic, true, payload); err == nil {
		b.last[topic] = string(payload)
	}
	return err
}

// tell publishes the events that wait.
func (b *broker) tell(ctx context.Context, s *spool) error {
	for {
		list, number, ok := s.first()
		if !ok {
			return nil
		}
		for i := range list.Notices {
			n := &list.Notices[i]
			payload, err := json.Marshal(happening{n.Event.Event, *n})
			if err == nil {
				err = b.publish(ctx, b.Topic+"/event", false, payload)
			}
			if err != nil {
				return err
			}
		}
		b.counts.sent.Add(1)
		s.done(number)
	}
}

// showChanged shows devices that may be others than they were.
func (b *broker) showChanged(ctx context.Context) error {
	b.mu.Lock()
	dirty := b.dirty
	b.dirty = map[string]bool{}
	b.mu.Unlock()
	if len(dirty) > mostChanged {
		return b.showAll(ctx)
	}
	for name := range dirty {
		var err error
		if d, ok := b.source.Device(name); ok {
			err = b.show(ctx, &d)
		} else {
			err = b.remove(ctx, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// showAll shows all devices, and removes those that there are no longer.
func (b *broker) showAll(ctx context.Context) error {
	gone := maps.Clone(b.published)
	for _, d := range b.source.Devices() {
		delete(gone, d.Device)
		if err := b.show(ctx, &d); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(gone)) {
		if err := b.remove(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// show publishes a device that has a name. One that a network no longer knows keeps what it
// was announced as; one whose operator took the name back has none.
func (b *broker) show(ctx context.Context, d *v1.DeviceVerdict) error {
	was, now := b.published[d.Device], shown{d.ID, namer(d)}
	if was.ID != now.ID || now.Namer == "" && was.Namer == byUser {
		if err := b.remove(ctx, d.Device); err != nil {
			return err
		}
		was = shown{}
	}
	switch {
	case now.Namer == "" && was.Namer == "":
		return nil
	case now.Namer != "":
		if now != was { // before the broker knows of it
			b.published[d.Device] = now
			b.save()
		}
		topics := b.announced(d.Device)
		for i, e := range b.entities(d) {
			if err := b.keep(ctx, topics[i], e); err != nil {
				return err
			}
		}
	}
	c, where := conditions(d)
	if err := b.keep(ctx, b.below(d.Device, "state"), c); err != nil {
		return err
	}
	return b.keep(ctx, b.below(d.Device, "presence"), where)
}

// remove leaves nothing of a device with the broker.
func (b *broker) remove(ctx context.Context, device string) error {
	if b.published[device] == (shown{}) {
		return nil
	}
	for _, topic := range append(b.announced(device), b.below(device, "state"), b.below(device, "presence")) {
		if err := b.keep(ctx, topic, nil); err != nil {
			return err
		}
		delete(b.last, topic)
	}
	delete(b.published, device)
	b.save()
	return nil
}

// load reads what a process before has published.
func (b *broker) load() {
	if b.file == "" {
		return
	}
	text, err := os.ReadFile(b.file)
	if err == nil {
		err = json.Unmarshal(text, &b.published)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.log.Error("devices that were forgotten meanwhile stay with the broker", "error", err)
	}
	if b.published == nil { // it was null
		b.published = map[string]shown{}
	}
}

// save keeps them for the next process.
func (b *broker) save() {
	if b.file == "" {
		return
	}
	err := os.MkdirAll(filepath.Dir(b.file), 0o700)
	if err == nil {
		err = wholefile.Write(b.file, func(w io.Writer) error { return json.NewEncoder(w).Encode(b.published) })
	}
	if err != nil {
		b.log.Error("devices that are forgotten before this can be written stay with the broker", "error", err)
	}
}
