package dataset

import (
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
		{"no rows", "capture,mac,label\n", nil, ""},
		{"empty", "", nil, "header"},
		{"column missing", "capture,label\na.pcap,Camera\n", nil, `column "mac" is missing`},
		{"no MAC", "capture,mac,label\na.pcap,02:00:00:00:00:0a,Camera\nb.pcap,camera,Camera\n", nil, "line 3"},
		{"no address", "capture,mac,label\na.pcap,ip:camera,Camera\n", nil, "line 2"},
		{"no capture", "capture,mac,label\n,02:00:00:00:00:0a,Camera\n", nil, "line 2: capture is empty"},
		{"short row", "capture,mac,label\na.pcap,02:00:00:00:00:0a\n", nil, "line 2"},
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
