package attach

// This file keeps two sensors off one interface.

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// hold takes an interface for this process: a socket in the abstract namespace
// belongs to one network namespace and goes with its process, however that ends.
// Anybody may bind its name, and listen there or not: the kernel is asked who has
// made it. Only root and this user, who can run a sensor, keep this one away; to
// whoever else is there the sensor leaves the name, and takes one below it.
func hold(ifname string, ifindex int, log *slog.Logger) (io.Closer, error) {
	name := "@iotsense/if" + strconv.Itoa(ifindex)
	l, err := net.Listen("unix", name)
	if errors.Is(err, unix.EADDRINUSE) {
		if err := otherSensor(ifname, name, nil, log); err != nil {
			return nil, err
		}
		l, err = net.Listen("unix", name+"/"+rand.Text())
	}
	if err != nil {
		return nil, fmt.Errorf("hold the interface: %w", err)
	}
	if err := otherSensor(ifname, name, l, log); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// otherSensor is an error when a process that may be a sensor holds the name or one
// below it. own is this sensor's socket, or nil.
func otherSensor(ifname, name string, own net.Listener, log *slog.Logger) error {
	list, err := abstractSockets(name)
	if err != nil { // a kernel without unix_diag: those who listen can be asked
		list = nil
		if who, err := listener(name); err == nil && own == nil {
			list = []abstractSocket{{name, who.Uid, true}}
		}
	}
	for _, socket := range list {
		if own != nil && socket.name == own.Addr().String() {
			continue
		}
		process := processOf(socket.name)
		if socket.listens && (socket.uid == 0 || int(socket.uid) == os.Geteuid()) {
			return fmt.Errorf("another sensor is on it (%s): stop that one first", process)
		}
		if own == nil {
			log.Warn("a process that is no sensor pretends to watch the interface", "interface", ifname,
				"uid", socket.uid, "process", process)
		}
	}
	return nil
}

// abstractSocket is a Unix socket with a name in the abstract namespace.
type abstractSocket struct {
	name    string // as package net has it, with an @
	uid     uint32 // of who made it
	listens bool
}

// From include/uapi/linux/unix_diag.h.
const (
	unixDiagUID      = 7
	unixDiagShowName = 1 << 0
	unixDiagShowUID  = 1 << 6
	unixDiagHead     = 16 // struct unix_diag_msg
	unixDiagState    = 2  // its field of that name
)

// abstractSockets lists the sockets of the network namespace that have this name or
// one below it (sock_diag(7); the user since Linux 5.3).
func abstractSockets(name string) ([]abstractSocket, error) {
	req := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)
	ask := make([]byte, 24) // struct unix_diag_req
	ask[0] = unix.AF_UNIX
	// Not those that wait for accept: they have the listener's name, and are root's.
	binary.NativeEndian.PutUint32(ask[4:], 1<<netlink.TCP_CLOSE|1<<netlink.TCP_LISTEN)
	binary.NativeEndian.PutUint32(ask[12:], unixDiagShowName|unixDiagShowUID)
	req.AddRawData(ask)
	messages, err := req.Execute(unix.NETLINK_SOCK_DIAG, nl.SOCK_DIAG_BY_FAMILY)
	if err != nil {
		return nil, fmt.Errorf("list the Unix sockets: %w", err)
	}
	var list []abstractSocket
	for _, m := range messages {
		socket, err := parseSocket(m)
		if err != nil {
			return nil, fmt.Errorf("list the Unix sockets: %w", err)
		}
		if socket.name == name || strings.HasPrefix(socket.name, name+"/") {
			list = append(list, socket)
		}
	}
	return list, nil
}

// parseSocket reads one answer of the kernel. A socket that is not in the abstract
// namespace has no name.
func parseSocket(m []byte) (socket abstractSocket, err error) {
	if len(m) < unixDiagHead {
		return socket, fmt.Errorf("an answer of %d bytes", len(m))
	}
	attributes, err := nl.ParseRouteAttr(m[unixDiagHead:])
	if err != nil {
		return socket, err
	}
	socket.listens = m[unixDiagState] == netlink.TCP_LISTEN
	known := false
	for _, a := range attributes {
		switch {
		case a.Attr.Type == netlink.UNIX_DIAG_NAME && len(a.Value) > 0 && a.Value[0] == 0:
			socket.name = "@" + string(a.Value[1:])
		case a.Attr.Type == unixDiagUID && len(a.Value) == 4:
			socket.uid, known = binary.NativeEndian.Uint32(a.Value), true
		}
	}
	if !known {
		return socket, errors.New("the kernel does not say whose a socket is")
	}
	return socket, nil
}

// processOf describes the process that listens on an abstract socket.
func processOf(name string) string {
	who, err := listener(name)
	if err != nil {
		return "its process is unknown"
	}
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", who.Pid))
	return strings.TrimSpace(fmt.Sprintf("pid %d %s", who.Pid, bytes.TrimSpace(text)))
}

// listener is the process that listens on an abstract socket.
func listener(name string) (*unix.Ucred, error) {
	c, err := net.Dial("unix", name)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var asked error
	err = raw.Control(func(fd uintptr) {
		cred, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return cred, errors.Join(err, asked)
}
