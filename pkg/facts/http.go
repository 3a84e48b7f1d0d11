package facts

// This file reads heads of HTTP messages (RFC 9112), those that SSDP multicasts, and the
// descriptions that UPnP devices give of themselves.

import (
	"bytes"
)

var methods = [][]byte{
	[]byte("GET "), []byte("POST "), []byte("PUT "), []byte("HEAD "), []byte("OPTIONS "), []byte("DELETE "), []byte("PATCH "),
	[]byte("CONNECT "), []byte("SUBSCRIBE "), []byte("NOTIFY "), []byte("UNSUBSCRIBE "),
}

func isHTTPRequest(b []byte) bool {
	for _, m := range methods {
		if bytes.HasPrefix(b, m) {
			return true
		}
	}
	return false
}

func isHTTPResponse(b []byte) bool { return bytes.HasPrefix(b, []byte("HTTP/1.")) }

// http reads a request or an answer of the device.
func (v *voice) http(b []byte) bool {
	_, rest, found := bytes.Cut(b, []byte("\n"))
	v.cut = !found
	if !found {
		return false
	}
	response := isHTTPResponse(b)
	for {
		key, value, next, more := header(rest)
		if !more {
			v.cut = len(next) == 0 && !bytes.HasSuffix(b, []byte("\n\r\n")) && !bytes.HasSuffix(b, []byte("\n\n"))
			rest = next
			break
		}
		rest = next
		switch {
		case response && is(key, "server"):
			v.say(HTTPServer, value)
		case response && is(key, "www-authenticate"):
			if _, realm, ok := bytes.Cut(value, []byte(`realm="`)); ok {
				realm, _, _ = bytes.Cut(realm, []byte(`"`))
				v.say(HTTPRealm, realm)
			}
		case !response && is(key, "user-agent"):
			v.say(HTTPAgent, value)
		case !response && is(key, "host"):
			v.say(HTTPHost, lower(bytes.Clone(value)))
		}
	}
	if response && isDescription(rest) {
		v.upnp(rest)
	}
	return !v.cut
}

// httpHeard reads what a server says of itself to the device.
func (v *voice) httpHeard(b []byte) bool {
	_, rest, _ := bytes.Cut(b, []byte("\n"))
	for {
		key, value, next, more := header(rest)
		if !more {
			return true
		}
		if rest = next; is(key, "server") {
			v.say(HTTPServer, value)
		}
	}
}

// unitHeaders are those of SSDP that always name a unit, its network or the time.
var unitHeaders = []string{
	"usn", "location", "date", "host", "cache-control", "bootid.upnp.org", "nextbootid.upnp.org", "configid.upnp.org", "content-length",
}

// ssdp reads a message of the Simple Service Discovery Protocol (UPnP Device Architecture
// 2.0, section 1).
func (v *voice) ssdp(b []byte) bool {
	if !bytes.HasPrefix(b, []byte("NOTIFY ")) && !bytes.HasPrefix(b, []byte("M-SEARCH ")) && !isHTTPResponse(b) {
		return false
	}
	target := SSDPOffers // of its line: asked for, or what the device is
	if b[0] == 'M' {
		target = SSDPAsks
	}
	_, rest, _ := bytes.Cut(b, []byte("\n"))
	for {
		key, value, next, more := header(rest)
		if !more {
			return true
		}
		rest = next
		unit := len(value) == 0
		for _, word := range unitHeaders {
			unit = unit || is(key, word)
		}
		switch {
		case unit:
		case is(key, "st") || is(key, "nt"):
			v.say(target, value)
		default:
			v.sayPair(SSDP, string(key), ": ", value)
		}
	}
}

// described are the elements of a description that are kept (section 2.3).
var described = []string{"deviceType", "friendlyName", "manufacturer", "modelDescription", "modelName", "modelNumber"}

func isDescription(b []byte) bool { return bytes.Contains(b, []byte("<modelName>")) }

// upnp reads the first device of a UPnP description.
func (v *voice) upnp(b []byte) bool {
	for _, name := range described {
		if text, _, ok := element(b, name); ok {
			v.sayPair(UPnP, name, ": ", text)
		}
	}
	return true
}
