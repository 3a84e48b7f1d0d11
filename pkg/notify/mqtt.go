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
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"slices"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/iotsense/iotsense/internal/secret"
	"github.com/iotsense/iotsense/internal/trust"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

const (
	// lastWords is how long the end of a session may take.
	lastWords = time.Second
)

// broker is an outlet to one.
type broker struct {
	MQTT
	connection

	// What follows is run's alone.
	last   map[string]string // what the session has published, by topic
	client mqtt.Client
}

func newBroker(cfg MQTT, file string, source Source, counts *counts, log *slog.Logger) *broker {
	b := &broker{MQTT: cfg, connection: newConnection(mqttKind, cfg.URL, []string{cfg.Topic, cfg.Discovery}, file, source, counts, log)}
	b.screen = b
	return b
}

// run implements outlet.
func (b *broker) run(ctx context.Context, s *spool) { b.stay(ctx, s, b.session) }

// session connects, and tells until ctx ends or the connection is lost.
func (b *broker) session(ctx context.Context, s *spool) (connected bool, err error) {
	ctx, lost := context.WithCancelCause(ctx)
	defer lost(nil)
	if err := b.connect(ctx, lost); err != nil {
		return false, err
	}
	defer b.client.Disconnect(uint(lastWords.Milliseconds()))
	b.last = map[string]string{}
	if err = b.takeBack(ctx); err == nil {
		err = b.greet(ctx)
	}
	if err == nil {
		connected, err = b.converse(ctx, s)
	}
	b.end(context.WithoutCancel(ctx))
	return connected, err
}

// end says that nobody tells any more.
func (b *broker) end(ctx context.Context) {
	if b.leaves.Load() {
		last, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		b.takeAllBack(last)
		return
	}
	last, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	_ = b.keep(last, b.availability(), offline) // where it cannot, the will says so
}

// retire implements screen.
func (b *broker) retire(ctx context.Context, e *exhibition) error {
	at := MQTT{Topic: e.At[0], Discovery: e.At[1]}
	events, _ := at.events()
	topics := []string{events, at.availability()}
	for _, device := range slices.Sorted(maps.Keys(e.Devices)) {
		topics = append(topics, at.shown(device)...)
	}
	for _, topic := range topics {
		if wrongTopic(topic) { // of a file that another wrote
			continue
		}
		if err := b.publish(ctx, topic, true, nil); err != nil {
			return err
		}
	}
	return nil
}

// greet says that the sensor is there, and what events come from.
func (b *broker) greet(ctx context.Context) error {
	topic, events := b.events()
	if err := b.keep(ctx, topic, events); err != nil {
		return err
	}
	return b.keep(ctx, b.availability(), online)
}

// connect connects within a bounded time, and no longer than ctx; lost is told when the
// connection is.
func (b *broker) connect(ctx context.Context, lost context.CancelCauseFunc) error {
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
	trusted, err := trust.Config(b.CAFile) // so may this
	if err != nil {
		return fmt.Errorf("ca_file: %w", err)
	}
	o.SetConnectionLostHandler(func(_ mqtt.Client, err error) { lost(err) })
	connecting, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	release := func() bool { return false }
	o.SetCustomOpenConnectionFn(func(u *url.URL, _ mqtt.ClientOptions) (net.Conn, error) {
		conn, err := b.dial(connecting, u, trusted)
		if err == nil { // what answers CONNECT may never do so
			release = context.AfterFunc(connecting, func() { conn.Close() })
			conn = &bounded{Conn: conn, look: &mqttPackets{}, sent: true}
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
func (b *broker) dial(ctx context.Context, u *url.URL, trusted *tls.Config) (net.Conn, error) {
	port, secure := "1883", u.Scheme == "mqtts"
	if secure {
		port = "8883"
	}
	address := net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port))
	if secure {
		return (&tls.Dialer{Config: trusted}).DialContext(ctx, "tcp", address)
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
	case <-ctx.Done():
		return fmt.Errorf("publish: %w", context.Cause(ctx))
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

// notice implements screen.
func (b *broker) notice(ctx context.Context, n *v1.Notice) error {
	payload, err := json.Marshal(happening{n.Event.Event, *n})
	if err != nil {
		return err
	}
	return b.publish(ctx, b.Topic+"/event", false, payload)
}

// expect implements screen: show decides which devices have a name.
func (b *broker) expect([]v1.DeviceVerdict) bool { return false }

// show publishes a device that has a name. One that a network no longer knows keeps what it
// was announced as; one whose operator took the name back has none.
func (b *broker) show(ctx context.Context, d *v1.DeviceVerdict) error {
	was, now := b.published[d.Device], shown{d.ID, namer(d)}
	if was.ID != now.ID || now.Namer == "" && was.Namer == byUser {
		if err := b.remove(ctx, d.Device); err != nil {
			return err
		}
		if was != (shown{}) {
			b.save()
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
	for _, topic := range b.shown(device) {
		if err := b.keep(ctx, topic, nil); err != nil {
			return err
		}
		delete(b.last, topic)
	}
	delete(b.published, device)
	return nil
}
