package makers

// This file packs a list; only generate.go and tests use it.

import (
	"cmp"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// MaxName is how many bytes a maker's name has at most, unless its first word has more.
const MaxName = 20

// Assignment is a prefix and who has it.
type Assignment struct {
	Bits   int    // 24, 28 or 36
	Prefix uint64 // its value, in the low bits
	Name   string
}

// ReadCSV reads a listing as the IEEE publishes it: a header, then registry, prefix in
// hex digits, name, address. Blocks that the IEEE keeps, to give parts of them away, are
// left out.
func ReadCSV(r io.Reader) (list []Assignment, err error) {
	rows, err := csv.NewReader(r).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read listing: %w", err)
	}
	for _, row := range rows[min(1, len(rows)):] {
		if len(row) < 3 {
			return nil, fmt.Errorf("read listing: %q: want registry, prefix, name", row)
		}
		prefix, err := strconv.ParseUint(row[1], 16, 36)
		if err != nil {
			return nil, fmt.Errorf("read listing: %w", err)
		}
		if row[2] != "IEEE Registration Authority" {
			list = append(list, Assignment{Bits: 4 * len(row[1]), Prefix: prefix, Name: row[2]})
		}
	}
	return list, nil
}

// Pack makes a packed list of one, of which each prefix is taken once; names that differ in case alone
// become the commonest of them.
func Pack(list []Assignment) ([]byte, error) {
	spelled := map[string]int{}
	names := make([]string, len(list))
	for i, a := range list {
		names[i] = shorten(a.Name)
		spelled[names[i]]++
	}
	usual := map[string]string{}
	count := map[string]int{}
	for name, n := range spelled {
		key := strings.ToLower(name)
		count[key] += n
		if best, ok := usual[key]; !ok || n > spelled[best] || n == spelled[best] && name < best {
			usual[key] = name
		}
	}
	var sharing []string
	for key, n := range count {
		if n > 1 {
			sharing = append(sharing, key)
		}
	}
	slices.SortFunc(sharing, func(a, b string) int { return cmp.Or(count[b]-count[a], strings.Compare(a, b)) })
	if len(sharing) > 0x7fff {
		return nil, fmt.Errorf("%d names of several prefixes, at most %d fit", len(sharing), 0x7fff)
	}
	place := map[string]int{}
	var shared, single []byte
	for i, key := range sharing {
		place[key] = i
		shared = append(append(shared, usual[key]...), 0)
	}
	var out []byte
	for _, bits := range widths {
		at := map[uint64]string{}
		for i, a := range list {
			if a.Bits == bits {
				at[a.Prefix] = strings.ToLower(names[i])
			}
		}
		prefixes := make([]uint64, 0, len(at))
		for p := range at {
			prefixes = append(prefixes, p)
		}
		slices.Sort(prefixes)
		out = binary.AppendUvarint(out, uint64(len(prefixes)))
		last := uint64(0)
		for _, p := range prefixes {
			out = binary.AppendUvarint(out, p-last)
			last = p
			if i, ok := place[at[p]]; ok {
				single = binary.BigEndian.AppendUint16(single, 0x8000|uint16(i))
			} else {
				single = append(append(single, usual[at[p]]...), 0)
			}
		}
	}
	out = binary.AppendUvarint(out, uint64(len(sharing)))
	return slices.Concat(out, shared, single), nil
}

// Words that say nothing of who a maker is: legal forms and branches at the end of a
// name, cities at its begin.
var (
	endings = set(`a/s ab ag and aps as bv bvba co comm communication communications company corp corporation corporate cv de
		development electronic electronics enterprise enterprises equipment gmbh group gp holding holdings inc incorporated
		industrial industries industry information int'l international kft kg kk lda limited llc llp lp ltd ltda manufacturing
		mbh mfg nv of ohg oy oyj pl plc private ptd pte pty pvt pvtltd sa sae sarl sas science sdn bhd sl slu solution solutions
		sp spa spol sprl srl sro sw system systems tech technologies technology telecom the trading und zoo
		& -`)
	cities = set(`beijing chengdu chongqing dongguan fujian guangdong guangzhou hangzhou hefei hunan jiangsu nanjing ningbo qingdao
		shanghai shenzhen sichuan suzhou the wuhan xiamen zhejiang zhuhai`)
)

func set(words string) map[string]bool {
	s := map[string]bool{}
	for _, w := range strings.Fields(words) {
		s[w] = true
	}
	return s
}

// shorten leaves of a maker's name what tells it from others.
func shorten(name string) string {
	for open := strings.IndexByte(name, '('); open > 0; open = strings.IndexByte(name, '(') {
		end := strings.IndexByte(name[open:], ')')
		if end < 0 {
			break
		}
		name = name[:open] + " " + name[open+end+1:]
	}
	words := strings.FieldsFunc(name, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune(",;，\"", r)
	})
	bare := func(w string) string { return strings.ToLower(strings.ReplaceAll(w, ".", "")) }
	for len(words) > 1 && (endings[bare(words[len(words)-1])] || bare(words[len(words)-1]) == "") {
		words = words[:len(words)-1]
	}
	for len(words) > 1 && cities[bare(words[0])] {
		words = words[1:]
	}
	short := ""
	for i, w := range words {
		if i > 0 && len(short)+1+len(w) > MaxName {
			break
		}
		short = strings.TrimLeft(short+" "+w, " ")
	}
	// The first byte of a name tells it from a place among the shared ones.
	return strings.TrimLeftFunc(strings.Trim(short, " ."), func(r rune) bool { return r >= 0x80 })
}
