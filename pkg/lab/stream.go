package lab

// This file holds what runs over TCP: TLS sessions, HTTP, MQTT and RTSP.

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// channel carries messages over a conversation, in the clear or inside TLS.
type channel interface {
	send(from int, think time.Duration, data []byte)
	wait(until time.Duration) (again bool)
	close(by int)
}

// tlsConn is a conversation inside TLS.
type tlsConn struct {
	*conn
	tls     *tlsSession
	profile tlsProfile
}

// dialTLS opens a conversation and shakes hands; after an error it goes on in
// the clear, which nobody sees: the wire has failed.
func (d *device) dialTLS(at time.Duration, name string, port uint16, p tlsProfile) channel {
	h, at := d.lookup(at, name)
	t := &tlsConn{conn: d.dial(at, h, port), profile: p}
	if !t.shakeHands() {
		return t.conn
	}
	return t
}

func (t *tlsConn) shakeHands() bool {
	s, flights, err := newTLS(t.profile, t.ends[server].fqdn, t.d.certs, t.d.rng)
	if err != nil {
		t.d.fail(err)
		return false
	}
	t.tls = s
	t.carry(flights, t.d.between(2*time.Millisecond, 30*time.Millisecond))
	return true
}

// wait shakes hands anew where the conversation had to be opened again.
func (t *tlsConn) wait(until time.Duration) bool {
	return t.conn.wait(until) && t.shakeHands()
}

func (t *tlsConn) carry(flights []flight, think time.Duration) {
	for _, f := range flights {
		t.conn.send(f.from, think, f.data)
		think = t.d.between(time.Millisecond, 20*time.Millisecond)
	}
}

func (t *tlsConn) send(from int, think time.Duration, data []byte) {
	flights, err := t.tls.write(from, data)
	t.d.fail(err)
	t.carry(flights, think)
}

func (t *tlsConn) close(by int) {
	if !t.profile.cut {
		flights, err := t.tls.close(by)
		t.d.fail(err)
		t.carry(flights, 0)
	}
	t.conn.close(by)
}

// request is one HTTP exchange: what is asked and what comes back.
type request struct {
	method, host, path string
	agent              string
	header             map[string]string // of the request
	body               []byte
	status             int    // of the answer; 0 is 200
	server             string // software that answers
	typ                string // media type of the answer
	answer             []byte
}

// http carries one exchange; asker is the end that asks.
func (d *device) http(c channel, asker int, think time.Duration, q request) {
	path, query, _ := strings.Cut(q.path, "?")
	r := &http.Request{Method: q.method, Host: q.host, URL: &url.URL{Path: path, RawQuery: query}, Header: http.Header{}}
	r.Header.Set("User-Agent", q.agent) // empty: sends none
	for k, v := range q.header {
		r.Header.Set(k, v)
	}
	if len(q.body) > 0 {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(q.body)), int64(len(q.body))
	}
	c.send(asker, think, d.written("HTTP request", r.Write))
	c.send(1-asker, d.between(4*time.Millisecond, 60*time.Millisecond), d.written("HTTP answer", q.response().Write))
}

func (q request) response() *http.Response {
	r := &http.Response{StatusCode: cmp.Or(q.status, http.StatusOK), ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Body: io.NopCloser(bytes.NewReader(q.answer)), ContentLength: int64(len(q.answer))}
	if q.server != "" {
		r.Header.Set("Server", q.server)
	}
	if q.typ != "" {
		r.Header.Set("Content-Type", q.typ)
	}
	return r
}

// get is an HTTP conversation of one exchange with a public server.
func (d *device) get(at time.Duration, q request) {
	h, at := d.lookup(at, q.host)
	c := d.dial(at, h, 80)
	d.http(c, client, d.between(time.Millisecond, 8*time.Millisecond), q)
	c.close(client)
}

// failAs keeps the first error under the name of what was being made, and reports
// whether there is one.
func (d *device) failAs(what string, err error) bool {
	if err != nil {
		d.fail(fmt.Errorf("%s: %w", what, err))
	}
	return err != nil
}

// written is what write writes: a message's wire form.
func (d *device) written(what string, write func(io.Writer) error) []byte {
	var out bytes.Buffer
	d.failAs(what, write(&out))
	return out.Bytes()
}

// mqttPacket is a control packet's wire form (MQTT 3.1.1).
func (d *device) mqttPacket(p packets.ControlPacket) []byte { return d.written("MQTT packet", p.Write) }

// mqtt is a session with a broker. The device is the client.
type mqtt struct {
	d     *device
	c     channel
	next  uint16 // packet identifier
	login func()
}

// wait rests the session, and logs in again where it has to.
func (m *mqtt) wait(until time.Duration) {
	if m.c.wait(until) {
		m.login()
	}
}

// connectMQTT logs in and subscribes to the device's commands.
func (d *device) connectMQTT(c channel, id, user, commands string, keepalive time.Duration) *mqtt {
	m := &mqtt{d: d, c: c}
	m.login = func() {
		m.next = 1
		d.loginMQTT(m, id, user, commands, keepalive)
	}
	m.login()
	return m
}

func (d *device) loginMQTT(m *mqtt, id, user, commands string, keepalive time.Duration) {
	c := m.c
	p := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	p.ProtocolName, p.ProtocolVersion, p.CleanSession = "MQTT", 4, true
	p.ClientIdentifier, p.Keepalive = id, uint16(keepalive/time.Second)
	if user != "" {
		p.UsernameFlag, p.Username, p.PasswordFlag, p.Password = true, user, true, fmt.Appendf(nil, "%x", d.bytes(12))
	}
	c.send(client, d.between(time.Millisecond, 15*time.Millisecond), d.mqttPacket(p))
	c.send(server, d.between(time.Millisecond, 10*time.Millisecond), d.mqttPacket(packets.NewControlPacket(packets.Connack)))

	sub := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	sub.MessageID, sub.Topics, sub.Qoss = m.id(), []string{commands}, []byte{1}
	c.send(client, d.between(2*time.Millisecond, 30*time.Millisecond), d.mqttPacket(sub))
	ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	ack.MessageID, ack.ReturnCodes = sub.MessageID, []byte{1}
	c.send(server, d.between(time.Millisecond, 5*time.Millisecond), d.mqttPacket(ack))
}

func (m *mqtt) id() uint16 {
	m.next++
	return m.next - 1
}

// publish sends a message with quality of service 0 or 1.
func (m *mqtt) publish(think time.Duration, topic string, qos byte, payload string) {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Qos, p.Payload = topic, qos, []byte(payload)
	if qos > 0 {
		p.MessageID = m.id()
	}
	m.c.send(client, think, m.d.mqttPacket(p))
	if qos > 0 {
		ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
		ack.MessageID = p.MessageID
		m.c.send(server, m.d.between(time.Millisecond, 6*time.Millisecond), m.d.mqttPacket(ack))
	}
}

// ping keeps the session alive.
func (m *mqtt) ping(think time.Duration) {
	m.c.send(client, think, m.d.mqttPacket(packets.NewControlPacket(packets.Pingreq)))
	m.c.send(server, m.d.between(time.Millisecond, 6*time.Millisecond), m.d.mqttPacket(packets.NewControlPacket(packets.Pingresp)))
}

// rtsp carries one RTSP 1.0 exchange (RFC 2326) to the device, which is the server.
func (d *device) rtsp(c *conn, seq int, method, uri, agent string, ask, answer []string, body string) {
	text := func(first string, lines []string, body string) []byte {
		head := append([]string{first, fmt.Sprintf("CSeq: %d", seq)}, lines...)
		if body != "" {
			head = append(head, "Content-Type: application/sdp", fmt.Sprintf("Content-Length: %d", len(body)))
		}
		return []byte(strings.Join(head, "\r\n") + "\r\n\r\n" + body)
	}
	c.send(client, d.between(2*time.Millisecond, 20*time.Millisecond),
		text(method+" "+uri+" RTSP/1.0", append([]string{"User-Agent: " + agent}, ask...), ""))
	c.send(server, d.between(3*time.Millisecond, 25*time.Millisecond), text("RTSP/1.0 200 OK", answer, body))
}
