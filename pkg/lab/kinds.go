package lab

// This file holds the table of kinds and what those do that offer no service to the home at large.
// To add a kind: a row here and a function that plays it.

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
)

// DHCP parameter request lists (RFC 2132 option numbers) of common clients.
var (
	udhcpc = []uint8{1, 3, 6, 12, 15, 28, 42}
	dhcpcd = []uint8{1, 121, 33, 3, 6, 12, 15, 26, 28, 42, 51, 54, 58, 59, 119}
	short  = []uint8{1, 3, 28, 6}
)

// with is a stack with its DHCP client's marks.
func (s stack) with(vendor string, params []uint8) stack {
	s.dhcpVendor, s.dhcpParams = vendor, params
	return s
}

// kinds is the table of all kinds; labels follow the name column.
func kinds() []kind {
	return []kind{
		{"camera", smallLinux.with("udhcp 1.24.1", udhcpc), camera, habit{"000000244211222234443210", time.Minute, 6 * time.Minute, "fw.camcloud.example", &olderTLS}},
		{"smart-plug", lwip.with("", short), smartPlug, habit{"100000134210111113455432", 20 * time.Second, 3 * time.Minute, "fw.plugcloud.example", &smallTLS}},
		{"light-bulb", lwip.with("", short), lightBulb, habit{"100000243111111124678753", 15 * time.Second, 2 * time.Minute, "fw.lumen.example", nil}},
		{"hub", linux.with("udhcp 1.30.1", udhcpc), hub, habit{"100000244211111124777542", 30 * time.Second, 4 * time.Minute, "fw.lumen.example", &modernTLS}},
		{"thermostat", smallLinux.with("udhcp 1.30.1", udhcpc), thermostat, habit{"000000331000000022321110", 20 * time.Second, 2 * time.Minute, "fw.homecloud.example", &smallTLS}},
		{"speaker", linux.with("dhcpcd-9.4.1:Linux-5.10", dhcpcd), speaker, habit{"100000356322233345665421", 3 * time.Minute, 40 * time.Minute, "fw.aria.example", &modernTLS}},
		{"motion-sensor", lwip.with("", short), motionSensor, habit{"200001367432233467776543", time.Minute, 9 * time.Minute, "fw.homecloud.example", nil}},
		{"smoke-alarm", rtos.with("", short), smokeAlarm, habit{"000000000100000000100000", 15 * time.Second, time.Minute, "fw.safehome.example", nil}},
		{"printer", linux.with("", dhcpcd), printer, habit{"000000013453235432210000", time.Minute, 7 * time.Minute, "fw.inkwell.example", &olderTLS}},
		{"weather-station", rtos.with("", short), weatherStation, habit{"000000331100110012221100", 20 * time.Second, 2 * time.Minute, "fw.wx.example", nil}},
		{"television", linux.with("dhcpcd-6.8.2:Linux-4.14", dhcpcd), television, habit{"100000010001100001246752", 20 * time.Minute, 90 * time.Minute, "fw.vista.example", &modernTLS}},
		{"vacuum", smallLinux.with("udhcp 1.24.1", udhcpc), vacuum, habit{"000000001354321111110000", 15 * time.Minute, 50 * time.Minute, "fw.vacuum.example", &modernTLS}},
	}
}

// TLS libraries that several kinds share.
var (
	modernTLS = tlsProfile{low: tls.VersionTLS12, high: tls.VersionTLS13, groups: []tls.CurveID{tls.X25519, tls.CurveP256}, alpn: []string{"http/1.1"}}
	olderTLS  = tlsProfile{low: tls.VersionTLS12, high: tls.VersionTLS12, groups: []tls.CurveID{tls.CurveP256}, cut: true,
		suites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}}
	smallTLS = tlsProfile{low: tls.VersionTLS12, high: tls.VersionTLS12, groups: []tls.CurveID{tls.X25519},
		suites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}}
)

// Names that kinds of several makers use.
const (
	timeServers  = "pool.ntp.example"
	cloudAPI     = "api.homecloud.example"
	cloudMQTT    = "mqtt.homecloud.example"
	connectivity = "connectivity.example"
)

// report is a TLS conversation of one HTTP exchange with a cloud.
func (d *device) report(at time.Duration, p tlsProfile, q request) {
	c := d.dialTLS(at, q.host, 443, p)
	d.http(c, client, d.between(2*time.Millisecond, 20*time.Millisecond), q)
	c.close(client)
}

// jitter is a moment up to a second after another.
func (d *device) jitter(at time.Duration) time.Duration { return at + d.between(0, time.Second) }

// camera streams video to the home's recorder and the phone, and keeps a line to
// its maker's relay.
func camera(d *device) {
	relayEvery := d.period(12*time.Second, 25*time.Second)
	rate := 8 + d.own.IntN(8)
	d.hostname = "IPCAM-" + d.serial[2:]
	agent := "camd/" + d.firmware
	at := d.join(d.boot(), ssdpGroup)
	at = d.setClock(at, timeServers, 4, 1, false)
	d.report(at, olderTLS, request{method: "POST", host: "api.camcloud.example", path: "/v2/device/online", agent: agent,
		typ: "application/json", body: fmt.Appendf(nil, `{"sn":"%s","fw":"%s","ip":"%s"}`, d.serial, d.firmware, d.ip), answer: []byte(`{"ret":0,"relay":"relay.camcloud.example:443"}`)})

	relay := d.dialTLS(d.jitter(at), "relay.camcloud.example", 443, olderTLS)
	d.every(d.jitter(at), relayEvery, func(at time.Duration) {
		relay.wait(at)
		relay.send(client, d.between(0, 5*time.Millisecond), d.bytes(32))
		relay.send(server, d.between(0, 5*time.Millisecond), d.bytes(24))
	})

	services := []service{{typ: "_rtsp._tcp", instance: d.hostname, port: 554, txt: []string{"path=/live/ch0"}}}
	at = d.advertise(d.jitter(at), services)
	watch := func(at time.Duration, viewer host, agent string, forHow time.Duration) {
		at = d.resolve(at, viewer)
		c := d.accept(at, viewer, 554)
		uri := fmt.Sprintf("rtsp://%s:554/live/ch0", d.ip)
		media := uint16(30000 + 2*d.rng.IntN(9000))
		session := fmt.Sprintf("Session: %08X", d.rng.Uint32())
		d.rtsp(c, 1, "OPTIONS", uri, agent, nil, []string{"Public: OPTIONS, DESCRIBE, SETUP, TEARDOWN, PLAY, GET_PARAMETER"}, "")
		d.rtsp(c, 2, "DESCRIBE", uri, agent, []string{"Accept: application/sdp"}, []string{"Content-Base: " + uri + "/"},
			fmt.Sprintf("v=0\r\no=- %d 1 IN IP4 %s\r\ns=Live\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"+
				"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track1\r\n", d.rng.Uint32(), d.ip))
		d.rtsp(c, 3, "SETUP", uri+"/track1", agent, []string{fmt.Sprintf("Transport: RTP/AVP;unicast;client_port=%d-%d", media, media+1)},
			[]string{session, fmt.Sprintf("Transport: RTP/AVP;unicast;client_port=%d-%d;server_port=6970-6971", media, media+1)}, "")
		d.rtsp(c, 4, "PLAY", uri+"/", agent, []string{session, "Range: npt=0.000-"}, []string{session, "Range: npt=0.000-"}, "")
		until := c.now + forHow
		d.rtp(c.now+d.between(20*time.Millisecond, 90*time.Millisecond), until, viewer, 6970, media, rate)
		c.wait(until)
		d.rtsp(c, 5, "TEARDOWN", uri+"/", agent, []string{session}, []string{session}, "")
		c.close(client)
	}
	if d.chance(0.75) {
		d.after(d.jitter(at+2*time.Second), func(at time.Duration) {
			watch(at, d.home.recorder, "nvr/4.1", d.between(15*time.Second, 40*time.Second))
		})
	}
	if d.chance(0.6) {
		d.visit(d.jitter(at+6*time.Second), func(at time.Duration) {
			d.browsed(at, services)
			watch(at+d.between(time.Second, 3*time.Second), d.home.phone, "CamView/7.3 (Android)", d.between(4*time.Second, 20*time.Second))
		})
	}
	d.used(at+d.between(8*time.Second, 30*time.Second), 48*time.Second, func(at time.Duration) { // motion seen
		picture := 4000 + d.rng.IntN(12000)
		d.report(at, modernTLS, request{method: "PUT", host: "media.camcloud.example", path: fmt.Sprintf("/clip/%s/%d.jpg", d.serial, d.rng.IntN(1e6)),
			agent: agent, typ: "application/json", body: d.bytes(picture), answer: []byte(`{"ret":0}`)})
	})
	d.upkeep(at+20*time.Second, 64*time.Second, func(at time.Duration) { d.setClock(at, timeServers, 4, 1, true) })
}

// smartPlug answers its app in the make's XOR protocol, over UDP and TCP, and
// keeps a line to the maker's cloud.
func smartPlug(d *device) {
	pollEvery := d.period(15*time.Second, 22*time.Second)
	d.hostname = "HP" + d.serial[4:]
	const port = 9999
	info := func(watts float64) string {
		return fmt.Sprintf(`{"system":{"get_sysinfo":{"err_code":0,"sw_ver":"%s","hw_ver":"1.0","type":"IOT.PLUG",`+
			`"mac":"%s","deviceId":"%s","relay_state":%d}},"emeter":{"get_realtime":{"power":%.3f}}}`,
			d.firmware, strings.ToUpper(d.mac.String()), d.uuid, d.rng.IntN(2), watts)
	}
	framed := func(s string) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), autokey(s)...)
	}
	at := d.boot()
	at = d.setClock(at, "time.plugcloud.example", 3, 1+d.rng.IntN(2), false)
	cloud := d.dialTLS(at, "devs.plugcloud.example", 50443, smallTLS)
	cloud.send(client, d.between(3*time.Millisecond, 30*time.Millisecond), framed(info(0)))
	cloud.send(server, d.between(3*time.Millisecond, 30*time.Millisecond), framed(`{"error_code":0}`))
	d.every(at+pollEvery, pollEvery+10*time.Second, func(at time.Duration) {
		cloud.wait(at)
		cloud.send(client, 0, framed(`{"method":"heartbeat"}`))
		cloud.send(server, 0, framed(`{"error_code":0}`))
	})
	d.used(d.jitter(at), pollEvery, func(at time.Duration) { // the app looks for plugs
		from := uint16(32768 + d.rng.IntN(28000))
		d.udp(at, d.home.phone, group("255.255.255.255"), from, port, layers.IPv4{}, autokey(`{"system":{"get_sysinfo":{}},"emeter":{"get_realtime":{}}}`))
		d.udp(at+d.between(3*time.Millisecond, 30*time.Millisecond), d.host, d.home.phone, port, from, layers.IPv4{}, autokey(info(d.rng.Float64()*60)))
		if d.chance(0.45) {
			c := d.accept(at+d.between(100*time.Millisecond, 2*time.Second), d.home.phone, port)
			c.send(client, d.between(time.Millisecond, 9*time.Millisecond), framed(fmt.Sprintf(`{"system":{"set_relay_state":{"state":%d}}}`, d.rng.IntN(2))))
			c.send(server, d.between(5*time.Millisecond, 40*time.Millisecond), framed(`{"system":{"set_relay_state":{"err_code":0}}}`))
			c.close(client)
		}
	})
	d.upkeep(at+d.between(10*time.Second, 20*time.Second), 32*time.Second, func(at time.Duration) {
		d.setClock(at, "time.plugcloud.example", 3, 1, true)
	})
}

// lightBulb registers with a CoAP directory in the cloud and is switched by CoAP
// from the phone.
func lightBulb(d *device) {
	updateEvery := d.period(17*time.Second, 27*time.Second)
	d.hostname = "bulb-" + strings.ToLower(d.serial[4:])
	at := d.join(d.boot(), "224.0.0.251")
	at = d.setClock(at, timeServers, 3, 1, false)
	directory, at := d.lookup(at, "coap.lumen.example")
	f := d.coap(d.host, directory, d.nextPort())
	at = f.exchange(at, coapRequest{code: codes.POST, path: "/rd", query: []string{"ep=" + d.serial, "lt=3600", "b=U"}, format: message.AppLinkFormat,
		payload: []byte(`</light/0>;rt="oma.lwm2m";ct=50,</fw>;rt="lumen.fw"`), status: codes.Created})
	services := []service{{typ: "_coap._udp", instance: d.hostname, port: coapPort, txt: []string{"fw=" + d.firmware}}}
	at = d.advertise(d.jitter(at), services)
	d.every(d.jitter(at), updateEvery, func(at time.Duration) {
		if d.chance(0.3) { // a new binding in the router: another port
			f = d.coap(d.host, directory, d.nextPort())
		}
		f.exchange(at, coapRequest{code: codes.POST, path: "/rd/" + d.serial, query: []string{"st=1"}, format: message.AppJSON,
			payload: fmt.Appendf(nil, `{"on":%t,"dim":%d,"up":%d}`, d.chance(0.5), d.rng.IntN(255), int((at - d.since).Seconds())), status: codes.Changed})
	})
	d.used(d.jitter(at+time.Second), 14*time.Second, func(at time.Duration) {
		if d.chance(0.35) {
			d.browsed(at, services)
		}
		p := d.coap(d.home.phone, d.host, uint16(32768+d.rng.IntN(28000)))
		at = p.exchange(at+d.between(200*time.Millisecond, time.Second), coapRequest{code: codes.GET, path: "/light/0", format: message.AppJSON,
			answer: fmt.Appendf(nil, `{"on":true,"dim":%d,"ct":%d}`, d.rng.IntN(255), 2200+d.rng.IntN(4000)), status: codes.Content})
		p.exchange(at+d.between(50*time.Millisecond, time.Second), coapRequest{code: codes.PUT, path: "/light/0", format: message.AppJSON,
			payload: fmt.Appendf(nil, `{"on":%t,"dim":%d}`, d.chance(0.7), d.rng.IntN(255)), status: codes.Changed})
	})
	d.upkeep(at+15*time.Second, 40*time.Second, func(at time.Duration) { d.setClock(at, timeServers, 3, 1, true) })
}

// thermostat reports to a cloud over TLS and fetches the weather.
func thermostat(d *device) {
	reportEvery := d.period(14*time.Second, 24*time.Second)
	d.hostname = "thermostat-" + strings.ToLower(d.serial[5:])
	agent := "TStat/" + d.firmware
	at := d.boot()
	at = d.setClock(at, timeServers, 4, 2, true)
	d.report(at, smallTLS, request{method: "GET", host: cloudAPI, path: "/v1/devices/" + d.uuid + "/schedule", agent: agent,
		header: map[string]string{"Authorization": fmt.Sprintf("Bearer %x", d.bytes(40))},
		typ:    "application/json", answer: d.bytes(600 + d.rng.IntN(2500))})
	d.every(d.jitter(at), reportEvery, func(at time.Duration) {
		d.report(at, smallTLS, request{method: "POST", host: cloudAPI, path: "/v1/devices/" + d.uuid + "/state", agent: agent, typ: "application/json",
			body:   fmt.Appendf(nil, `{"t":%.1f,"set":%.1f,"rh":%d,"valve":%d}`, 16+d.rng.Float64()*8, 17+d.rng.Float64()*5, 30+d.rng.IntN(40), d.rng.IntN(100)),
			answer: []byte(`{"ok":true}`)})
	})
	d.upkeep(at+d.between(2*time.Second, 12*time.Second), 45*time.Second, func(at time.Duration) {
		hours := base64.StdEncoding.EncodeToString(d.bytes(300 + d.rng.IntN(500)))
		d.get(at, request{method: "GET", host: "weather.homecloud.example", agent: agent,
			path:   fmt.Sprintf("/forecast?lat=%.2f&lon=%.2f", 48+d.rng.Float64(), 11+d.rng.Float64()),
			server: "nginx", typ: "application/json", answer: fmt.Appendf(nil, `{"hours":"%s"}`, hours)})
	})
	d.upkeep(at+d.between(8*time.Second, 20*time.Second), 30*time.Second, func(at time.Duration) { d.setClock(at, timeServers, 4, 1, true) })
}

// motionSensor keeps an MQTT session with a broker, in the cloud or at home,
// depending on the unit.
func motionSensor(d *device) {
	keepalive := d.period(10*time.Second, 20*time.Second).Truncate(time.Second)
	atHome := d.own.IntN(2) == 0
	d.hostname = "ESP_" + d.serial[2:]
	at := d.boot()
	d.get(at, request{method: "GET", host: connectivity, path: "/generate_204", status: 204, server: "nginx"})
	at = d.setClock(at+d.between(200*time.Millisecond, time.Second), timeServers, 4, 1, false)
	topic := "home/motion/" + strings.ToLower(d.serial)
	session := func(at time.Duration) *mqtt {
		broker := d.home.recorder
		if atHome {
			at = d.resolve(at, broker)
		} else {
			broker, at = d.lookup(at, cloudMQTT)
		}
		return d.connectMQTT(d.dial(at, broker, 1883), "motion-"+d.serial, d.serial, topic+"/set", keepalive)
	}
	m := session(at)
	m.publish(d.between(5*time.Millisecond, 50*time.Millisecond), topic+"/status", 1, fmt.Sprintf(`{"fw":"%s","bat":%d}`, d.firmware, 40+d.rng.IntN(60)))
	d.every(at+keepalive, keepalive, func(at time.Duration) {
		if d.chance(0.25) { // slept, lost its session
			m.wait(at)
			m.c.close(client)
			m = session(at + d.between(200*time.Millisecond, 2*time.Second))
			return
		}
		m.wait(at)
		if d.chance(0.6) {
			m.publish(0, topic+"/state", 1, fmt.Sprintf(`{"motion":%t,"lux":%d}`, d.chance(0.5), d.rng.IntN(800)))
		} else {
			m.ping(0)
		}
	})
	d.upkeep(at+d.between(6*time.Second, 15*time.Second), 22*time.Second, func(at time.Duration) {
		if d.chance(0.5) {
			d.get(at, request{method: "GET", host: connectivity, path: "/generate_204", status: 204, server: "nginx"})
			return
		}
		d.setClock(at, timeServers, 4, 1, true)
	})
}

// smokeAlarm wakes, tells its service by CoAP that it lives, and sleeps again.
func smokeAlarm(d *device) {
	wakeEvery := d.period(9*time.Second, 16*time.Second)
	d.hostname = "" // its DHCP client sends none
	at := d.boot()
	at = d.setClock(at, "time.safehome.example", 3, 1, false)
	tell := func(at time.Duration, path, body string) {
		h, at := d.lookup(at, "alarm.safehome.example")
		f := d.coap(d.host, h, d.nextPort())
		f.exchange(at, coapRequest{code: codes.POST, path: path, format: message.AppCBOR, payload: []byte(body), status: codes.Changed})
	}
	tell(at, "/a/register", fmt.Sprintf("\xa2bid%c%sbfw%c%s", 0x60+len(d.serial), d.serial, 0x60+len(d.firmware), d.firmware))
	d.every(d.jitter(at+2*time.Second), wakeEvery, func(at time.Duration) {
		tell(at, "/a/alive", fmt.Sprintf("\xa2bbt\x18%cbco\x18%c", 60+d.rng.IntN(40), 30+d.rng.IntN(9)))
	})
	if d.chance(0.3) { // somebody presses the test button
		d.after(d.jitter(at+20*time.Second), func(at time.Duration) { tell(at, "/a/test", "\xa1ctst\xf5") })
	}
}

// weatherStation uploads its readings by plain HTTP GET and shows them to the
// home by broadcast.
func weatherStation(d *device) {
	uploadEvery := d.period(14*time.Second, 22*time.Second)
	d.hostname = "WX" + d.serial[4:]
	at := d.boot()
	at = d.setClock(at, timeServers, 3, 1, false)
	upload := func(at time.Duration) {
		d.get(at, request{method: "GET", host: "rtupdate.wx.example", server: "Apache", typ: "text/html", answer: []byte("success\n"),
			path: fmt.Sprintf("/weatherstation/updateweatherstation.php?ID=I%s&PASSWORD=%s&tempf=%.1f&humidity=%d&baromin=%.2f"+
				"&windspeedmph=%.1f&winddir=%d&rainin=%.2f&dateutc=now&softwaretype=WX-%s&action=updateraw",
				d.serial[:6], d.uuid[:8], 30+d.rng.Float64()*60, 20+d.rng.IntN(80), 29+d.rng.Float64(),
				d.rng.Float64()*20, d.rng.IntN(360), d.rng.Float64()/10, d.firmware)})
	}
	d.every(d.jitter(at), uploadEvery, upload)
	d.every(d.jitter(at), 20*time.Second, func(at time.Duration) {
		d.udp(at, d.host, group("255.255.255.255"), 59387, 59387, layers.IPv4{}, append([]byte{0xff, 0xff, 0x12, 0, 0x27}, d.beacon(0, 10)[4:]...))
	})
	d.upkeep(at+d.between(9*time.Second, 18*time.Second), 25*time.Second, func(at time.Duration) { d.setClock(at, timeServers, 3, 1, true) })
	if d.chance(0.4) { // an upload to a second service
		d.every(d.jitter(at+5*time.Second), uploadEvery*2, func(at time.Duration) {
			d.get(at, request{method: "POST", host: "data.homecloud.example", path: "/report/", agent: "WX/" + d.firmware, typ: "text/plain",
				body: fmt.Appendf(nil, "PASSKEY=%s&tempinf=%.1f&humidityin=%d", d.uuid, 60+d.rng.Float64()*20, 30+d.rng.IntN(40)), answer: []byte("ok")})
		})
	}
}

// vacuum speaks the lab's binary protocol with its cloud and the phone, and MQTT
// inside TLS.
func vacuum(d *device) {
	beatEvery := d.period(8*time.Second, 15*time.Second)
	d.hostname = "vacuum-" + strings.ToLower(d.serial[4:])
	const port = 8053
	at := d.boot()
	at = d.setClock(at, timeServers, 4, 1, false)
	relay, at := d.lookup(at, "ot.vacuum.example")
	counter := d.rng.Uint32() >> 8
	beat := func(at time.Duration) {
		counter++
		d.udp(at, d.host, relay, port, port, layers.IPv4{}, d.beacon(counter, 0))
		d.udp(at+relay.rtt+d.between(0, 9*time.Millisecond), relay, d.host, port, port, layers.IPv4{}, d.beacon(counter, 0))
	}
	d.every(d.jitter(at), beatEvery, beat)
	id := "vac-" + d.serial
	m := d.connectMQTT(d.dialTLS(d.jitter(at), cloudMQTT, 8883, modernTLS), id, "", "cmd/"+id, time.Minute)
	d.every(d.jitter(at+2*time.Second), d.period(10*time.Second, 18*time.Second), func(at time.Duration) {
		m.wait(at)
		m.publish(0, "state/"+id, 1, fmt.Sprintf(`{"st":%d,"bat":%d,"area":%d}`, d.rng.IntN(8), d.rng.IntN(100), d.rng.IntN(90000)))
	})
	d.used(d.jitter(at+time.Second), 16*time.Second, func(at time.Duration) { // the app asks who is there
		from := uint16(32768 + d.rng.IntN(28000))
		d.udp(at, d.home.phone, d.host, from, port, layers.IPv4{}, d.beacon(0xffffffff, 0))
		d.udp(at+d.between(2*time.Millisecond, 30*time.Millisecond), d.host, d.home.phone, port, from, layers.IPv4{}, d.beacon(counter, 0))
		if d.chance(0.6) {
			d.udp(at+100*time.Millisecond, d.home.phone, d.host, from, port, layers.IPv4{}, d.beacon(counter, 16*(2+d.rng.IntN(4))))
			at += d.between(120*time.Millisecond, 300*time.Millisecond)
			d.udp(at, d.host, d.home.phone, port, from, layers.IPv4{}, d.beacon(counter+1, 16*(3+d.rng.IntN(12))))
		}
	})
	d.used(at+d.between(10*time.Second, 25*time.Second), 50*time.Second, func(at time.Duration) { // a piece of map
		d.report(at, modernTLS, request{method: "PUT", host: "map.vacuum.example", path: "/m/" + d.serial, agent: "vac/" + d.firmware,
			body: d.bytes(1500 + d.rng.IntN(9000)), answer: []byte("{}")})
	})
	d.upkeep(at+d.between(12*time.Second, 20*time.Second), 34*time.Second, func(at time.Duration) { d.setClock(at, timeServers, 4, 1, true) })
}
