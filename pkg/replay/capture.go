package replay

// This file reads the frames of capture files.

import (
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/lab"
	"github.com/iotsense/iotsense/pkg/pcap"
)

const (
	ethernetLink   = 1  // LINKTYPE_ETHERNET
	ethernetHeader = 14 // the shortest frame that can be sent
)

// ReadCapture reads the Ethernet frames of a pcap or pcapng file, gzipped or
// not. Frames with one of the devices' MACs as source are FromDevice.
func ReadCapture(path string, devices ...flows.MAC) ([]lab.Frame, error) {
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

func readFrames(in io.Reader, devices []flows.MAC) ([]lab.Frame, error) {
	r, err := pcap.NewReader(in)
	if err != nil {
		return nil, err
	}
	var frames []lab.Frame
	var latest time.Time
	for {
		p, err := r.Next()
		if err == io.EOF {
			return frames, r.Damage()
		}
		if err != nil {
			return nil, fmt.Errorf("frame %d: %w", len(frames), err)
		}
		if p.Link != ethernetLink {
			return nil, fmt.Errorf("link type %d cannot be replayed: want Ethernet", p.Link)
		}
		if len(p.Data) < ethernetHeader {
			return nil, fmt.Errorf("frame %d: %d bytes are no Ethernet frame", len(frames), len(p.Data))
		}
		if p.Timed { // else it has the time of the frame before
			latest = p.Time
		}
		source := flows.MAC(p.Data[6:12])
		frames = append(frames, lab.Frame{Time: latest, Data: slices.Clone(p.Data), FromDevice: slices.Contains(devices, source)})
	}
}
