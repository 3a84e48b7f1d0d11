package api

// This file answers over TCP, to who has the token.

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/iotsense/iotsense/internal/secret"
	"github.com/iotsense/iotsense/pkg/api/page"
)

const (
	minToken  = 16 // bytes: nobody guesses 16 random ones at 20 a second for each of 64 connections
	maxForm   = 4 << 10
	cookie    = "iotsense"
	forCookie = "iotsense page" // what the token signs
)

// Gate is an address of TCP where the sensor answers who has the token, and listens to them.
type Gate struct {
	addr  string
	token [sha256.Size]byte // of it
	pass  string            // the cookie of who has given it to a page
	tls   *tls.Config       // nil: in the clear
}

// GateConfig names what a [Gate] is made of.
type GateConfig struct {
	Addr      string // HOST:PORT
	TokenFile string // the token, in one line, that only its owner and group may read
	Cert, Key string // PEM files; both empty: no TLS
}

// NewGate reads the files; it does not listen yet.
func NewGate(cfg GateConfig) (*Gate, error) {
	if _, _, err := net.SplitHostPort(cfg.Addr); err != nil {
		return nil, fmt.Errorf("address %q: want HOST:PORT, as 127.0.0.1:8080: %w", cfg.Addr, err)
	}
	token, err := readToken(cfg.TokenFile)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte(forCookie))
	g := &Gate{addr: cfg.Addr, token: sha256.Sum256([]byte(token)), pass: hex.EncodeToString(mac.Sum(nil))}
	if cfg.Cert == "" && cfg.Key == "" {
		return g, nil
	}
	pair, err := tls.LoadX509KeyPair(cfg.Cert, cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", cfg.Cert, cfg.Key, err)
	}
	g.tls = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	return g, nil
}

// readToken reads a token that nobody else can know.
func readToken(path string) (string, error) {
	token, err := secret.Read(path)
	switch {
	case err != nil:
		return "", fmt.Errorf("token: %w", err)
	case len(token) < minToken || strings.ContainsAny(token, " \t"):
		return "", fmt.Errorf("token %s: want one word of %d bytes or more, as `head -c 24 /dev/urandom | base64` makes", path, minToken)
	}
	return token, nil
}

// Clear reports whether the gate's token can be read on its way: no TLS, and others than
// this machine may ask.
func (g *Gate) Clear() bool {
	host, _, _ := net.SplitHostPort(g.addr) // NewGate has looked
	ip := net.ParseIP(host)
	return g.tls == nil && host != "localhost" && (ip == nil || !ip.IsLoopback())
}

// Listen opens the gate. The listener must go to [Serve] with it.
func (g *Gate) Listen() (net.Listener, error) {
	l, err := net.Listen("tcp", g.addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", g.addr, err)
	}
	return l, nil
}

// knows reports whether a request comes with the token, or from a page that was given it.
func (g *Gate) knows(r *http.Request) bool {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return g.is(token)
	}
	c, err := r.Cookie(cookie)
	return err == nil && subtle.ConstantTimeCompare([]byte(c.Value), []byte(g.pass)) == 1
}

func (g *Gate) is(token string) bool {
	sum := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(sum[:], g.token[:]) == 1
}

// Guard is h for who has the token, wherever that is answered.
func (g *Gate) Guard(h http.Handler) http.Handler { return guarded(g.guard(h)) }

// guard answers with h who has the token, and others with the page that asks for it.
func (g *Gate) guard(h http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+page.AssetsPath+"{file}", assets)
	mux.HandleFunc("GET "+page.LoginPath, func(w http.ResponseWriter, r *http.Request) { loginPage(w, http.StatusOK) })
	mux.HandleFunc("POST "+page.LoginPath, g.login)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !g.knows(r):
			wait(r.Context(), connHeld)
			if strings.Contains(r.Header.Get("Accept"), "text/html") {
				http.Redirect(w, r, page.LoginPath, http.StatusSeeOther)
				return
			}
			w.Header().Set("WWW-Authenticate", `Bearer realm="iotsense"`)
			http.Error(w, "the token is missing, or is another: Authorization: Bearer TOKEN", http.StatusUnauthorized)
		default:
			h.ServeHTTP(w, withToken(r))
		}
	})
	return mux
}

// login takes the token from a form, and gives a cookie for it.
func (g *Gate) login(w http.ResponseWriter, r *http.Request) {
	wait(r.Context(), connHeld) // a guess takes its time
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "no form of the page: "+err.Error(), http.StatusBadRequest)
		return
	}
	if !g.is(strings.TrimSpace(r.PostForm.Get("token"))) {
		loginPage(w, http.StatusUnauthorized)
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookie, Value: g.pass, Path: "/", HttpOnly: true, Secure: g.tls != nil, SameSite: http.SameSiteStrictMode,
	})
	http.Redirect(w, r, page.ListPath, http.StatusSeeOther)
}

func loginPage(w http.ResponseWriter, status int) {
	b, err := page.Login(status != http.StatusOK)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", htmlContent)
	w.WriteHeader(status)
	w.Write(b) // whoever does not take it has none
}

// local answers who asks by no name of the world's. A browser that comes to the socket through
// ssh -L asks for localhost; one that was told that another site's name is this machine asks for
// that, for a page of the site, which reads what is answered.
func local(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := (&url.URL{Host: r.Host}).Hostname()
		if net.ParseIP(host) == nil && strings.Contains(host, ".") {
			wait(r.Context(), connHeld)
			http.Error(w, "the socket is nobody's of that name: ask for localhost", http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// Door is a listener, and who may come in by it.
type Door struct {
	net.Listener
	Gate *Gate // nil: whoever can connect
}

// open answers at a door until ctx ends.
func (s *server) open(ctx context.Context, d Door) {
	h, l := s.handler, net.Listener(newLimited(d.Listener, s.clients))
	if d.Gate == nil {
		h = local(h)
	} else {
		h = d.Gate.guard(h)
		if d.Gate.tls != nil {
			l = tls.NewListener(l, d.Gate.tls)
		}
	}
	one := &http.Server{
		Handler: guarded(h), MaxHeaderBytes: maxHeader, ReadHeaderTimeout: readRequest, ReadTimeout: writeAnswer,
		IdleTimeout: idleAfter, WriteTimeout: writeAnswer,
		ErrorLog:    s.errors,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: withPeer, ConnState: tellState,
	}
	stop := context.AfterFunc(ctx, func() { one.Close() })
	defer stop()
	if err := one.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		s.log.Error("no longer answering", "on", d.Addr(), "error", err)
		one.Close()
	}
}
