package interchange

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
)

// object is JSON.
type object = map[string]any

// setting is one layer's setting, changed.
func setting(layer int, key string, value any) func([]any) []any {
	return func(layers []any) []any {
		layers[layer].(object)["config"].(object)[key] = value
		return layers
	}
}

// inserted puts a layer at a place, and takes the activation out of the one before
// when it is one itself.
func inserted(at int, class string, config object) func([]any) []any {
	return func(layers []any) []any {
		config["name"] = "mine"
		before := layers[at-1].(object)["config"].(object)
		if a, ok := before["activation"]; ok && (class == "ReLU" || class == "Softmax" || class == "Activation" || class == "LeakyReLU") && a != "linear" {
			before["activation"] = "linear"
		}
		l := object{"module": "keras.layers", "class_name": class, "config": config, "registered_name": nil}
		return append(layers[:at:at], append([]any{l}, layers[at:]...)...)
	}
}

// described are the layers of testdata's network: 0 input, 1 and 2 convolutions, 3
// dropout, 4 pool, 5 flatten, 6 and 7 dense. What changes their function is refused
// by the layer's name, in an archive and in a whole model's HDF5.
var described = []struct {
	name   string
	change func(layers []any) []any
	want   string // in the error; "": the same network
}{
	{"as saved", func(l []any) []any { return l }, ""},
	{"tanh", setting(2, "activation", "tanh"), `Conv2D conv2d_1: activation is "tanh", want relu`},
	{"no activation", setting(1, "activation", "linear"), "Conv2D conv2d_1: not at this place"},
	{"elu after the hidden layer", setting(6, "activation", "elu"), `Dense dense: activation is "elu"`},
	{"sigmoid", setting(7, "activation", "sigmoid"), `Dense dense_1: activation is "sigmoid", want softmax`},
	{"logits", setting(7, "activation", "linear"), ""},
	{"relu at the end", setting(7, "activation", "relu"), "Dense dense_1: not at this place"},
	{"softmax within", setting(6, "activation", "softmax"), "Dense dense: activation is softmax, want relu"},
	{"padding", setting(1, "padding", "same"), "Conv2D conv2d: padding is same, want valid"},
	{"strides", setting(2, "strides", []int{1, 2}), "Conv2D conv2d_1: strides is [1 2]"},
	{"dilation", setting(2, "dilation_rate", []int{2, 1}), "Conv2D conv2d_1: dilation_rate is [2 1]"},
	{"groups", setting(2, "groups", 2), "Conv2D conv2d_1: groups is 2"},
	{"channels first", setting(1, "data_format", "channels_first"), "Conv2D conv2d: data_format is channels_first"},
	{"no bias", setting(6, "use_bias", false), "Dense dense: use_bias is false"},
	{"kernel", setting(2, "kernel_size", []int{5, 3}), `layer "conv2d_1": its weights are of shape [3 5 3], its configuration says [5 3 3]`},
	{"filters", setting(1, "filters", 4), `layer "conv2d": its weights`},
	{"units", setting(6, "units", 8), `layer "dense": its weights`},
	{"pool strides", setting(4, "strides", []int{2, 2}), "MaxPooling2D max_pooling2d: strides is [2 2], want [3 3]"},
	{"pool padding", setting(4, "padding", "same"), "MaxPooling2D max_pooling2d: padding"},
	{"pool channels first", setting(4, "data_format", "channels_first"), "max_pooling2d: data_format"},
	{"flatten channels first", setting(5, "data_format", "channels_first"), "Flatten flatten: data_format"},
	{"windows on their side", setting(0, "batch_shape", []any{nil, 5, 1, 40}), "Conv2D conv2d: its input has shape [5 1 40]"},
	{"quantized", setting(6, "quantization_config", object{"mode": "int8"}), "Dense dense: quantized"},

	{"ReLU layer", inserted(2, "ReLU", object{"max_value": nil, "negative_slope": 0.0, "threshold": 0.0}), ""},
	{"ReLU activation layer", inserted(7, "Activation", object{"activation": "relu"}), ""},
	{"ReLU object", setting(1, "activation", object{"module": "keras.layers", "class_name": "ReLU", "config": object{"max_value": nil}}), ""},
	{"ReLU after the dropout", func(l []any) []any { return inserted(4, "ReLU", object{})(setting(2, "activation", "linear")(l)) }, ""},
	{"ReLU after the pool", func(l []any) []any { return inserted(5, "ReLU", object{})(setting(2, "activation", "linear")(l)) }, ""},
	{"softmax layer", inserted(8, "Softmax", object{"axis": -1}), ""},
	{"softmax over windows", inserted(8, "Softmax", object{"axis": 0}), "Softmax mine: axis is 0"},
	{"noise", inserted(2, "GaussianNoise", object{"stddev": 0.1}), ""},
	{"reshaped windows", inserted(1, "Reshape", object{"target_shape": []int{5, -1, 1}}), ""},
	{"ReLU6", inserted(2, "ReLU", object{"max_value": 6.0}), "ReLU mine: max_value is 6"},
	{"leaky ReLU", inserted(2, "ReLU", object{"negative_slope": 0.1}), "ReLU mine: negative_slope is 0.1"},
	{"ReLU with a threshold", inserted(2, "ReLU", object{"threshold": 0.5}), "ReLU mine: threshold is 0.5"},
	{"LeakyReLU", inserted(2, "LeakyReLU", object{"negative_slope": 0.3}), "LeakyReLU mine: the network has none"},
	{"Rescaling", inserted(1, "Rescaling", object{"scale": 0.5, "offset": 0.0}), "Rescaling mine: the network has none"},
	{"BatchNormalization", inserted(2, "BatchNormalization", object{"axis": []int{3}}), "BatchNormalization mine: the network has none"},
	{"reshaped within", inserted(2, "Reshape", object{"target_shape": []int{31, 5, 2}}), "Reshape mine: target_shape is [31 5 2]"},
	{"a class of the user's", func(l []any) []any {
		l[1].(object)["registered_name"], l[1].(object)["module"] = "Mine>Conv2D", "mine"
		return l
	}, "Conv2D conv2d: a class of its own"},
	{"an activation of the user's", setting(1, "activation", object{"module": "mine", "class_name": "function", "config": "relu", "registered_name": "relu"}), "conv2d: activation is"},
	{"what steers a terminal", setting(1, "activation", "\x1b[31mred"), `\x1b[31mred`},
	{"a layer of nowhere", inserted(4, "\x1b[2J", object{}), `\x1b[2J mine: the network has none`},
	{"no pool", func(l []any) []any { return append(l[:4:4], l[5:]...) }, ""},
	{"no flattening", func(l []any) []any { return append(l[:5:5], l[6:]...) }, "Dense dense: not at this place"},
	{"no end", func(l []any) []any { return l[:7] }, "the layers end after dense1"},
}

func TestKerasDescription(t *testing.T) {
	saved, err := os.ReadFile("testdata/keras3.keras")
	if err != nil {
		t.Fatal(err)
	}
	want, err := parse(saved)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range described {
		t.Run(tt.name, func(t *testing.T) {
			for format, data := range map[string][]byte{"archive": archive(t, saved, tt.change), "HDF5": whole(t, tt.change)} {
				n, err := parse(data)
				if tt.want != "" {
					if err == nil || !strings.Contains(err.Error(), tt.want) || strings.ContainsRune(err.Error(), '\x1b') {
						t.Errorf("%s: error %v, want %q in it", format, err, tt.want)
					}
					continue
				}
				if err != nil {
					t.Errorf("%s: %v", format, err)
					continue
				}
				if !reflect.DeepEqual(n.Weights, want.Weights) || n.Arch.K != 5 || n.Width != 40 || n.Undescribed {
					t.Errorf("%s: another network came in", format)
				}
			}
		})
	}
}

// changed is a model's configuration with other layers. What is of training only is
// left out, which gives room for more.
func changed(t *testing.T, config []byte, change func([]any) []any) []byte {
	t.Helper()
	var m object
	if err := json.Unmarshal(config, &m); err != nil {
		t.Fatal(err)
	}
	inner := m["config"].(object)
	layers := inner["layers"].([]any)
	for _, l := range layers {
		for key := range l.(object)["config"].(object) {
			if strings.HasSuffix(key, "_initializer") || key == "dtype" {
				delete(l.(object)["config"].(object), key)
			}
		}
	}
	inner["layers"] = change(layers)
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// archive is a .keras file with another configuration.
func archive(t *testing.T, saved []byte, change func([]any) []any) []byte {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(saved), int64(len(saved)))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range z.File {
		text, err := member(z, f.Name, maxFile)
		if err != nil {
			t.Fatal(err)
		}
		if f.Name == archiveConfig {
			text = changed(t, text, change)
		}
		out, err := w.Create(f.Name)
		if err == nil {
			_, err = out.Write(text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// whole is a whole model in HDF5 with another configuration, in the same place.
func whole(t *testing.T, change func([]any) []any) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/keras3.h5")
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte(`{"class_name": "Sequential"`))
	var old json.RawMessage
	if err := json.NewDecoder(bytes.NewReader(data[at:])).Decode(&old); err != nil {
		t.Fatal(err)
	}
	text := changed(t, old, change)
	if len(text) > len(old) {
		t.Fatalf("%d bytes of configuration, room for %d", len(text), len(old))
	}
	copy(data[at:], text)
	copy(data[at+len(text):], bytes.Repeat([]byte(" "), len(old)-len(text)))
	return data
}

// Functional models are chains, in whatever order and of whatever version they are.
func TestKerasChain(t *testing.T) {
	layer := func(name, class, config, inbound string) string {
		return `{"name": "` + name + `", "class_name": "` + class + `", "config": {` + config + `}, "inbound_nodes": [` + inbound + `]}`
	}
	old := func(from string) string { return `[["` + from + `", 0, 0, {}]]` }
	now := func(from string) string {
		return `{"args": [{"class_name": "__keras_tensor__", "config": {"shape": [null, 5], "keras_history": ["` + from + `", 0, 0]}}], "kwargs": {}}`
	}
	model := func(in, out string, layers ...string) string {
		return `{"class_name": "Functional", "config": {"layers": [` + strings.Join(layers, ",") + `], "input_layers": ` + in + `, "output_layers": ` + out + `}}`
	}
	network := func(by func(string) string) []string {
		return []string{
			layer("e", "Dense", `"units": 4, "activation": "softmax"`, by("d")), // out of order
			layer("i", "InputLayer", `"batch_shape": [null, 5, 40, 1]`, ""),
			layer("a", "Conv2D", `"activation": "relu"`, by("i")),
			layer("b", "Conv2D", `"activation": "relu"`, by("a")),
			layer("c", "Flatten", ``, by("b")),
			layer("d", "Dense", `"units": 7, "activation": "relu"`, by("c")),
		}
	}
	for _, tt := range []struct{ name, text, want string }{
		{"of Keras 3", model(`["i", 0, 0]`, `["e", 0, 0]`, network(now)...), ""},
		{"of a .keras file", `{"module": "keras.src.models.functional", "registered_name": "Functional",` + model(`["i", 0, 0]`, `["e", 0, 0]`, network(now)...)[1:], ""},
		{"of a class derived from it", `{"module": "mine", "registered_name": "Functional",` + model(`["i", 0, 0]`, `["e", 0, 0]`, network(now)...)[1:], `class "Functional"`},
		{"of Keras 2", model(`[["i", 0, 0]]`, `[["e", 0, 0]]`, network(old)...), ""},
		{"of the first Keras 2", `{"class_name": "Sequential", "config": [` + strings.Join(append(network(old)[1:], network(old)[0]), ",") + `]}`, ""},
		{"two outputs", model(`[["i", 0, 0]]`, `[["e", 0, 0], ["d", 0, 0]]`, network(now)...), "1 inputs and 2 outputs"},
		{"an output within", model(`[["i", 0, 0]]`, `[["d", 0, 0]]`, network(now)...), "no chain"},
		{"a join", model(`["i", 0, 0]`, `["e", 0, 0]`, append(network(now)[1:], layer("e", "Dense", ``, now("d")+","+now("c")))...), `layer "e" has 2 inputs`},
		{"a circle", model(`["i", 0, 0]`, `["e", 0, 0]`, append(network(now)[:5], layer("d", "Dense", ``, now("e")))...), "no chain"},
		{"from nowhere", model(`["i", 0, 0]`, `["x", 0, 0]`, network(now)...), `layer "x" is not in the file`},
		{"a class of the user's", `{"class_name": "Net", "config": {}}`, `class "Net"`},
		{"layers within layers", `{"class_name": "Sequential", "config": {"layers": [` + layer("s", "Sequential", `"layers": []`, "") + `]}}`, "Sequential s: the network has none"},
		{"nothing", `null`, `class ""`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := describe([]byte(tt.text))
			if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// Weights alone tell nothing of activations; of other layers their groups do.
func TestKerasWeightsAlone(t *testing.T) {
	data, err := os.ReadFile("testdata/keras3.weights.h5")
	if err != nil {
		t.Fatal(err)
	}
	n, err := parse(data)
	if err != nil || !n.Undescribed {
		t.Errorf("%v: want a network that is not described", err)
	}
	other := bytes.ReplaceAll(data, []byte("dropout\x00"), []byte("re_lu_x\x00"))
	if bytes.Equal(other, data) {
		t.Fatal("no such group")
	}
	if _, err := parse(other); err == nil || !strings.Contains(err.Error(), `layer "re_lu_x"`) {
		t.Errorf("error %v, want one that names the layer", err)
	}
}
