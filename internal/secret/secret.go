// Package secret reads what proves who somebody is, a token or a password, from a file that
// not everybody may read: it stands in no configuration, command line or log.
package secret

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const most = 1024 // bytes

// Read returns the one line of a file that only its owner and group may read or write.
func Read(path string) (string, error) {
	b, err := Bytes(path, most+1) // with the line's end
	line := strings.TrimSpace(string(b))
	switch {
	case err != nil:
		return "", err
	case len(line) > most || strings.ContainsAny(line, "\r\n\x00"):
		return "", fmt.Errorf("%s: want one line of at most %d bytes", path, most)
	}
	return line, nil
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
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return nil, err // names the file
	case info.Mode().Perm()&0o007 != 0:
		err = fmt.Errorf("everybody may read or write it (%v): chmod 600", info.Mode().Perm())
	case len(bytes.TrimSpace(b)) == 0:
		err = errors.New("it is empty")
	case int64(len(b)) > most:
		err = fmt.Errorf("it has more than %d bytes", most)
	default:
		return b, nil
	}
	return nil, fmt.Errorf("%s: %w", path, err)
}
