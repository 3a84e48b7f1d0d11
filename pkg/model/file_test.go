package model_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/pkg/facts/linear"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/internal/modeltest"
	"github.com/iotsense/iotsense/pkg/model/stream"
	"github.com/iotsense/iotsense/pkg/model/stream/streamtest"
	"github.com/iotsense/iotsense/pkg/taxonomy"
)

// small is a model of few bytes: short rows, few units.
func small(seed uint64, classes int) *model.Model {
	r := rand.New(rand.NewPCG(seed, 1))
	m := modeltest.Model(r, cnn.DefaultArchitecture(2), classes)
	spec := m.Record
	spec.Packets, spec.Payload = 2, 20
	arch := cnn.Architecture{K: 2, Filters: [2]int{2, 2}, Kernel1: 16, Kernel2: [2]int{2, 3}, Pool: [2]int{1, 3}, Hidden: 4, Dropout: 0.5}
	d, err := arch.Dims(spec.Width(), classes)
	if err != nil {
		panic(err)
	}
	m.Record, modeltest.Net(m).Arch = spec, arch
	w := &modeltest.Net(m).Weights
	w.Conv1, w.Conv2 = w.Conv1[:16*2], w.Conv2[:2*3*2*2]
	w.Dense1, w.Dense1Bias = w.Dense1[:d.Flat*4], w.Dense1Bias[:4]
	w.Dense2 = w.Dense2[:4*classes]
	return m
}

func bytesOf(t testing.TB, b model.Bundle) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := b.Write(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestFileRoundTrip(t *testing.T) {
	m := modeltest.Model(rand.New(rand.NewPCG(1, 1)), cnn.DefaultArchitecture(5), 21)
	m.Calibration.Temperature = 1.25
	m.Thresholds.PerClass = map[string]float64{"class003": 0.9, "class001": 0.5}
	m.Record.Among = []flows.Service{{Proto: 6, Port: 80}, {Proto: 17, Port: 53}}
	m.Record.Services = m.Record.Among[:1]
	m.Background = make([]float32, 2*5*3040)
	m.Background[17] = 0.5
	without := bytesOf(t, model.Bundle{"": m})
	if bytes.Contains(without, []byte("taxonomy")) {
		t.Error("a model without a taxonomy writes one")
	}
	m.Taxonomy = taxonomy.Taxonomy{"class003": "maker/kind/class003", "class007": "class007", "another": "maker/another"}
	text := bytesOf(t, model.Bundle{"": m})
	got, err := model.Read(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, m) {
		t.Error("the model read is not the model written")
	}
	if got.Taxonomy = nil; !bytes.Equal(bytesOf(t, model.Bundle{"": got}), without) {
		t.Error("the taxonomy is not all that it adds to the file")
	}
	got.Taxonomy = m.Taxonomy
	if again := bytesOf(t, model.Bundle{"": got}); !bytes.Equal(text, again) {
		t.Error("writing the model again gives other bytes")
	}
}

// withFacts is a small model that judges by facts too.
func withFacts() *model.Model {
	m := small(1, 3)
	m.Facts = &linear.Model{
		Tokens: []string{"dns:a.example", "oui:a"}, Groups: [][]int{{0, 2}, {1}}, Telling: []int{1, -1},
		Temperature: 1.5, Captures: 4, Weights: []float32{1, 2, 3, 4, 5, 6}, Bias: []float32{7, 8, 9},
	}
	return m
}

// Facts lie beside the network: a file without them has nothing of it.
func TestFactsRoundTrip(t *testing.T) {
	m := withFacts()
	for name, b := range map[string]model.Bundle{"one": {"": m}, "of services": {"tcp/80": m, "udp/53": small(2, 2)}} {
		text := bytesOf(t, b)
		got, err := model.ReadBundle(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, b) {
			t.Errorf("%s: the model read is not the model written", name)
		}
	}
	m.Facts = nil
	if text := bytesOf(t, model.Bundle{"": m}); bytes.Contains(text, []byte("facts")) {
		t.Error("a model without facts speaks of them")
	}
	if m.Judge() != nil || withFacts().Judge() == nil {
		t.Error("what judges by facts is not where there are facts")
	}
}

func TestReadRefusesFacts(t *testing.T) {
	good := bytesOf(t, model.Bundle{"": withFacts()})
	for _, c := range []struct {
		name, old, new string // of the same length
		want           string
	}{
		{"no JSON", `\"captures\":4`, `\"captures\":-`, "metadata facts"},
		{"a token of another text", `dns:a.example`, `zns:a.example`, "sorted and unique"},
		{"a token twice", `\"oui:a\"`, `\"oui:\",`, "metadata facts"},
		{"a group of no class", `[[0,2],[1]]`, `[[0,3],[1]]`, "facts: class 3 of 3"},
		{"a token of no group", `\"telling\":[1,-1]`, `\"telling\":[2,-1]`, "tells group 2 of 2"},
		{"no temperature", `\"temperature\":1.5`, `\"temperature\":0.0`, "facts: temperature 0"},
		{"weights of another shape", `"shape":[2,3]`, `"shape":[3,2]`, "tensor facts_weights has shape [3 2], want [2 3]"},
		{"no weights", `"facts_weights"`, `"other_weights"`, "tensor facts_weights is missing"},
		{"no biases", `"facts_bias"`, `"other_bias"`, "tensor facts_bias is missing"},
		{"tensors of no facts", `"facts":`, `"other":`, "belong to no model"},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed := bytes.Replace(good, []byte(c.old), []byte(c.new), 1)
			if bytes.Equal(changed, good) {
				t.Fatalf("no %s in the file", c.old)
			}
			if _, err := model.ReadBundle(bytes.NewReader(changed)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestBundleRoundTrip(t *testing.T) {
	b := model.Bundle{"tcp/80": small(1, 3), "udp/53": small(2, 4)}
	text := bytesOf(t, b)
	got, err := model.ReadBundle(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, b) {
		t.Error("the bundle read is not the bundle written")
	}
	if _, err := model.Read(bytes.NewReader(text)); err == nil || !strings.Contains(err.Error(), "tcp/80, udp/53") {
		t.Errorf("Read of a bundle: %v, want an error that names its services", err)
	}
	if err := (model.Bundle{"": small(1, 3), "tcp/80": small(1, 3)}).Write(&bytes.Buffer{}); err == nil {
		t.Error("a bundle of a service and of everything: no error")
	}
}

// Any reader of safetensors must find the documented names, shapes and metadata.
func TestFileLayout(t *testing.T) {
	text := bytesOf(t, model.Bundle{"": modeltest.Model(rand.New(rand.NewPCG(1, 1)), cnn.DefaultArchitecture(5), 21)})
	size := binary.LittleEndian.Uint64(text)
	if size%8 != 0 {
		t.Errorf("header of %d bytes: the data is not aligned", size)
	}
	var header map[string]struct {
		DType   string
		Shape   []int
		Offsets [2]int `json:"data_offsets"`
	}
	var metadata struct {
		M map[string]string `json:"__metadata__"`
	}
	raw := text[8 : 8+size]
	if err := json.Unmarshal(raw, &metadata); err != nil {
		t.Fatal(err)
	}
	stripped := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &stripped); err != nil {
		t.Fatal(err)
	}
	delete(stripped, "__metadata__")
	again, _ := json.Marshal(stripped)
	if err := json.Unmarshal(again, &header); err != nil {
		t.Fatal(err)
	}
	for name, shape := range map[string][]int{
		"conv1.weight": {40, 2}, "conv1.bias": {2},
		"conv2.weight": {3, 5, 2, 2}, "conv2.bias": {2},
		"dense1.weight": {1998, 100}, "dense1.bias": {100},
		"dense2.weight": {100, 21}, "dense2.bias": {21},
	} {
		if got := header[name]; got.DType != "F32" || !reflect.DeepEqual(got.Shape, shape) {
			t.Errorf("%s is %+v, want F32 %v", name, got, shape)
		}
	}
	for _, key := range []string{"format_version", "labels", "architecture", "record", "scaling", "calibration", "thresholds", "training"} {
		if !json.Valid([]byte(metadata.M[key])) {
			t.Errorf("metadata %s is %q, want JSON", key, metadata.M[key])
		}
	}
	if len(text) > 820_000 {
		t.Errorf("%d bytes, want about four for each of 202,165 parameters", len(text))
	}
}

// rewrite changes a file's header and keeps its data.
func rewrite(t testing.TB, text []byte, change func(h map[string]any)) []byte {
	t.Helper()
	size := binary.LittleEndian.Uint64(text)
	var h map[string]any
	if err := json.Unmarshal(text[8:8+size], &h); err != nil {
		t.Fatal(err)
	}
	change(h)
	header, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(out, header...), text[8+size:]...)
}

func metadata(h map[string]any) map[string]any { return h["__metadata__"].(map[string]any) }
func entry(h map[string]any, name string) map[string]any {
	return h[name].(map[string]any)
}

func TestReadRefuses(t *testing.T) {
	good := bytesOf(t, model.Bundle{"": small(1, 3)})
	for _, c := range []struct {
		name string
		text func() []byte
		want string
	}{
		{"empty", func() []byte { return nil }, "truncated"},
		{"half a length", func() []byte { return good[:5] }, "truncated"},
		{"half a header", func() []byte { return good[:100] }, "truncated"},
		{"half the data", func() []byte { return good[:len(good)-7] }, "tensor dense2.bias: the file is truncated"},
		{"more data", func() []byte { return append(bytes.Clone(good), 0) }, "after the last tensor"},
		{"a huge header", func() []byte { return binary.LittleEndian.AppendUint64(nil, 1<<62) }, "not a model file"},
		{"an ONNX file", func() []byte { return []byte("\x08\x07\x12\x08producer:\x00") }, "`iotsense model import`"},
		{"an HDF5 file", func() []byte { return []byte("\x89HDF\r\n\x1a\n\x00\x00") }, "`iotsense model import`"},
		{"an archive", func() []byte { return []byte("PK\x03\x04\x14\x00\x00\x00\x00") }, "not a model file"},
		{"a header that never comes", func() []byte { return binary.LittleEndian.AppendUint64(nil, 4<<20) }, "truncated"},
		{"no JSON", func() []byte { return append(binary.LittleEndian.AppendUint64(nil, 4), "abcd"...) }, "header"},
		{"an object after the header", func() []byte { return append(binary.LittleEndian.AppendUint64(nil, 4), "{}{}"...) }, "more than one"},
		{"a name twice", func() []byte {
			return append(binary.LittleEndian.AppendUint64(nil, 15), `{"a":{},"a":{}}`...)
		}, `"a" twice`},
		{"no metadata", func() []byte { return rewrite(t, good, func(h map[string]any) { delete(h, "__metadata__") }) }, "format_version"},
		{"a later version", func() []byte {
			return rewrite(t, good, func(h map[string]any) { metadata(h)["format_version"] = "2" })
		}, `format_version is "2"`},
		{"no labels", func() []byte { return rewrite(t, good, func(h map[string]any) { delete(metadata(h), "labels") }) }, "labels is missing"},
		{"labels of another type", func() []byte {
			return rewrite(t, good, func(h map[string]any) { metadata(h)["labels"] = "3" })
		}, "metadata labels"},
		{"labels twice", func() []byte {
			return rewrite(t, good, func(h map[string]any) { metadata(h)["labels"] = `["a","a","b"]` })
		}, "sorted and unique"},
		{"one label more", func() []byte {
			return rewrite(t, good, func(h map[string]any) { metadata(h)["labels"] = `["a","b","c","d"]` })
		}, "tensor dense2.weight has shape [4 3], want [4 4]"},
		{"a dropout of 1", func() []byte {
			return rewrite(t, good, func(h map[string]any) {
				metadata(h)["architecture"] = strings.Replace(metadata(h)["architecture"].(string), "0.5", "1", 1)
			})
		}, "dropout"},
		{"an absurd layer", func() []byte {
			return rewrite(t, good, func(h map[string]any) {
				metadata(h)["architecture"] = strings.Replace(metadata(h)["architecture"].(string), `"hidden":4`, `"hidden":4000000000`, 1)
			})
		}, "hidden is 4000000000"},
		{"no deviation", func() []byte {
			return rewrite(t, good, func(h map[string]any) { metadata(h)["scaling"] = "{}" })
		}, "scaling"},
		{"a negative temperature", func() []byte {
			return rewrite(t, good, func(h map[string]any) { metadata(h)["calibration"] = `{"temperature":-1}` })
		}, "temperature"},
		{"a threshold of no class", func() []byte {
			return rewrite(t, good, func(h map[string]any) {
				metadata(h)["thresholds"] = `{"default":0.8,"per_class":{"nobody":0.5}}`
			})
		}, "nobody"},
		{"a path of another class", func() []byte {
			return rewrite(t, good, func(h map[string]any) { metadata(h)["taxonomy"] = `{"a":"maker/b"}` })
		}, `taxonomy: label "a"`},
		{"a path of none of them", func() []byte {
			return rewrite(t, good, func(h map[string]any) { metadata(h)["taxonomy"] = `{"none of them":"x/none of them"}` })
		}, "is no class to give a path"},
		{"a class without a path that is a level", func() []byte {
			return rewrite(t, good, func(h map[string]any) { metadata(h)["taxonomy"] = `{"a":"class002/a"}` })
		}, `is a level above "a"`},
		{"a taxonomy of another type", func() []byte {
			return rewrite(t, good, func(h map[string]any) { metadata(h)["taxonomy"] = `{"a":3}` })
		}, "metadata taxonomy"},
		{"a path that steers a terminal", func() []byte {
			return rewrite(t, good, func(h map[string]any) { metadata(h)["taxonomy"] = `{"a":"\u001b[31m/a"}` })
		}, `taxonomy: "\x1b[31m/a" holds`},
		{"a service that steers a terminal", func() []byte {
			return rewrite(t, good, func(h map[string]any) { metadata(h)["tcp_\x1b[2J/format_version"] = "1" })
		}, `"tcp_\x1b[2J/format_version" belongs to no service`},
		{"a digest that steers a terminal", func() []byte {
			return rewrite(t, good, func(h map[string]any) { metadata(h)["training"] = `{"digest":"\u001b[31m"}` })
		}, `digest: "\x1b[31m" holds`},
		{"a choice that steers a terminal", func() []byte {
			return rewrite(t, good, func(h map[string]any) { metadata(h)["training"] = `{"choice":{"by":"\u001b[31m"}}` })
		}, `choice: "\x1b[31m" holds`},
		{"a label that steers a terminal", func() []byte {
			return rewrite(t, good, func(h map[string]any) { metadata(h)["labels"] = `["\u001b[31m","b","c"]` })
		}, `labels: "\x1b[31m" holds`},
		{"a tensor that steers a terminal", func() []byte {
			return rewrite(t, good, func(h map[string]any) { h["\x1b[2J"] = map[string]any{"dtype": "F16"} })
		}, `tensor \x1b[2J: type "F16"`},
		{"a missing tensor", func() []byte {
			return rewrite(t, good, func(h map[string]any) { h["other"] = h["conv1.bias"]; delete(h, "conv1.bias") })
		}, "tensor conv1.bias is missing"},
		{"another type", func() []byte {
			return rewrite(t, good, func(h map[string]any) { entry(h, "conv1.bias")["dtype"] = "F16" })
		}, `tensor conv1.bias: type "F16"`},
		{"a wrong shape", func() []byte {
			return rewrite(t, good, func(h map[string]any) { entry(h, "conv1.weight")["shape"] = []int{2, 16} })
		}, "tensor conv1.weight has shape [2 16], want [16 2]"},
		{"an absurd shape", func() []byte {
			return rewrite(t, good, func(h map[string]any) { entry(h, "conv1.weight")["shape"] = []int{1 << 31, 1 << 31, 1 << 31} })
		}, "tensor conv1.weight: absurd shape"},
		{"a negative shape", func() []byte {
			return rewrite(t, good, func(h map[string]any) { entry(h, "conv1.weight")["shape"] = []int{-16, -2} })
		}, "tensor conv1.weight: absurd shape"},
		{"overlapping tensors", func() []byte {
			return rewrite(t, good, func(h map[string]any) { entry(h, "conv1.bias")["data_offsets"] = []int{0, 8} })
		}, "offsets"},
		{"a tensor too many", func() []byte {
			return rewrite(t, append(bytes.Clone(good), 0, 0, 0, 0), func(h map[string]any) {
				end := entry(h, "dense2.bias")["data_offsets"].([]any)[1].(float64)
				h["extra"] = map[string]any{"dtype": "F32", "shape": []int{1}, "data_offsets": []float64{end, end + 4}}
			})
		}, "belong to no model"},
		{"a NaN weight", func() []byte {
			b := bytes.Clone(good)
			binary.LittleEndian.PutUint32(b[len(b)-4:], math.Float32bits(float32(math.NaN())))
			return b
		}, "dense2.bias[2] is NaN"},
		{"an infinite weight", func() []byte {
			b := bytes.Clone(good)
			size := binary.LittleEndian.Uint64(b)
			binary.LittleEndian.PutUint32(b[8+size:], math.Float32bits(float32(math.Inf(-1))))
			return b
		}, "conv1.weight[0] is -Inf"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := model.Read(bytes.NewReader(c.text()))
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.ContainsRune(err.Error(), '\x1b') {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// A header's claims must not make the reader allocate.
func TestReadHoldsNoMoreThanComes(t *testing.T) {
	good := bytesOf(t, model.Bundle{"": small(1, 3)})
	claim := rewrite(t, good, func(h map[string]any) {
		for name := range h {
			if name != "__metadata__" {
				delete(h, name)
			}
		}
		n := 100 << 20
		h["conv1.weight"] = map[string]any{"dtype": "F32", "shape": []int{n}, "data_offsets": []int{0, 4 * n}}
	})
	header := func(text string) []byte {
		return append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
	}
	var many strings.Builder // a tensor in 13 bytes
	for i := range 300_000 {
		fmt.Fprintf(&many, `"%06d":{},`, i)
	}
	for name, tt := range map[string]struct {
		file []byte
		most uint64
	}{
		"a tensor":     {claim, 2 << 20},
		"many tensors": {header("{" + many.String() + `"x":{}}`), 30 << 20},
		"metadata":     {header(`{"__metadata__":{` + strings.ReplaceAll(many.String(), "{}", `""`) + `"x":""}}`), 50 << 20},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := model.Read(bytes.NewReader(tt.file))
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > tt.most {
			t.Errorf("%s: allocated %d bytes for a file of %d (%v)", name, got, len(tt.file), err)
		}
	}
}

func TestSaveIsOneStep(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.safetensors")
	if err := small(1, 3).Save(path); err != nil {
		t.Fatal(err)
	}
	bad := small(2, 3)
	modeltest.Net(bad).Weights.Conv1[0] = float32(math.NaN())
	if err := bad.Save(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("saving a NaN: %v, want an error that names the file", err)
	}
	if _, err := model.Load(path); err != nil {
		t.Errorf("after a failed save: %v", err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("%d files left, want the model alone", len(files))
	}
	missing := filepath.Join(dir, "no", "m.safetensors")
	if err := small(1, 3).Save(missing); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("saving into a missing directory: %v, want an error that names the file", err)
	}
	if _, err := model.Load(missing); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("loading a missing file: %v, want an error that names the file", err)
	}
}

// withMore is a model that says all that a file may say beside the network and its facts.
func withMore(a stream.Architecture) *model.Model {
	m := streamtest.Model(rand.New(rand.NewPCG(3, 1)), a, 3)
	m.Taxonomy = taxonomy.Taxonomy{m.Labels[0]: "kind/" + m.Labels[0]}
	m.Calibration = model.Calibration{Temperature: 2, Least: 1, Captures: 4, Apart: true}
	m.Training.Choice = &model.Choice{By: model.ChosenLast, Epoch: 39, Epochs: 40}
	m.Background = make([]float32, 2*(model.Tensor{Shape: m.Net.Input(m.Record)}).Size())
	return m
}

func FuzzRead(f *testing.F) {
	one := bytesOf(f, model.Bundle{"": small(1, 3)})
	f.Add(one)
	f.Add(one[:len(one)/2])
	heard := bytesOf(f, model.Bundle{"": withFacts()})
	f.Add(heard)
	f.Add(bytes.Replace(heard, []byte(`[[0,2],[1]]`), []byte(`[[0,9],[1]]`), 1))
	least := stream.Architecture{Units: 1, Buckets: 2, Width: 1, Flows: 2, Hidden: 1, OwnPorts: []int32{53}, RemotePorts: []int32{}}
	flow := bytesOf(f, model.Bundle{"": streamtest.Model(rand.New(rand.NewPCG(1, 1)), least, 3)})
	f.Add(flow)
	f.Add(flow[:len(flow)-1])
	f.Add(append(flow[:len(flow)-4:len(flow)-4], 0, 0, 0xc0, 0x7f)) // the last bias is NaN
	f.Add(append(flow[:len(flow)-4:len(flow)-4], 0xff, 0xff, 0x7f, 0x7f))
	told := bytesOf(f, model.Bundle{"": withMore(least)})
	f.Add(told)
	f.Add(append(told[:len(told)-4:len(told)-4], 0, 0, 0xc0, 0x7f)) // the background's last value is NaN
	for old, hostile := range map[string]string{
		`\"kind/`: `\"kin//`, `last epoch`: `\\u0007epo`, `\"epochs\":40`: `\"epochs\":4.`, `\"least\":1`: `\"least\":-`, `"background"`: `"beckground"`,
	} {
		changed := bytes.Replace(told, []byte(old), []byte(hostile), 1)
		if bytes.Equal(changed, told) || len(changed) != len(told) {
			f.Fatalf("no %s in the file, or of another length", old)
		}
		if _, err := model.ReadBundle(bytes.NewReader(changed)); err == nil {
			f.Errorf("%s for %s: no error", hostile, old)
		}
		f.Add(changed)
	}
	for old, hostile := range map[string]string{ // of the same length: the header's stays
		`\"buckets\":2`: `\"buckets\":9`, `\"flows\":2`: `\"flows\":0`, `\"units\":1`: `\"units\":-`,
		`"shape":[2,1]`: `"shape":[1,2]`, `\"own_ports\":[53]`: `\"own_ports\":[-1]`, `\"hidden\":1,`: `\"hidden\":1e`,
		`\"dropout\":0`: `\"dropout\":9`, `\"width\":1`: `\"width\":8`, `\"mean\":6`: `\"mean\":-`, `\"deviation\":2`: `\"deviation\":0`,
	} {
		changed := bytes.Replace(flow, []byte(old), []byte(hostile), 1)
		if bytes.Equal(changed, flow) || len(changed) != len(flow) {
			f.Fatalf("no %s in the file, or of another length", old)
		}
		if _, err := model.ReadBundle(bytes.NewReader(changed)); err == nil {
			f.Errorf("%s for %s: no error", hostile, old)
		}
		f.Add(changed)
	}
	row := modeltest.Stream(rand.New(rand.NewPCG(2, 1)), 3)
	f.Add(bytesOf(f, model.Bundle{"tcp/80": small(1, 2), "udp/53": small(2, 3)}))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := model.ReadBundle(bytes.NewReader(text))
		if err != nil {
			return
		}
		var buf bytes.Buffer
		if err := b.Write(&buf); err != nil {
			t.Fatalf("read but cannot be written: %v", err)
		}
		if _, err := model.ReadBundle(&buf); err != nil {
			t.Fatalf("written but cannot be read: %v", err)
		}
		for _, m := range b {
			e, err := model.NewEngine(m)
			if err != nil {
				continue // sums that overflow
			}
			probs := make([]float32, e.Classes())
			if err := e.Predict(row, probs); err == nil && model.NotFinite(e.Logits()) >= 0 {
				t.Fatalf("outputs %v and no error", e.Logits())
			}
		}
	})
}

// Class names that are no text would come back as others, or as one: they are neither
// written nor read.
func TestLabelsAreText(t *testing.T) {
	for _, label := range []string{"T\xfcr", "T\x00r", "\x1b[31mTor", "T\nr"} {
		m := small(1, 3)
		m.Labels = []string{"A", "B", label}
		slices.Sort(m.Labels)
		if err := m.Validate(); err == nil || !strings.Contains(err.Error(), "labels: ") {
			t.Errorf("%q: error %v", label, err)
		}
	}
	m := small(1, 3)
	text := bytesOf(t, model.Bundle{"": m})
	text = bytes.Replace(text, []byte(m.Labels[0]), append(bytes.Clone([]byte(m.Labels[0])[1:]), 0xfc), 1)
	if _, err := model.Read(bytes.NewReader(text)); err == nil || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("a file with a label in Latin-1: error %v", err)
	}
	metadata, err := m.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	plain := map[string]string{}
	for key, v := range metadata {
		plain[key] = string(v)
	}
	plain["labels"] = "[\"T\xfcr\"]"
	if _, err := m.SetMetadata(plain); err == nil || !strings.Contains(err.Error(), "labels is not UTF-8") {
		t.Errorf("metadata with a label in Latin-1: error %v", err)
	}
}
