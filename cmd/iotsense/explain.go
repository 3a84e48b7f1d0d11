package main

import (
	"github.com/iotsense/iotsense/cmd/internal/box"
)

// explaining is what this program can do with explanations.
var explaining = box.Explaining{}
