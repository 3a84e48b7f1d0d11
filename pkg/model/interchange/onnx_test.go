package interchange_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/embedded"
	"github.com/iotsense/iotsense/pkg/model/interchange"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
)

// tolerance is on probabilities, absolute.
const tolerance = 1e-6

// predictions are the engine's probabilities of windows, and the windows as the
// network's input.
func predictions(t *testing.T, m *model.Model, windows [][]flows.Row) (probs, input []float32) {
	t.Helper()
	e, err := model.NewEngine(m)
	if err != nil {
		t.Fatal(err)
	}
	scaler := cnn.NewScaler(m.Record, m.Scaling)
	size, classes := m.Net.Span()*m.Record.Width(), e.Classes()
	probs, input = make([]float32, len(windows)*classes), make([]float32, len(windows)*size)
	for i, w := range windows {
		if err := e.Predict(w, probs[i*classes:][:classes]); err != nil {
			t.Fatal(err)
		}
		if err := scaler.Window(input[i*size:][:size], m.Net.Span(), w); err != nil {
			t.Fatal(err)
		}
	}
	return probs, input
}

func farthest(t *testing.T, got, want []float32) float64 {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d values, want %d", len(got), len(want))
	}
	worst := 0.0
	for i := range got {
		worst = max(worst, math.Abs(float64(got[i])-float64(want[i])))
	}
	return worst
}

func export(t *testing.T, m *model.Model) string {
	t.Helper()
	var b bytes.Buffer
	if err := interchange.WriteONNX(&b, m); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// python runs a script of testdata and decodes what it prints.
func python(t *testing.T, into any, script string, args ...string) {
	t.Helper()
	c := exec.Command(testenv.Python(t), append([]string{filepath.Join("testdata", script)}, args...)...)
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	if err := json.Unmarshal(out, into); err != nil {
		t.Fatalf("%s: %v", script, err)
	}
}

// runONNX is what ONNX Runtime makes of the input.
func runONNX(t *testing.T, path string, input []float32) (probs []float32, about onnxAbout) {
	t.Helper()
	out := filed(t, nil)
	python(t, &about, "run_onnx.py", path, filed(t, input), out)
	return values(t, out), about
}

// filed is a file of the values.
func filed(t *testing.T, values []float32) string {
	t.Helper()
	raw, err := binary.Append(nil, binary.LittleEndian, values)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "values.f32")
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// values are those of a file.
func values(t *testing.T, path string) []float32 {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	v := make([]float32, len(raw)/4)
	if _, err := binary.Decode(raw, binary.LittleEndian, v); err != nil {
		t.Fatal(err)
	}
	return v
}

// checkMetadata holds a file's metadata against the model's.
func checkMetadata(t *testing.T, m *model.Model, got map[string]string) {
	t.Helper()
	want, err := m.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	for key, text := range want {
		if got[key] != string(text) {
			t.Errorf("metadata %s is %s, want %s", key, got[key], text)
		}
	}
}

type onnxAbout struct {
	Input, Output []any
	Metadata      map[string]string
}

// models are the paper's networks of several shapes, the embedded one among them.
func models(t *testing.T) map[string]*model.Model {
	t.Helper()
	bundle, err := embedded.Paper()
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(51, 52))
	list := map[string]*model.Model{"paper": modeltest.Model(r, cnn.DefaultArchitecture(5), 21), "embedded": bundle[""]}
	for k := range 3 {
		arch := cnn.DefaultArchitecture(k + 1)
		arch.Filters = [2]int{4, 3}
		list["K="+string(rune('1'+k))] = modeltest.Model(r, arch, 5)
	}
	hot := modeltest.Model(r, cnn.DefaultArchitecture(5), 4)
	hot.Calibration.Temperature = 2.5
	list["temperature"] = hot
	return list
}

// ONNX Runtime and our engine agree on every window, and the file carries labels,
// scaling and all else that a model file does.
func TestONNXRuntimeEqualsEngine(t *testing.T) {
	for name, m := range models(t) {
		t.Run(name, func(t *testing.T) {
			windows := modeltest.Windows(modeltest.Stream(rand.New(rand.NewPCG(53, 54)), 24), m.Net.Span())
			if name == "embedded" {
				windows = realWindows(t, m)
			}
			probs, input := predictions(t, m, windows)
			got, about := runONNX(t, export(t, m), input)
			if d := farthest(t, got, probs); d > tolerance {
				t.Errorf("ONNX Runtime is %g away from the engine, want %g", d, tolerance)
			} else {
				t.Logf("%d windows: ONNX Runtime is at most %g away", len(windows), d)
			}
			if _, free := about.Input[0].(string); !free || len(about.Input) != 3 {
				t.Errorf("input %v: want [N %d %d] with N free", about.Input, m.Net.Span(), m.Record.Width())
			}
			checkMetadata(t, m, about.Metadata)
		})
	}
}

// realWindows are some of the test split's windows. Of a trained network only real
// input says much: random values drive its logits to where float32 ends.
func realWindows(t *testing.T, m *model.Model) (windows [][]flows.Row) {
	t.Helper()
	const every = 20
	for i, w := range modeltest.RealWindows(t, m.Record.Stream(), m.Net.Span()) {
		if (i+1)%every == 0 {
			windows = append(windows, w)
		}
	}
	return windows
}

// What is exported comes back as the same model.
func TestONNXRoundTrip(t *testing.T) {
	for name, m := range models(t) {
		t.Run(name, func(t *testing.T) {
			n, err := interchange.Read(t.Context(), export(t, m))
			if err != nil {
				t.Fatal(err)
			}
			back, err := n.Model(nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			back.Background = m.Background // not part of the network
			var want, got bytes.Buffer
			if err := m.Write(&want); err != nil {
				t.Fatal(err)
			}
			if err := back.Write(&got); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(want.Bytes(), got.Bytes()) {
				t.Error("another model came back")
			}
		})
	}
}

// Python's safetensors opens a model file.
func TestSafetensorsInPython(t *testing.T) {
	m := models(t)["paper"]
	path := filepath.Join(t.TempDir(), "m.safetensors")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Metadata map[string]string
		Shapes   map[string][]int
		Sums     map[string]float64
	}
	python(t, &got, "read_safetensors.py", path)
	for name, want := range map[string]struct {
		shape  []int
		values []float32
	}{
		"conv1.weight": {[]int{40, 2}, modeltest.Net(m).Weights.Conv1}, "conv1.bias": {[]int{2}, modeltest.Net(m).Weights.Conv1Bias},
		"conv2.weight": {[]int{3, 5, 2, 2}, modeltest.Net(m).Weights.Conv2}, "conv2.bias": {[]int{2}, modeltest.Net(m).Weights.Conv2Bias},
		"dense1.weight": {[]int{1998, 100}, modeltest.Net(m).Weights.Dense1}, "dense1.bias": {[]int{100}, modeltest.Net(m).Weights.Dense1Bias},
		"dense2.weight": {[]int{100, 21}, modeltest.Net(m).Weights.Dense2}, "dense2.bias": {[]int{21}, modeltest.Net(m).Weights.Dense2Bias},
	} {
		sum := 0.0
		for _, v := range want.values {
			sum += float64(v)
		}
		if !slices.Equal(got.Shapes[name], want.shape) || math.Abs(got.Sums[name]-sum) > 1e-9 {
			t.Errorf("%s: shape %v, sum %v, want %v and %v", name, got.Shapes[name], got.Sums[name], want.shape, sum)
		}
	}
	var labels []string
	if err := json.Unmarshal([]byte(got.Metadata["labels"]), &labels); err != nil || !slices.Equal(labels, m.Labels) {
		t.Errorf("labels %v (%v), want %v", labels, err, m.Labels)
	}
}
