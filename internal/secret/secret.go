// Package secret reads what proves who somebody is, a token or a password, from a file that
// not everybody may read: it stands in no configuration, command line or log.
package secret

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const most = 1024 // bytes

// Read returns the one line of a file that only its owner and group may read or write.
func Read(path string) (string, error) {
	b, err := Bytes(path, most+2)
	line := strings.TrimSpace(string(b))
	switch {
	case err != nil:
		return "", err
	case line == "":
		err = errors.New("it is empty: want one line")
	case len(line) > most || strings.ContainsAny(line, "\r\n\x00"):
		err = fmt.Errorf("want one line of at most %d bytes", most)
	default:
		return line, nil
	}
	return "", fmt.Errorf("%s: %w", path, err)
}

// Bytes returns the content, so many bytes at most, of a file that only its owner and group may
// read or write.
func Bytes(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return nil, err // names the file
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("%s: everybody may read or write it (%v): chmod 600", path, info.Mode().Perm())
	}
	return b, nil
}
