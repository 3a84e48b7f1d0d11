package pcap

// This file tells by its first bytes what a file is.

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Kind is what a file is by its first bytes.
type Kind string

// The kinds that are told apart. All after Parquet are compressed.
const (
	Unknown Kind = "unknown"
	Empty   Kind = "empty"
	Classic Kind = "pcap"
	NG      Kind = "pcapng"
	Parquet Kind = "parquet"
	Gzip    Kind = "gzip"
	Bzip2   Kind = "bzip2"
	XZ      Kind = "xz"
	Zstd    Kind = "zstd"
	LZ4     Kind = "lz4"
	Zip     Kind = "zip"
	SevenZ  Kind = "7z"
)

var magics = []struct {
	bytes string
	kind  Kind
}{
	{"\xa1\xb2\xc3\xd4", Classic}, {"\xd4\xc3\xb2\xa1", Classic}, // microseconds
	{"\xa1\xb2\x3c\x4d", Classic}, {"\x4d\x3c\xb2\xa1", Classic}, // nanoseconds
	{"\xa1\xb2\xcd\x34", Classic}, {"\x34\xcd\xb2\xa1", Classic}, // with more in each packet's header
	{"\x0a\x0d\x0d\x0a", NG},
	{"PAR1", Parquet},
	{"\x1f\x8b", Gzip},
	{"BZh", Bzip2},
	{"\xfd7zXZ\x00", XZ},
	{"\x28\xb5\x2f\xfd", Zstd},
	{"\x04\x22\x4d\x18", LZ4},
	{"PK\x03\x04", Zip},
	{"7z\xbc\xaf\x27\x1c", SevenZ},
}

// IsCapture reports whether a Reader can read files of the kind.
func (k Kind) IsCapture() bool { return k == Classic || k == NG }

// Compressed reports whether files of the kind are others, made smaller.
func (k Kind) Compressed() bool {
	return !slices.Contains([]Kind{Unknown, Empty, Classic, NG, Parquet}, k)
}

// Identify reads as much of a stream as tells what it is; of a gzipped one what is
// inside. The error is that of reading.
func Identify(in io.Reader) (kind Kind, gzipped bool, err error) {
	_, kind, gzipped, err = open(in)
	return kind, gzipped, err
}

// open tells what a stream is and gives it back from its start, unpacked once.
func open(in io.Reader) (stream *bufio.Reader, kind Kind, gzipped bool, err error) {
	stream = bufio.NewReaderSize(in, buffer)
	kind, err = first(stream)
	if kind != Gzip || err != nil {
		return stream, kind, false, err
	}
	unpacked, err := gzip.NewReader(stream)
	if err != nil {
		return nil, Gzip, true, fmt.Errorf("gzip: %w", truncated(inside(err)))
	}
	stream = bufio.NewReaderSize(unpacked, buffer)
	if kind, err = first(stream); err != nil {
		return nil, kind, true, fmt.Errorf("gzip content: %w", err)
	}
	return stream, kind, true, nil
}

// first looks at a stream's first bytes. One that ends within a magic number is cut.
func first(stream *bufio.Reader) (Kind, error) {
	head, err := stream.Peek(6)
	if len(head) == 0 && err == io.EOF {
		return Empty, nil
	}
	for _, m := range magics {
		switch {
		case bytes.HasPrefix(head, []byte(m.bytes)):
			return m.kind, nil
		case err != nil && bytes.HasPrefix([]byte(m.bytes), head):
			return Unknown, truncated(inside(err))
		}
	}
	if err != nil && err != io.EOF {
		return Unknown, truncated(err)
	}
	return Unknown, nil
}

// noCapture says what a stream is instead of a capture, and what to do.
func noCapture(kind Kind, gzipped bool) error {
	switch {
	case kind == Empty && gzipped:
		return errors.New("gzip content is empty: not a capture")
	case kind == Empty:
		return errors.New("file is empty: not a capture")
	case kind == Parquet && gzipped:
		return errors.New("a gzipped parquet file, not a capture: unpack it first")
	case kind == Parquet:
		return errors.New("a parquet file, not a capture: records are read from files that are named, not from standard input or a manifest")
	case kind.Compressed() && gzipped:
		return fmt.Errorf("compressed with %s inside gzip: unpack it first", kind)
	case kind.Compressed():
		return fmt.Errorf("compressed with %s: unpack it first", kind)
	}
	return errors.New("not a pcap or pcapng file")
}
