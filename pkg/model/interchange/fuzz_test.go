package interchange

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
)

// seeds adds the files of testdata that a pattern names.
func seeds(f *testing.F, pattern string, least int) {
	f.Helper()
	files, err := filepath.Glob("testdata/" + pattern)
	if err != nil || len(files) < least {
		f.Fatalf("testdata: %v, %v", files, err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
}

// check makes a model of what came in, if anything did.
func check(t *testing.T, n *Network, err error) {
	t.Helper()
	if err == nil {
		err = n.bounds()
	}
	if err != nil {
		return
	}
	like := modeltest.Model(rand.New(rand.NewPCG(65, 66)), cnn.DefaultArchitecture(5), 4)
	like.Record.Packets, like.Record.Payload = 1, 27
	m, err := n.Model(like, nil)
	if err != nil {
		return
	}
	if _, err := model.NewEngine(m); err != nil {
		t.Errorf("a model that no engine takes: %v", err)
	}
}

// Any bytes give an error, or a model that an engine takes.
func FuzzParse(f *testing.F) {
	seeds(f, "*.[hko][5en]*", 6)
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := parse(data)
		check(t, n, err)
	})
}

func FuzzONNX(f *testing.F) {
	seeds(f, "*.onnx", 2)
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := parseONNX(data)
		check(t, n, err)
	})
}

func FuzzHDF5(f *testing.F) {
	seeds(f, "*.h5", 3)
	f.Add(sharedBytes(3, 16))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := parseKerasHDF5(data)
		check(t, n, err)
	})
}

// The configuration of a model, with the weights of testdata's.
func FuzzKerasConfig(f *testing.F) {
	whole, err := os.ReadFile("testdata/keras3.h5")
	if err != nil {
		f.Fatal(err)
	}
	weights, err := readHDF5(whole)
	if err != nil {
		f.Fatal(err)
	}
	text := weights.texts[attributeConfig]
	if !json.Valid([]byte(text)) {
		f.Fatalf("no configuration: %.100q", text)
	}
	f.Add([]byte(text))
	f.Add(bytes.ReplaceAll([]byte(text), []byte("Sequential"), []byte("Functional")))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := describe(data)
		if err != nil {
			return
		}
		n := &Network{Format: FormatKeras, Temperature: 1}
		check(t, n, n.takeKeras(weights, d))
	})
}
