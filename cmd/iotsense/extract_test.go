package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/dataset"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/identifiers"
)

// extract says what it read that is not as it should be: packets with more bytes than
// were on the wire, a clock set back.
func TestExtractOddities(t *testing.T) {
	var file bytes.Buffer
	put := func(values ...any) {
		for _, v := range values {
			if err := binary.Write(&file, binary.LittleEndian, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	frame := packet.Ethernet(packet.IPv4Type, packet.IPv4(packet.IP{Proto: packet.UDPProto}, packet.UDP(123, 123, packet.Payload(48))))
	n := uint32(len(frame))
	put(uint32(0xa1b2c3d4), uint16(2), uint16(4), [2]uint32{}, uint32(65535), uint32(1))
	for _, seconds := range []uint32{7200, 3600, 3601, 7261} {
		put(seconds, uint32(0), n+3, n, frame, []byte("fcs"))
	}
	path, out := write(t, "set-back.pcap", file.Bytes()), filepath.Join(t.TempDir(), "out.parquet")
	stdout, stderr, status := command(t, "extract", "--json", path, "-o", out)
	var report struct {
		Records  uint64         `json:"records"`
		Overlong uint64         `json:"overlong"`
		SetBack  uint64         `json:"set_back"`
		Packets  v1.PacketStats `json:"packets"`
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || status != 0 {
		t.Fatalf("status %d, %v, %s", status, err, stderr)
	}
	if report.SetBack != 1 || report.Overlong != 4 || report.Records != 3 || report.Packets.Counted != 4 {
		t.Errorf("%s", stdout)
	}
	for _, key := range []string{`"set_back":1`, `"overlong":4`, `"blocks_passed":0`} {
		if !strings.Contains(stdout, key) {
			t.Errorf("no %s in %s", key, stdout)
		}
	}
	if want := "time goes back by a record's life or more: 1 flows begun anew"; !strings.Contains(stderr, want) {
		t.Errorf("%s, want %q in it", stderr, want)
	}
}

// What a directory holds that is not read is said on stderr and counted.
func TestExtractDirectory(t *testing.T) {
	capture, _ := labCapture(t)
	path := write(t, "plug.pcap3", capture)
	for _, name := range []string{"a.txt", "b.txt", "c.txt", "d.txt"} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), name), []byte("a note"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stdout, stderr, status := command(t, "extract", "--json", filepath.Dir(path), "-o", filepath.Join(t.TempDir(), "out.parquet"))
	if status != 0 || !strings.Contains(stdout, `"files_passed":4`) || !strings.Contains(stdout, `"captures":1`) {
		t.Errorf("status %d, %s", status, stdout)
	}
	if !strings.Contains(stderr, "4 passed over: ") || !strings.Contains(stderr, "a.txt (no capture)") || !strings.Contains(stderr, "and 1 more") {
		t.Errorf("%s", stderr)
	}
}

// Records of changed packets score as evaluate scores the changed captures.
func TestExtractChanged(t *testing.T) {
	manifest, dir := labData(t)
	type score struct {
		Windows int
		MacroF1 *float64 `json:"macro_f1"`
		Stress  []struct {
			Change  string
			MacroF1 *float64 `json:"macro_f1"`
		}
	}
	evaluated := func(args ...string) (s score) {
		t.Helper()
		stdout, stderr, status := command(t, append([]string{"evaluate", "--model", "lab", "--no-facts", "--bootstrap", "0", "--json"}, args...)...)
		if err := json.Unmarshal([]byte(stdout), &s); err != nil || status != 0 {
			t.Fatalf("status %d, %v, %s", status, err, stderr)
		}
		return s
	}
	whole := evaluated("--manifest", manifest, "--stress", "--first", "30s")
	for _, row := range whole.Stress {
		records := filepath.Join(dir, row.Change+".parquet")
		mustRun(t, "extract", "--manifest", manifest, "--change", row.Change, "-o", records)
		got := evaluated(records)
		if got.MacroF1 == nil || row.MacroF1 == nil || *got.MacroF1 != *row.MacroF1 {
			t.Errorf("%s: macro-F1 of the records %v, of the captures %v", row.Change, number(got.MacroF1), number(row.MacroF1))
		}
		if row.Change == "first-30s" && got.Windows >= whole.Windows {
			t.Errorf("%s: %d windows of %d", row.Change, got.Windows, whole.Windows)
		}
	}
}

// What is scrubbed is written as it enters a stream of a model that scrubs.
func TestExtractScrubbed(t *testing.T) {
	manifest, dir := labData(t)
	records := filepath.Join(dir, "records.parquet")
	mustRun(t, "extract", "--manifest", manifest, "--scrub", "-o", records)
	read := func(o dataset.Options, as func(*flows.Record) *flows.Record) (tokens [][]int16) {
		t.Helper()
		o.Capture.RecordSpec = flows.DefaultRecordSpec()
		set, err := dataset.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		err = set.Records(t.Context(), func(r flows.LabelledRecord) error {
			tokens = append(tokens, as(r.Record).Tokens(nil, flows.PayloadTokens))
			return nil
		}, func(dataset.CaptureSummary) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		return tokens
	}
	asItIs := func(r *flows.Record) *flows.Record { return r }
	written := read(dataset.Options{Data: []string{records}}, asItIs)
	want := read(dataset.Options{Manifest: manifest}, identifiers.Scrub)
	if !slices.EqualFunc(written, want, slices.Equal) {
		t.Error("not what scrubbing makes of the captures' records")
	}
	if slices.EqualFunc(written, read(dataset.Options{Manifest: manifest}, asItIs), slices.Equal) {
		t.Error("nothing is masked")
	}
	if _, stderr, status := command(t, "extract", records, "--scrub", "-o", filepath.Join(dir, "again.parquet")); status != 2 || !strings.Contains(stderr, "name the captures") {
		t.Errorf("of records: status %d, %s", status, stderr)
	}
}
