package api

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/iotsense/iotsense/pkg/api/page"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

// Nobody listens without a token, or with one that others can know.
func TestGateRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good", testToken+"\n", 0o640)
	for _, tt := range []struct {
		name string
		cfg  GateConfig
		want string
	}{
		{"none", GateConfig{Addr: "127.0.0.1:0", TokenFile: filepath.Join(dir, "none")}, "no such file"},
		{"empty", GateConfig{Addr: "127.0.0.1:0", TokenFile: file("empty", "\n", 0o600)}, "it is empty"},
		{"short", GateConfig{Addr: "127.0.0.1:0", TokenFile: file("short", "secret\n", 0o600)}, "want one word"},
		{"long", GateConfig{Addr: "127.0.0.1:0", TokenFile: file("long", strings.Repeat("x", 1<<20), 0o600)}, "want one line of at most"},
		{"two words", GateConfig{Addr: "127.0.0.1:0", TokenFile: file("two", "a sentence of words", 0o600)}, "want one word"},
		{"everybody's", GateConfig{Addr: "127.0.0.1:0", TokenFile: file("open", testToken, 0o644)}, "chmod 600"},
		{"a directory", GateConfig{Addr: "127.0.0.1:0", TokenFile: dir}, "directory"},
		{"no port", GateConfig{Addr: "127.0.0.1", TokenFile: good}, "HOST:PORT"},
		{"no certificate", GateConfig{Addr: "127.0.0.1:0", TokenFile: good, Cert: filepath.Join(dir, "c"), Key: good}, "certificate"},
	} {
		if _, err := NewGate(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	for addr, clear := range map[string]bool{"127.0.0.1:1": false, "[::1]:1": false, "localhost:1": false, ":1": true, "0.0.0.0:1": true, "192.0.2.1:1": true} {
		if g, err := NewGate(GateConfig{Addr: addr, TokenFile: good}); err != nil || g.Clear() != clear {
			t.Errorf("%s: %v, in the clear: %v", addr, err, !clear)
		}
	}
}

// plain is a client that follows nothing and keeps nothing.
func plain() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// plainAt is one that asks the socket at path, whatever the address says.
func plainAt(path string) *http.Client {
	c := plain()
	c.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }
	return c
}

func do(t *testing.T, c *http.Client, method, url, body string, header ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, _ := io.ReadAll(answer.Body)
	answer.Body = io.NopCloser(bytes.NewReader(b))
	return answer
}

// Over TCP only who has the token gets an answer.
func TestGate(t *testing.T) {
	at, _ := gateway(t, newHouse())
	const form = "application/x-www-form-urlencoded"
	bearer := "Bearer " + testToken
	login := func(token string) *http.Response {
		return do(t, plain(), "POST", at+page.LoginPath, url.Values{"token": {token}}.Encode(), "Content-Type", form)
	}
	entered := login(testToken)
	given := entered.Cookies()
	if entered.StatusCode != http.StatusSeeOther || len(given) != 1 || !given[0].HttpOnly || given[0].SameSite != http.SameSiteStrictMode || strings.Contains(given[0].Value, testToken) {
		t.Fatalf("%s, %v", entered.Status, given)
	}
	pass := given[0].Name + "=" + given[0].Value
	for _, path := range []string{"/", page.DevicePath("x"), v1.StatsPath, v1.DevicesPath, v1.MetricsPath, v1.OpenAPIPath, v1.EventsPath, "/nowhere"} {
		for _, tt := range []struct {
			name   string
			header []string
			let    bool
			status int
		}{
			{"nothing", nil, false, http.StatusUnauthorized},
			{"a browser", []string{"Accept", "text/html,*/*"}, false, http.StatusSeeOther},
			{"another token", []string{"Authorization", "Bearer " + testToken + "x"}, false, http.StatusUnauthorized},
			{"no token", []string{"Authorization", "Bearer "}, false, http.StatusUnauthorized},
			{"another cookie", []string{"Cookie", given[0].Name + "=" + strings.Repeat("0", len(given[0].Value))}, false, http.StatusUnauthorized},
			{"the token as a cookie", []string{"Cookie", given[0].Name + "=" + testToken}, false, http.StatusUnauthorized},
			{"the token", []string{"Authorization", bearer}, true, 0},
			{"the cookie", []string{"Cookie", pass}, true, 0},
		} {
			answer := do(t, plain(), "GET", at+path, "", tt.header...)
			if let := answer.Header.Get(v1.SensorHeader) != ""; let != tt.let || !let && answer.StatusCode != tt.status {
				t.Errorf("%s with %s: %s, let in: %v", path, tt.name, answer.Status, let)
			}
			if answer.Header.Get("Content-Security-Policy") != page.Policy || answer.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s with %s: headers %v", path, tt.name, answer.Header)
			}
		}
	}
	if answer := login("wrong"); answer.StatusCode != http.StatusUnauthorized || len(answer.Cookies()) != 0 {
		t.Errorf("another token in the form: %s", answer.Status)
	}
	if answer := do(t, plain(), "POST", at+page.LoginPath, "token="+strings.Repeat("x", 1<<20), "Content-Type", form); answer.StatusCode != http.StatusBadRequest {
		t.Errorf("a large form: %s", answer.Status)
	}
}

// Who has the token is listened to; a browser with the cookie only where a page of the sensor's
// own speaks.
func TestWordsAtTheGate(t *testing.T) {
	src := newHouse()
	at, _ := gateway(t, src)
	entered := do(t, plain(), "POST", at+page.LoginPath, "token="+testToken, "Content-Type", "application/x-www-form-urlencoded")
	cookie := entered.Cookies()[0].Name + "=" + entered.Cookies()[0].Value
	path, bearer := at+v1.CorrectionPath("50:c7:bf:00:fc:a3", v1.DoLabel), "Bearer "+testToken
	for i, tt := range []struct {
		name   string
		method string
		header []string
		status int
	}{
		{"nothing", "POST", nil, http.StatusUnauthorized},
		{"another token", "POST", []string{"Authorization", bearer + "x"}, http.StatusUnauthorized},
		{"the header alone", "POST", []string{v1.PageHeader, "1"}, http.StatusUnauthorized},
		{"the token", "POST", []string{"Authorization", bearer}, http.StatusOK},
		{"the cookie alone", "POST", []string{"Cookie", cookie}, http.StatusForbidden},
		{"the page", "POST", []string{"Cookie", cookie, v1.PageHeader, "1", "Sec-Fetch-Site", "same-origin", "Origin", at}, http.StatusOK},
		{"a page without the header", "POST", []string{"Cookie", cookie, "Sec-Fetch-Site", "same-origin", "Origin", at}, http.StatusForbidden},
		{"another site", "POST", []string{"Cookie", cookie, v1.PageHeader, "1", "Sec-Fetch-Site", "cross-site", "Origin", "http://elsewhere.example"}, http.StatusForbidden},
		{"another site by an old browser", "POST", []string{"Cookie", cookie, v1.PageHeader, "1", "Origin", "http://elsewhere.example"}, http.StatusForbidden},
		{"another method", "PUT", []string{"Authorization", bearer}, http.StatusNotFound},
	} {
		label := fmt.Sprint("label ", i)
		answer := do(t, plain(), tt.method, path, `{"label": "`+label+`"}`, tt.header...)
		devices, _ := src.Devices()
		if said := devices[0].UserLabel != nil && *devices[0].UserLabel == label; answer.StatusCode != tt.status || said != (tt.status == http.StatusOK) {
			t.Errorf("%s: %s, said: %v", tt.name, answer.Status, said)
		}
	}
}

// With a certificate the token is not to be read on its way, nor is the cookie sent without.
func TestGateTLS(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cfg := GateConfig{Addr: "127.0.0.1:0", TokenFile: filepath.Join(dir, "t"), Cert: filepath.Join(dir, "c"), Key: filepath.Join(dir, "k")}
	for path, b := range map[string][]byte{
		cfg.TokenFile: []byte(testToken), cfg.Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		cfg.Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
	} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	addr, _ := opened(t, cfg, answers{})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	c := plain()
	c.Transport = &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}}
	answer := do(t, c, "POST", "https://"+addr+page.LoginPath, "token="+testToken, "Content-Type", "application/x-www-form-urlencoded")
	if given := answer.Cookies(); len(given) != 1 || !given[0].Secure {
		t.Errorf("%s, %v", answer.Status, given)
	}
	if r, err := plain().Get("http://" + addr); err == nil && r.StatusCode != http.StatusBadRequest {
		t.Errorf("in the clear: %s", r.Status)
	}
}

// What is served elsewhere cannot make a browser speak for its reader.
func TestOtherSitesAreNotHeard(t *testing.T) {
	src := newHouse()
	path := serve(t, src)
	c := plainAt(path)
	for header, want := range map[string]int{"": http.StatusOK, "http://elsewhere.example": http.StatusForbidden} {
		r, err := http.NewRequest("POST", "http://localhost:8080"+v1.CorrectionPath("x", v1.DoForget), strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if header != "" {
			r.Header.Set("Origin", header)
		}
		answer, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if (answer.StatusCode == http.StatusForbidden) != (want == http.StatusForbidden) {
			t.Errorf("from %q: %s", header, answer.Status)
		}
	}
}

// A browser for which a site's name leads to this machine reads nothing, and says nothing, for
// that site's pages; all that people call the socket does.
func TestOtherNamesAreNotAnswered(t *testing.T) {
	path := serve(t, newHouse())
	c := plainAt(path)
	for host, want := range map[string]int{
		"localhost:8080": 200, "127.0.0.1:8080": 200, "[::1]:8080": 200, "iotsense": 200, "x": 200,
		"elsewhere.example:8080": http.StatusMisdirectedRequest, "elsewhere.example": http.StatusMisdirectedRequest, "localhost.:8080": http.StatusMisdirectedRequest,
	} {
		if got := do(t, c, "GET", "http://"+host+v1.StatsPath, "").StatusCode; got != want {
			t.Errorf("%s: status %d, want %d", host, got, want)
		}
	}
}

// Whatever 500 clients do at once, of a kind each: who is served is, and the sensor is asked
// no more often than for one.
func TestManyAtTheGate(t *testing.T) {
	src := newHouse()
	at, _ := gateway(t, src)
	host := strings.TrimPrefix(at, "http://")
	request := func(path string) string {
		return "GET " + path + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + testToken + "\r\n"
	}
	end := time.Now().Add(3 * time.Second)
	var clients sync.WaitGroup
	var answered atomic.Int64
	for i := range 500 {
		clients.Go(func() {
			for time.Now().Before(end) {
				c, err := net.DialTimeout("tcp", host, time.Second)
				if err != nil {
					time.Sleep(50 * time.Millisecond)
					continue
				}
				c.SetDeadline(end.Add(time.Second))
				switch i % 5 {
				case 0: // a page
					io.WriteString(c, request("/")+"Connection: close\r\n\r\n")
					if b, _ := io.ReadAll(c); bytes.HasPrefix(b, []byte("HTTP/1.1 200")) {
						answered.Add(1)
					}
				case 1: // never reads
					io.WriteString(c, strings.Repeat(request(v1.DevicesPath)+"\r\n", 50))
					time.Sleep(time.Until(end))
				case 2: // never asks
					time.Sleep(time.Until(end))
				case 3: // no token
					io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
					io.Copy(io.Discard, c)
				case 4: // leaves at once
					io.WriteString(c, request("/")+"\r\n")
				}
				c.Close()
			}
		})
	}
	elsewhere := plain()
	elsewhere.Transport.(*http.Transport).DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext
	var beside int
	for time.Now().Before(end) {
		if do(t, elsewhere, "GET", at+"/", "", "Authorization", "Bearer "+testToken).StatusCode == http.StatusOK {
			beside++
		}
	}
	if beside == 0 {
		t.Error("another address has no page while they press")
	}
	clients.Wait()
	src.mu.Lock()
	asked := src.asked
	src.mu.Unlock()
	if asked > 20 {
		t.Errorf("the counters were asked for %d times in three seconds", asked)
	}
	c := plain()
	c.Timeout = 20 * time.Second
	if answer := do(t, c, "GET", at+"/", "", "Authorization", "Bearer "+testToken); answer.StatusCode != http.StatusOK {
		t.Errorf("afterwards: %s", answer.Status)
	}
	t.Logf("%d pages were read, %d of them elsewhere, the counters asked for %d times", answered.Load()+int64(beside), beside, asked)
}

// endless is a body of so many bytes, and counts those that were taken.
type endless struct{ left, taken int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), e.left)
	e.left, e.taken = e.left-n, e.taken+n
	return int(n), nil
}

// A body of 1 GB is not taken, by whatever path and with the token or without.
func TestLargeBodies(t *testing.T) {
	at, _ := gateway(t, newHouse())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, tt := range []struct{ method, path, token string }{
		{"GET", "/", testToken}, {"GET", "/", "none"}, {"POST", page.LoginPath, ""}, {"POST", v1.CorrectionPath("x", v1.DoLabel), testToken}, {"PUT", "/x", testToken},
	} {
		body := &endless{left: 1 << 30}
		r, err := http.NewRequest(tt.method, at+tt.path, body)
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = body.left
		r.Header.Set("Authorization", "Bearer "+tt.token)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		begin := time.Now()
		if answer, err := plain().Do(r); err == nil {
			answer.Body.Close()
		}
		if body.taken > 64<<20 {
			t.Errorf("%s %s: %d MB were taken", tt.method, tt.path, body.taken>>20)
		}
		if took := time.Since(begin); took > 2*writeAnswer {
			t.Errorf("%s %s: took %v", tt.method, tt.path, took)
		}
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<20 {
		t.Errorf("the heap has grown by %d MB", grown>>20)
	}
}

// What is a page and what is data can be told by who asks, and a device that there is not is
// said to be none.
func TestPages(t *testing.T) {
	src := newHouse()
	at := serve(t, src)
	body, kind := get(t, at, "/?q=chromecast")
	if kind != htmlContent || !bytes.Contains(body, []byte(`id="d-f4:f5:d8:8f:0a:3c"`)) || bytes.Contains(body, []byte(`id="d-50:c7`)) {
		t.Errorf("%s: %s", kind, body)
	}
	for name := range page.Assets {
		if b, _ := get(t, at, page.AssetsPath+name); !bytes.Equal(b, page.Assets[name].Bytes) {
			t.Errorf("%s has %d bytes", name, len(b))
		}
	}
	c := plainAt(at)
	for path, want := range map[string]int{
		page.DevicePath("50:C7:BF:00:FC:A3"): http.StatusOK, page.DevicePath("none"): http.StatusNotFound, page.AssetsPath + "x": http.StatusNotFound,
		page.DevicePath("00:0c:29:11:22:33?explain=1"): http.StatusOK,
	} {
		answer := do(t, c, "GET", "http://x"+path, "")
		if b, _ := io.ReadAll(answer.Body); answer.StatusCode != want || bytes.Contains(b, []byte("of it: <script>")) {
			t.Errorf("%s: %s: %s", path, answer.Status, b)
		}
	}
	src.mu.Lock()
	src.gone = true
	src.mu.Unlock()
	time.Sleep(copyAge + 100*time.Millisecond)
	answer := do(t, c, "GET", "http://x/", "")
	if b, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusInternalServerError || !strings.Contains(string(b), errGone.Error()) {
		t.Errorf("a sensor that fails: %s: %s", answer.Status, b)
	}
}
