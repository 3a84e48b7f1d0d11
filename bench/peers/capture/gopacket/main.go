// Command gopacket counts packets by protocol with gopacket's AF_PACKET ring.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/afpacket"
	"github.com/gopacket/gopacket/layers"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gopacket:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return errors.New("usage: gopacket IFACE")
	}
	ring, err := afpacket.NewTPacket(
		afpacket.OptInterface(os.Args[1]), afpacket.OptFrameSize(1<<16), afpacket.OptBlockSize(1<<20),
		afpacket.OptNumBlocks(32), afpacket.OptPollTimeout(50*time.Millisecond), afpacket.OptBlockTimeout(50*time.Millisecond))
	if err != nil {
		return fmt.Errorf("open a ring on %s: %w", os.Args[1], err)
	}
	defer ring.Close()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	var (
		ethernet         layers.Ethernet
		ip4              layers.IPv4
		ip6              layers.IPv6
		tcp              layers.TCP
		udp              layers.UDP
		nTCP, nUDP, rest uint64
		found            []gopacket.LayerType
	)
	parser := gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet, &ethernet, &ip4, &ip6, &tcp, &udp)
	parser.IgnoreUnsupported = true
	for len(stop) == 0 {
		data, _, err := ring.ZeroCopyReadPacketData()
		if errors.Is(err, afpacket.ErrTimeout) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", os.Args[1], err)
		}
		_ = parser.DecodeLayers(data, &found) // what it cannot read is another protocol
		switch last := layerOf(found); last {
		case layers.LayerTypeTCP:
			nTCP++
		case layers.LayerTypeUDP:
			nUDP++
		default:
			rest++
		}
	}
	fmt.Printf("packets %d tcp %d udp %d other %d\n", nTCP+nUDP+rest, nTCP, nUDP, rest)
	return nil
}

func layerOf(found []gopacket.LayerType) gopacket.LayerType {
	if len(found) == 0 {
		return gopacket.LayerTypeZero
	}
	return found[len(found)-1]
}
