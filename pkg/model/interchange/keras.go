package interchange

// This file recognises the network among the arrays that Keras saves: weights
// alone (.weights.h5, of Keras 2 and 3), whole models (.h5) and archives (.keras).
// The latter two also hold the model's configuration, which keras_config.go reads.

import (
	"archive/zip"
	"bytes"
	"cmp"
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
	zipListed      = "PK\x01\x02" // before each file in the archive's list
	maxMembers     = 100          // Keras writes four at most
	maxConfig      = 4 << 20      // bytes of config.json: the network's has 6,000
	archiveWeights = "model.weights.h5"
	archiveConfig  = "config.json"
)

// kerasLayer is a layer with weights, as saved: a kernel and a bias side by side.
type kerasLayer struct {
	name         string // path of the group
	kernel, bias array
}

// attributeConfig is where whole models in HDF5 have their configuration.
const attributeConfig = "model_config"

// parseKerasHDF5 reads an HDF5 file.
func parseKerasHDF5(data []byte) (*Network, error) {
	f, err := readHDF5(data)
	if err != nil {
		return nil, err
	}
	n := &Network{Format: FormatKeras, Temperature: 1}
	text, whole := f.texts[attributeConfig]
	if !whole {
		n.Undescribed = true
		if err := checkGroups(f.groups); err != nil {
			return nil, fmt.Errorf("keras: %w", err)
		}
		return n, n.takeKeras(f, nil)
	}
	d, err := describe([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("keras: %s: %w", attributeConfig, err)
	}
	return n, n.takeKeras(f, d)
}

// knownGroups are the classes of layers that the network can have, as Keras 3 names
// the groups of weights, also of layers that have none.
var knownGroups = []string{
	"conv2d", "dense", "max_pooling2d", "flatten", "reshape", "input_layer", "activation", "re_lu", "softmax", "identity",
	"dropout", "spatial_dropout2d", "gaussian_dropout", "gaussian_noise", "alpha_dropout",
}

// checkGroups refuses weights alone of other layers, as far as groups tell: those of
// Keras 3 are named after the layers' classes.
func checkGroups(groups []string) error {
	for _, g := range groups {
		name, ok := strings.CutPrefix(g, "layers/")
		if !ok || strings.Contains(name, "/") {
			continue
		}
		if class := layerNumber.ReplaceAllString(name, ""); !slices.Contains(knownGroups, class) {
			return fmt.Errorf("layer %q: the network has none of this kind", name)
		}
	}
	return nil
}

// takeKeras takes the weights of a file, with what it says about its layers; nil: nothing.
func (n *Network) takeKeras(f *hdf5File, d *description) error {
	layers, err := kerasLayers(f.arrays, f.order)
	if err == nil && d != nil {
		d.sort(layers)
	}
	if err == nil {
		err = n.setKeras(layers)
	}
	if err == nil && d != nil {
		err = d.apply(n)
	}
	if err != nil {
		return fmt.Errorf("keras: %w", err)
	}
	return nil
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
			return nil, fmt.Errorf("%q: an array of shape %v that the network does not have", name, a.shape)
		}
	}
	for _, l := range layers {
		if l.kernel.values == nil || l.bias.values == nil || l.kernel.shape[len(l.kernel.shape)-1] != l.bias.shape[0] {
			return nil, fmt.Errorf("layer %q: want a kernel and a bias that fit each other", l.name)
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
			return fmt.Errorf("layer %q: a kernel of shape %v", l.name, l.kernel.shape)
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
		return fmt.Errorf("kernels of shape %v (%q) and %v (%q): want [1 columns 1 filters] and [rows columns filters filters]", c1, conv[0].name, c2, conv[1].name)
	}
	if d1[1] != d2[0] {
		return fmt.Errorf("dense layers of shape %v (%q) and %v (%q) do not follow each other", d1, dense[0].name, d2, dense[1].name)
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
	// An archive is listed before it can be asked how long the list is.
	if bytes.Count(data, []byte(zipListed)) > maxMembers {
		return nil, fmt.Errorf("keras: an archive of more than %d files: not a network of this kind", maxMembers)
	}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("keras: %w", err)
	}
	config, err := member(z, archiveConfig, maxConfig)
	if err != nil {
		return nil, err
	}
	d, err := describe(config)
	if err != nil {
		return nil, fmt.Errorf("keras: %s: %w", archiveConfig, err)
	}
	weights, err := member(z, archiveWeights, maxFile)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(weights, []byte(hdf5Signature)) {
		return nil, fmt.Errorf("keras: %s is no HDF5", archiveWeights)
	}
	f, err := readHDF5(weights)
	if err != nil {
		return nil, err
	}
	n := &Network{Format: FormatKeras, Temperature: 1}
	return n, n.takeKeras(f, d)
}

// member is a file of the archive, unpacked: at most most bytes.
func member(z *zip.Reader, name string, most uint64) ([]byte, error) {
	i := slices.IndexFunc(z.File, func(f *zip.File) bool { return f.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("keras: no %s in the archive: not a .keras file", name)
	}
	if z.File[i].UncompressedSize64 > most {
		return nil, fmt.Errorf("keras: %s: more than %d MiB: not a network of this kind", name, most>>20)
	}
	f, err := z.File[i].Open()
	if err != nil {
		return nil, fmt.Errorf("keras: %s: %w", name, err)
	}
	defer f.Close()
	b, err := io.ReadAll(f) // no more than the size above: the reader checks
	if err != nil {
		return nil, fmt.Errorf("keras: %s: %w", name, err)
	}
	return b, nil
}
