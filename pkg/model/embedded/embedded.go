// Package embedded holds the models that come with iotsense. MODEL_CARD.md
// beside it says what they were trained on, how they score and what they must
// not be used for.
package embedded

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"

	"github.com/iotsense/iotsense/pkg/model"
	_ "github.com/iotsense/iotsense/pkg/model/networks" // what the files are of
)

var (
	//go:embed default.safetensors.gz
	defaultFile []byte
	//go:embed lab.safetensors.gz
	labFile []byte
	//go:embed paper.safetensors.gz
	paperFile []byte
)

// Default is the model of the 27 device types of the IoT Sentinel captures.
func Default() (model.Bundle, error) { return read("default", defaultFile) }

// Lab is the model of the device lab's kinds (package lab); it knows no real device.
func Lab() (model.Bundle, error) { return read("lab", labFile) }

// Paper is the paper's network for the types of Default: what that is measured against.
func Paper() (model.Bundle, error) { return read("paper", paperFile) }

func read(name string, file []byte) (model.Bundle, error) {
	packed, err := gzip.NewReader(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("embedded %s model: %w", name, err)
	}
	b, err := model.ReadBundle(packed)
	if err != nil {
		return nil, fmt.Errorf("embedded %s model: %w", name, err)
	}
	return b, nil
}
