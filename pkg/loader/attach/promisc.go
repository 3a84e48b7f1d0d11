package attach

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// setPromisc makes promiscuous mode a part of the attachment.
func (a *Attachment) setPromisc() error {
	fd, err := promiscuous(a.index)
	if err != nil {
		return err
	}
	off := func() error { return unix.Close(fd) }
	a.add("promiscuous mode", nil, off)
	a.parts[len(a.parts)-1].leave = off // the kernel has nobody else to have it for
	return nil
}

// promiscuous turns promiscuous mode on for as long as the returned socket is
// open: the kernel takes it back, however the process ends.
func promiscuous(ifindex int) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("promiscuous mode (CAP_NET_RAW): %w", err)
	}
	request := unix.PacketMreq{Ifindex: int32(ifindex), Type: unix.PACKET_MR_PROMISC}
	if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &request); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("promiscuous mode: %w", err)
	}
	return fd, nil
}
