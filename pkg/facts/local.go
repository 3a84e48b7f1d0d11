package facts

// This file reads protocols that devices speak at home: WS-Discovery, MQTT, TP-Link's and
// Tuya's own.

import (
	"bytes"
	"crypto/aes"
	"crypto/md5"
	"encoding/binary"
	"strconv"
	"sync"
)

// wsd reads a message of WS-Discovery (OASIS, 1.1): what it does (Hello, Probe,
// ProbeMatches, ...), with which types and scopes.
func (v *voice) wsd(b []byte) bool {
	action, _, ok := element(b, "Action")
	if !ok {
		return false
	}
	action = bytes.TrimSpace(action[bytes.LastIndexByte(action, '/')+1:])
	for _, name := range []string{"Types", "Scopes"} {
		text, _, ok := element(b, name)
		if !ok {
			continue
		}
		for _, word := range bytes.Fields(text) {
			v.sayPair(WSD, string(action), " ", word)
		}
	}
	return true
}

func isMQTTConnect(b []byte) bool {
	if len(b) < 2 || b[0] != 0x10 {
		return false
	}
	_, n := binary.Uvarint(b[1:])
	if n <= 0 || n > 4 {
		return false
	}
	b = b[1+n:]
	return bytes.HasPrefix(b, []byte("\x00\x04MQTT")) || bytes.HasPrefix(b, []byte("\x00\x06MQIsdp"))
}

// mqtt reads a client's CONNECT (MQTT 3.1.1 and 5.0, section 3.1).
func (v *voice) mqtt(b []byte) bool {
	_, n := binary.Uvarint(b[1:])
	r := reader{b: b[1+n:]}
	protocol := r.vector(2)
	head := r.take(4) // level, flags, two bytes of keep-alive
	if r.bad {
		return false
	}
	v.scratch = strconv.AppendUint(append(append(v.scratch[:0], protocol...), ' '), uint64(head[0]), 10)
	v.say(MQTTProtocol, v.scratch)
	if head[0] >= 5 { // properties
		size, n := binary.Uvarint(r.b)
		if n <= 0 || size > uint64(len(r.b)-n) {
			return false
		}
		r.take(n + int(size))
	}
	client := r.vector(2)
	if r.bad {
		return false
	}
	v.say(MQTTClient, client)
	return true
}

// tplink reads an answer of TP-Link's older smart home protocol: JSON, each byte XORed
// with the one before it as sent, the first with 171.
func (v *voice) tplink(b []byte) bool {
	key := byte(171)
	plain := make([]byte, len(b))
	for i, c := range b {
		plain[i], key = c^key, c
	}
	if len(plain) == 0 || plain[0] != '{' {
		return false
	}
	for _, name := range []string{"model", "dev_name", "type", "mic_type"} {
		if value, ok := jsonText(plain, name); ok {
			v.sayPair(TPLink, name, ": ", value)
		}
	}
	return true
}

// jsonText is the first member of that name that is a string without escapes, in JSON
// that may be cut.
func jsonText(b []byte, name string) ([]byte, bool) {
	_, rest, ok := bytes.Cut(b, []byte(`"`+name+`"`))
	rest = bytes.TrimLeft(rest, " \t\r\n")
	if !ok || len(rest) == 0 || rest[0] != ':' {
		return nil, false
	}
	rest = bytes.TrimLeft(rest[1:], " \t\r\n")
	if len(rest) == 0 || rest[0] != '"' {
		return nil, false
	}
	value, _, ok := bytes.Cut(rest[1:], []byte(`"`))
	return value, ok
}

// tuyaKey is what every Tuya device seals its broadcasts with.
var tuyaKey = sync.OnceValue(func() []byte { sum := md5.Sum([]byte("yGAdlopoPVldABfn")); return sum[:] })

// tuyaFrame is what a Tuya frame holds: after prefix, sequence, command and length an
// answer's return code, and before the checksum and the suffix.
func tuyaFrame(b []byte) ([]byte, bool) {
	const head, tail = 16, 8
	if len(b) < head+tail || string(b[:4]) != "\x00\x00\x55\xaa" {
		return nil, false
	}
	size := binary.BigEndian.Uint32(b[12:])
	if size < tail || int64(size) > int64(len(b)-head) {
		return nil, false
	}
	b = b[head : head+int(size)-tail]
	if len(b) >= 4 && b[0] == 0 && b[1] == 0 && b[2] == 0 {
		b = b[4:]
	}
	return b, true
}

// tuya reads a broadcast in the clear.
func (v *voice) tuya(b []byte) bool {
	b, ok := tuyaFrame(b)
	return ok && v.tuyaText(b)
}

// tuyaSealed reads a broadcast of protocol 3.2 to 3.4: AES-128 in blocks.
func (v *voice) tuyaSealed(b []byte) bool {
	b, ok := tuyaFrame(b)
	if !ok || len(b)%aes.BlockSize != 0 {
		return false
	}
	block, err := aes.NewCipher(tuyaKey())
	if err != nil {
		return false
	}
	plain := make([]byte, len(b))
	for i := 0; i < len(b); i += aes.BlockSize {
		block.Decrypt(plain[i:], b[i:])
	}
	return v.tuyaText(plain)
}

func (v *voice) tuyaText(b []byte) bool {
	if len(b) == 0 || b[0] != '{' {
		return false
	}
	for _, name := range []string{"productKey", "version"} {
		if value, ok := jsonText(b, name); ok {
			v.sayPair(Tuya, name, ": ", value)
		}
	}
	return true
}
