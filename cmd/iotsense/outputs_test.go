package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/internal/packet"
	"github.com/iotsense/iotsense/pkg/flows/recordfile"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/embedded"
)

// readHere makes a working directory with what commands read: d/a.pcap of one record,
// manifest.csv that names it, model and labels.
func readHere(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	frame := packet.Ethernet(0x0800, packet.IPv4(packet.IP{Proto: packet.UDPProto}, packet.UDP(40000, 53, []byte("q"))))
	var capture bytes.Buffer
	if err := lab.WritePCAP(&capture, lab.Recording{Frames: []lab.Frame{{Time: time.Unix(1_600_000_000, 0), Data: frame}}}); err != nil {
		t.Fatal(err)
	}
	bundle, err := embedded.Default()
	if err != nil {
		t.Fatal(err)
	}
	var m bytes.Buffer
	if err := bundle.Write(&m); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		os.MkdirAll("report/deep", 0o755), os.Mkdir("d", 0o755), os.WriteFile("d/a.pcap", capture.Bytes(), 0o600),
		os.WriteFile("manifest.csv", []byte("capture,mac,label\nd/a.pcap,02:00:00:00:00:0d,plug\n"), 0o600),
		os.WriteFile("model", m.Bytes(), 0o600), os.WriteFile("labels", []byte("a\nb\n"), 0o600),
		os.Symlink("d/a.pcap", "link"), os.Link("d/a.pcap", "hard"), os.Symlink("../d/a.pcap", "report/evaluate.json"),
		os.Symlink("../manifest.csv", "report/train.json"), os.Symlink("../d/a.pcap", "report/folds.csv"),
		os.Symlink("../../d/a.pcap", "report/deep/x.safetensors"), os.Symlink("d/a.pcap", "page.html"),
	); err != nil {
		t.Fatal(err)
	}
}

// content are the files that commands read.
func content(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, name := range []string{"d/a.pcap", "manifest.csv", "model", "labels"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(text)
	}
	return files
}

// Nothing that is read is written over, under whatever name and by whatever command.
func TestInputsAreNotWritten(t *testing.T) {
	readHere(t)
	before := content(t)
	for _, line := range []string{
		"extract d/a.pcap -o d/a.pcap",
		"extract d/a.pcap -o ./d/../d/a.pcap",
		"extract d/a.pcap -o link",
		"extract hard -o d/a.pcap",
		"extract link -o hard",
		"extract d -o d/a.pcap",
		"extract d -o link",
		"extract --manifest manifest.csv -o manifest.csv",
		"extract --manifest manifest.csv -o d/a.pcap",
		"extract d/a.pcap --model model -o model",
		"train --manifest manifest.csv -o manifest.csv",
		"train --manifest manifest.csv -o hard",
		"train --manifest manifest.csv -o new --checkpoint link",
		"train --manifest manifest.csv -o new --checkpoint new",
		"train --manifest manifest.csv -o new --checkpoint /dev/null",
		"train --manifest manifest.csv -o new --report report",
		"train --manifest manifest.csv -o fresh/train.json --report fresh",
		"evaluate --manifest manifest.csv --report report",
		"evaluate --manifest manifest.csv --predictions hard",
		"evaluate d --strangers manifest.csv --predictions manifest.csv",
		"evaluate --manifest other.csv --strangers manifest.csv --predictions hard",
		"evaluate --manifest manifest.csv --taxonomy labels --predictions labels",
		"train --manifest manifest.csv --taxonomy labels -o labels",
		"crossval --manifest manifest.csv --report report",
		"ablation --manifest manifest.csv --test-split a --split b --report report",
		"strategies d/a.pcap --test-split a --split b --report report",
		"analyze --manifest manifest.csv --report page.html",
		"analyze d --report page.html",
		"model export --onnx --model model -o model",
		"model import model -o model",
		"model import other --like model -o model",
		"model import other --labels labels -o labels",
		"bench inference --model d/a.pcap --dump report",
	} {
		_, stderr, status := command(t, strings.Fields(line)...)
		if status != terminal.ExitUsage && !strings.Contains(stderr, "to be written") || status == 0 || strings.Contains(stderr, "flag provided but not defined") {
			t.Errorf("%s: status %d: %s", line, status, stderr)
		}
		for name, text := range content(t) {
			if text != before[name] {
				t.Fatalf("%s: %s has changed", line, name)
			}
		}
	}
}

// An output in a directory that is read is left out of it, also when it is there already;
// records under another name count once or not at all.
func TestOutputBelowInput(t *testing.T) {
	readHere(t)
	extracted := func(out string) (records uint64, stderr string, status int) {
		stdout, stderr, status := command(t, "extract", "--json", "d", "-o", out)
		var report struct{ Records uint64 }
		if status == 0 {
			if err := json.Unmarshal([]byte(stdout), &report); err != nil {
				t.Fatal(err)
			}
		}
		return report.Records, stderr, status
	}
	for run := range 3 {
		records, stderr, status := extracted("d/out.parquet")
		if records != 1 || status != 0 {
			t.Errorf("run %d: %d records, status %d: %s", run, records, status, stderr)
		}
		if said := strings.Contains(stderr, "d/out.parquet (the output)"); said != (run > 0) {
			t.Errorf("run %d says: %s", run, stderr)
		}
	}
	_, stderr, status := extracted("d/second.parquet")
	if _, err := os.Stat("d/second.parquet"); err == nil || status != terminal.ExitFailed || !strings.Contains(stderr, "d/out.parquet") {
		t.Errorf("beside another's records: status %d, %v: %s", status, err, stderr)
	}
	if _, stderr, status := command(t, "train", "d", "-o", "d/model.safetensors"); status == 0 || !strings.Contains(stderr, "is read too") && !strings.Contains(stderr, "no label") {
		t.Errorf("train: status %d: %s", status, stderr)
	}
}

// A report beside the model that is read for it is no conflict.
func TestReportBesideModel(t *testing.T) {
	readHere(t)
	bundle, err := model.LoadBundle("model")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir("out", 0o755), bundle.Save(filepath.Join("out", "model.safetensors"))); err != nil {
		t.Fatal(err)
	}
	if _, stderr, status := command(t, "evaluate", "--manifest", "manifest.csv", "--model", "out/model.safetensors", "--report", "out"); status != 0 {
		t.Errorf("status %d: %s", status, stderr)
	}
}

// The lab replaces its own data set, not another's manifest.
func TestLabKeepsManifests(t *testing.T) {
	readHere(t)
	before := content(t)
	if _, stderr, status := command(t, "lab", "."); status != terminal.ExitFailed || !strings.Contains(stderr, "manifest.csv") {
		t.Errorf("status %d: %s", status, stderr)
	}
	if content(t)["manifest.csv"] != before["manifest.csv"] {
		t.Error("the manifest has changed")
	}
	for range 2 {
		if _, stderr, status := command(t, "lab", "--units", "2", "--captures", "1", "new"); status != 0 {
			t.Errorf("status %d: %s", status, stderr)
		}
	}
}

// Records on standard output are all that is there.
func TestExtractToStandardOutput(t *testing.T) {
	readHere(t)
	records, stderr, status := command(t, "extract", "d/a.pcap", "-o", "/dev/stdout")
	if err := os.WriteFile("out.parquet", []byte(records), 0o600); err != nil {
		t.Fatal(err)
	}
	if status != 0 || !recordfile.IsExtracted("out.parquet") || !strings.Contains(stderr, "1 records of 1 captures") {
		t.Errorf("status %d, %d bytes, which end in %q: %s", status, len(records), records[max(0, len(records)-40):], stderr)
	}
}
