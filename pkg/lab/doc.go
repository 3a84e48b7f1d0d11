// Package lab is the project's own device lab: it generates the network traffic
// of a dozen kinds of household device, so that the whole path from packet to
// verdict can be shown, trained and tested without any capture of somebody's home.
//
// In go a kind, the number of a unit, a seed and a length; out comes a [Recording]:
// the Ethernet frames a tap beside that unit would have seen from power-on, with
// their times. Equal arguments give equal bytes. [WriteDataset] writes many of
// them with a manifest, ready for training.
//
//	camera           RTSP and RTP to recorder and phone, mDNS, TLS 1.2 and 1.3
//	smart-plug       XOR protocol on UDP and TCP 9999, TLS 1.2 on 50443
//	light-bulb       CoAP to a directory and from the phone, mDNS
//	hub              mDNS, SSDP, HTTP server, TLS 1.3, CoAP to a lamp in the home
//	thermostat       TLS 1.2, HTTP
//	speaker          mDNS, SSDP, TLS 1.3, HTTP streams
//	motion-sensor    MQTT to a broker at home or in the cloud, HTTP
//	smoke-alarm      CoAP, briefly
//	printer          mDNS, SSDP, WS-Discovery, HTTP, IPP, TLS 1.2
//	weather-station  HTTP uploads, UDP broadcasts
//	television       SSDP, mDNS, HTTP, TLS 1.3
//	vacuum           binary protocol on UDP 8053, MQTT in TLS 1.3
//
// All of them use DHCP, ARP and DNS, nearly all NTP; four speak IPv6 in the home.
//
// The messages are real ones: each is built by a protocol library (DHCP, DNS and
// mDNS, NTP, HTTP and SSDP, MQTT, CoAP) or taken from a live crypto/tls handshake,
// and carried by TCP with true sequence numbers and checksums. What is invented is
// who talks to whom and when: names end in .example (RFC 2606), public addresses
// come from the documentation ranges (RFC 5737), MACs are locally administered.
//
// A unit's identity (MAC, serial, host name, firmware, timer periods) depends on
// kind and number alone; the home around it (subnet, router, phone, servers'
// addresses, time of day) on the seed alone, so units made with one seed live in
// one home; what happens in a capture on all three.
//
// The package never opens a socket and knows nothing of records or models. Its
// kinds share most of their services, yet they are simpler than real devices:
// scores on lab traffic say that the path works, not how well it names real homes.
package lab
