package makers_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/internal/testpackets"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/facts/makers"
	"github.com/iotsense/iotsense/pkg/flows"
)

// manuf is Wireshark's own list of makers by prefix and its bits.
func manuf(t *testing.T) map[int]map[uint64]string {
	t.Helper()
	text, err := os.ReadFile("/usr/share/wireshark/manuf")
	if errors.Is(err, os.ErrNotExist) { // in newer ones it is compiled in
		text, err = exec.Command(testenv.Tool(t, "tshark"), "-G", "manuf").Output()
	}
	if err != nil {
		t.Fatal(err)
	}
	list := map[int]map[uint64]string{24: {}, 28: {}, 36: {}}
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) < 2 || strings.HasPrefix(line, "#") {
			continue
		}
		prefix, bits, masked := strings.Cut(strings.TrimSpace(fields[0]), "/")
		n := 24
		if masked {
			n, _ = strconv.Atoi(bits)
		}
		digits := (strings.NewReplacer(":", "", "-", "").Replace(prefix) + "000000000000")[:12]
		value, err := strconv.ParseUint(digits, 16, 64)
		if err != nil || list[n] == nil {
			continue
		}
		list[n][value>>(48-n)] = strings.TrimSpace(fields[len(fields)-1])
	}
	if len(list[24]) < 20_000 || len(list[36]) < 1_000 {
		t.Fatalf("%d and %d makers: is it the list?", len(list[24]), len(list[36]))
	}
	return list
}

// devices are the captures of a manifest, and the MACs that it names.
func devices(t *testing.T, dir string) (captures []string, named []flows.MAC) {
	t.Helper()
	list, err := dataset.ReadManifest(filepath.Join(dir, "manifest.csv"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		captures = append(captures, c.Path)
		for _, d := range c.Devices {
			mac, err := flows.ParseMAC(d.Name)
			if err != nil {
				t.Fatal(err)
			}
			named = append(named, mac)
		}
	}
	return captures, named
}

// like reports whether a maker's name is the one that another list has in full: its first
// word is among the other's, which begin with the maker's place in some.
func like(name, full string) bool {
	words := func(s string) []string {
		return strings.Fields(strings.ToLower(strings.NewReplacer("-", "", ".", "", ",", " ").Replace(s)))
	}
	first := words(name)
	return len(first) > 0 && slices.ContainsFunc(words(full), func(w string) bool { return strings.HasPrefix(w, first[0]) })
}

// The maker of a MAC that is not random is the one in another program's list, for the
// devices of all captures and for whoever else sends in them.
func TestMakersAgainstWireshark(t *testing.T) {
	list, named, sent := manuf(t), map[flows.MAC]bool{}, map[flows.MAC]bool{}
	for _, dir := range []string{testenv.Data(t), testenv.Strangers(t)} {
		captures, macs := devices(t, dir)
		for _, mac := range macs {
			named[mac] = true
		}
		for _, path := range captures {
			testpackets.Each(t, path, func(p *flows.Packet) { sent[p.SrcMAC] = true })
		}
	}
	for what, macs := range map[string]map[flows.MAC]bool{"devices": named, "senders": sent} {
		same, silent, random := 0, 0, 0
		var other []string
		for mac := range macs {
			if mac.IsLocal() || mac[0]&1 != 0 {
				random++
				continue
			}
			value := uint64(0)
			for _, b := range mac {
				value = value<<8 | uint64(b)
			}
			want := ""
			for _, bits := range []int{24, 28, 36} {
				if name, ok := list[bits][value>>(48-bits)]; ok {
					want = name
				}
			}
			switch got := makers.Of(mac); {
			case like(got, want) || got == "" && want == "":
				same++
			case got == "":
				silent++
				other = append(other, mac.String()+": none, want "+want)
			default:
				other = append(other, mac.String()+": "+got+", want "+want)
			}
		}
		slices.Sort(other)
		t.Logf("%s: %d of %d as listed, %d without a maker, %d random; others %q", what, same, len(macs)-random, silent, random, other)
		if listed := len(macs) - random; listed < 40 || float64(same) < 0.99*float64(listed) {
			t.Errorf("%s: the makers of %d of %d are as listed, want 99 %%", what, same, listed)
		}
	}
}
