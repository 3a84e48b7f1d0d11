package main

// This file opens the page of a demo's sensor, which is in a network namespace of its own, on an
// address of this machine.

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/iotsense/iotsense/pkg/api"
)

// demoAddrs are those of the page, the first that nobody else has.
var demoAddrs = []string{"127.0.0.1:8080", "127.0.0.1:0"}

// openPage answers for the sensor on the socket, to who has the token that it prints, until shut.
func openPage(c *cli.Context, dir, socket string) (shut func(), err error) {
	token, file := rand.Text()[:16], filepath.Join(dir, "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("token of the page: %w", err)
	}
	var gate *api.Gate
	var l net.Listener
	for _, addr := range demoAddrs {
		if gate, err = api.NewGate(api.GateConfig{Addr: addr, TokenFile: file}); err != nil {
			return nil, err
		}
		if l, err = gate.Listen(); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	at := "http://" + l.Addr().String()
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: "iotsense"})
			r.Out.Host = r.In.Host
		},
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // the reader is told
	}
	server := &http.Server{Handler: gate.Guard(proxy), ReadHeaderTimeout: 5 * time.Second, ErrorLog: proxy.ErrorLog}
	go server.Serve(l)
	fmt.Fprintf(c.App.ErrWriter, "page     %s, its token is %s; open until Ctrl-C\n", at, token)
	return func() { server.Close() }, nil
}
