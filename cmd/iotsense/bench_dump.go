package main

// This file writes what the peers in bench/peers are measured on: windows as the
// network's input, and the engine's answers to them, as NumPy files.

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/iotsense/iotsense/cmd/internal/terminal"
	"github.com/iotsense/iotsense/pkg/bench"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/model/cnn"
)

// maxDump bounds the windows in a dump: 62 MB at the paper's sizes.
const maxDump = 1024

// dumpInference writes windows.npy [N, K, width], probs.npy [N, classes] and
// model.safetensors to dir.
func dumpInference(dir string, m *model.Model, traffic *bench.Traffic) error {
	engine, err := model.NewEngine(m)
	if err != nil {
		return err
	}
	net, err := cnn.Of(m)
	if err != nil {
		return fmt.Errorf("--dump: %w: name one with --model", err)
	}
	d, err := net.Dims(m.Record)
	if err != nil {
		return err
	}
	windows := traffic.Windows()
	if len(windows) > maxDump {
		return terminal.Usagef("--dump: %d windows are too many: take a sample with --windows %d", len(windows), maxDump)
	}
	scaler, size := cnn.NewScaler(m.Record, m.Scaling), m.Net.Span()*d.Width
	inputs, probs := make([]float32, len(windows)*size), make([]float32, len(windows)*d.Classes)
	for i, w := range windows {
		if err := scaler.Window(inputs[i*size:(i+1)*size], m.Net.Span(), w); err != nil {
			return fmt.Errorf("dump: %w", err)
		}
		if err := engine.Predict(w, probs[i*d.Classes:(i+1)*d.Classes]); err != nil {
			return fmt.Errorf("dump: %w", err)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("dump: %w", err)
	}
	return errors.Join(
		writeNumPy(filepath.Join(dir, "windows.npy"), inputs, len(windows), m.Net.Span(), d.Width),
		writeNumPy(filepath.Join(dir, "probs.npy"), probs, len(windows), d.Classes),
		m.Save(filepath.Join(dir, "model.safetensors")),
	)
}

// writeNumPy writes values as a NumPy file, version 1.0: magic, length of the
// header, header padded to a multiple of 64 bytes, little-endian values.
func writeNumPy(path string, values []float32, shape ...int) error {
	dims := strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", ", "), "[]")
	header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }", dims)
	const before = 10 // magic, version, length
	header += strings.Repeat(" ", 63-(before+len(header))%64) + "\n"
	return terminal.WriteFile(path, func(f io.Writer) error {
		w := bufio.NewWriter(f)
		w.WriteString("\x93NUMPY\x01\x00")
		w.Write(binary.LittleEndian.AppendUint16(nil, uint16(len(header))))
		w.WriteString(header)
		return errors.Join(binary.Write(w, binary.LittleEndian, values), w.Flush())
	})
}
