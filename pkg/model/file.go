package model

// This file is the model file: which tensors and which metadata a model is.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/iotsense/iotsense/internal/wholefile"
	"github.com/iotsense/iotsense/pkg/flows"
)

// FormatVersion is the version of the model file that this package writes and reads.
const FormatVersion = 1

const (
	backgroundName  = "background"
	architectureKey = "architecture"
	taxonomyKey     = "taxonomy" // of some models only
)

// Bundle is what one model file holds: a model for each service, or one model
// for everything under the empty service (the specialised and the other
// strategies of paper IV-B). Services are named like "tcp/80".
type Bundle map[string]*Model

// prefix is what the tensor names and metadata keys of a service begin with.
func prefix(service string) string {
	if service == "" {
		return ""
	}
	return strings.ReplaceAll(service, "/", "_") + "/"
}

// isService reports whether a bundle can have a model under this name: a service as
// its text is, or "" for everything.
func isService(name string) bool {
	if name == "" {
		return true
	}
	s, err := flows.ParseService(name)
	return err == nil && s.String() == name
}

// section is a model's metadata by key, in the model's own types.
func (m *Model) section() map[string]any {
	return map[string]any{
		"labels":      &m.Labels,
		"record":      &m.Record,
		"scaling":     &m.Scaling,
		"calibration": &m.Calibration,
		"thresholds":  &m.Thresholds,
		"training":    &m.Training,
	}
}

// Record is what records must be for every model of the bundle; the paper's default
// without any. The error says which of the services need records of another kind.
func (b Bundle) Record() (flows.RecordSpec, error) {
	spec, first := flows.DefaultRecordSpec(), ""
	for i, service := range slices.Sorted(maps.Keys(b)) {
		if i == 0 {
			spec, first = b[service].Record.RecordSpec, service
			continue
		}
		var err error
		if spec, err = spec.Union(b[service].Record.RecordSpec); err != nil {
			return spec, fmt.Errorf("model: %s and %s need %w: train them alike", first, service, err)
		}
	}
	return spec, nil
}

// Metadata is what the file says about the model beside its weights: JSON by key.
func (m *Model) Metadata() (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{"format_version": json.RawMessage(fmt.Sprint(FormatVersion))}
	section := m.section()
	section[architectureKey] = m.Net.Shape()
	if len(m.Taxonomy) > 0 {
		section[taxonomyKey] = m.Taxonomy
	}
	for key, v := range section {
		text, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("metadata %s: %w", key, err)
		}
		out[key] = text
	}
	return out, nil
}

// Write writes the model file. The same model gives the same bytes.
func (m *Model) Write(w io.Writer) error { return Bundle{"": m}.Write(w) }

// Save writes the model file at path, in one step: a reader sees the old file
// or the new one, never a part.
func (m *Model) Save(path string) error { return Bundle{"": m}.Save(path) }

// Metadata is the metadata of all the bundle's models: JSON by key, the keys of
// each service's model prefixed as its tensors are.
func (b Bundle) Metadata() (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{}
	for service, m := range b {
		section, err := m.Metadata()
		if err != nil {
			return nil, err
		}
		if m.Facts != nil {
			if section[factsKey], err = json.Marshal(m.Facts); err != nil {
				return nil, fmt.Errorf("metadata %s: %w", factsKey, err)
			}
		}
		if m.Centres != nil {
			if section[centresKey], err = json.Marshal(m.Centres); err != nil {
				return nil, fmt.Errorf("metadata %s: %w", centresKey, err)
			}
		}
		for key, text := range section {
			out[prefix(service)+key] = text
		}
	}
	return out, nil
}

// Write writes the file of all the bundle's models.
func (b Bundle) Write(w io.Writer) error {
	if len(b) == 0 {
		return errors.New("write model: no model in the bundle")
	}
	section, err := b.Metadata()
	if err != nil {
		return fmt.Errorf("write model: %w", err)
	}
	metadata := map[string]string{}
	for key, text := range section {
		metadata[key] = string(text)
	}
	var tensors []Tensor
	for _, service := range slices.Sorted(maps.Keys(b)) {
		m := b[service]
		if !isService(service) {
			return fmt.Errorf("write model: %q is no service: want one like tcp/80", service)
		}
		if service == "" && len(b) > 1 {
			return errors.New("write model: a bundle of services cannot hold a model for everything")
		}
		if err := m.Validate(); err != nil {
			return fmt.Errorf("write model: %w", err)
		}
		tensors = m.appendTensors(tensors, prefix(service))
	}
	if err := writeSafetensors(w, metadata, tensors); err != nil {
		return fmt.Errorf("write model: %w", err)
	}
	return nil
}

// appendTensors appends the model's tensors under their file names.
func (m *Model) appendTensors(dst []Tensor, prefix string) []Tensor {
	for _, t := range m.Net.Tensors() {
		t.Name = prefix + t.Name
		dst = append(dst, t)
	}
	if n := len(m.Background); n > 0 {
		input := Tensor{Shape: m.Net.Input(m.Record)}
		shape := append([]int{n / input.Size()}, input.Shape...)
		dst = append(dst, Tensor{prefix + backgroundName, shape, m.Background})
	}
	if t, ok := m.compared(); ok && len(m.Compared) > 0 {
		shape := append([]int{len(m.Compared) / t.Size()}, t.Shape...)
		dst = append(dst, Tensor{prefix + t.Name, shape, m.Compared})
	}
	dst = append(dst, m.factsTensors(prefix)...)
	return append(dst, m.centresTensors(prefix)...)
}

// Save writes the file of all the bundle's models at path, in one step.
func (b Bundle) Save(path string) error {
	if err := wholefile.Write(path, b.Write); err != nil {
		return fmt.Errorf("save model %s: %w", path, err)
	}
	return nil
}

// Read reads a file of one model.
func Read(r io.Reader) (*Model, error) {
	b, err := ReadBundle(r)
	if err != nil {
		return nil, err
	}
	if m, ok := b[""]; ok {
		return m, nil
	}
	return nil, fmt.Errorf("read model: a bundle for %s: want a file of one model",
		strings.Join(slices.Sorted(maps.Keys(b)), ", "))
}

// Load reads the file of one model at path.
func Load(path string) (*Model, error) { return load(path, Read) }

// LoadBundle reads the file of one model or of one model for each service.
func LoadBundle(path string) (Bundle, error) { return load(path, ReadBundle) }

func load[T any](path string, read func(io.Reader) (T, error)) (v T, err error) {
	f, err := os.Open(path)
	if err != nil {
		return v, fmt.Errorf("load model: %w", err)
	}
	defer f.Close()
	if v, err = read(f); err != nil {
		return v, fmt.Errorf("load model %s: %w", path, err)
	}
	return v, nil
}

// ReadBundle reads a model file of either kind. Whatever r holds, it returns a
// bundle that can be used or an error that names what is wrong; it executes
// nothing and holds no more memory than a small multiple of the bytes read.
func ReadBundle(r io.Reader) (Bundle, error) {
	metadata, tensors, err := readSafetensors(r)
	if err != nil {
		return nil, fmt.Errorf("read model: %w", err)
	}
	b := Bundle{}
	for key := range metadata {
		if p, ok := strings.CutSuffix(key, "format_version"); ok {
			service := strings.Replace(strings.TrimSuffix(p, "/"), "_", "/", 1)
			if p != prefix(service) || !isService(service) {
				return nil, fmt.Errorf("read model: metadata key %q belongs to no service", key)
			}
			b[service] = nil
		}
	}
	if len(b) == 0 {
		return nil, errors.New("read model: no format_version in the metadata: not a model of iotsense")
	}
	used := 0
	for _, service := range slices.Sorted(maps.Keys(b)) {
		m, n, err := assemble(metadata, tensors, prefix(service))
		if err != nil {
			return nil, fmt.Errorf("read model: %w", err)
		}
		b[service], used = m, used+n
	}
	if used != len(tensors) {
		return nil, fmt.Errorf("read model: %d tensors, of which %d belong to no model", len(tensors), len(tensors)-used)
	}
	return b, nil
}

// SetMetadata sets everything but the network from what [Model.Metadata] gave,
// whichever kind of file carried it, and returns the network's shape. The error names
// the key.
func (m *Model) SetMetadata(metadata map[string]string) (shape json.RawMessage, err error) {
	return m.setMetadata(metadata, "")
}

func (m *Model) setMetadata(metadata map[string]string, prefix string) (shape json.RawMessage, err error) {
	if v := metadata[prefix+"format_version"]; v != fmt.Sprint(FormatVersion) {
		return nil, fmt.Errorf("%sformat_version is %.20q, this program reads %d: use a program that is as new as the file",
			prefix, v, FormatVersion)
	}
	section := m.section()
	section[architectureKey] = &shape
	if _, ok := metadata[prefix+taxonomyKey]; ok {
		section[taxonomyKey] = &m.Taxonomy
	}
	for _, key := range slices.Sorted(maps.Keys(section)) {
		text, ok := metadata[prefix+key]
		if !ok {
			return nil, fmt.Errorf("metadata %s%s is missing", prefix, key)
		}
		if !utf8.ValidString(text) { // JSON would change it
			return nil, fmt.Errorf("metadata %s%s is not UTF-8", prefix, key)
		}
		if err := json.Unmarshal([]byte(text), section[key]); err != nil {
			return nil, fmt.Errorf("metadata %s%s: %w", prefix, key, err)
		}
	}
	return shape, m.Record.validate()
}

// assemble builds the model under a prefix and counts the tensors it took.
func assemble(metadata map[string]string, tensors map[string]Tensor, prefix string) (*Model, int, error) {
	m := &Model{}
	shape, err := m.setMetadata(metadata, prefix)
	if err != nil {
		return nil, 0, err
	}
	kind, err := kindOf(shape)
	if err != nil {
		return nil, 0, err
	}
	used := 0
	take := func(name string, shape ...int) ([]float32, error) {
		t, ok := tensors[prefix+name]
		if !ok {
			return nil, fmt.Errorf("tensor %s%s is missing", prefix, name)
		}
		if !slices.Equal(t.Shape, shape) {
			return nil, fmt.Errorf("tensor %s%s has shape %v, want %v", prefix, name, t.Shape, shape)
		}
		used++
		return t.Data, nil
	}
	if m.Net, err = kind.Read(shape, m.Record, len(m.Labels), take); err != nil {
		return nil, 0, err
	}
	if err := m.readFacts(metadata[prefix+factsKey], take); err != nil {
		return nil, 0, err
	}
	if err := m.readCentres(metadata[prefix+centresKey], tensors[prefix+centresName], take); err != nil {
		return nil, 0, err
	}
	several := func(name string, shape []int) ([]float32, error) {
		t, ok := tensors[prefix+name]
		if !ok {
			return nil, nil
		}
		if len(t.Shape) == 0 || !slices.Equal(t.Shape[1:], shape) {
			return nil, fmt.Errorf("tensor %s%s has shape %v, want N of %v", prefix, name, t.Shape, shape)
		}
		used++
		return t.Data, nil
	}
	if m.Background, err = several(backgroundName, m.Net.Input(m.Record)); err != nil {
		return nil, 0, err
	}
	if t, ok := m.compared(); ok {
		if m.Compared, err = several(t.Name, t.Shape); err != nil {
			return nil, 0, err
		}
	}
	if err := m.Validate(); err != nil {
		return nil, 0, err
	}
	return m, used, nil
}
