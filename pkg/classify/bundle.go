package classify

// This file says what the models of a bundle have together.

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/iotsense/iotsense/pkg/join"
	"github.com/iotsense/iotsense/pkg/model"
	"github.com/iotsense/iotsense/pkg/taxonomy"
)

// Labels are the class names of all the bundle's models, sorted.
func Labels(bundle model.Bundle) []string {
	var labels []string
	for _, m := range bundle {
		labels = append(labels, m.Labels...)
	}
	slices.Sort(labels)
	return slices.Compact(labels)
}

// Classes are the labels that a device can be given: all but model.NoneLabel.
func Classes(bundle model.Bundle) []string {
	return slices.DeleteFunc(Labels(bundle), func(l string) bool { return l == model.NoneLabel })
}

// Thresholds are the highest of the bundle's models, one for each label.
func Thresholds(bundle model.Bundle) model.Thresholds {
	t := model.Thresholds{PerClass: map[string]float64{}}
	for _, m := range bundle {
		t.Default = max(t.Default, m.Thresholds.Default)
		for _, l := range m.Labels {
			t.PerClass[l] = max(t.PerClass[l], m.Thresholds.For(l))
		}
	}
	return t
}

// Taxonomy is that of the bundle's models; of two paths of a label, the one of the first
// service.
func Taxonomy(bundle model.Bundle) taxonomy.Taxonomy {
	all := taxonomy.Taxonomy{}
	for _, service := range slices.Backward(slices.Sorted(maps.Keys(bundle))) {
		maps.Copy(all, bundle[service].Taxonomy)
	}
	return all
}

// levels are those of the bundle's labels.
func levels(bundle model.Bundle, labels []string) *join.Levels {
	thresholds, paths := Thresholds(bundle), Taxonomy(bundle)
	list := make([][]string, len(labels))
	for i, l := range labels {
		list[i] = paths.Levels(l)
	}
	none := slices.Index(labels, model.NoneLabel)
	return join.NewLevels(list, none, func(class int) float64 { return thresholds.For(labels[class]) }, thresholds.Default)
}

// identity is a word for the bundle: another where what it says of devices may be another.
func identity(bundle model.Bundle) string {
	h := sha256.New()
	for _, service := range slices.Sorted(maps.Keys(bundle)) {
		m := bundle[service]
		text, err := json.Marshal([]any{service, m.Labels, m.Training, m.Calibration})
		if err != nil { // numbers that a file cannot hold
			text = []byte(err.Error())
		}
		h.Write(text)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}
