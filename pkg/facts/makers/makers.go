// Package makers tells who made the network interface that a MAC address belongs to: the
// IEEE's public listing of 24, 28 and 36-bit prefixes (on which it asserts no copyright; of
// June 2026), packed into 254 KB. In goes an address, out comes a maker's name.
package makers

import (
	"bytes"
	"compress/bzip2"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/iotsense/iotsense/pkg/flows"
)

//go:embed makers.bz2
var packed string

// listed is the list that comes along; it takes 0.5 MB from the first question on.
var listed = sync.OnceValue(func() *table {
	data, err := io.ReadAll(bzip2.NewReader(strings.NewReader(packed)))
	if err == nil {
		var t *table
		if t, err = open(data); err == nil {
			return t
		}
	}
	panic(fmt.Sprintf("makers.bz2: %v", err)) // it is part of the program, and a test reads all of it
})

// Of is the maker of the interface with the address mac, without its legal form and
// shortened (see [MaxName]); empty when nobody is listed for it. An address that no maker
// assigned (see [flows.MAC.IsLocal]) has none.
func Of(mac flows.MAC) string {
	if mac.IsLocal() || mac.IsGroup() {
		return ""
	}
	return listed().of(mac)
}

// A packed list is: for each length of widths the number of its prefixes and
// the distances between them in ascending order; the names that several prefixes have,
// each ended by a zero; the name of each prefix in the same order, ended by a zero, or
// two bytes with the top bit set for the place of a name that several have. Numbers are
// unsigned varints.

// widths are the lengths of prefixes in bits.
var widths = [...]int{24, 28, 36}

// step is how many prefixes lie between two whose place is remembered.
const step = 256

// mark is where one of every step prefixes is.
type mark struct {
	prefix         uint64
	distance, name int // where the distance of the next prefix, and this one's name, begin
}

// table is a packed list with what it takes to find a prefix in it.
type table struct {
	data   []byte
	counts [len(widths)]int
	marks  [len(widths)][]mark
	shared []int // where the names of several prefixes begin
}

var errDamaged = errors.New("the list of makers is damaged")

// open checks all of a packed list.
func open(data []byte) (t *table, err error) {
	t = &table{data: data}
	at := 0
	number := func() uint64 {
		v, n := binary.Uvarint(t.data[min(at, len(t.data)):])
		if n <= 0 {
			err, n = errDamaged, 1
		}
		at += n
		return v
	}
	for w := range widths {
		t.counts[w] = int(min(number(), uint64(len(data))))
		prefix := uint64(0)
		for i := 0; i < t.counts[w] && err == nil; i++ {
			prefix += number()
			if i%step == 0 {
				t.marks[w] = append(t.marks[w], mark{prefix: prefix, distance: at})
			}
		}
	}
	for n := number(); n > 0 && err == nil; n-- {
		t.shared = append(t.shared, at)
		at, err = t.after(at)
	}
	for w := range widths {
		for i := 0; i < t.counts[w] && err == nil; i++ {
			if i%step == 0 {
				t.marks[w][i/step].name = at
			}
			at, err = t.after(at)
		}
	}
	if err == nil && at != len(data) {
		err = errDamaged
	}
	return t, err
}

// after is where what follows the name at a place begins.
func (t *table) after(at int) (int, error) {
	if at+1 < len(t.data) && t.data[at]&0x80 != 0 {
		if int(binary.BigEndian.Uint16(t.data[at:])&0x7fff) >= len(t.shared) {
			return at, errDamaged
		}
		return at + 2, nil
	}
	end := bytes.IndexByte(t.data[min(at, len(t.data)):], 0)
	if end < 0 {
		return at, errDamaged
	}
	return at + end + 1, nil
}

// of looks for the longest prefix of mac that is listed.
func (t *table) of(mac flows.MAC) string {
	bits := binary.BigEndian.Uint64(append([]byte{0, 0}, mac[:]...))
	for w := len(widths) - 1; w >= 0; w-- {
		if name, ok := t.find(w, bits>>(48-widths[w])); ok {
			return name
		}
	}
	return ""
}

func (t *table) find(w int, prefix uint64) (string, bool) {
	i, exact := slices.BinarySearchFunc(t.marks[w], prefix, func(m mark, p uint64) int {
		switch {
		case m.prefix < p:
			return -1
		case m.prefix > p:
			return 1
		}
		return 0
	})
	if !exact {
		i--
	}
	if i < 0 {
		return "", false
	}
	m := t.marks[w][i]
	skip, at := 0, m.distance
	for last := min(step, t.counts[w]-i*step) - 1; m.prefix < prefix && skip < last; skip++ {
		d, n := binary.Uvarint(t.data[at:])
		m.prefix, at = m.prefix+d, at+n
	}
	if m.prefix != prefix {
		return "", false
	}
	at = m.name
	for ; skip > 0; skip-- {
		at, _ = t.after(at)
	}
	if t.data[at]&0x80 != 0 {
		at = t.shared[binary.BigEndian.Uint16(t.data[at:])&0x7fff]
	}
	end, _ := t.after(at)
	return string(t.data[at : end-1]), true
}
