package object

// This file names the kernel half that this binary carries.

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/iotsense/iotsense/gen"
)

// Digest is the SHA-256, in hex, of the compiled programs that are embedded here: two
// binaries with the same one run the same kernel half.
func Digest() string {
	sum := sha256.Sum256(gen.Object())
	return hex.EncodeToString(sum[:])
}
