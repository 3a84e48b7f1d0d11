package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/experiment"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/stream"
	"github.com/iotsense/iotsense/pkg/model/train"
)

// labData is a small data set of the device lab: its manifest and a directory to
// write to.
func labData(t *testing.T) (manifest, dir string) {
	t.Helper()
	dir = t.TempDir()
	mustRun(t, "lab", "--units", "2", "--captures", "2", filepath.Join(dir, "lab"))
	return filepath.Join(dir, "lab", "manifest.csv"), dir
}

// Each strategy in each direction trains, says in the file what it is of, and is
// accepted where models are.
func TestTrainEveryStrategy(t *testing.T) {
	manifest, dir := labData(t)
	for _, c := range []struct {
		strategy string
		keys     []string // of the bundle
		services []string // of its first model
		among    []string
	}{
		{"all", []string{""}, []string{}, nil},
		{"mixed", []string{""}, []string{"udp/53", "udp/123"}, nil},
		{"specialized", []string{"udp/123", "udp/53"}, []string{"udp/123"}, []string{"udp/53", "udp/123"}},
	} {
		for _, direction := range []string{"bi", "uni"} {
			t.Run(c.strategy+" "+direction, func(t *testing.T) {
				file := filepath.Join(dir, c.strategy+"-"+direction)
				mustRun(t, "train", "--manifest", manifest, "--strategy", c.strategy, "--services", "udp/53,udp/123",
					"--direction", direction, "--epochs", "1", "-o", file)
				bundle, err := model.LoadBundle(file)
				if err != nil {
					t.Fatal(err)
				}
				if keys := sortedKeys(bundle); !slices.Equal(keys, c.keys) {
					t.Fatalf("models of %q, want %q", keys, c.keys)
				}
				r := bundle[c.keys[0]].Record
				if r.Direction.String() != direction || !slices.Equal(texts(r.Services), c.services) || !slices.Equal(texts(r.Among), c.among) {
					t.Errorf("the model is of %s records of %q among %q", r.Direction, r.Services, r.Among)
				}
				mustRun(t, "evaluate", "--manifest", manifest, "--split", "test", "--model", file)
				mustRun(t, "classify", filepath.Join(dir, "lab", "camera-0", "capture-0.pcap"), "--model", file)
			})
		}
	}
}

// texts are the names of services.
func texts(services []flows.Service) (names []string) {
	for _, s := range services {
		names = append(names, s.String())
	}
	return names
}

// Where a run's files lay leaves no trace in the model, and a checkpoint is gone
// once the model is there.
func TestTrainLeavesNoPaths(t *testing.T) {
	manifest, dir := labData(t)
	file, checkpoint := filepath.Join(dir, "m.safetensors"), filepath.Join(dir, "state")
	mustRun(t, "train", "--manifest", manifest, "--split", "train", "--epochs", "1", "-o", file,
		"--report", filepath.Join(dir, "report"), "--checkpoint", checkpoint, "--checkpoint-every", "1ms", "--memory", "1MiB")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), dir) {
		t.Error("the model names a path")
	}
	if _, err := os.Stat(checkpoint); !os.IsNotExist(err) {
		t.Errorf("the checkpoint is still there: %v", err)
	}
}

// What is not as it should be is refused by name, or said and left out.
func TestTrainOnOddData(t *testing.T) {
	manifest, dir := labData(t)
	text, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	header, rows, _ := strings.Cut(string(text), "\n")
	lab := filepath.Join(dir, "lab")
	whole, err := os.ReadFile(filepath.Join(lab, "camera-0", "capture-0.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	mac := strings.Split(rows, ",")[1] // of camera-0, the first row
	for name, content := range map[string][]byte{"cut.pcap": whole[:len(whole)/2], "none.pcap": []byte("hello, world, hello, world")} {
		if err := os.WriteFile(filepath.Join(lab, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// The lab's columns are capture, mac, label, unit, split, start_epoch.
	for _, tt := range []struct {
		name, rows string
		flags      []string
		status     int
		says       string // on stderr
	}{
		{"a cut capture", rows + "cut.pcap," + mac + ",camera,camera-0,train,\n", nil, 0, "damaged captures"},
		{"no capture", rows + "none.pcap," + mac + ",camera,camera-0,train,\n", nil, terminal.ExitFailed, "none.pcap: not a pcap"},
		{"a file that is not there", rows + "gone.pcap," + mac + ",camera,camera-0,train,\n", nil, terminal.ExitFailed, "gone.pcap"},
		{"a device that sent nothing", rows + "camera-0/capture-0.pcap,02:00:00:00:00:99,ghost,,train,\n", nil, 0, "label=ghost"},
		{"a class with little", rows, []string{"--strategy", "mixed", "--services", "udp/123", "--min-per-class", "4", "--augment=false"}, 0, "printer (1)"},
		{"a device without a label", strings.Replace(rows, ",camera,", ",,", 1), nil, terminal.ExitFailed, "leave it out there"},
		{"one class", strings.Join(strings.SplitAfter(rows, "\n")[:2], ""), nil, terminal.ExitFailed, "1 classes with"},
		{"services of every flow", rows, []string{"--services", "udp/53"}, 0, "--strategy all takes every flow"},
		{"a service that nobody uses", rows, []string{"--strategy", "specialized", "--services", "tcp/9,udp/53"}, 0, "service=tcp/9"},
		{"only such services", rows, []string{"--strategy", "specialized", "--services", "tcp/9"}, terminal.ExitFailed, "no service of tcp/9"},
	} {
		path := filepath.Join(lab, "odd.csv")
		if err := os.WriteFile(path, []byte(header+"\n"+tt.rows), 0o644); err != nil {
			t.Fatal(err)
		}
		args := append([]string{"train", "--manifest", path, "--split", "train", "--epochs", "1", "--max-per-class", "20", "-o", filepath.Join(dir, "m")}, tt.flags...)
		if _, stderr, status := command(t, args...); status != tt.status || !strings.Contains(stderr, tt.says) {
			t.Errorf("%s: status %d, want %d and %q: %s", tt.name, status, tt.status, tt.says, stderr)
		}
	}
}

// The preset's values are the paper's for the strategy, however it is spelled, a flag
// that is given wins, and the model says which they were.
func TestTrainPreset(t *testing.T) {
	manifest, dir := labData(t)
	file := filepath.Join(dir, "m")
	for strategy, most := range map[string]string{"all": "20000", "specialized": "10000", "specialised": "10000"} {
		mustRun(t, "train", "--manifest", manifest, "--preset", "paper", "--min-per-class", "2", "--strategy", strategy,
			"--services", "udp/53", "--epochs", "1", "-o", file)
		bundle, err := model.LoadBundle(file)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"min-per-class": "2", "max-per-class": most, "patience": "5", "ema": "0", "window-mode": "strict"}
		for _, m := range bundle {
			for flag, value := range want {
				if got := m.Training.Options[flag]; got != value {
					t.Errorf("%s: --%s %s, want %s", strategy, flag, got, value)
				}
			}
			if m.Record.WindowMode != model.Strict {
				t.Errorf("%s: a model of %s windows, want strict", strategy, m.Record.WindowMode)
			}
		}
	}
}

// What cannot be written is said before anything is trained.
func TestTrainIntoNowhere(t *testing.T) {
	manifest, dir := labData(t)
	for _, tt := range []struct{ output, checkpoint, says string }{
		{dir, "", "it is a directory"},
		{filepath.Join(dir, "none", "m"), "", "no such file or directory"},
		{filepath.Join(dir, "m"), dir, "it is a directory"},
		{filepath.Join(dir, "m"), filepath.Join(dir, "none", "state"), "no such file or directory"},
	} {
		_, stderr, status := command(t, "train", "--manifest", manifest, "--epochs", "1", "-o", tt.output, "--checkpoint", tt.checkpoint)
		if status != terminal.ExitFailed || !strings.Contains(stderr, tt.says) || strings.Contains(stderr, "epoch 1") {
			t.Errorf("-o %s --checkpoint %s: status %d: %s", tt.output, tt.checkpoint, status, stderr)
		}
	}
}

func TestProgressLine(t *testing.T) {
	p := train.Progress{
		Epoch: 2, Epochs: 4, Batch: 3, Batches: 10, Loss: 0.5, ValLoss: 0.25, ValAccuracy: 0.9, BestEpoch: 1,
		Elapsed: 1300 * time.Millisecond, Left: time.Minute,
	}
	if got, want := progressLine("train", p), "train: epoch 2: batch 3 of 10, loss 0.5000, 1s, at most 1m0s left"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	p.Ended, p.Left = true, 0
	if got, want := progressLine("train", p), "train: epoch 2: loss 0.5000, validation loss 0.2500, accuracy 0.900, best epoch 1, 1s, at most 0s left"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What --scrub masks of captures it cannot all mask of records, and says so.
func TestTrainScrubsRecordsInPart(t *testing.T) {
	manifest, dir := labData(t)
	file := filepath.Join(dir, "records.parquet")
	mustRun(t, "extract", "--manifest", manifest, "-o", file)
	for _, tt := range []struct {
		data []string
		told bool
	}{
		{[]string{file, "--scrub"}, true},
		{[]string{file}, false},
		{[]string{"--manifest", manifest, "--scrub"}, false},
	} {
		args := append([]string{"train", "--epochs", "1", "--max-per-class", "20", "-o", filepath.Join(dir, "m")}, tt.data...)
		_, stderr, status := command(t, args...)
		if told := strings.Contains(stderr, "--scrub cannot mask"); status != 0 || told != tt.told {
			t.Errorf("%v: status %d, told %v: %s", tt.data, status, told, stderr)
		}
	}
}

// Data that a model learns the wrong thing from is said to be such.
func TestTrainWarns(t *testing.T) {
	manifest, dir := labData(t)
	text, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	var frames [][]byte // of a router that others' packets come through
	for i := range 5 {
		frames = append(frames, frame(t, routerMAC, deskMAC, fmt.Sprintf("198.51.100.%d", i), "10.9.8.7", 30))
	}
	twice := [][]byte{ // a device that is set up: two addresses
		frame(t, deskMAC, routerMAC, "192.168.4.1", resolver, 30), frame(t, deskMAC, routerMAC, "10.9.8.7", resolver, 30),
	}
	for name, f := range map[string][][]byte{"router.pcap": frames, "setup.pcap": twice} {
		if err := os.WriteFile(filepath.Join(dir, "lab", name), pcap(t, layers.LinkTypeEthernet, 1500, f...), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "lab", "odd.csv")
	rows := string(text) + "router.pcap," + routerMAC + ",hall,hall,train,\nsetup.pcap," + deskMAC + ",desk,desk,train,\nsetup.pcap,00:00:5e:00:53:01,ghost,ghost,train,\n"
	if err := os.WriteFile(path, []byte(rows), 0o644); err != nil {
		t.Fatal(err)
	}
	kinds := filepath.Join(dir, "kinds.csv")
	if err := os.WriteFile(kinds, []byte("label,path\ncamera,eye/plug\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	line := []string{"train", "--manifest", path, "--split", "train", "--epochs", "1", "--max-per-class", "20", "-o", filepath.Join(dir, "m"), "--taxonomy", kinds}
	if _, stderr, status := command(t, line...); status != 1 || !strings.Contains(stderr, kinds+`: line 2: label "camera": its path "eye/plug" does not end in it`) {
		t.Errorf("status %d: %s", status, stderr)
	}
	if err := os.WriteFile(kinds, []byte("label,path\ncamera,eye/camera\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, stderr, status := command(t, line...)
	if status != 0 {
		t.Fatalf("status %d: %s", status, stderr)
	}
	for _, says := range []string{
		`sent no packet in their capture: is the MAC right?" devices=1 first=00:00:5e:00:53:01 label=ghost capture=setup.pcap`,
		`of 4 addresses or more in one capture: the MAC of a router or repeater, whose traffic is that of others" devices="` + routerMAC + ` (hall)"`,
		`classes of one capture: the model learns that recording, and is validated on its end" classes="desk, hall"`,
		`classes of fewer than 5 captures: few to learn and to validate on" classes="camera (`,
		`classes of fewer than 5 training windows" classes="desk (`,
		`classes without a window to validate on: they have no say in the epoch and the temperature" classes=desk`,
		`the taxonomy has no path for: each is its only level" taxonomy=` + kinds + ` classes="desk, `,
	} {
		if !strings.Contains(stderr, says) {
			t.Errorf("no word of %s in\n%s", says, stderr)
		}
	}
}

// The stream network is trained, scored and run as the paper's is, and its file says
// which network it is.
func TestTrainStream(t *testing.T) {
	manifest, dir := labData(t)
	file := filepath.Join(dir, "m")
	mustRun(t, "train", "--manifest", manifest, "--arch", "stream", "--epochs", "12", "-o", file)
	m, err := model.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if m.Net.Kind() != "stream" || m.Net.Span() != 20 || m.Training.Options["arch"] != "stream" {
		t.Errorf("a model of kind %s that rests on %d rows, options %v", m.Net.Kind(), m.Net.Span(), m.Training.Options)
	}
	if net, ok := m.Net.(*stream.Net); !ok || !slices.Contains(net.Arch.RemotePorts, 53) {
		t.Errorf("its training rows' ports are not in %+v", m.Net.Shape())
	}
	var scores struct {
		MacroF1 float64 `json:"macro_f1"`
		Windows int
	}
	stdout, stderr, status := command(t, "evaluate", "--manifest", manifest, "--split", "test", "--model", file, "--json")
	if err := json.Unmarshal([]byte(stdout), &scores); err != nil || status != 0 {
		t.Fatalf("evaluate: status %d, %v: %s", status, err, stderr)
	}
	if scores.MacroF1 < 0.4 { // of twelve kinds
		t.Errorf("macro-F1 %.2f of %d rows: nothing was learnt", scores.MacroF1, scores.Windows)
	}
	judged := func(mode string) int { // rows of a device; it remembers 20, but needs no padding
		t.Helper()
		stdout, stderr, status := command(t, "classify", filepath.Join(dir, "lab", "camera-0", "capture-0.pcap"), "--model", file, "--window-mode", mode, "--json")
		var v struct{ Windows int }
		if err := json.NewDecoder(strings.NewReader(stdout)).Decode(&v); err != nil || status != 0 {
			t.Fatalf("classify: status %d, %v: %s", status, err, stderr)
		}
		return v.Windows
	}
	if padded, strict := judged("padded"), judged("strict"); padded < 5 || strict != padded-4 {
		t.Errorf("%d rows judged, %d strictly: want those from the 5th on", padded, strict)
	}
	mustRun(t, "model", "info", "--model", file)
	mustRun(t, "crossval", "--manifest", manifest, "--arch", "stream", "--epochs", "1", "--folds", "2", "--report", filepath.Join(dir, "r"))
	for flags, says := range map[string]string{
		"--filters=3":    "--filters: a network of --arch stream has none",
		"--preset=paper": "--preset paper",
		"--window=99":    "--window",
	} {
		_, stderr, status := command(t, "train", "--manifest", manifest, "--arch", "stream", flags, "-o", file)
		if status != terminal.ExitUsage || !strings.Contains(stderr, says) {
			t.Errorf("%s: status %d: %s", flags, status, stderr)
		}
	}
}

// What compares models, and the pages of their scores, take the stream network too.
func TestStreamSeries(t *testing.T) {
	manifest, dir := labData(t)
	data := []string{"--manifest", manifest, "--split", "train", "--test-split", "test", "--arch", "stream", "--epochs", "1"}
	var rows []experiment.AblationRow
	text := output(t, append([]string{"ablation", "--json", "--variants", "-bytes,last only,K=1", "--report", filepath.Join(dir, "a")}, data...)...)
	if err := json.Unmarshal([]byte(text), &rows); err != nil || len(rows) != 4 {
		t.Fatalf("%v: %s", err, text)
	}
	for i, r := range rows {
		if r.MacroF1 == nil || (i == 1 || i == 2) != (r.DParams < 0) || r.Paper != nil {
			t.Errorf("%+v", r)
		}
	}
	bytes := filepath.Join(dir, "a", "-bytes.safetensors")
	if info := output(t, "model", "info", "--json", "--model", bytes); !strings.Contains(info, `"ablate":"bytes"`) {
		t.Errorf("model info: %s", info)
	}
	output(t, append([]string{"strategies", "--direction", "bi", "--report", filepath.Join(dir, "s")}, data...)...)
	output(t, "evaluate", "--manifest", manifest, "--split", "test", "--model", bytes, "--first", "20s", "--report", filepath.Join(dir, "e"))
	output(t, "train", "--manifest", manifest, "--arch", "stream", "--epochs", "1", "-o", filepath.Join(dir, "m"), "--report", filepath.Join(dir, "t"))
	for file, want := range map[string]string{
		"a/ablation.html": "<td>last only<td>", "s/strategies.html": "<td>mixed<td>", "s/bi-all/evaluate.html": "macro-F1",
		"e/evaluate.html": "<td>first-20s<td>", "t/train.json": `"epochs"`,
	} {
		if page, err := os.ReadFile(filepath.Join(dir, file)); err != nil || !strings.Contains(string(page), want) {
			t.Errorf("%s: no %s, %v", file, want, err)
		}
	}
	_, stderr, status := command(t, "train", "--manifest", manifest, "--arch", "stream", "--ablate", "conv1", "-o", filepath.Join(dir, "m"))
	if status != terminal.ExitUsage || !strings.Contains(stderr, `no part "conv1"`) {
		t.Errorf("status %d: %s", status, stderr)
	}
}
