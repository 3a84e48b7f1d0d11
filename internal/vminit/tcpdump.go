package main

// This file records an interface's packets as tcpdump does, as far as tests ask
// for it: tcpdump -i IFACE -w FILE; other flags are taken and change nothing.

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"golang.org/x/sys/unix"
)

// record writes frames with the kernel's stamps until SIGINT, then says how many
// the socket has lost.
func record(args []string) error {
	flags := flag.NewFlagSet("tcpdump", flag.ContinueOnError)
	name, path := flags.String("i", "", "interface"), flags.String("w", "", "file")
	for _, ignored := range []string{"s", "B", "Z"} {
		flags.String(ignored, "", "ignored")
	}
	for _, ignored := range []string{"U", "n"} {
		flags.Bool(ignored, false, "ignored")
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, unix.SIGINT)

	socket, err := pcapgo.NewEthernetHandle(*name)
	if err != nil {
		return err
	}
	out, err := os.Create(*path)
	if err != nil {
		return err
	}
	defer out.Close()
	w := pcapgo.NewWriterNanos(out)
	if err := w.WriteFileHeader(uint32(socket.GetCaptureLength()), layers.LinkTypeEthernet); err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- copyFrames(socket, w) }()
	select {
	case err := <-failed:
		return err
	case <-interrupted:
	}
	stats, err := socket.Stats()
	if err != nil {
		return err
	}
	socket.Close()
	<-failed // the frame being written is whole
	fmt.Fprintf(os.Stderr, "%d packets dropped by kernel\n", stats.Drops)
	return nil
}

func copyFrames(socket *pcapgo.EthernetHandle, w *pcapgo.Writer) error {
	for {
		frame, info, err := socket.ReadPacketData()
		if err != nil {
			return err
		}
		frame = withTag(frame, info)
		info.CaptureLength, info.Length = len(frame), len(frame)
		if err := w.WritePacket(info, frame); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
}

// withTag puts the VLAN tag back that the kernel took off the frame.
func withTag(frame []byte, info gopacket.CaptureInfo) []byte {
	const addresses = 12 // bytes of the two MACs
	if len(info.AncillaryData) == 0 || len(frame) < addresses {
		return frame
	}
	id, _ := info.AncillaryData[0].(int)
	tag := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_8021Q), uint16(id))
	return slices.Insert(frame, addresses, tag...)
}
