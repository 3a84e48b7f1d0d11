package interchange

// This file recognises the network among the arrays that Keras saves: weights
// alone (.weights.h5, of Keras 2 and 3), whole models (.h5), and archives (.keras),
// whose config.json also tells the input, the pool and the dropout.

import (
	"archive/zip"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	zipSignature   = "PK\x03\x04"
	archiveWeights = "model.weights.h5"
	archiveConfig  = "config.json"
)

// kerasLayer is a layer with weights, as saved: a kernel and a bias side by side.
type kerasLayer struct {
	name         string // path of the group
	kernel, bias array
}

// parseKerasWeights reads an HDF5 file.
func parseKerasWeights(data []byte) (*Network, error) {
	arrays, order, err := readHDF5(data)
	if err != nil {
		return nil, err
	}
	layers, err := kerasLayers(arrays, order)
	if err != nil {
		return nil, fmt.Errorf("keras: %w", err)
	}
	n := &Network{Format: FormatKeras, Temperature: 1}
	if err := n.setKeras(layers); err != nil {
		return nil, fmt.Errorf("keras: %w", err)
	}
	return n, nil
}

// kerasLayers groups arrays by layer, in the order of the layers' names, in which
// Keras counts. What an optimizer saved is left out.
func kerasLayers(arrays map[string]array, order []string) ([]kerasLayer, error) {
	var layers []kerasLayer
	for _, name := range order {
		if strings.HasPrefix(name, "optimizer") {
			continue
		}
		group := path.Dir(name)
		i := slices.IndexFunc(layers, func(l kerasLayer) bool { return l.name == group })
		if i < 0 {
			i = len(layers)
			layers = append(layers, kerasLayer{name: group})
		}
		a, l := arrays[name], &layers[i]
		switch {
		case len(a.shape) == 1 && l.bias.values == nil:
			l.bias = a
		case len(a.shape) > 1 && l.kernel.values == nil:
			l.kernel = a
		default:
			return nil, fmt.Errorf("%s: an array of shape %v that the network does not have", name, a.shape)
		}
	}
	for _, l := range layers {
		if l.kernel.values == nil || l.bias.values == nil || l.kernel.shape[len(l.kernel.shape)-1] != l.bias.shape[0] {
			return nil, fmt.Errorf("layer %s: want a kernel and a bias that fit each other", l.name)
		}
	}
	slices.SortFunc(layers, byNumber)
	return layers, nil
}

// layerNumber is the number that Keras gives to the second layer of a kind and on.
var layerNumber = regexp.MustCompile(`_(\d+)(?:/|$)`)

// byNumber orders "conv2d_9" before "conv2d_10".
func byNumber(a, b kerasLayer) int {
	number := func(l kerasLayer) int {
		n := 0
		if m := layerNumber.FindStringSubmatch(l.name); m != nil {
			n, _ = strconv.Atoi(m[1]) // absurdly long: 0
		}
		return n
	}
	return cmp.Or(cmp.Compare(number(a), number(b)), strings.Compare(a.name, b.name))
}

// setKeras takes the weights, which are in the model file's layout already.
func (n *Network) setKeras(layers []kerasLayer) error {
	var conv, dense []kerasLayer
	for _, l := range layers {
		switch len(l.kernel.shape) {
		case 4:
			conv = append(conv, l)
		case 2:
			dense = append(dense, l)
		default:
			return fmt.Errorf("layer %s: a kernel of shape %v", l.name, l.kernel.shape)
		}
	}
	if len(conv) != 2 || len(dense) != 2 {
		return fmt.Errorf("%d convolutions and %d dense layers, want 2 and 2", len(conv), len(dense))
	}
	// Names may mislead when several models were made in one session: shapes decide.
	if s := conv[0].kernel.shape; s[0] != 1 || s[2] != 1 {
		slices.Reverse(conv)
	}
	if dense[0].kernel.shape[1] != dense[1].kernel.shape[0] {
		slices.Reverse(dense)
	}
	c1, c2, d1, d2 := conv[0].kernel.shape, conv[1].kernel.shape, dense[0].kernel.shape, dense[1].kernel.shape
	if c1[0] != 1 || c1[2] != 1 || c2[2] != c1[3] {
		return fmt.Errorf("kernels of shape %v (%s) and %v (%s): want [1 columns 1 filters] and [rows columns filters filters]", c1, conv[0].name, c2, conv[1].name)
	}
	if d1[1] != d2[0] {
		return fmt.Errorf("dense layers of shape %v (%s) and %v (%s) do not follow each other", d1, dense[0].name, d2, dense[1].name)
	}
	n.Arch.Kernel1, n.Arch.Kernel2, n.Arch.Filters = c1[1], [2]int{c2[0], c2[1]}, [2]int{c1[3], c2[3]}
	n.Arch.Hidden, n.Flat, n.Classes = d1[1], d1[0], d2[1]
	w := &n.Weights
	w.Conv1, w.Conv1Bias = conv[0].kernel.values, conv[0].bias.values
	w.Conv2, w.Conv2Bias = conv[1].kernel.values, conv[1].bias.values
	w.Dense1, w.Dense1Bias = dense[0].kernel.values, dense[0].bias.values
	w.Dense2, w.Dense2Bias = dense[1].kernel.values, dense[1].bias.values
	return nil
}

// parseKerasArchive reads a .keras file.
func parseKerasArchive(data []byte) (*Network, error) {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("keras: %w", err)
	}
	weights, err := member(z, archiveWeights)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(weights, []byte(hdf5Signature)) {
		return nil, fmt.Errorf("keras: %s is no HDF5", archiveWeights)
	}
	config, err := member(z, archiveConfig)
	if err != nil {
		return nil, err
	}
	n, err := parseKerasWeights(weights)
	if err != nil {
		return nil, err
	}
	if err := n.setKerasConfig(config); err != nil {
		return nil, fmt.Errorf("keras: %s: %w", archiveConfig, err)
	}
	return n, nil
}

// member is a file of the archive, unpacked.
func member(z *zip.Reader, name string) ([]byte, error) {
	f, err := z.Open(name)
	if err != nil {
		return nil, fmt.Errorf("keras: %s: %w", name, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("keras: %s: %w", name, err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("keras: %s: more than %d MiB: not a network of this kind", name, maxFile>>20)
	}
	return b, nil
}

// kerasConfig is what of a model's configuration concerns us.
type kerasConfig struct {
	Config struct {
		Layers []struct {
			Class  string `json:"class_name"`
			Config struct {
				BatchShape []*int  `json:"batch_shape"`
				Pool       []int   `json:"pool_size"`
				Strides    []int   `json:"strides"`
				Padding    string  `json:"padding"`
				Rate       float64 `json:"rate"`
				Activation any     `json:"activation"`
			} `json:"config"`
		} `json:"layers"`
	} `json:"config"`
}

// setKerasConfig takes the input's size, the pool and the dropout, and refuses
// what would make the network another one.
func (n *Network) setKerasConfig(text []byte) error {
	var c kerasConfig
	if err := json.Unmarshal(text, &c); err != nil {
		return err
	}
	var activations []any
	for _, l := range c.Config.Layers {
		switch l.Class {
		case "InputLayer":
			if s := l.Config.BatchShape; len(s) >= 3 && s[1] != nil && s[2] != nil {
				n.Arch.K, n.Width = *s[1], *s[2]
			}
		case "Conv2D":
			if l.Config.Padding != "valid" || slices.ContainsFunc(l.Config.Strides, func(s int) bool { return s != 1 }) {
				return errors.New("a convolution with padding or a stride: want valid and 1")
			}
			activations = append(activations, l.Config.Activation)
		case "Dense":
			activations = append(activations, l.Config.Activation)
		case "MaxPooling2D":
			if len(l.Config.Pool) != 2 || !slices.Equal(l.Config.Pool, l.Config.Strides) || l.Config.Padding != "valid" {
				return errors.New("a pool whose strides are not its size, or with padding")
			}
			n.Arch.Pool = [2]int(l.Config.Pool)
		case "Dropout":
			n.Arch.Dropout = l.Config.Rate
		case "Reshape", "Flatten", "Softmax":
		case "Activation":
			if l.Config.Activation != "softmax" {
				return fmt.Errorf("a layer of activation %v: want it in the layer before, and relu", l.Config.Activation)
			}
		default:
			return fmt.Errorf("a layer %s: the network has none", l.Class)
		}
	}
	for i, a := range activations {
		if i < 3 && a != "relu" {
			return fmt.Errorf("activation %v of layer %d: want relu", a, i+1)
		}
	}
	return nil
}
