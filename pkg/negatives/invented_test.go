package negatives

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// An invented machine has words of its own, the same ones each time, of the same lengths
// and cases, and leaves what is no word.
func TestInventedWords(t *testing.T) {
	payload := []byte("M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250\r\nserver: Vendor Model \x00\x01\xff ab")
	for seed := range uint64(20) {
		m := newMachine(rand.New(rand.NewPCG(seed, 1)))
		said := m.say(payload)
		if !bytes.Equal(said, m.say(payload)) {
			t.Fatalf("said otherwise the second time: %q", said)
		}
		words, others := 0, 0
		for _, w := range [][2]int{{2, 8}, {11, 15}, {21, 25}, {44, 50}, {52, 58}, {59, 64}} {
			words++
			if !bytes.Equal(said[w[0]:w[1]], payload[w[0]:w[1]]) {
				others++
			}
		}
		for i, c := range payload {
			if isLetter(c) != isLetter(said[i]) || isLetter(c) && c&0x20 != said[i]&0x20 || !isLetter(c) && c != said[i] {
				t.Fatalf("seed %d: %q for %q at %d", seed, said[i], c, i)
			}
		}
		if said[0] != 'M' || !bytes.HasSuffix(said, []byte(" ab")) {
			t.Errorf("seed %d: what is too short for a word is another: %q", seed, said)
		}
		if m.strange == 4 && others != words || others == 0 && m.strange > 2 {
			t.Errorf("seed %d: %d of %d words are others, want %d of 4: %q", seed, others, words, m.strange, said)
		}
	}
}

// Its sizes are those of packets, its ports those of flows that have ports.
func TestInventedNumbers(t *testing.T) {
	m := newMachine(rand.New(rand.NewPCG(1, 1)))
	sizes, ports := 0, 0
	for i := range uint32(1000) {
		size, port := m.size(40+i), m.port(int32(i))
		if size < 40 || size > 40+i+32 || size != m.size(40+i) {
			t.Errorf("size %d for %d", size, 40+i)
		}
		if port != int32(i) && (port < 1024 || port > 65535) || port != m.port(int32(i)) {
			t.Errorf("port %d for %d", port, i)
		}
		if size != 40+i {
			sizes++
		}
		if port != int32(i) {
			ports++
		}
	}
	if sizes < 400 || sizes > 600 || ports < 150 || ports > 350 {
		t.Errorf("of 1000, %d sizes and %d ports are others, want half and a quarter", sizes, ports)
	}
	if m.port(-1) != -1 {
		t.Error("a port where there is none")
	}
}
