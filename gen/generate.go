// Package gen holds the compiled kernel half and the Go forms of its types, made
// by bpf2go from bpf/. One little-endian object serves amd64 and arm64. Nothing
// here is written by hand but this file; package loader is the only importer.
package gen

import (
	"compress/gzip"
	"fmt"
	"io"
	"strings"
)

//go:generate go tool bpf2go -target bpfel -go-package gen -cflags "-O2 -g -mcpu=v3 -fno-strict-aliasing -Wall -Wextra -Werror -Wno-unused-parameter -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu" -type limits -type life_word -type event_kind -type sample -type close -type sweep_args -type collect_args -type flow_key -type mac_word -type total_word -type place Iotsense ../bpf/iotsense.bpf.c
//go:generate go tool bpf2go -target bpfel -go-package gen -cflags "-O2 -g -mcpu=v3 -fno-strict-aliasing -Wall -Wextra -Werror -Wno-unused-parameter -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu" -no-global-types Bench ../bpf/bench.bpf.c

// Object is the compiled kernel half of the sensor, an ELF file.
func Object() []byte { return unpacked(_IotsensePacked) }

// unpacked is an object as clang wrote it.
func unpacked(packed string) []byte {
	r, err := gzip.NewReader(strings.NewReader(packed))
	if err == nil {
		var object []byte
		if object, err = io.ReadAll(r); err == nil {
			return object
		}
	}
	panic(fmt.Sprintf("the embedded programs: %v", err)) // they are part of this program
}
