//go:build ignore

// Generate writes makers.bz2 of the listings in a directory: oui.csv, mam.csv and
// oui36.csv, which Debian's package ieee-data installs. Its iab.csv, parts of a block that
// went to makers of small lots until 2014, would take another tenth.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/iotsense/iotsense/pkg/facts/makers"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "makers:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("want one directory with oui.csv, mam.csv and oui36.csv, as Debian's package ieee-data installs")
	}
	var list []makers.Assignment
	for _, name := range []string{"oui.csv", "mam.csv", "oui36.csv"} {
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
