package naming

// This file runs other programs, and reads what they say.

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Peer is a program that says something of the devices in a capture.
type Peer struct {
	Name    string // in tables
	Program string // as it is called, or its path
	Install string // how to get it
	// args are those for a capture; out is a file that it may write.
	args func(capture, out string) []string
	// read takes what it printed, and what it wrote.
	read func(printed, written []byte, say func(of, words string))
}

// peerPatience is how long a program may take for a capture.
const peerPatience = 2 * time.Minute

// Peers are the programs that are known, the floor first.
func Peers() []Peer {
	return []Peer{
		{
			Name: "tshark", Program: "tshark", Install: "apt install tshark",
			args: func(capture, _ string) []string {
				return []string{"-n", "-r", capture, "-T", "fields", "-e", "eth.src", "-e", "eth.src.oui_resolved"}
			},
			read: readTshark,
		},
		{
			Name: "ndpi", Program: "ndpiReader", Install: "apt install libndpi-bin",
			args: func(capture, _ string) []string { return []string{"-i", capture, "-v", "2"} },
			read: readNDPI,
		},
		{
			Name: "p0f", Program: "p0f", Install: "apt install p0f",
			args: func(capture, out string) []string { return []string{"-r", capture, "-o", out} },
			read: readP0f,
		},
		{
			Name: "prads", Program: "prads", Install: "apt install prads",
			args: func(capture, out string) []string { return []string{"-r", capture, "-l", out} },
			read: readPrads,
		},
	}
}

// Absent is a peer that is not installed.
type Absent struct {
	Peer    string `json:"peer"`
	Install string `json:"install"` // how to get it
}

// Installed are the peers that can be run, and those that are missing.
func Installed(all []Peer) (have []Peer, missing []Absent) {
	missing = []Absent{}
	for _, p := range all {
		if path, err := exec.LookPath(p.Program); err == nil {
			p.Program = path
			have = append(have, p)
		} else {
			missing = append(missing, Absent{p.Name, p.Install})
		}
	}
	return have, missing
}

// said are the words of a program by MAC or address, each once.
type said map[string][]string

// run has the peer read a capture; what it writes goes into dir.
func (p Peer) run(ctx context.Context, capture, dir string) (said, error) {
	ctx, stop := context.WithTimeout(ctx, peerPatience)
	defer stop()
	out := filepath.Join(dir, p.Name+".out")
	defer os.Remove(out)
	cmd := exec.CommandContext(ctx, p.Program, p.args(capture, out)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "LC_ALL=C")
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	printed, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", p.Name, err, bytes.TrimSpace(complaint.Bytes()[:min(complaint.Len(), 300)]))
	}
	written, err := os.ReadFile(out)
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	words := said{}
	p.read(printed, written, words.say)
	return words, nil
}

func (s said) say(of, words string) {
	if of != "" && words != "" && !slices.Contains(s[of], words) {
		s[of] = append(s[of], words)
	}
}

// of are the words on a device of that name and those addresses.
func (s said) of(name string, addrs map[netip.Addr]bool) (words []string) {
	words = append(words, s[name]...)
	for of, more := range s {
		if addr, err := netip.ParseAddr(of); err == nil && addrs[addr] {
			words = append(words, more...)
		}
	}
	slices.Sort(words)
	return slices.Compact(words)
}

func lines(text []byte, each func(line string)) {
	for line := range strings.Lines(string(text)) {
		each(strings.TrimRight(line, "\r\n"))
	}
}

// makerWords are the words for the maker of a MAC, of whichever program.
func makerWords(name string) string { return "maker=" + name }

// readTshark reads a MAC and its maker from each line; of a frame in a tunnel the outer.
func readTshark(printed, _ []byte, say func(of, words string)) {
	lines(printed, func(line string) {
		mac, maker, _ := strings.Cut(line, "\t")
		mac, _, _ = strings.Cut(mac, ",")
		maker, _, _ = strings.Cut(strings.TrimSpace(maker), ",")
		if maker != "" {
			say(mac, makerWords(maker))
		}
	})
}

var (
	ndpiFlow = regexp.MustCompile(`^\s*\d+\s+\S+ (\[[^\]]*\]|[^\s:]+)(?::\d+)? (?:<->|->) (\[[^\]]*\]|[^\s:]+)(?::\d+)? (.*)`)
	// ndpiSaid are the parts of a flow's line that tell of its client.
	ndpiSaid = regexp.MustCompile(`\[(proto|Hostname/SNI|User-Agent|DHCP Fingerprint|DHCP Class Ident|ServerNames|Subject): ([^\]]*)`)
	// ndpiServes are those that tell of its server.
	ndpiServes = regexp.MustCompile(`\[(Server|ServerNames|Subject): ([^\]]*)`)
)

// readNDPI reads the lines of flows. Client is who sent the first packet.
func readNDPI(printed, _ []byte, say func(of, words string)) {
	lines(printed, func(line string) {
		m := ndpiFlow.FindStringSubmatch(line)
		if m == nil {
			return
		}
		for end, parts := range map[string]*regexp.Regexp{m[1]: ndpiSaid, m[2]: ndpiServes} {
			for _, part := range parts.FindAllStringSubmatch(m[3], -1) {
				say(strings.Trim(end, "[]"), part[1]+"="+strings.TrimSpace(part[2]))
			}
		}
	})
}

// readP0f reads its log: a line for each thing found out, of client or server.
func readP0f(_, written []byte, say func(of, words string)) {
	lines(written, func(line string) {
		fields := map[string]string{}
		for _, f := range strings.Split(line, "|") {
			key, value, _ := strings.Cut(f, "=")
			fields[key] = value
		}
		of, _, _ := strings.Cut(fields[fields["subj"]], "/")
		for _, key := range []string{"os", "app"} {
			if v := fields[key]; v != "" && v != "???" {
				say(of, key+"="+v)
			}
		}
	})
}

var pradsAsset = regexp.MustCompile(`^([^,]+),\d+,\d+,\d+,([^,]+),(.*),\d+,\d+$`)

// readPrads reads its log: address, service, what it is in brackets.
func readPrads(_, written []byte, say func(of, words string)) {
	lines(written, func(line string) {
		if m := pradsAsset.FindStringSubmatch(line); m != nil {
			say(m[1], m[2]+"="+strings.Trim(m[3], "[]"))
		}
	})
}
