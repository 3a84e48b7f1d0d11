package negatives

// This file invents machines: what a device says, in other words and sizes.

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"

	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
)

// leastWord is how many letters in a row are taken to be a word.
const leastWord = 3

// invent adds streams of machines that there are not until there are so many pieces of
// them. From its first flow on, each is none of the classes: half of its words or more,
// always the same ones, are others, half of its payloads are of one class in the packets
// of another, and some of its ports and sizes are new. A chimera's first flow is that of a
// device that the model knows.
func (m *Maker) invent(examples []int, classes [][][]uint32, most int, rng *rand.Rand) ([]int, error) {
	if len(classes) < 2 {
		return examples, nil
	}
	for most > 0 {
		from := m.source("invented")
		machine := newMachine(rng)
		streams := [2][]uint32{}
		for i, at := range rng.Perm(len(classes))[:2] {
			streams[i] = classes[at][rng.IntN(len(classes[at]))]
		}
		first := m.Store.Len()
		for n := range 1 + rng.IntN(mostFlows) {
			row, err := m.flow(machine, streams, rng)
			if err != nil {
				return nil, err
			}
			e := dataset.Example{Step: flows.Step{Number: n, Row: row}, Device: from.Device, Capture: from.Capture}
			if err := m.Store.Add(e, n >= m.First); err != nil {
				return nil, err
			}
		}
		m.Store.End(from.Capture)
		made := m.Store.Len() - first
		for i := range made {
			examples = append(examples, first+i)
		}
		most -= max(1, (made+m.Judged-1)/m.Judged)
	}
	return examples, nil
}

// flow is a flow of the machine, made of one of the first stream and, half of the time,
// the payloads of one of the second, by the same protocol.
func (m *Maker) flow(of *machine, streams [2][]uint32, rng *rand.Rand) (flows.Row, error) {
	var rows [2]flows.Row
	var buffers [2]dataset.Buffer
	for i, s := range streams {
		var err error
		if rows[i], err = m.Store.Row(s[rng.IntN(len(s))], &buffers[i]); err != nil {
			return rows[i], err
		}
	}
	r, said := rows[0], rows[0].Packets
	if rng.IntN(2) == 0 && rows[1].Proto == r.Proto {
		said = rows[1].Packets
	}
	packets := slices.Clone(r.Packets)
	for i := range packets {
		packets[i].Payload = nil
		if i < len(said) {
			packets[i].Payload = of.say(said[i].Payload)
		}
		packets[i].Size = of.size(packets[i].Size)
	}
	r.Packets = packets
	r.RemPort, r.DevPort = of.port(r.RemPort), of.port(r.DevPort)
	return r, nil
}

// machine is an invented one. What it draws for a word, a size or a port is always the
// same.
type machine struct {
	seed    uint64
	letters [26]byte // what it says for each
	strange uint64   // of four words, how many are others
}

func newMachine(rng *rand.Rand) *machine {
	m := &machine{seed: rng.Uint64(), strange: 2 + rng.Uint64N(3)}
	for i, to := range rng.Perm(len(m.letters)) {
		m.letters[i] = byte(to)
	}
	return m
}

// draws is a number that the machine has drawn for a thing.
func (m *machine) draws(thing []byte) uint64 {
	h := fnv.New64a()
	h.Write(thing)
	return rand.New(rand.NewPCG(m.seed, h.Sum64())).Uint64()
}

// say is a payload in the machine's words.
func (m *machine) say(payload []byte) []byte {
	said := slices.Clone(payload)
	for from := 0; from < len(said); {
		to := from
		for to < len(said) && isLetter(said[to]) {
			to++
		}
		if word := said[from:to]; len(word) >= leastWord && m.draws(word)&3 < m.strange {
			for i, c := range word {
				word[i] = c&0xe0 | m.letters[c&0x1f-1] + 1
			}
		}
		from = to + 1
	}
	return said
}

func isLetter(c byte) bool { c |= 0x20; return c >= 'a' && c <= 'z' }

// size is the machine's size for one, in bytes: every second is another.
func (m *machine) size(size uint32) uint32 {
	d := m.draws([]byte{byte(size), byte(size >> 8)})
	if d&1 == 0 {
		return size
	}
	return max(size+uint32(d>>8%64), 72) - 32
}

// port is the machine's port for one: every fourth is another.
func (m *machine) port(port int32) int32 {
	d := m.draws([]byte{byte(port), byte(port >> 8), 0})
	if port == flows.Missing || d&3 != 0 {
		return port
	}
	return 1024 + int32(d>>8%60000)
}
