package replay

// This file reads the frames of capture files.

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/iotsense/iotsense/pkg/flows"
)

// ethernetHeader is the length of the shortest frame that can be sent.
const ethernetHeader = 14

// ReadCapture reads the Ethernet frames of a pcap or pcapng file, gzipped or
// not. Frames with one of the devices' MACs as source are FromDevice.
func ReadCapture(path string, devices ...flows.MAC) ([]Frame, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	defer f.Close()
	frames, err := readFrames(f, devices)
	if err != nil {
		return nil, fmt.Errorf("capture %s: %w", path, err)
	}
	return frames, nil
}

func readFrames(in io.Reader, devices []flows.MAC) ([]Frame, error) {
	r, err := openFrames(in)
	if err != nil {
		return nil, err
	}
	if link := r.LinkType(); link != layers.LinkTypeEthernet {
		return nil, fmt.Errorf("link type %v cannot be replayed: want Ethernet", link)
	}
	var frames []Frame
	for {
		data, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return frames, nil
		}
		if err != nil {
			return nil, fmt.Errorf("frame %d: %w", len(frames), err)
		}
		if len(data) < ethernetHeader {
			return nil, fmt.Errorf("frame %d: %d bytes are no Ethernet frame", len(frames), len(data))
		}
		source := flows.MAC(data[6:12])
		frames = append(frames, Frame{Time: info.Timestamp, Data: data, FromDevice: slices.Contains(devices, source)})
	}
}

// frameReader is what pcap and pcapng readers have in common.
type frameReader interface {
	gopacket.PacketDataSource
	LinkType() layers.LinkType
}

func openFrames(in io.Reader) (frameReader, error) {
	buffered := bufio.NewReader(in)
	magic, err := buffered.Peek(4)
	if err != nil {
		return nil, fmt.Errorf("not a capture: %w", err)
	}
	if bytes.HasPrefix(magic, []byte{0x1f, 0x8b}) {
		unzipped, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		buffered = bufio.NewReader(unzipped)
		if magic, err = buffered.Peek(4); err != nil {
			return nil, fmt.Errorf("gzip content: %w", err)
		}
	}
	if bytes.Equal(magic, []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		r, err := pcapgo.NewNgReader(buffered, pcapgo.DefaultNgReaderOptions)
		if err != nil {
			return nil, fmt.Errorf("pcapng header: %w", err)
		}
		return r, nil
	}
	r, err := pcapgo.NewReader(buffered)
	if err != nil {
		return nil, fmt.Errorf("not a pcap or pcapng file: %w", err)
	}
	return r, nil
}
