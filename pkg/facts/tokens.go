package facts

// This file makes of a device's facts the tokens that a linear model learns.

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/pkg/identifiers"
)

// Tokens are the words of a device's facts as a model reads them, sorted, each once: the
// device's own word alone, in lower case, without what can only be one unit's. There is
// always one that begins with "oui:".
func Tokens(facts []Fact) []string {
	t := make(tokens, 0, 2*len(facts)+1)
	maker := false
	for _, f := range facts {
		maker = maker || f.Kind == Maker || f.Kind == MACKind
		if f.Source != Heard {
			t.fact(f)
		}
	}
	if !maker { // a link without MACs
		t.add("oui:", "none")
	}
	slices.Sort(t)
	return slices.Compact(t)
}

// Tokens are the fact's own, each once; none where another said it.
func (f Fact) Tokens() []string {
	var t tokens
	if f.Source != Heard {
		t.fact(f)
	}
	slices.Sort(t)
	return slices.Compact(t)
}

// MakerToken is the word of a device whose maker is called so, or has the name in its own.
func MakerToken(name string) string {
	return "oui:" + strings.Map(letterOrDigit, strings.ToLower(name))
}

// TellsMaker reports whether a token is of who made the device's MAC.
func TellsMaker(token string) bool {
	return strings.HasPrefix(token, "oui:") && token != "oui:none" && token != "oui:random"
}

type tokens []string

func (t *tokens) add(prefix string, words ...string) {
	for _, w := range words {
		if w != "" {
			*t = append(*t, prefix+w)
		}
	}
}

func (t *tokens) fact(f Fact) {
	value := strings.ToLower(f.Value)
	switch f.Kind {
	case Maker:
		words := strings.Fields(value)
		for i, w := range words { // "D-Link" and "TP-LINK" share no word
			words[i] = strings.Map(letterOrDigit, w)
		}
		t.add("oui:", append(words, strings.Join(words, ""))...)
	case MACKind:
		if value != "random" {
			value = "none"
		}
		t.add("oui:", value)
	case PortTo:
		t.add("to:", value)
	case PortOpen:
		t.add("at:", value)
	case DHCPHost:
		t.add("host:", hostWords(value)...)
	case DHCPClass:
		t.add("class:", words(value)...)
	case DHCPParams:
		t.add("opt55:", value)
	case DNSName:
		t.add("dns:", suffixes(value)...)
	case TLSName:
		t.add("sni:", suffixes(value)...)
	case HTTPHost:
		t.add("http:", suffixes(value)...)
	case MDNSAsks:
		t.add("asks:", identifiers.WithoutUnit(value))
	case MDNSOffers:
		t.add("offers:", identifiers.WithoutUnit(value))
	case SSDPAsks:
		t.add("asks:", words(value)...)
	case SSDPOffers:
		t.add("offers:", words(value)...)
	case MDNSTXT:
		if !strings.HasPrefix(value, "ssid=") {
			t.add("txt:", words(value)...)
		}
	case SSDP:
		t.add("ssdp:", words(value)...)
	case HTTPAgent:
		t.add("agent:", words(value)...)
	case HTTPServer:
		t.add("server:", words(value)...)
	case UPnP:
		if name, text, _ := strings.Cut(value, ": "); strings.HasPrefix(name, "model") {
			t.add("upnp:", words(text)...)
		}
	case TPLink:
		if model, ok := strings.CutPrefix(value, "model: "); ok {
			t.add("tplink:", words(model)...)
		}
	}
}

// letterOrDigit leaves out, as a mapping of [strings.Map], what is neither in ASCII.
func letterOrDigit(r rune) rune {
	if r < 0x80 && isAlnum(byte(r)) {
		return r
	}
	return -1
}

// words are the words of a text in lower case between spaces, commas and semicolons.
func words(text string) []string {
	return strings.FieldsFunc(identifiers.WithoutUnit(text), func(r rune) bool { return strings.ContainsRune(" ,;\"'()", r) })
}

// hostWords are the parts of a host name that begin with letters, with at most four
// digits after them: "hs110" of "HS110-Kitchen". Two to five hex digits are a unit's.
func hostWords(name string) (list []string) {
	name = identifiers.WithoutUnit(name)
	isLetter := func(c byte) bool { return c >= 'a' && c <= 'z' }
	isDigit := func(c byte) bool { return c >= '0' && c <= '9' }
	for _, run := range identifiers.Runs([]byte(name), identifiers.IsAlnum) {
		for len(run) > 0 {
			end := 0
			for end < len(run) && isLetter(run[end]) {
				end++
			}
			letters := end
			for end < len(run) && isDigit(run[end]) {
				end++
			}
			word := string(run[:min(end, letters+4)])
			if run = run[end:]; letters > 0 && !isUnitHex(word) {
				list = append(list, word)
			}
		}
	}
	return list
}

func isUnitHex(word string) bool {
	return len(word) >= 2 && len(word) <= 5 && strings.Trim(word, "0123456789abcdef") == ""
}

// suffixes are a name's last two and last three labels; of an address none.
func suffixes(name string) []string {
	if host, port, ok := strings.Cut(name, ":"); ok && !strings.Contains(port, ":") {
		name = host
	}
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return nil
	}
	labels := strings.Split(strings.Trim(identifiers.WithoutUnit(name), "."), ".")
	var list []string
	for _, n := range []int{2, 3} {
		if n <= len(labels) || n == 2 {
			list = append(list, strings.Join(labels[max(0, len(labels)-n):], "."))
		}
	}
	return list
}
