// Package embedded holds the models that come with iotsense. MODEL_CARD.md
// beside it says what they were trained on, how they score and what they must
// not be used for.
package embedded

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"

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

// Digest is the SHA-256 of the default model's file, in hexadecimal digits.
func Digest() string {
	hash := sha256.New()
	packed, err := gzip.NewReader(bytes.NewReader(defaultFile))
	if err == nil {
		_, err = io.Copy(hash, packed)
	}
	if err != nil {
		panic(fmt.Sprintf("embedded default model: %v", err)) // what was built in is whole
	}
	return hex.EncodeToString(hash.Sum(nil))
}

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
