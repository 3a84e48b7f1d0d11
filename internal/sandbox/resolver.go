package sandbox

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
)

// resolvConf names the servers that names are asked of (resolv.conf(5)).
var resolvConf = "/etc/resolv.conf"

// unreadable are the servers that Go asks where it cannot read resolvConf.
var unreadable = []string{"127.0.0.1:53", "[::1]:53"}

// keepServers has names asked of the servers of now where another file has come in the place
// of resolvConf, which a confined process may not read: a DHCP client writes it with each lease.
func keepServers() {
	servers := nameServers()
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if i := slices.Index(unreadable, address); i >= 0 && len(servers) > 0 {
			f, err := os.Open(resolvConf)
			if err == nil {
				f.Close()
			} else if errors.Is(err, fs.ErrPermission) {
				address = servers[min(i, len(servers)-1)]
			}
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
}

// nameServers are those of resolvConf, with their port.
func nameServers() (list []string) {
	f, err := os.Open(resolvConf)
	if err != nil {
		return nil
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) > 1 && words[0] == "nameserver" {
			list = append(list, net.JoinHostPort(words[1], "53"))
		}
	}
	return list
}
