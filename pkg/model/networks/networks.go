// Package networks makes the kinds of networks that this program knows known to
// package model, one line each. Whoever reads model files imports it.
package networks

import (
	_ "github.com/iotsense/iotsense/pkg/model/cnn"    // the paper's
	_ "github.com/iotsense/iotsense/pkg/model/stream" // that of a device's stream
)
