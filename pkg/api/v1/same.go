package v1

// This file tells by what two devices may be one.

import (
	"slices"
	"strings"
)

// Of what a device says of itself, what may tell that it is another one under a new MAC, the
// strongest first.
const (
	SameClientID = "DHCP client identifier"
	SameMDNSName = "mDNS name"
	SameHostName = "host name"
)

// commonNames are those that many devices are given.
var commonNames = []string{
	"localhost", "iphone", "ipad", "ipod", "ipod-touch", "macbook", "macbook-pro", "macbook-air", "imac", "watch", "apple-watch", "android",
	"linux", "debian", "ubuntu", "fedora", "raspberrypi", "openwrt", "espressif", "esp32", "esp8266", "unknown", "none", "null",
}

// distinct is a name as others are compared with it; empty: it tells nobody apart, a number behind
// it neither.
func distinct(name string) string {
	name = strings.ToLower(name)
	host, _, _ := strings.Cut(name, ".")
	if slices.Contains(commonNames, host) || slices.Contains(commonNames, strings.TrimRight(host, "0123456789 -()")) {
		return ""
	}
	return name
}

// Identity is what may tell that a device is another one under a new MAC: one of [SameClientID],
// [SameMDNSName] and [SameHostName], and the value.
type Identity struct{ By, Value string }

// Identities are a device's, the strongest first.
func (d *DeviceVerdict) Identities() (list []Identity) {
	add := func(by, value string) {
		if i := (Identity{by, value}); value != "" && !slices.Contains(list, i) {
			list = append(list, i)
		}
	}
	v4, v6 := d.clientIDs()
	add(SameClientID, v4)
	add(SameClientID, v6)
	for _, mac := range d.MACs { // another MAC's client may go on by it
		if hex := strings.ReplaceAll(mac, ":", ""); len(hex) == 12 {
			add(SameClientID, "01"+hex)
			add(SameClientID, "00030001"+hex)
		}
	}
	add(SameMDNSName, distinct(d.Facts["mdns_host"]))
	add(SameMDNSName, distinct(d.Facts["mdns_name"]))
	add(SameHostName, distinct(d.HostName()))
	return list
}

// clientIDs are those by which the device is a client of DHCP and of DHCPv6, empty where it told
// none; the first of RFC 4361 is a DUID as the second.
func (d *DeviceVerdict) clientIDs() (v4, v6 string) {
	const duidAt = 2 * (1 + 4) // behind type and IAID
	v4, v6 = d.Facts["dhcp_client_id"], d.Facts["dhcp6_client_id"]
	if strings.HasPrefix(v4, "ff") && len(v4) > duidAt {
		v4 = v4[duidAt:]
	}
	return v4, v6
}

// SameBy is by what of their word two devices may be one; empty: by nothing. Two that tell
// DHCP different things are two, whatever they are called.
func (d *DeviceVerdict) SameBy(o *DeviceVerdict) string {
	theirs := o.Identities()
	for _, own := range d.Identities() {
		if own.By != SameClientID && d.OtherClient(o) {
			return ""
		}
		if slices.Contains(theirs, own) {
			return own.By
		}
	}
	return ""
}

// OtherClient reports whether two devices tell DHCP, or DHCPv6, that they are two.
func (d *DeviceVerdict) OtherClient(o *DeviceVerdict) bool {
	v4, v6 := d.clientIDs()
	their4, their6 := o.clientIDs()
	return v4 != "" && their4 != "" && v4 != their4 || v6 != "" && their6 != "" && v6 != their6
}
