package facts

// This file reads the hello in a QUIC client's first packet, an Initial (RFC 9000, section
// 17.2.2): its keys are made of what it says in the clear (RFC 9001, section 5.2; RFC 9369,
// section 3.3). Of a packet that the sample cuts the tag that would prove it is missing, so
// none is looked at: what no client says first is told by its frames. Browsers spread their
// hello over the frames of two packets or three, in any order, to be read by no such reader;
// what the samples have of these is put together.

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// quicVersion is what versions of QUIC differ in here.
type quicVersion struct {
	number  uint32
	initial byte // the type of an Initial
	salt    string
	label   string // before those of the keys
}

var quicVersions = [...]quicVersion{
	{1, 0, "\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a", "quic "},
	{0x6b3343cf, 1, "\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9", "quicv2 "},
}

// initialOf is the version of an Initial; nil for another packet.
func initialOf(b []byte) *quicVersion {
	if len(b) < 5 || b[0]&0xc0 != 0xc0 {
		return nil
	}
	number := binary.BigEndian.Uint32(b[1:])
	for i := range quicVersions {
		if version := &quicVersions[i]; version.number == number && version.initial == b[0]>>4&3 {
			return version
		}
	}
	return nil
}

func isQUICInitial(b []byte) bool { return initialOf(b) != nil }

// quicKeys are those of a client's Initials.
type quicKeys struct {
	key, header cipher.Block
	iv          []byte
}

// expand is HKDF-Expand-Label of TLS 1.3 (RFC 8446, section 7.1) without a context.
func expand(secret []byte, label string, size int) ([]byte, error) {
	label = "tls13 " + label
	return hkdf.Expand(sha256.New, secret, string([]byte{0, byte(size), byte(len(label))})+label+"\x00", size)
}

// keys are made of the connection's identifier that the client chose for the server.
func (q *quicVersion) keys(id []byte) (k quicKeys, err error) {
	const key, iv = 16, 12
	secret, err := hkdf.Extract(sha256.New, id, []byte(q.salt))
	if err != nil {
		return k, err
	}
	if secret, err = expand(secret, "client in", sha256.Size); err != nil {
		return k, err
	}
	var of [3][]byte
	for i, size := range [...]int{key, iv, key} {
		if of[i], err = expand(secret, q.label+[...]string{"key", "iv", "hp"}[i], size); err != nil {
			return k, err
		}
	}
	k.iv = of[1]
	if k.key, err = aes.NewCipher(of[0]); err == nil {
		k.header, err = aes.NewCipher(of[2])
	}
	return k, err
}

// quicHello is what came so far of a hello.
type quicHello struct {
	device, id string
	b          [maxQUICHello]byte
	came       [maxQUICHello]bool
}

const (
	maxQUICHello  = 2560 // with a key of 1,200 bytes and a long name
	maxQUICHellos = 8    // that are put together at a time
)

// quicHellos are those that were begun last.
type quicHellos struct {
	list [maxQUICHellos]*quicHello
	next int
}

// of finds the hello of a device and a connection, or begins it.
func (q *quicHellos) of(device string, id []byte) *quicHello {
	for _, h := range q.list {
		if h != nil && h.id == string(id) && h.device == device {
			return h
		}
	}
	h := q.list[q.next]
	if h == nil {
		h = &quicHello{}
		q.list[q.next] = h
	}
	q.next = (q.next + 1) % maxQUICHellos
	*h = quicHello{device: device, id: string(id)}
	return h
}

// quic reads a client's hello, or a part of it. A later Initial has the server's identifier,
// of which no key can be made, and says nothing.
func (v *voice) quic(b []byte) bool {
	const shortest, longest = 8, 20 // identifiers that a client may choose (RFC 9000, sections 7.2 and 17.2)
	r := reader{b: b[5:]}
	id := r.vector(1)
	r.vector(1) // its own
	r.take(r.varint())
	size := r.varint()
	if r.bad {
		v.cut = true
		return false
	}
	if len(id) < shortest || len(id) > longest {
		return true
	}
	plain, ok := v.open(initialOf(b), id, b[0], r.b[:min(size, len(r.b))])
	if !ok {
		v.cut = true
		return false
	}
	if !eachCrypto(plain, func(int, []byte) {}) {
		return true
	}
	h := v.begun.of(v.device, id)
	eachCrypto(plain, func(at int, piece []byte) {
		at = min(at, maxQUICHello)
		for i := range copy(h.b[at:], piece) {
			h.came[at+i] = true
		}
	})
	return v.pieces(h)
}

// pieces reads a hello as far as it goes without a gap, and its name wherever that is.
func (v *voice) pieces(h *quicHello) bool {
	end := 0
	for end < maxQUICHello && h.came[end] {
		end++
	}
	if end > 0 && h.b[0] != 1 {
		return true
	}
	said := v.said
	whole := v.hello('q', h.b[:end])
	if v.cut && v.said == said {
		if name := h.name(); name != nil {
			v.say(TLSName, lower(bytes.Clone(name)))
		}
	}
	return whole
}

// name looks for the extension that has the server's name (RFC 6066, section 3).
func (h *quicHello) name() []byte {
	const head = 9 // type, lengths of the extension and the list, kind and length of the name
	for i := range maxQUICHello - head {
		b := h.b[i:]
		size := int(binary.BigEndian.Uint16(b[7:]))
		if b[0]|b[1]|b[6] != 0 || size < 3 || size > 255 || head+size > len(b) ||
			int(binary.BigEndian.Uint16(b[2:])) != size+5 || int(binary.BigEndian.Uint16(b[4:])) != size+3 {
			continue
		}
		name := b[head : head+size]
		if !slices.Contains(h.came[i:i+head+size], false) && bytes.IndexByte(name, '.') > 0 && isClean(name) {
			return name
		}
	}
	return nil
}

// open decrypts a packet from its number on; first is its first byte. ok is false when
// there is too little of it.
func (v *voice) open(q *quicVersion, id []byte, first byte, b []byte) (plain []byte, ok bool) {
	const number, block = 4, aes.BlockSize // at most so many bytes of a packet number
	if len(b) < number+block {
		return nil, false
	}
	k, err := q.keys(id)
	if err != nil { // of these sizes there is none
		return nil, false
	}
	var mask [block]byte
	k.header.Encrypt(mask[:], b[number:number+block])
	size := int((first^mask[0])&3) + 1
	nonce := append(k.iv, 0, 0, 0, 2) // GCM counts from 2 (NIST SP 800-38D, section 7.1)
	for i := range size {
		nonce[len(k.iv)-size+i] ^= b[i] ^ mask[1+i]
	}
	v.scratch = append(v.scratch[:0], b[size:]...)
	cipher.NewCTR(k.key, nonce).XORKeyStream(v.scratch, v.scratch)
	return v.scratch, true
}

// eachCrypto gives the pieces of the handshake that a packet has. It reports whether its
// frames are those that a client begins with.
func eachCrypto(b []byte, take func(at int, piece []byte)) bool {
	const padding, ping, crypto = 0, 1, 6
	for r := (reader{b: b}); len(r.b) > 0; {
		switch r.take(1)[0] {
		case padding, ping:
		case crypto:
			at := r.varint()
			take(at, r.take(r.varint()))
		default:
			return false
		}
	}
	return true
}

// varint takes an integer of variable length (RFC 9000, section 16).
func (r *reader) varint() int {
	first := r.take(1)
	if len(first) == 0 {
		return 0
	}
	n := int64(first[0] & 0x3f)
	for _, c := range r.take(1<<(first[0]>>6) - 1) {
		n = n<<8 | int64(c)
	}
	return int(min(n, 1<<30)) // more is more than there can be
}
