// Package lab is the project's own device lab: it generates the network traffic
// of a dozen kinds of household device, so that the whole path from packet to
// verdict can be shown, trained and tested without any capture of somebody's home.
//
// In go a kind, the number of a unit, a seed and a length; out comes a [Capture]:
// the Ethernet frames a tap beside that unit would have seen from power-on, with
// their times. Equal arguments give equal bytes. [WriteDataset] writes many of
// them with a manifest, ready for training.
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
