package dataset

// This file keeps rows as bytes: without padding, in memory as far as allowed,
// the rest in a file that has no name.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/iotsense/iotsense/pkg/flows"
)

// chunkSize is the unit of memory and file; a row lies in one chunk.
const chunkSize = 1 << 20

// rowBytes are encoded rows, one after the other.
type rowBytes struct {
	memory  int64    // bytes of chunks that may stay in memory
	chunks  [][]byte // nil: in the file, in its turn
	inFile  []int32  // of each chunk: its place in the file
	file    *os.File // nil until it is needed
	written int32    // chunks in the file
	starts  []int64  // of each row: chunk * chunkSize + place
}

// add stores an encoded row and returns its number.
func (s *rowBytes) add(row []byte) (uint32, error) {
	if len(row) > maxRow {
		return 0, fmt.Errorf("a row of %d bytes, want at most %d: its record has too many packets", len(row), maxRow)
	}
	last := len(s.chunks) - 1
	if last < 0 || len(s.chunks[last])+len(row) > chunkSize {
		if err := s.next(); err != nil {
			return 0, err
		}
		last = len(s.chunks) - 1
	}
	s.starts = append(s.starts, int64(last)*chunkSize+int64(len(s.chunks[last])))
	s.chunks[last] = append(s.chunks[last], row...)
	return uint32(len(s.starts) - 1), nil
}

// next begins a chunk. The full one before it goes to the file when memory is
// used up.
func (s *rowBytes) next() error {
	last := len(s.chunks) - 1
	buffer := make([]byte, 0, chunkSize)
	if int64(last+1)*chunkSize > s.memory && last >= 0 {
		if s.file == nil {
			var err error
			if s.file, err = unnamedFile(); err != nil {
				return err
			}
		}
		full := s.chunks[last]
		if _, err := s.file.WriteAt(full, int64(s.written)*chunkSize); err != nil {
			return fmt.Errorf("keep rows in %s: %w", filepath.Dir(s.file.Name()), err)
		}
		s.inFile[last], s.chunks[last] = s.written, nil
		s.written++
		buffer = full[:0]
	}
	s.chunks, s.inFile = append(s.chunks, buffer), append(s.inFile, 0)
	return nil
}

// row is the i-th row. It is read into buf, of maxRow bytes, when it lies in the file.
func (s *rowBytes) row(i uint32, buf []byte) ([]byte, error) {
	start := s.starts[i]
	chunk, at := int(start/chunkSize), start%chunkSize
	end := int64(-1) // where the next row of the chunk begins
	if int(i)+1 < len(s.starts) && int(s.starts[i+1]/chunkSize) == chunk {
		end = s.starts[i+1] % chunkSize
	}
	if memory := s.chunks[chunk]; memory != nil {
		if end < 0 {
			end = int64(len(memory))
		}
		return memory[at:end], nil
	}
	n := maxRow // the chunk's last row: what follows it is not looked at
	if end >= 0 {
		n = int(end - at)
	}
	got, err := s.file.ReadAt(buf[:n], int64(s.inFile[chunk])*chunkSize+at)
	if got < n && (end >= 0 || !errors.Is(err, io.EOF)) {
		return nil, fmt.Errorf("read rows kept in %s: %w", filepath.Dir(s.file.Name()), err)
	}
	return buf[:got], nil
}

// close gives the file's space back.
func (s *rowBytes) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// unnamedFile makes a file for data that may be larger than memory: in $TMPDIR,
// else in /var/tmp, because /tmp often is memory. It has no name any more, so
// that nothing is left behind when the process is killed.
func unnamedFile() (*os.File, error) {
	dir := os.Getenv("TMPDIR")
	if dir == "" {
		dir = "/var/tmp"
	}
	f, err := os.CreateTemp(dir, "iotsense-rows-")
	if err != nil {
		return nil, fmt.Errorf("keep rows in a file, there is not enough memory for them: %w; name another directory with TMPDIR", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// maxRow is more than the longest encoded row: ten packets with their prefixes,
// and numbers of at most ten bytes each.
const maxRow = flows.RowPackets*(flows.PayloadPrefix+32) + 128

// encodeRow appends everything of a row that a network can see.
func encodeRow(b []byte, r flows.Row) []byte {
	b = binary.AppendVarint(b, r.Since)
	remote := r.Remote.AsSlice()
	b = append(b, byte(len(remote)))
	b = append(b, remote...)
	b = append(b, r.Proto)
	b = binary.AppendVarint(b, int64(r.DevPort))
	b = binary.AppendVarint(b, int64(r.RemPort))
	b = binary.AppendUvarint(b, r.TotalBytes)
	b = binary.AppendUvarint(b, r.PacketCount)
	b = append(b, byte(len(r.Packets)))
	for _, p := range r.Packets {
		sent := uint64(0)
		if p.Sent {
			sent = 1
		}
		b = binary.AppendVarint(b, p.Offset)
		b = binary.AppendUvarint(b, uint64(p.Size)<<1|sent)
		b = binary.AppendUvarint(b, uint64(len(p.Payload)))
		b = append(b, p.Payload...)
	}
	return b
}

// decodeRow undoes encodeRow into r, whose packets it reuses; payloads point
// into b.
func decodeRow(b []byte, r *flows.Record) (since int64) {
	signed := func() int64 {
		v, n := binary.Varint(b)
		b = b[n:]
		return v
	}
	unsigned := func() uint64 {
		v, n := binary.Uvarint(b)
		b = b[n:]
		return v
	}
	take := func(n int) []byte {
		v := b[:n:n]
		b = b[n:]
		return v
	}
	since = signed()
	r.Remote, _ = netip.AddrFromSlice(take(int(take(1)[0])))
	r.Proto = take(1)[0]
	r.DevPort, r.RemPort = int32(signed()), int32(signed())
	r.TotalBytes, r.PacketCount = unsigned(), unsigned()
	r.Packets = r.Packets[:0]
	for range take(1)[0] {
		p := flows.RowPacket{Offset: signed()}
		size := unsigned()
		p.Size, p.Sent = uint32(size>>1), size&1 == 1
		p.Payload = take(int(unsigned()))
		r.Packets = append(r.Packets, p)
	}
	return since
}
