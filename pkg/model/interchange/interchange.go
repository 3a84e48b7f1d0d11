// Package interchange moves models between iotsense and other tools. In go model
// files, ONNX files and weights saved by Keras; out come ONNX files and models.
// It never runs a network, and never executes what a file holds: what a file
// claims is checked against the bytes that are there, and a file that is not the
// network of this project is refused with the layer's name.
package interchange

// This file is what any foreign file amounts to, and how a model is made of it.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
)

// Formats of files that [Read] knows, as [Network.Format] has them.
const (
	FormatONNX  = "onnx"
	FormatKeras = "keras"
)

// maxFile is the size above which a file is refused: eighty times the paper's network,
// and three times the largest variant of its Table VI with an optimizer's state.
const maxFile = 64 << 20

// Network is what a foreign file says about a network. What it does not say is 0.
type Network struct {
	Format  string
	Weights cnn.Weights      // in the layout of the model file
	Arch    cnn.Architecture // filters, kernels and hidden are always known, the rest not
	Width   int              // values of a row
	Flat    int              // inputs of the first dense layer
	Classes int
	// Temperature is what the logits are divided by before the softmax, 1 if nothing.
	Temperature float64
	// Metadata is what iotsense wrote into the file; nil for other tools' files.
	Metadata map[string]string
	// Undescribed says that the file holds weights alone: activations, padding and the
	// like are not told, and taken to be this project's.
	Undescribed bool

	digest string // SHA-256 of the file
}

// Read reads the file at path: ONNX, or HDF5 or .keras as Keras saves them. What
// it is tells its content, not its name. It ends with ctx, whatever the file or
// what lies behind it does.
func Read(ctx context.Context, path string) (*Network, error) {
	var n *Network
	var err error
	done := make(chan struct{})
	go func() { // a pipe that nobody writes to cannot be given up otherwise
		defer close(done)
		n, err = read(path)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return nil, fmt.Errorf("import %s: %w", path, context.Cause(ctx))
	}
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", path, err)
	}
	return n, nil
}

func read(path string) (*Network, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	return parse(data)
}

// parse reads a file's bytes.
func parse(data []byte) (n *Network, err error) {
	switch {
	case len(data) > maxFile:
		return nil, fmt.Errorf("more than %d MiB: not a network of this kind", maxFile>>20)
	case bytes.HasPrefix(data, []byte(hdf5Signature)):
		n, err = parseKerasHDF5(data)
	case bytes.HasPrefix(data, []byte(zipSignature)):
		n, err = parseKerasArchive(data)
	default:
		n, err = parseONNX(data)
	}
	if err == nil {
		err = n.bounds()
	}
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	n.digest = hex.EncodeToString(sum[:])
	return n, nil
}

// bounds checks the sizes against those that a network can have, before anything is
// made of them. What is not known is 1.
func (n *Network) bounds() error {
	a := n.Arch
	a.K, a.Pool[0], a.Pool[1] = max(a.K, 1), max(a.Pool[0], 1), max(a.Pool[1], 1)
	return a.Bounds(n.Classes)
}

// Model makes a model of the network. Records, scaling and thresholds are those
// of the file's own metadata; where it has none, those of like, a model for the
// same records. labels name the outputs in their order; nil: as the file or like
// has them.
func (n *Network) Model(like *model.Model, labels []string) (*model.Model, error) {
	m, net, err := n.frame(like)
	if err != nil {
		return nil, err
	}
	if labels == nil {
		labels = m.Labels
	}
	if len(labels) != n.Classes {
		return nil, fmt.Errorf("%d labels for a network of %d classes: name each output, in order, with --labels", len(labels), n.Classes)
	}
	net.Weights = n.Weights.Clone()
	if err := sortClasses(m, net, labels); err != nil {
		return nil, err
	}
	d, err := net.Dims(m.Record)
	if err != nil {
		return nil, err
	}
	m.Net = net
	if n.Width != 0 && n.Width != d.Width {
		return nil, fmt.Errorf("the network reads rows of %d values, the records give %d: name a model for its records with --like", n.Width, d.Width)
	}
	if n.Flat != d.Flat {
		return nil, fmt.Errorf("the first dense layer has %d inputs, windows of %d rows of %d values give %d: name a model for its records with --like",
			n.Flat, net.Arch.K, d.Width, d.Flat)
	}
	return m, m.Validate()
}

// frame is the model with unsorted labels, and its network without weights.
func (n *Network) frame(like *model.Model) (*model.Model, *cnn.Net, error) {
	m := &model.Model{}
	if n.Metadata != nil {
		shape, err := m.SetMetadata(n.Metadata)
		if err != nil {
			return nil, nil, err
		}
		net := &cnn.Net{}
		if err := json.Unmarshal(shape, &net.Arch); err != nil {
			return nil, nil, fmt.Errorf("metadata architecture: %w", err)
		}
		return m, net, nil
	}
	if like == nil {
		return nil, nil, errors.New("the file does not say for which records the network was made: name a model for the same records with --like")
	}
	m.Labels, m.Record, m.Scaling = like.Labels, like.Record, like.Scaling
	m.Thresholds.Default, m.Taxonomy = like.Thresholds.Default, like.Taxonomy
	m.Calibration.Temperature = n.Temperature
	m.Training = model.Training{Digest: n.digest, Options: map[string]string{"imported": n.Format}}
	of, err := cnn.Of(like)
	if err != nil {
		return nil, nil, fmt.Errorf("--like: %w", err)
	}
	net := &cnn.Net{Arch: of.Arch}
	net.Arch.Filters, net.Arch.Kernel1, net.Arch.Kernel2, net.Arch.Hidden = n.Arch.Filters, n.Arch.Kernel1, n.Arch.Kernel2, n.Arch.Hidden
	if n.Arch.K != 0 {
		net.Arch.K = n.Arch.K
	}
	if n.Arch.Pool != [2]int{} {
		net.Arch.Pool = n.Arch.Pool
	}
	if n.Arch.Dropout != 0 {
		net.Arch.Dropout = n.Arch.Dropout
	}
	return m, net, nil
}

// sortClasses gives the model its labels in the order that a model file wants,
// and moves the outputs along.
func sortClasses(m *model.Model, net *cnn.Net, labels []string) error {
	order := make([]int, len(labels))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		if labels[a] < labels[b] {
			return -1
		}
		return 1
	})
	sorted := make([]string, len(labels))
	for to, from := range order {
		if sorted[to] = labels[from]; to > 0 && sorted[to-1] == sorted[to] {
			return fmt.Errorf("labels: %q twice", sorted[to])
		}
	}
	m.Labels = sorted
	net.Weights.Dense2 = columns(net.Weights.Dense2, order)
	net.Weights.Dense2Bias = columns(net.Weights.Dense2Bias, order)
	return nil
}

// columns are the columns of a row-major matrix in another order.
func columns(matrix []float32, order []int) []float32 {
	moved := make([]float32, len(matrix))
	for row := 0; row+len(order) <= len(matrix); row += len(order) {
		for to, from := range order {
			moved[row+to] = matrix[row+from]
		}
	}
	return moved
}
