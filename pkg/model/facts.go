package model

// This file is the part of a model that judges devices by what they say of themselves.

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/iotsense/iotsense/pkg/facts/linear"
)

// The metadata key and the tensors of a model with facts; others have none of them.
const (
	factsKey         = "facts"
	factsWeightsName = "facts_weights"
	factsBiasName    = "facts_bias"
)

// Judge joins the model's facts with what its network says; nil if it has none. m is valid.
func (m *Model) Judge() *linear.Judge {
	if m.Facts == nil {
		return nil
	}
	thresholds := make([]float64, len(m.Labels))
	for i, l := range m.Labels {
		thresholds[i] = m.Thresholds.For(l)
	}
	levels := make([]string, len(m.Labels))
	for i, l := range m.Labels {
		if outermost, _, above := strings.Cut(m.Taxonomy[l], "/"); above {
			levels[i] = outermost
		}
	}
	return linear.NewJudge(m.Facts, m.noneIndex(), thresholds, levels)
}

// noneIndex is the output of [NoneLabel], -1 if there is none.
func (m *Model) noneIndex() int {
	if i, ok := m.None(); ok {
		return i
	}
	return -1
}

func (m *Model) validateFacts() error {
	if m.Facts == nil {
		return nil
	}
	if err := m.Facts.Validate(len(m.Labels), m.noneIndex()); err != nil {
		return fmt.Errorf("facts: %w", err)
	}
	return nil
}

// factsTensors are those of the facts, if the model has any.
func (m *Model) factsTensors(prefix string) []Tensor {
	if m.Facts == nil {
		return nil
	}
	classes := len(m.Labels)
	return []Tensor{
		{prefix + factsWeightsName, []int{len(m.Facts.Tokens), classes}, m.Facts.Weights},
		{prefix + factsBiasName, []int{classes}, m.Facts.Bias},
	}
}

// readFacts reads the model's facts from a file, if it has any.
func (m *Model) readFacts(text string, take func(name string, shape ...int) ([]float32, error)) (err error) {
	if text == "" {
		return nil
	}
	m.Facts = &linear.Model{}
	if err := json.Unmarshal([]byte(text), m.Facts); err != nil {
		return fmt.Errorf("metadata %s: %w", factsKey, err)
	}
	if m.Facts.Weights, err = take(factsWeightsName, len(m.Facts.Tokens), len(m.Labels)); err != nil {
		return err
	}
	m.Facts.Bias, err = take(factsBiasName, len(m.Labels))
	return err
}
