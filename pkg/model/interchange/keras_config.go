package interchange

// This file reads what Keras says about a model's layers (config.json of a .keras
// file, model_config of a whole .h5), and compares all that changes the function
// with this project's network. What differs is refused by the layer's name.

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/iotsense/iotsense/internal/plaintext"
)

// kerasObject is a model or a layer as Keras writes it.
type kerasObject struct {
	Class      string          `json:"class_name"`
	Module     string          `json:"module"`          // Keras 3
	Registered string          `json:"registered_name"` // of the user's classes, and of some of Keras' own
	Name       string          `json:"name"`            // of a layer in a functional model
	Inbound    json.RawMessage `json:"inbound_nodes"`   // the same
	Config     json.RawMessage `json:"config"`
}

// own reports that the class is Keras' own. Where no module is told, as in HDF5, a
// registered class of the user's has a name like "Package>Class".
func (o *kerasObject) own() bool {
	if o.Module == "" {
		return o.Registered == ""
	}
	top, _, _ := strings.Cut(o.Module, ".")
	return top == "keras" || top == "tf_keras"
}

// description is what the layers are, one after the other.
type description struct {
	layers [4]struct { // conv1, conv2, dense1, dense2
		name   string
		kernel []int // shape of its weights, without the inputs
	}
	at      layer
	active  bool  // a ReLU has followed the newest convolution or dense layer
	flat    bool  // the rows of the pool have been put into one
	shape   []int // of a window, before conv1; nil or 0: not told
	pool    [2]int
	dropout float64
}

// describe reads a model's configuration.
func describe(text []byte) (*description, error) {
	var model kerasObject
	if err := json.Unmarshal(text, &model); err != nil {
		return nil, err
	}
	chain, err := model.chain()
	if err != nil {
		return nil, err
	}
	d := &description{pool: [2]int{1, 1}}
	for _, l := range chain {
		err := errors.New("a class of its own, of which only the name is told")
		if l.own() {
			err = d.take(&l)
		}
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", plaintext.Escape(strings.TrimSpace(l.Class+" "+l.Name)), err)
		}
	}
	if d.at < atDense2 {
		return nil, fmt.Errorf("the layers end after %v: not the network of this project", d.at)
	}
	return d, nil
}

// chain is the model's layers, from the input to the output. It refuses a model
// with a fork or a join.
func (o *kerasObject) chain() ([]kerasObject, error) {
	var config struct {
		Layers  []kerasObject `json:"layers"`
		Inputs  any           `json:"input_layers"`
		Outputs any           `json:"output_layers"`
	}
	err := json.Unmarshal(o.Config, &config)
	if o.Class == "Sequential" && err != nil { // of Keras before 2.2.3 it is a list
		err = json.Unmarshal(o.Config, &config.Layers)
	}
	if err != nil || !o.own() || !slices.Contains([]string{"Sequential", "Functional", "Model"}, o.Class) {
		return nil, fmt.Errorf("a model of class %.40q, whose layers the file does not tell: want Sequential or Functional", o.Class)
	}
	for i := range config.Layers {
		l := &config.Layers[i]
		var named struct {
			Name string `json:"name"`
		}
		if err := json.Unmarshal(l.Config, &named); err != nil {
			return nil, fmt.Errorf("layer %q: %w", l.Name, err)
		}
		l.Name = cmp.Or(l.Name, named.Name)
	}
	if o.Class == "Sequential" {
		return config.Layers, nil
	}
	in, out := sources(config.Inputs), sources(config.Outputs)
	if len(in) != 1 || len(out) != 1 {
		return nil, fmt.Errorf("%d inputs and %d outputs, want one of each", len(in), len(out))
	}
	return follow(config.Layers, in[0], out[0])
}

// follow goes from the output's layer back to the input's.
func follow(layers []kerasObject, in, out string) ([]kerasObject, error) {
	by := map[string]kerasObject{}
	for _, l := range layers {
		by[l.Name] = l
	}
	var back []kerasObject
	for at := out; len(back) < len(layers); {
		l, ok := by[at]
		if !ok {
			return nil, fmt.Errorf("layer %q is not in the file", at)
		}
		back = append(back, l)
		if at == in {
			break
		}
		var inbound any
		if err := json.Unmarshal(l.Inbound, &inbound); err != nil {
			return nil, fmt.Errorf("layer %q: inbound_nodes: %w", at, err)
		}
		from := sources(inbound)
		if len(from) != 1 {
			return nil, fmt.Errorf("layer %q has %d inputs, want one", at, len(from))
		}
		at = from[0]
	}
	if len(back) != len(layers) || back[len(back)-1].Name != in {
		return nil, errors.New("the layers are no chain from the input to the output")
	}
	slices.Reverse(back)
	return back, nil
}

// sources are the layers that JSON of any version of Keras names as the origin of
// tensors: lists of a name, the number of the call and the number of its output.
func sources(v any) []string {
	var names []string
	switch v := v.(type) {
	case []any:
		if len(v) >= 3 {
			name, isName := v[0].(string)
			_, isCall := v[1].(float64)
			if _, isOutput := v[2].(float64); isName && isCall && isOutput {
				names, v = append(names, name), v[3:]
			}
		}
		for _, inner := range v {
			names = append(names, sources(inner)...)
		}
	case map[string]any:
		for _, inner := range v {
			names = append(names, sources(inner)...)
		}
	}
	return names
}

// kerasConfig is what can be said of the layers that the network has.
type kerasConfig struct {
	BatchShape      []*int          `json:"batch_shape"`
	BatchInputShape []*int          `json:"batch_input_shape"` // Keras 2
	Target          []int           `json:"target_shape"`
	Filters         int             `json:"filters"`
	Kernel          pair            `json:"kernel_size"`
	Strides         *pair           `json:"strides"`
	Padding         *string         `json:"padding"`
	Format          *string         `json:"data_format"`
	Dilation        *pair           `json:"dilation_rate"`
	Groups          *int            `json:"groups"`
	Units           int             `json:"units"`
	Bias            *bool           `json:"use_bias"`
	Activation      json.RawMessage `json:"activation"`
	Quantization    any             `json:"quantization_config"`
	Pool            pair            `json:"pool_size"`
	Rate            float64         `json:"rate"`
	Most            *float64        `json:"max_value"`
	Slope           *float64        `json:"negative_slope"`
	Threshold       *float64        `json:"threshold"`
	Axis            any             `json:"axis"`
}

// pair is two numbers, or one for both.
type pair [2]int

// UnmarshalJSON takes 3, [3] and [3, 3].
func (p *pair) UnmarshalJSON(text []byte) error {
	var list []int
	if err := json.Unmarshal(text, &p[0]); err == nil {
		p[1] = p[0]
		return nil
	}
	err := json.Unmarshal(text, &list)
	if err == nil && len(list) != len(p) {
		err = fmt.Errorf("%d numbers, want 2", len(list))
	}
	copy(p[:], list)
	return err
}

// same reports a setting that is not the network's; a file that does not tell it
// means Keras' default, which is.
func same[T comparable](name string, got *T, want T) error {
	if got == nil || *got == want {
		return nil
	}
	return fmt.Errorf("%s is %v, want %v", name, *got, want)
}

var errKerasOrder = errors.New("not at this place: want Conv2D, Conv2D, MaxPooling2D, Flatten, Dense, Dense with a ReLU after all but the last")

// noise are the classes that do something in training only.
var noise = []string{"Dropout", "SpatialDropout2D", "GaussianDropout", "GaussianNoise", "AlphaDropout", "Identity"}

// take goes one layer further.
func (d *description) take(l *kerasObject) error {
	if !slices.Contains(noise, l.Class) && !slices.Contains([]string{"InputLayer", "Reshape", "Flatten", "Conv2D", "MaxPooling2D", "Dense", "Activation", "ReLU", "Softmax"}, l.Class) {
		return errors.New("the network has none of this kind")
	}
	var c kerasConfig
	if err := json.Unmarshal(l.Config, &c); err != nil {
		return err
	}
	if c.Quantization != nil {
		return errors.New("quantized: save it in float32")
	}
	if s := append(c.BatchShape, c.BatchInputShape...); d.at == atInput && d.shape == nil && len(s) > 0 {
		for _, n := range s[1:] {
			if n == nil {
				n = new(int)
			}
			d.shape = append(d.shape, *n)
		}
	}
	switch l.Class {
	case "InputLayer":
		if d.at != atInput {
			return errKerasOrder
		}
		return nil
	case "Reshape":
		return d.reshape(&c)
	case "Flatten":
		return d.flatten(&c)
	case "Conv2D":
		return d.conv(l.Name, &c)
	case "MaxPooling2D":
		return d.maxPool(&c)
	case "Dense":
		return d.dense(l.Name, &c)
	case "Dropout":
		if d.at == atConv2 { // where the network's is
			d.dropout = c.Rate
		}
		return nil
	case "Activation":
		return d.activate(c.Activation)
	case "ReLU", "Softmax":
		return d.function(l.Class, &c)
	}
	return nil
}

// reshape only brings a window into rows and columns, or the pool's into one row.
func (d *description) reshape(c *kerasConfig) error {
	if d.at == atInput {
		d.shape = resolved(c.Target, d.shape)
		return nil
	}
	if len(c.Target) != 1 {
		return fmt.Errorf("target_shape is %v: want it before the first convolution, or one row after the pool", c.Target)
	}
	return d.flatten(&kerasConfig{})
}

// resolved is a shape with the axis that Keras computes, -1, known if all is.
func resolved(target, of []int) []int {
	size, rest := 1, 1
	for _, n := range of {
		size *= n
	}
	for _, n := range target {
		if n > 0 {
			rest *= n
		}
	}
	shape := slices.Clone(target)
	for i, n := range shape {
		if n < 1 {
			shape[i] = 0
			if len(of) > 0 && rest > 0 && size%rest == 0 {
				shape[i] = size / rest
			}
		}
	}
	return shape
}

func (d *description) flatten(c *kerasConfig) error {
	switch {
	case d.at == atInput:
		d.shape = resolved([]int{-1}, d.shape)
		return nil
	case d.at < atConv2:
		return errKerasOrder
	}
	d.flat = true
	return same("data_format", c.Format, "channels_last")
}

func (d *description) conv(name string, c *kerasConfig) error {
	if d.at > atConv1 || d.at == atConv1 && !d.active {
		return errKerasOrder
	}
	err := cmp.Or(
		same("padding", c.Padding, "valid"), same("strides", c.Strides, pair{1, 1}),
		same("dilation_rate", c.Dilation, pair{1, 1}), same("groups", c.Groups, 1),
		same("data_format", c.Format, "channels_last"), same("use_bias", c.Bias, true),
	)
	if err != nil {
		return err
	}
	if d.at == atInput && d.shape != nil && (len(d.shape) != 3 || d.shape[2] > 1) {
		return fmt.Errorf("its input has shape %v, want [rows columns 1]", d.shape)
	}
	d.layers[d.at].name, d.layers[d.at].kernel = name, []int{c.Kernel[0], c.Kernel[1], c.Filters}
	d.at, d.active = d.at+1, false
	return d.activate(c.Activation)
}

func (d *description) maxPool(c *kerasConfig) error {
	if d.at != atConv2 || d.flat {
		return errKerasOrder
	}
	d.at, d.pool = atPool, c.Pool
	return cmp.Or(same("padding", c.Padding, "valid"), same("strides", c.Strides, c.Pool), same("data_format", c.Format, "channels_last"))
}

func (d *description) dense(name string, c *kerasConfig) error {
	switch {
	case d.at == atConv2 || d.at == atPool: // a network without the pool is one of ours
		if !d.flat || !d.active {
			return errKerasOrder
		}
		d.at = atDense1
	case d.at == atDense1 && d.active:
		d.at = atDense2
	default:
		return errKerasOrder
	}
	d.layers[d.at-2].name, d.layers[d.at-2].kernel = name, []int{c.Units}
	d.active = false
	return cmp.Or(same("use_bias", c.Bias, true), d.activate(c.Activation))
}

// activate takes an activation: of a layer, or a layer of its own.
func (d *description) activate(text json.RawMessage) error {
	name := "linear" // not told, or null
	if len(text) > 0 && text[0] == '"' {
		if err := json.Unmarshal(text, &name); err != nil {
			return err
		}
	}
	if len(text) > 0 && text[0] == '{' { // an object of Keras 3
		var o kerasObject
		if err := json.Unmarshal(text, &o); err != nil {
			return err
		}
		if name = o.Class; o.own() && (name == "ReLU" || name == "Softmax") {
			var c kerasConfig
			if err := json.Unmarshal(o.Config, &c); err != nil {
				return err
			}
			return d.function(name, &c)
		}
		name = fmt.Sprintf("%s %s", name, o.Config)
	}
	switch name {
	case "linear":
		return nil
	case "relu":
		return d.function("ReLU", &kerasConfig{})
	case "softmax":
		return d.function("Softmax", &kerasConfig{})
	}
	return fmt.Errorf("activation is %.60q, want %s", name, d.wanted())
}

// wanted is the activation that the network has where the description is.
func (d *description) wanted() string {
	if d.at == atDense2 {
		return "softmax"
	}
	return "relu"
}

// function takes a ReLU or the softmax. A ReLU may also follow the pool or the
// flattening: the greatest value is the same, before and after.
func (d *description) function(class string, c *kerasConfig) error {
	if class == "ReLU" {
		if d.at == atInput || d.at >= atDense2 {
			return errKerasOrder
		}
		d.active = true
		if c.Most != nil {
			return fmt.Errorf("max_value is %v, want none", *c.Most)
		}
		return cmp.Or(same("negative_slope", c.Slope, 0), same("threshold", c.Threshold, 0))
	}
	if d.at != atDense2 {
		return fmt.Errorf("activation is softmax, want %s", d.wanted())
	}
	d.at = atOutput
	if axis := fmt.Sprint(c.Axis); c.Axis != nil && !slices.Contains([]string{"-1", "1", "[-1]", "[1]"}, axis) {
		return fmt.Errorf("axis is %s, want -1", axis)
	}
	return nil
}

// sort orders the weights as the layers are, where their groups name these: names
// of the user's own count nothing.
func (d *description) sort(weights []kerasLayer) {
	place := func(w kerasLayer) int {
		for i, l := range d.layers {
			if strings.HasPrefix(w.name, "model_weights/"+l.name+"/") {
				return i
			}
		}
		return len(d.layers)
	}
	slices.SortStableFunc(weights, func(a, b kerasLayer) int { return cmp.Compare(place(a), place(b)) })
}

// apply checks that the weights are those described, and completes the network.
func (d *description) apply(n *Network) error {
	a := &n.Arch
	for i, kernel := range [][]int{{1, a.Kernel1, a.Filters[0]}, {a.Kernel2[0], a.Kernel2[1], a.Filters[1]}, {a.Hidden}, {n.Classes}} {
		if l := d.layers[i]; !slices.Equal(l.kernel, kernel) {
			return fmt.Errorf("layer %q: its weights are of shape %v, its configuration says %v", l.name, kernel, l.kernel)
		}
	}
	if len(d.shape) == 3 {
		a.K, n.Width = d.shape[0], d.shape[1]
	}
	a.Pool, a.Dropout = d.pool, d.dropout
	return nil
}
