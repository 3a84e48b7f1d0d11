package lab

// This file holds the kinds that offer services to the home or look for them
// there: mDNS and SSDP are most of what they have in common.

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
)

// description is a UPnP device description (UPnP Device Architecture, section 2.3).
func (d *device) description(typ, name, maker, model string) []byte {
	return fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major><minor>0</minor></specVersion>
<URLBase>http://%s/</URLBase><device><deviceType>urn:schemas-upnp-org:device:%s:1</deviceType>
<friendlyName>%s</friendlyName><manufacturer>%s</manufacturer><modelName>%s</modelName>
<serialNumber>%s</serialNumber><UDN>uuid:%s</UDN></device></root>
`, d.ip, typ, name, maker, model, d.serial, d.uuid)
}

// serve is the phone asking the device's own HTTP server.
func (d *device) serve(at time.Duration, port uint16, q ...request) {
	c := d.accept(at, d.home.phone, port)
	for _, r := range q {
		r.host = d.ip.String()
		if port != 80 {
			r.host = fmt.Sprintf("%s:%d", d.ip, port)
		}
		d.http(c, client, d.between(2*time.Millisecond, 30*time.Millisecond), r)
	}
	c.close(client)
}

// hub joins lamps to the home: UPnP and mDNS, an HTTP server for the app, a line
// to the cloud, and CoAP to a lamp beside it.
func hub(d *device) {
	pollEvery := d.period(7*time.Second, 13*time.Second)
	d.hostname = "hub-" + strings.ToLower(d.serial[2:])
	const software = "Linux/4.14 UPnP/1.0 LumenBridge/1.56"
	location := fmt.Sprintf("http://%s:80/description.xml", d.ip)
	agent := "LumenBridge/" + d.firmware
	services := []service{{typ: "_lumen._tcp", instance: "Lumen Hub " + d.serial[5:], port: 443, txt: []string{"bridgeid=" + d.serial, "modelid=LB002"}},
		{typ: "_http._tcp", instance: "Lumen Hub " + d.serial[5:], port: 80}}
	app := "Lumen/6.20 (Android)"

	at := d.boot()
	d.join(at, "224.0.0.251")
	at = d.join(at+d.between(time.Millisecond, 100*time.Millisecond), ssdpGroup)
	at = d.setClock(at, timeServers, 4, 1, true)
	d.report(at, modernTLS, request{method: "POST", host: "bridge.lumen.example", path: "/v1/announce", agent: agent, typ: "application/json",
		body: fmt.Appendf(nil, `{"id":"%s","ip":"%s"}`, d.serial, d.ip), answer: []byte(`{"next":60}`)})
	d.advertise(d.jitter(at), services)
	d.upkeep(d.jitter(at), 40*time.Second, func(at time.Duration) {
		d.notify(at, location, software, "urn:schemas-upnp-org:device:basic:1")
	})
	lamp := d.coap(d.host, d.home.lamp, d.nextPort())
	d.resolve(at, d.home.lamp)
	d.every(d.jitter(at+time.Second), pollEvery, func(at time.Duration) {
		if d.chance(0.2) {
			lamp = d.coap(d.host, d.home.lamp, d.nextPort())
		}
		lamp.exchange(at, coapRequest{code: codes.GET, path: "/light/0", format: message.AppJSON,
			answer: fmt.Appendf(nil, `{"on":%t,"dim":%d}`, d.chance(0.5), d.rng.IntN(255)), status: codes.Content})
	})
	d.used(d.jitter(at+3*time.Second), 12*time.Second, func(at time.Duration) {
		switch d.rng.IntN(3) {
		case 0:
			d.searched(at, "ssdp:all", location, software)
			d.serve(at+d.between(time.Second, 2*time.Second), 80, request{method: "GET", path: "/description.xml", agent: app,
				server: "nginx", typ: "text/xml", answer: d.description("Basic", "Lumen Hub", "Lumen", "LB002")})
		case 1:
			d.browsed(at, services)
		}
		d.serve(at+d.between(2*time.Second, 4*time.Second), 80,
			request{method: "GET", path: "/api/config", agent: app, typ: "application/json", server: "nginx",
				answer: fmt.Appendf(nil, `{"name":"Lumen Hub","bridgeid":"%s","modelid":"LB002","swversion":"%s","mac":"%s"}`, d.serial, d.firmware, d.mac)},
			request{method: "PUT", path: fmt.Sprintf("/api/%x/lights/1/state", d.bytes(16)), agent: app, typ: "application/json", server: "nginx",
				body: fmt.Appendf(nil, `{"on":%t,"bri":%d}`, d.chance(0.5), d.rng.IntN(255)), answer: []byte(`[{"success":{}}]`)})
	})
	d.upkeep(at+d.between(20*time.Second, 40*time.Second), 60*time.Second, func(at time.Duration) { d.setClock(at, timeServers, 4, 1, true) })
}

// speaker looks for players, offers itself to the phone and streams music.
func speaker(d *device) {
	streamEvery := d.period(18*time.Second, 30*time.Second)
	d.hostname = "speaker-" + strings.ToLower(d.serial[3:])
	agent := "Aria/" + d.firmware + " (Linux; armv7l)"
	name := "Aria " + d.serial[4:]
	services := []service{
		{"_ariacast._tcp", name, 8009, []string{"id=" + strings.ReplaceAll(d.uuid, "-", ""), "md=Aria Mini", "ve=05"}},
		{"_spotify-connect._tcp", name, 4070, []string{"CPath=/zc", "VERSION=1.0"}},
	}

	at := d.boot()
	at = d.join(at, "224.0.0.251")
	d.get(at, request{method: "GET", host: connectivity, path: "/generate_204", agent: agent, status: 204, server: "nginx"})
	at = d.setClock(at+d.between(100*time.Millisecond, 900*time.Millisecond), "time.aria.example", 4, 2, true)
	for _, name := range []string{"auth.aria.example", "config.aria.example", "voice.aria.example"} {
		d.report(d.jitter(at), modernTLS, request{method: "POST", host: name, path: "/v3/" + d.uuid, agent: agent, typ: "application/octet-stream",
			body: d.bytes(200 + d.rng.IntN(900)), answer: d.bytes(300 + d.rng.IntN(5000))})
	}
	d.advertise(d.jitter(at), services)
	d.upkeep(d.jitter(at), 20*time.Second, func(at time.Duration) {
		d.search(at, "urn:schemas-upnp-org:device:MediaServer:1", 1+d.rng.IntN(3))
		d.browse(d.jitter(at), "_ariacast._tcp", "_googlecast._tcp")
	})
	voice := d.dialTLS(d.jitter(at), "push.aria.example", 443, modernTLS)
	d.every(d.jitter(at+time.Second), 15*time.Second, func(at time.Duration) {
		voice.wait(at)
		voice.send(client, 0, d.bytes(40))
		voice.send(server, 0, d.bytes(36))
	})
	d.used(at+d.between(4*time.Second, 10*time.Second), streamEvery, func(at time.Duration) {
		d.browsed(at, services)
		d.accept(at+d.between(200*time.Millisecond, time.Second), d.home.phone, 8009).close(client)
		d.get(at+d.between(time.Second, 2*time.Second), request{method: "GET", host: "stream.radio.example", agent: agent,
			path:   fmt.Sprintf("/live/%d.aac", d.rng.IntN(1e5)),
			server: "Icecast 2.4.4", typ: "audio/aac", answer: d.bytes(20000 + d.rng.IntN(60000))})
	})
}

// television looks for media in the home and loads its start page.
func television(d *device) {
	pageEvery := d.period(16*time.Second, 28*time.Second)
	d.hostname = "TV-" + d.serial[3:]
	agent := "Mozilla/5.0 (Linux; TV) Vista/" + d.firmware
	const software = "Linux/4.14 UPnP/1.0 VistaTV/2.1"
	location := fmt.Sprintf("http://%s:7676/smp_2_", d.ip)
	renderer := "urn:schemas-upnp-org:device:MediaRenderer:1"
	services := []service{{"_airplay._tcp", "Vista " + d.serial[4:], 7000, []string{"deviceid=" + d.mac.String(), "model=Vista43", "srcvers=377.40.00"}}}

	at := d.boot()
	d.join(at, "224.0.0.251")
	at = d.join(at+d.between(time.Millisecond, 100*time.Millisecond), ssdpGroup)
	at = d.setClock(at, timeServers, 4, 1, true)
	d.get(at, request{method: "GET", host: "config.vista.example", path: "/tv/43/" + d.firmware + "/services.xml", agent: agent,
		server: "nginx", typ: "text/xml", answer: bytes.Repeat([]byte("<service enabled=\"true\"/>\n"), 60+d.rng.IntN(60))})
	d.advertise(d.jitter(at), services)
	d.upkeep(d.jitter(at), 32*time.Second, func(at time.Duration) { d.notify(at, location, software, renderer) })
	d.used(d.jitter(at), 18*time.Second, func(at time.Duration) {
		d.search(at, "urn:schemas-upnp-org:device:MediaServer:1", 2)
		d.search(at+300*time.Millisecond, "ssdp:all", 1)
	})
	d.used(d.jitter(at+time.Second), pageEvery, func(at time.Duration) {
		for _, name := range []string{"home.vista.example", "ads.vista.example", "img.vista.example"} {
			if d.chance(0.7) {
				d.report(d.jitter(at), modernTLS, request{method: "GET", host: name, path: fmt.Sprintf("/r/%d", d.rng.IntN(1e6)), agent: agent,
					typ: "image/webp", answer: d.bytes(3000 + d.rng.IntN(25000))})
			}
		}
	})
	d.used(at+d.between(5*time.Second, 20*time.Second), 30*time.Second, func(at time.Duration) {
		d.searched(at, renderer, location, software)
		d.serve(at+d.between(time.Second, 2*time.Second), 7676, request{method: "GET", path: "/smp_2_", agent: "DLNADOC/1.50",
			server: software, typ: "text/xml", answer: d.description("MediaRenderer", "Vista 43", "Vista", "Vista43")})
	})
	d.upkeep(at+25*time.Second, 60*time.Second, func(at time.Duration) { d.setClock(at, timeServers, 4, 1, true) })
}

// printer offers itself in every way there is and is asked for its state.
func printer(d *device) {
	d.hostname = "PRN" + d.serial
	name := "Inkwell 3100 [" + d.serial[5:] + "]"
	agent, app := "Inkwell3100/"+d.firmware, "Inkwell Smart/11.2 (Android)"
	txt := []string{"txtvers=1", "qtotal=1", "rp=ipp/print", "ty=Inkwell 3100 series",
		"pdl=application/octet-stream,application/pdf,image/urf", "UUID=" + d.uuid, "Color=T", "Duplex=F"}
	services := []service{{"_ipp._tcp", name, 631, txt}, {"_printer._tcp", name, 515, txt[:4]}, {"_http._tcp", name, 80, nil}, {"_scanner._tcp", name, 8080, txt[:2]}}
	const software = "Linux/3.10 UPnP/1.0 Inkwell/1.0"
	location := fmt.Sprintf("http://%s:80/upnp.xml", d.ip)

	at := d.boot()
	d.join(at, "224.0.0.251")
	d.join(at+d.between(time.Millisecond, 50*time.Millisecond), "224.0.0.252")
	at = d.join(at+d.between(time.Millisecond, 100*time.Millisecond), ssdpGroup)
	d.wsDiscoveryHello(at)
	d.advertise(d.jitter(at), services)
	d.notify(d.jitter(at), location, software, "urn:schemas-upnp-org:device:Printer:1")
	if d.chance(0.5) {
		at = d.setClock(d.jitter(at), timeServers, 4, 1, false)
	}
	d.report(d.jitter(at+time.Second), olderTLS, request{method: "POST", host: "ink.inkwell.example", path: "/supplies", agent: agent,
		body: fmt.Appendf(nil, `<ink sn="%s"><k>%d</k><c>%d</c><m>%d</m><y>%d</y></ink>`,
			d.serial, d.rng.IntN(100), d.rng.IntN(100), d.rng.IntN(100), d.rng.IntN(100)),
		typ: "application/xml", answer: []byte("<ok/>")})
	d.used(d.jitter(at+2*time.Second), d.period(9*time.Second, 16*time.Second), func(at time.Duration) {
		switch d.rng.IntN(4) {
		case 0:
			d.browsed(at, services)
		case 1:
			d.searched(at, "urn:schemas-upnp-org:device:Printer:1", location, software)
			d.serve(at+d.between(time.Second, 2*time.Second), 80, request{method: "GET", path: "/upnp.xml", agent: app,
				server: "Inkwell", typ: "text/xml", answer: d.description("Printer", name, "Inkwell", "3100")})
		case 2:
			rows := strings.Repeat("<p class=\"status\">Ready</p>\n", 20+d.rng.IntN(80))
			d.serve(at, 80, request{method: "GET", path: "/", agent: "Mozilla/5.0 (Android 14; Mobile)", typ: "text/html", server: "Inkwell",
				answer: fmt.Appendf(nil, "<html><head><title>Inkwell 3100</title></head><body>%s</body></html>\n", rows)})
		}
		d.serve(at+d.between(500*time.Millisecond, 3*time.Second), 631, d.ippQuestion(app))
	})
	d.upkeep(at+d.between(15*time.Second, 30*time.Second), 45*time.Second, func(at time.Duration) {
		d.report(at, olderTLS, request{method: "GET", host: "fw.inkwell.example", path: "/3100/latest?v=" + d.firmware, agent: agent,
			typ: "application/xml", answer: []byte("<none/>")})
	})
}

// ippQuestion is Get-Printer-Attributes of IPP 2.0 (RFC 8011) and its answer.
func (d *device) ippQuestion(agent string) request {
	attribute := func(b []byte, tag byte, name, value string) []byte {
		b = append(b, tag, 0, byte(len(name)))
		b = append(b, name...)
		return append(append(b, 0, byte(len(value))), value...)
	}
	start := func(code byte) []byte {
		b := []byte{2, 0, 0, code, 0, 0, 0, byte(1 + d.rng.IntN(200)), 0x01} // version, code, request id, operation attributes
		b = attribute(b, 0x47, "attributes-charset", "utf-8")
		return attribute(b, 0x48, "attributes-natural-language", "en")
	}
	ask := append(attribute(start(0x0b), 0x45, "printer-uri", fmt.Sprintf("ipp://%s/ipp/print", d.ip)), 0x03)
	answer := append(start(0), 0x04)
	answer = attribute(answer, 0x42, "printer-name", "Inkwell 3100 "+d.serial)
	answer = attribute(answer, 0x23, "printer-state", "\x00\x00\x00\x03")
	answer = append(attribute(answer, 0x44, "printer-state-reasons", "none"), 0x03)
	return request{method: "POST", path: "/ipp/print", agent: agent, header: map[string]string{"Content-Type": "application/ipp"},
		body: ask, typ: "application/ipp", server: "Inkwell", answer: answer}
}

// helloForm is WS-Discovery's Hello, for a message number and the device's UUID.
const helloForm = `<?xml version="1.0" encoding="utf-8"?>` +
	`<soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope" ` +
	`xmlns:wsa="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:wsd="http://schemas.xmlsoap.org/ws/2005/04/discovery">` +
	`<soap:Header><wsa:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</wsa:To>` +
	`<wsa:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Hello</wsa:Action>` +
	`<wsa:MessageID>urn:uuid:%08x-0000-1000-8000-%012x</wsa:MessageID></soap:Header>` +
	`<soap:Body><wsd:Hello><wsa:EndpointReference><wsa:Address>urn:uuid:%s</wsa:Address></wsa:EndpointReference>` +
	`<wsd:Types>PrintDeviceType</wsd:Types><wsd:MetadataVersion>1</wsd:MetadataVersion></wsd:Hello></soap:Body></soap:Envelope>`

// wsDiscoveryHello greets the home in WS-Discovery (OASIS WS-DD 1.1, SOAP over UDP).
func (d *device) wsDiscoveryHello(at time.Duration) {
	body := fmt.Appendf(nil, helloForm, d.rng.Uint32(), d.rng.Int64N(1<<48), d.uuid)
	port := d.nextPort()
	for range 2 {
		d.udp(at, d.host, group(ssdpGroup), port, 3702, layers.IPv4{TTL: 1}, body)
		at += d.between(50*time.Millisecond, 250*time.Millisecond)
	}
}
