package model

// This file says from which row on a stream is judged (paper IV).

import (
	"encoding"
	"fmt"
)

// WindowMode says which rows of a device's stream a model judges.
type WindowMode uint8

const (
	// Padded judges every row; before a stream's first rows stands padding.
	Padded WindowMode = iota
	// Strict judges a row once the paper's K rows are there, as the paper does.
	Strict
)

// StrictRows are the rows that a strict judgement needs of a network that has no
// padding: the paper's K, however many more an output can rest on.
const StrictRows = 5

// First is the number of the first row of a stream that is judged by a network whose
// strict judgements need so many rows, see [Net.Strict].
func (m WindowMode) First(strict int) int {
	if m == Padded {
		return 0
	}
	return strict - 1
}

// String is the mode's name in flags and model files.
func (m WindowMode) String() string {
	if m == Strict {
		return "strict"
	}
	return "padded"
}

// ParseWindowMode reads "strict" or "padded".
func ParseWindowMode(s string) (WindowMode, error) {
	switch s {
	case "padded":
		return Padded, nil
	case "strict":
		return Strict, nil
	}
	return Padded, fmt.Errorf("window mode %q: want strict or padded", s)
}

var (
	_ encoding.TextMarshaler   = WindowMode(0)
	_ encoding.TextUnmarshaler = (*WindowMode)(nil)
)

// MarshalText gives the mode's name.
func (m WindowMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what [ParseWindowMode] does.
func (m *WindowMode) UnmarshalText(text []byte) (err error) {
	*m, err = ParseWindowMode(string(text))
	return err
}
