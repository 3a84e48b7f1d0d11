//go:build ignore

// Generate writes makers.bz2 of the listings in a directory, which Debian's package
// ieee-data installs.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/iotsense/iotsense/pkg/facts/makers"
)

// names are those of the listings: blocks of 24, 28 and 36 bits, and before the last those
// of 36 bits that were given away until 2014, for which theirs stand where both have one.
var names = []string{"oui.csv", "mam.csv", "iab.csv", "oui36.csv"}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "makers:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("want one directory with %s, as Debian's package ieee-data installs", strings.Join(names, ", "))
	}
	var list []makers.Assignment
	for _, name := range names {
		f, err := os.Open(filepath.Join(os.Args[1], name))
		if err != nil {
			return err
		}
		part, err := makers.ReadCSV(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name(), err)
		}
		list = append(list, part...)
	}
	packed, err := makers.Pack(list)
	if err != nil {
		return err
	}
	bzip2 := exec.Command("bzip2", "-5") // a block of 500 KB
	bzip2.Stdin, bzip2.Stderr = bytes.NewReader(packed), os.Stderr
	packed, err = bzip2.Output()
	if err != nil {
		return fmt.Errorf("bzip2: %w", err)
	}
	fmt.Printf("%d prefixes in %d bytes\n", len(list), len(packed))
	return os.WriteFile("makers.bz2", packed, 0o644)
}
