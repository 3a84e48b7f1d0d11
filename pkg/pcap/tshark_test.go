package pcap

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/internal/testenv"
)

// An outsider's opinion: tshark reads the same packets out of each file, at the same
// times and lengths.
func TestTshark(t *testing.T) {
	path := filepath.Join(t.TempDir(), "capture") // it reads not every kind from a pipe
	tshark := testenv.Tool(t, "tshark")
	frame := packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: packet.UDPProto}, packet.UDP(123, 123, packet.Payload(48))))
	n := uint32(len(frame))
	classic := []entry{{1_650_000_000, 1, n, n, frame}, {1_650_000_001, 999_999, n - 8, n, frame[:n-8]}, {1_650_000_000, 5, n, n, frame}}
	lengths := slices.Clone(classic) // as before version 2.3
	for i := range lengths {
		lengths[i].captured, lengths[i].length = lengths[i].length, lengths[i].captured
	}
	files := map[string][]byte{
		"pcap":     classicFile(be, 0xa1b2c3d4, 2, 4, 0, classic...),
		"nanos":    classicFile(le, 0xa1b23c4d, 2, 4, 0, classic...),
		"modified": classicFile(le, 0xa1b2cd34, 2, 4, 8, classic...),
		"opposite": classicFile(be, 0xa1b2cd34, 2, 4, 8, classic...),
		"2.3":      classicFile(le, 0xa1b2c3d4, 2, 3, 0, classic...),
		"2.3 swap": classicFile(le, 0xa1b2c3d4, 2, 3, 0, lengths...),
		"2.1":      classicFile(be, 0xa1b2c3d4, 2, 1, 0, lengths...),
		"statistics": slices.Concat(section(le), iface(le, 0), enhanced(le, 0, 5, int(n), int(n), frame), block(le, 5, words(le, 3, 0, 0)),
			enhanced(le, 0, 6, int(n), int(n), frame)),
		"sections": slices.Concat(section(le), iface(le, 0), enhanced(le, 0, 5, int(n), int(n), frame), section(be), iface(be, 0, option(be, 9, []byte{3})),
			enhanced(be, 0, 6_007, int(n), int(n), frame)),
	}
	for _, e := range []uint8{0, 1, 3, 6, 9, 0x80, 0x81, 0x8a, 0x94, 0x9d, 0xa0} {
		var blocks []byte
		for _, eighths := range []uint64{0, 1, 5, 8, 15} {
			unit := uint64(1)
			for range e & 0x7f {
				unit *= map[bool]uint64{true: 2, false: 10}[e&0x80 != 0]
			}
			blocks = append(blocks, enhanced(le, 0, 1_650_000_000*unit+eighths*unit/8, int(n), int(n), frame)...)
		}
		files[fmt.Sprintf("resolution %#x", e)] = slices.Concat(section(le), iface(le, 0, option(le, 9, []byte{e})), blocks)
	}
	for name, file := range files {
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(tshark, "-n", "-r", path, "-T", "fields", "-e", "frame.time_epoch", "-e", "frame.len", "-e", "frame.cap_len").Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r, err := NewReader(bytes.NewReader(file))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
			p, err := r.Next()
			if err != nil {
				t.Fatalf("%s: packet %d: %v", name, i, err)
			}
			ours := fmt.Sprintf("%d.%09d\t%d\t%d", p.Time.Unix(), p.Time.Nanosecond(), p.Length, len(p.Data))
			if ours != line {
				t.Errorf("%s: packet %d: %s, tshark %s", name, i, ours, line)
			}
		}
		if p, err := r.Next(); err == nil {
			t.Errorf("%s: a packet at %s more than tshark reads", name, strconv.FormatInt(p.Time.UnixNano(), 10))
		}
	}
}
