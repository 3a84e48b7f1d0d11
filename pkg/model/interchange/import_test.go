package interchange_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/interchange"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
)

// foreign are the files of testdata, each the same network. generate.py made them
// with Keras 3.15, tf-keras 2.21 (Keras 2), tf2onnx 1.17 and PyTorch 1.13.
var foreign = []string{"keras2.h5", "keras3.weights.h5", "keras3.h5", "keras3.keras", "tf2onnx.onnx", "torch.onnx"}

// small is a model for the records of testdata's network.
func small(t *testing.T) *model.Model {
	t.Helper()
	arch := cnn.DefaultArchitecture(5)
	arch.Kernel1 = 10
	m := modeltest.Model(rand.New(rand.NewPCG(61, 62)), cnn.DefaultArchitecture(5), 4)
	modeltest.Net(m).Arch, m.Record.Packets, m.Record.Payload = arch, 1, 27
	return m
}

// Whatever tool saved it, the imported network says what the tool said.
func TestImport(t *testing.T) {
	text, err := os.ReadFile("testdata/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct{ Windows, Probabilities [][]float32 }
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	for _, name := range foreign {
		t.Run(name, func(t *testing.T) {
			n, err := interchange.Read(t.Context(), filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			labels := []string{"d", "b", "c", "a"} // of outputs 0 to 3
			m, err := n.Model(small(t), labels)
			if err != nil {
				t.Fatal(err)
			}
			r, err := m.Net.Runner(m.Record, m.Scaling)
			if err != nil {
				t.Fatal(err)
			}
			for i, window := range want.Windows {
				logits := make([]float32, len(labels))
				if err := r.(*cnn.Runner).Forward(window, logits); err != nil {
					t.Fatal(err)
				}
				probs := softmax(logits)
				for output, p := range want.Probabilities[i] {
					at := map[string]int{"a": 0, "b": 1, "c": 2, "d": 3}[labels[output]]
					if d := farthest(t, probs[at:at+1], []float32{p}); d > tolerance {
						t.Errorf("window %d: %s is %v, want %v", i, labels[output], probs[at], p)
					}
				}
			}
		})
	}
}

func softmax(logits []float32) []float32 {
	probs, sum := make([]float32, len(logits)), 0.0
	for _, l := range logits {
		sum += math.Exp(float64(l))
	}
	for i, l := range logits {
		probs[i] = float32(math.Exp(float64(l)) / sum)
	}
	return probs
}

// A .keras file tells more than weights do.
func TestImportKerasConfig(t *testing.T) {
	n, err := interchange.Read(t.Context(), "testdata/keras3.keras")
	if err != nil {
		t.Fatal(err)
	}
	if n.Arch.K != 5 || n.Width != 40 || n.Arch.Pool != [2]int{3, 3} || n.Arch.Dropout != 0.25 {
		t.Errorf("K %d, width %d, pool %v, dropout %v", n.Arch.K, n.Width, n.Arch.Pool, n.Arch.Dropout)
	}
}

// An archive with a layer that the network does not have is refused, also where no
// weight tells of it.
func TestImportKerasOfOtherLayers(t *testing.T) {
	source, err := zip.OpenReader("testdata/keras3.keras")
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	for _, tt := range []struct{ from, to, want string }{
		{`"MaxPooling2D"`, `"AveragePooling2D"`, "AveragePooling2D"},
		{`"Dropout"`, `"Rescaling"`, "Rescaling"},
		{`"class_name": "Flatten", "config": {`, `"class_name": "Reshape", "config": {"target_shape": [-1], `, ""},
	} {
		path := filepath.Join(t.TempDir(), "other.keras")
		rewrite(t, &source.Reader, path, func(name string, text []byte) []byte {
			if name != "config.json" {
				return text
			}
			if !bytes.Contains(text, []byte(tt.from)) {
				t.Fatalf("no %s in %s", tt.from, text)
			}
			return bytes.ReplaceAll(text, []byte(tt.from), []byte(tt.to))
		})
		_, err := interchange.Read(t.Context(), path)
		if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s for %s: %v, want %q", tt.to, tt.from, err, tt.want)
		}
	}
}

// rewrite writes the archive to path with its files changed.
func rewrite(t *testing.T, source *zip.Reader, path string, change func(name string, text []byte) []byte) {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range source.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		out, err := w.Create(f.Name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write(change(f.Name, text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What cannot be made a model says why.
func TestImportRefuses(t *testing.T) {
	other := small(t)
	other.Record.Payload = 100
	for _, tt := range []struct {
		name, file string
		like       *model.Model
		labels     []string
		want       string
	}{
		{"no records known", "keras3.h5", nil, nil, "--like"},
		{"too few labels", "keras3.h5", small(t), []string{"a", "b"}, "2 labels for a network of 4 classes"},
		{"a label twice", "keras3.h5", small(t), []string{"a", "b", "a", "c"}, `"a" twice`},
		{"other records, weights only", "keras3.weights.h5", other, nil, "first dense layer has 27 inputs"},
		{"other records, input known", "torch.onnx", other, nil, "rows of 40 values, the records give 113"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, err := interchange.Read(t.Context(), filepath.Join("testdata", tt.file))
			if err != nil {
				t.Fatal(err)
			}
			if _, err = n.Model(tt.like, tt.labels); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

// A damaged file is refused or read, never a panic, a hang or much memory.
func TestImportDamaged(t *testing.T) {
	r := rand.New(rand.NewPCG(63, 64))
	for _, name := range foreign {
		whole, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), name)
		try := func(data []byte) error {
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
			n, err := interchange.Read(t.Context(), path)
			if err == nil {
				_, err = n.Model(small(t), nil)
			}
			return err
		}
		for _, cut := range []int{0, 1, 8, 95, 96, len(whole) / 4, len(whole) / 2} {
			if err := try(whole[:cut]); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("%s cut at %d: error %v, want one that names the file", name, cut, err)
			}
		}
		for range 50 {
			damaged := append([]byte(nil), whole...)
			for range 1 + r.IntN(8) {
				damaged[r.IntN(len(damaged))] ^= byte(1 + r.IntN(255))
			}
			_ = try(damaged) // a changed weight is no error; that it returns is the test
		}
	}
}
