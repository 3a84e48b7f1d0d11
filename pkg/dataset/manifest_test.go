package dataset

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadManifest(t *testing.T) {
	camera := Device{Name: "02:00:00:00:00:0a", Label: "Camera"}
	for _, tt := range []struct {
		name, text string
		want       []Capture
		err        string // part of the error; empty: none
	}{
		{"the least", "capture,mac,label\na.pcap,02:00:00:00:00:0a,Camera\n",
			[]Capture{{Name: "a.pcap", Path: "/data/a.pcap", Devices: []Device{camera}}}, ""},
		{"columns by name, others ignored", "\ufeffLabel, split,start_epoch,unit,MAC,capture\nCamera,test,1465478144,Cam1,02-00-00-00-00-0A,x/a.pcap\n",
			[]Capture{{Name: "x/a.pcap", Path: "/data/x/a.pcap", Devices: []Device{{camera.Name, "Camera", "Cam1", "test"}}}}, ""},
		{"several rows of a capture", "capture,mac,label\na.pcap,02:00:00:00:00:0a,Camera\nb.pcap,02:00:00:00:00:0a,Camera\na.pcap,ip:10.0.0.1,Plug\n",
			[]Capture{{Name: "a.pcap", Path: "/data/a.pcap", Devices: []Device{camera, {Name: "ip:10.0.0.1", Label: "Plug"}}},
				{Name: "b.pcap", Path: "/data/b.pcap", Devices: []Device{camera}}}, ""},
		{"absolute path", "capture,mac,label\n/elsewhere/a.pcap,02:00:00:00:00:0a,Camera\n",
			[]Capture{{Name: "/elsewhere/a.pcap", Path: "/elsewhere/a.pcap", Devices: []Device{camera}}}, ""},
		{"in quotes behind a mark", "\ufeff\"capture\",\"mac\",\"label\"\n\"a.pcap\",\"02:00:00:00:00:0a\",\"Camera\"\n",
			[]Capture{{Name: "a.pcap", Path: "/data/a.pcap", Devices: []Device{camera}}}, ""},
		{"a column twice", "capture,mac,label,Label\na.pcap,02:00:00:00:00:0a,Camera,Plug\n", nil, `column "label" is there twice`},
		{"an unused column twice", "capture,mac,label,note,note\na.pcap,02:00:00:00:00:0a,Camera,x,y\n",
			[]Capture{{Name: "a.pcap", Path: "/data/a.pcap", Devices: []Device{camera}}}, ""},
		{"no rows", "capture,mac,label\n", nil, ""},
		{"empty", "", nil, "empty"},
		{"lines without a value", "capture,mac,label\r\n\r\na.pcap,02:00:00:00:00:0a,Camera\r\n,,\r\n  \r\n",
			[]Capture{{Name: "a.pcap", Path: "/data/a.pcap", Devices: []Device{camera}}}, ""},
		{"a row twice, its path in two ways", "capture,mac,label\na.pcap,02:00:00:00:00:0a,Camera\n./x/../a.pcap,02:00:00:00:00:0A,Camera\n",
			[]Capture{{Name: "a.pcap", Path: "/data/a.pcap", Devices: []Device{camera}}}, ""},
		{"commas, quotes, other scripts", "capture,mac,label\na.pcap,02:00:00:00:00:0a,\"Caméra, \"\"摄像头\"\"\"\n",
			[]Capture{{Name: "a.pcap", Path: "/data/a.pcap", Devices: []Device{{Name: camera.Name, Label: `Caméra, "摄像头"`}}}}, ""},
		{"two labels of one device", "capture,mac,label\na.pcap,02:00:00:00:00:0a,Camera\na.pcap,02:00:00:00:00:0a,Plug\n", nil,
			`line 3: device 02:00:00:00:00:0a of capture a.pcap is listed before, as label "Camera"`},
		{"two splits of one device", "capture,mac,label,split\na.pcap,02:00:00:00:00:0a,Camera,train\na.pcap,02:00:00:00:00:0a,Camera,test\n", nil, "line 3"},
		{"semicolons", "capture;mac;label\na.pcap;02:00:00:00:00:0a;Camera\n", nil, "between commas"},
		{"column missing", "capture,label\na.pcap,Camera\n", nil, `column "mac" is missing`},
		{"no MAC", "capture,mac,label\na.pcap,02:00:00:00:00:0a,Camera\nb.pcap,camera,Camera\n", nil, "line 3"},
		{"no address", "capture,mac,label\na.pcap,ip:camera,Camera\n", nil, "line 2"},
		{"no capture", "capture,mac,label\n,02:00:00:00:00:0a,Camera\n", nil, "line 2: capture is empty"},
		{"a label in Latin-1", "capture,mac,label\na.pcap,02:00:00:00:00:0a,Camera\nb.pcap,02:00:00:00:00:0a,T\xfcr\n", nil, `line 3: "T\xfcr" is not UTF-8`},
		{"a unit in Latin-1", "capture,mac,label,unit\na.pcap,02:00:00:00:00:0a,Camera,\xe9\n", nil, "line 2: "},
		{"a split in Latin-1", "capture,mac,label,split\na.pcap,02:00:00:00:00:0a,Camera,\xe9\n", nil, "line 2: "},
		{"a capture in Latin-1", "capture,mac,label\n\xe9.pcap,02:00:00:00:00:0a,Camera\n", nil, "line 2: "},
		{"a note in Latin-1", "capture,mac,label,note\na.pcap,02:00:00:00:00:0a,Camera,\xe9\n", nil, "line 2: "},
		{"a header in Latin-1", "capture,mac,label,\xe9\na.pcap,02:00:00:00:00:0a,Camera,\n", nil, "line 1: "},
		{"an escape sequence", "capture,mac,label\na.pcap,02:00:00:00:00:0a,\x1b[2JCamera\n", nil, "line 2: label"},
		{"two lines in one", "capture,mac,label,unit\na.pcap,02:00:00:00:00:0a,Camera,\"1\n2\"\n", nil, "line 2: unit"},
		{"NUL", "capture,mac,label\na.pcap,02:00:00:00:00:0a,Cam\x00era\n", nil, "line 2: label"},
		{"a note of two lines", "capture,mac,label,note\na.pcap,02:00:00:00:00:0a,Camera,\"x\ny\"\n",
			[]Capture{{Name: "a.pcap", Path: "/data/a.pcap", Devices: []Device{camera}}}, ""},
		{"short row", "capture,mac,label\na.pcap,02:00:00:00:00:0a\n", nil, "line 2: 2 values, the header has 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readManifest(strings.NewReader(tt.text), filepath.FromSlash("/data"))
			if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("error %v, want one with %q", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOpenManifest(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	manifest := write("m.csv", "capture,mac,label,split\na.pcap,02:00:00:00:00:0a,Camera,train\nb.pcap,02:00:00:00:00:0b,Plug,test\n")
	for _, tt := range []struct {
		name string
		opts Options
		err  string // part of it; empty: none
	}{
		{"a split", Options{Manifest: manifest, Splits: []string{"test"}}, ""},
		{"no such split", Options{Manifest: manifest, Splits: []string{"Test"}}, `--split Test: its splits are "test", "train"`},
		{"no split column", Options{Manifest: write("plain.csv", "capture,mac,label\na.pcap,02:00:00:00:00:0a,Camera\n"), Splits: []string{"train"}}, `its splits are ""`},
		{"none below", Options{Manifest: manifest, Data: []string{t.TempDir()}}, "it lists no capture in "},
		{"a header alone", Options{Manifest: write("none.csv", "capture,mac,label\n")}, "it lists no capture"},
	} {
		_, err := Open(tt.opts)
		if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.err)
		}
	}
}
