package facts

import (
	"bytes"
	"crypto/cipher"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iotsense/iotsense/pkg/flows"
)

// vectorID and vectorHello are those of RFC 9001 and RFC 9369, appendix A.
var (
	vectorID    = unhex("8394c8f03e515708")
	vectorHello = unhex("060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578616d" +
		"706c652e636f6dff01000100000a00080006001d0017001800100007000504616c706e000500050100000000003300260024001d00209370b2c9caa47fbabaf4559f" +
		"edba753de171fa71f50f1ce15d43e994ec74d748002b0003020304000d0010000e0403050306030203080408050806002d00020101001c0002400100390032040" +
		"8ffffffffffffffff05048000ffff07048000ffff0801100104800075300901100f088394c8f03e51570806048000ffff")
)

// initial seals frames as a client's first packet of 1,200 bytes.
func initial(t testing.TB, q *quicVersion, id, token, frames []byte) []byte {
	t.Helper()
	k, err := q.keys(id)
	if err != nil {
		t.Fatal(err)
	}
	seal, err := cipher.NewGCM(k.key)
	if err != nil {
		t.Fatal(err)
	}
	const number = 4
	head := append([]byte{0xc0 | q.initial<<4 | number - 1, byte(q.number >> 24), byte(q.number >> 16), byte(q.number >> 8), byte(q.number), byte(len(id))}, id...)
	head = append(append(head, 0, byte(len(token))), token...)
	size := 1200 - len(head) - 2
	head = append(head, 0x40|byte(size>>8), byte(size), 0, 0, 0, 2)
	plain := append(bytes.Clone(frames), make([]byte, size-number-seal.Overhead()-len(frames))...)
	nonce := bytes.Clone(k.iv)
	nonce[len(nonce)-1] ^= 2
	b := seal.Seal(bytes.Clone(head), nonce, plain, head)
	var mask [16]byte
	k.header.Encrypt(mask[:], b[len(head):len(head)+16])
	b[0] ^= mask[0] & 0x0f
	for i := range number {
		b[len(head)-number+i] ^= mask[1+i]
	}
	return b
}

// piece is a CRYPTO frame of what a hello has there.
func piece(hello []byte, from, until int) []byte {
	head := []byte{6, 0x40 | byte(from>>8), byte(from), 0x40 | byte((until-from)>>8), byte(until - from)}
	return append(head, hello[from:until]...)
}

// The packets are those of the RFCs' appendices A.2, of which the first and the last 32
// bytes stand here: the last are the proof of all before.
func TestQUICVectors(t *testing.T) {
	for i, want := range [][2]string{
		{"c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11", "e221af44860018ab0856972e194cd934"},
		{"d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485", "a18b2faa745b6fe189cf772a9f84cbfc"},
	} {
		b := initial(t, &quicVersions[i], vectorID, nil, vectorHello)
		if got := hex.EncodeToString(b[:32]); got != want[0] {
			t.Errorf("version %d begins with %s, want %s", i+1, got, want[0])
		}
		if got := hex.EncodeToString(b[len(b)-16:]); got != want[1] {
			t.Errorf("version %d ends with %s, want %s", i+1, got, want[1])
		}
	}
}

func TestQUIC(t *testing.T) {
	v1, v2 := &quicVersions[0], &quicVersions[1]
	vector := []string{"tls_name example.com", "tls_alpn alpn", "ja4 q13d0211an_62ed6f6ca7ad_4d634acda6c0"}
	// What Chrome 152 sends, and an echo service says of it; as long as its key of 1,216 bytes makes it.
	chrome := hello4(t, 0x303, "a.example", []string{"h3"}, "1a1a,0304", "3a3a,1301,1302,1303",
		"002b,002d,0039,0010,000d,0033,0000,ca34,001b,fe0d,44cd,000a", "0201,0401,0403,0501,0503,0601,0804,0805,0806")[5:]
	h3 := []string{"tls_name a.example", "tls_alpn h3", "ja4 q13d0312h3_55b375c5d22e_54c9dd0422dd"}
	name := bytes.Index(chrome, []byte("a.example"))
	mixed := slices.Concat([]byte{1, 0, 0}, piece(chrome, 90, len(chrome)), []byte{1}, piece(chrome, 0, 40), []byte{0}, piece(chrome, 30, 90))
	run(t, []wire{
		{"version 1", protoUDP, 40000, 443, initial(t, v1, vectorID, nil, vectorHello)[:1000], vector},
		{"version 2", protoUDP, 40000, 8443, initial(t, v2, vectorID, nil, vectorHello)[:1000], vector},
		{"pieces", protoUDP, 40000, 443, initial(t, v1, vectorID[:8], []byte("token"), mixed)[:1000], h3},
		{"second piece", protoUDP, 40000, 443, initial(t, v1, vectorID, nil, piece(chrome, 60, len(chrome)))[:1000], h3[:1]},
		{"gap in the name", protoUDP, 40000, 443, initial(t, v1, vectorID, nil, slices.Concat(piece(chrome, 0, name), piece(chrome, name+1, len(chrome))))[:1000], nil},
		{"another version", protoUDP, 40000, 443, append([]byte{0xc0, 0, 0, 0, 3}, initial(t, v1, vectorID, nil, vectorHello)[5:1000]...), nil},
	})
	// The pieces of two packets are put together, of one device's connection, and of the
	// eight that were begun last.
	packet := func(id byte, from, until int) *flows.Sample {
		return sample(protoUDP, 40000, 443, initial(t, v1, append([]byte{id}, vectorID...), nil, piece(chrome, from, until))[:1000])
	}
	for _, tt := range []struct {
		others int
		device string
		want   []string
	}{{0, hue, h3}, {maxQUICHellos - 1, hue, h3}, {maxQUICHellos, hue, nil}, {0, "ip:10.0.0.1", nil}} {
		c := NewCollector(0)
		c.Sample(tt.device, true, 1, packet(0, name, len(chrome)))
		for i := range tt.others {
			c.Sample(hue, true, 1, packet(byte(1+i), 0, name))
		}
		c.Sample(hue, true, 1, packet(0, 0, name))
		if d := cmp.Diff(tt.want, said(c, hue)); d != "" {
			t.Errorf("after a piece of %s and %d others: %s", tt.device, tt.others, d)
		}
	}
	tally := func(want Tally, payload []byte) {
		t.Helper()
		c := NewCollector(0)
		c.Sample(hue, true, 1, sample(protoUDP, 40000, 443, payload))
		if got := c.Tally(QUIC); got != want || len(said(c, hue)) > 0 {
			t.Errorf("tally %+v, want %+v; says %v", got, want, said(c, hue))
		}
	}
	whole := initial(t, v1, vectorID, nil, vectorHello)
	tally(Tally{Cut: 1}, whole[:40])
	tally(Tally{Cut: 1}, whole[:20])
	later := bytes.Clone(whole)
	later[6] ^= 1 // the server's identifier makes no key
	tally(Tally{Read: 1}, later[:1000])
	tally(Tally{Read: 1}, append([]byte{0xc0, 0, 0, 0, 1, 4}, make([]byte, 100)...)) // no client chooses so short a one
	broken := bytes.Clone(vectorHello)
	broken[4+4+2+32] = 200 // a session identifier beyond the message
	tally(Tally{Malformed: 1}, initial(t, v1, vectorID, nil, broken)[:999])
}

// The fingerprint is Wireshark's of the same hello.
func TestDTLS(t *testing.T) {
	hello := hello4(t, 0xfefd, "", nil, "", "c02b,c02f,cca9,cca8,c009,c013,c00a,c014,009c,002f,0035", "000a,0017,000d,000e,000b,ff01",
		"0403,0804,0401,0503,0805,0501,0806,0601,0201")[5:]
	message := func(cookie string, hello []byte, until int) []byte {
		body := slices.Concat(hello[4:4+35], []byte{byte(len(cookie))}, []byte(cookie), hello[4+35:])
		part := body[:min(until, len(body))]
		size := func(b []byte) []byte { return []byte{0, byte(len(b) >> 8), byte(len(b))} }
		b := slices.Concat([]byte{1}, size(body), []byte{0, 0, 0, 0, 0}, size(part), part)
		return slices.Concat([]byte{22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, byte(len(b) >> 8), byte(len(b))}, b)
	}
	newest := hello4(t, 0xfefd, "cam.example", nil, "fefd,fefc", "1301", "0000,002b", "")[5:]
	run(t, []wire{
		{"wireshark's", protoUDP, 40000, 5684, message("", hello, 1000), []string{"ja4 dd2i110600_c45550529adf_279517677189"}},
		{"cookie", protoUDP, 40000, 5684, message(strings.Repeat("c", 20), hello, 1000), []string{"ja4 dd2i110600_c45550529adf_279517677189"}},
		{"version 1.3", protoUDP, 40000, 5684, message("", newest, 1000), []string{"tls_name cam.example", "ja4 dd3d010200_0f2cb44170f4_b9a491fefe05"}},
		{"fragment", protoUDP, 40000, 5684, message("", newest, 66), []string{"tls_name cam.example"}},
	})
	c := NewCollector(0)
	second := message("", newest, 66)
	second[21] = 80 // where the fragment belongs
	c.Sample(hue, true, 1, sample(protoUDP, 40000, 5684, second))
	if d := cmp.Diff([]string(nil), said(c, hue)); d != "" || c.Tally(DTLS).Cut != 1 {
		t.Errorf("of a second fragment: %s, %+v", d, c.Tally(DTLS))
	}
}

func FuzzQUIC(f *testing.F) {
	fuzz(f, []uint16{443}, initial(f, &quicVersions[0], vectorID, nil, vectorHello), initial(f, &quicVersions[1], vectorID, []byte("token"), vectorHello)[:1000])
}

// What an Initial's frames may be is not for a fuzzer to find through encryption.
func FuzzQUICFrames(f *testing.F) {
	f.Add(vectorHello)
	f.Add(slices.Concat([]byte{1}, piece(vectorHello[4:], 9, 20), piece(vectorHello[4:], 0, 9)))
	f.Fuzz(func(t *testing.T, frames []byte) {
		c := NewCollector(0)
		c.Sample(hue, true, 1, sample(protoUDP, 40000, 443, initial(t, &quicVersions[0], vectorID, nil, frames[:min(len(frames), 900)])[:1000]))
		check(t, c.Of(hue))
	})
}

func FuzzDTLS(f *testing.F) {
	fuzz(f, []uint16{5684}, unhex("16feff000000000000000000490100003d000000000000003dfefd"+strings.Repeat("00", 32)+"0000"+"0002c02b01000013"+"0000000800060000036162630017000000000000"))
}

// The cost of one connection's first packet.
func BenchmarkQUIC(b *testing.B) {
	payload := initial(b, &quicVersions[0], vectorID, nil, vectorHello)[:1000]
	c := NewCollector(0)
	s := sample(protoUDP, 40000, 443, payload)
	b.ReportAllocs()
	for b.Loop() {
		c.Sample(hue, true, 1, s)
	}
}
