package facts

// This file reads a client's hello of TLS (RFC 8446, section 4.1.2) and DTLS (RFC 6347,
// section 4.2), and makes its JA4.

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
)

func isClientHello(b []byte) bool {
	return len(b) > 5 && b[0] == 22 && b[1] == 3 && b[2] <= 4 && b[5] == 1
}

// hello is what of a client's hello is kept.
type hello struct {
	transport  byte   // as JA4 has it: t TCP, q QUIC, d DTLS
	version    uint16 // the highest offered
	ciphers    []uint16
	extensions []uint16
	algorithms []uint16 // of signatures, in its order
	name       []byte
	protocols  [][]byte // ALPN
}

// tls reads a client's hello, which may be spread over records (RFC 8446, section 5.1).
func (v *voice) tls(b []byte) bool {
	const header = 5 // of a record
	v.joined = v.joined[:0]
	for len(b) > header && b[0] == 22 && b[1] == 3 {
		end := min(len(b), header+int(binary.BigEndian.Uint16(b[3:])))
		v.joined = append(v.joined, b[header:end]...)
		b = b[end:]
	}
	return v.hello('t', v.joined)
}

// Of a DTLS record and the message in it, where their headers end.
const (
	dtlsRecord  = 13
	dtlsMessage = dtlsRecord + 12
)

func isDTLSHello(b []byte) bool {
	return len(b) > dtlsRecord && b[0] == 22 && b[1] == 0xfe && b[2] >= 0xfc && b[dtlsRecord] == 1
}

// dtls reads a client's hello. Of one in several datagrams the first has the beginning.
func (v *voice) dtls(b []byte) bool {
	if v.cut = len(b) < dtlsMessage || b[19]|b[20]|b[21] != 0; v.cut { // the fragment's offset
		return false
	}
	end := min(len(b), dtlsRecord+int(binary.BigEndian.Uint16(b[11:])))
	v.joined = append(append(v.joined[:0], b[dtlsRecord:dtlsRecord+4]...), b[dtlsMessage:max(dtlsMessage, end)]...)
	return v.hello('d', v.joined)
}

// hello reads a client's hello with the header of its message, of which there may be the
// beginning only: then there is a name if it came before the end, and no JA4.
func (v *voice) hello(transport byte, b []byte) bool {
	const header = 4
	if v.cut = len(b) < header; v.cut {
		return false
	}
	size := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	v.cut = len(b)-header < size
	h := hello{transport: transport}
	whole := h.read(b[header:min(len(b), header+size)])
	if len(h.name) > 0 {
		v.say(TLSName, lower(slices.Clone(h.name)))
	}
	if !whole || v.cut {
		return false
	}
	if len(h.protocols) > 0 {
		v.scratch = v.scratch[:0]
		for i, p := range h.protocols {
			if i > 0 {
				v.scratch = append(v.scratch, ',')
			}
			v.scratch = append(v.scratch, p...)
		}
		v.say(TLSALPN, v.scratch)
	}
	v.say(JA4, h.ja4())
	return true
}

// reader takes bytes off the front of a message.
type reader struct {
	b   []byte
	bad bool // there were too few
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.bad, n = true, len(r.b)
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

// vector takes as many bytes as a length of so many bytes before them says.
func (r *reader) vector(width int) []byte {
	n := 0
	for _, c := range r.take(width) {
		n = n<<8 | int(c)
	}
	if r.bad {
		return nil
	}
	return r.take(n)
}

func (r *reader) number() uint16 {
	if b := r.take(2); len(b) == 2 {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// numbers reads numbers of two bytes, those left out that are there to keep servers
// tolerant (GREASE, RFC 8701).
func numbers(b []byte) (list []uint16) {
	for ; len(b) >= 2; b = b[2:] {
		if n := binary.BigEndian.Uint16(b); !isGrease(n) {
			list = append(list, n)
		}
	}
	return list
}

func isGrease(n uint16) bool { return n&0x0f0f == 0x0a0a && n>>8 == n&0xff }

// read reads the body of a hello and reports whether all of it was there.
func (h *hello) read(b []byte) bool {
	r := reader{b: b}
	h.version = r.number()
	r.take(32)
	r.vector(1)
	if h.transport == 'd' {
		r.vector(1) // a cookie
	}
	h.ciphers = numbers(r.vector(2))
	r.vector(1)
	if r.bad || len(r.b) == 0 { // without extensions before TLS 1.2
		return !r.bad
	}
	total := int(r.number())
	whole := !r.bad && len(r.b) >= total
	r.b = r.b[:min(len(r.b), total)]
	for len(r.b) > 0 {
		kind := r.number()
		data := r.vector(2)
		if r.bad {
			return false
		}
		if !isGrease(kind) {
			h.extensions = append(h.extensions, kind)
			h.extension(kind, reader{b: data})
		}
	}
	return whole
}

// Extensions that are looked into.
const (
	extServerName        = 0
	extSignatures        = 13
	extALPN              = 16
	extSupportedVersions = 43
)

func (h *hello) extension(kind uint16, r reader) {
	switch kind {
	case extServerName:
		list := reader{b: r.vector(2)}
		if kind := list.take(1); len(kind) == 1 && kind[0] == 0 { // a host's
			if name := list.vector(2); !list.bad {
				h.name = name
			}
		}
	case extSignatures:
		h.algorithms = numbers(r.vector(2))
	case extALPN:
		for list := (reader{b: r.vector(2)}); len(list.b) > 0 && !list.bad; {
			if p := list.vector(1); !list.bad {
				h.protocols = append(h.protocols, p)
			}
		}
	case extSupportedVersions:
		switch offered := numbers(r.vector(1)); {
		case len(offered) == 0:
		case h.transport == 'd': // DTLS counts down
			h.version = slices.Min(offered)
		default:
			h.version = slices.Max(offered)
		}
	}
}

// versions are how JA4 writes them.
var versions = map[uint16]string{
	0x304: "13", 0x303: "12", 0x302: "11", 0x301: "10", 0x300: "s3", 0x002: "s2", 0xfeff: "d1", 0xfefd: "d2", 0xfefc: "d3",
}

// ja4 is the hello's fingerprint: transport, version, server name, numbers of ciphers and
// extensions, the first protocol; hash of the sorted ciphers; hash of the sorted
// extensions and the signature algorithms. It sorts the hello's.
func (h *hello) ja4() []byte {
	version, ok := versions[h.version]
	if !ok {
		version = "00"
	}
	name := "i"
	if slices.Contains(h.extensions, extServerName) {
		name = "d"
	}
	protocol := "00"
	if len(h.protocols) > 0 && len(h.protocols[0]) > 0 {
		protocol = ends(h.protocols[0])
	}
	f := fmt.Appendf(nil, "%c%s%s%02d%02d%s_", h.transport, version, name, min(99, len(h.ciphers)), min(99, len(h.extensions)), protocol)
	slices.Sort(h.ciphers)
	f = append(appendHash(f, appendList(nil, h.ciphers)), '_')
	others := slices.DeleteFunc(h.extensions, func(e uint16) bool { return e == extServerName || e == extALPN })
	slices.Sort(others)
	text := appendList(nil, others)
	if len(h.algorithms) > 0 {
		text = appendList(append(text, '_'), h.algorithms)
	}
	return appendHash(f, text)
}

// ends are the first and the last character of a protocol's name, of its hex digits if
// one of them is neither letter nor digit.
func ends(protocol []byte) string {
	first, last := protocol[0], protocol[len(protocol)-1]
	if !isAlnum(first) || !isAlnum(last) {
		digits := hex.EncodeToString(protocol)
		first, last = digits[0], digits[len(digits)-1]
	}
	return string([]byte{first, last})
}

func isAlnum(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' }

// appendList appends numbers as four hex digits each, with commas.
func appendList(text []byte, list []uint16) []byte {
	for i, n := range list {
		if i > 0 {
			text = append(text, ',')
		}
		text = hex.AppendEncode(text, []byte{byte(n >> 8), byte(n)})
	}
	return text
}

func appendHash(fingerprint, text []byte) []byte {
	if len(text) == 0 {
		return append(fingerprint, "000000000000"...)
	}
	sum := sha256.Sum256(text)
	return hex.AppendEncode(fingerprint, sum[:6])
}
