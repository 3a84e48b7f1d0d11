package sensor_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/v1"
	"github.com/iotsense/iotsense/pkg/flows"
	"github.com/iotsense/iotsense/pkg/loader/attach"
	"github.com/iotsense/iotsense/pkg/replay"
)

// pressed is how many clients hold the socket while traffic plays.
const pressed = 500

// Devices appear on the page while their traffic plays, in a browser that has nothing to
// complain of, and with many clients who wish the sensor ill no packet is missed. What a button
// calls one stands there again once another sensor has taken the place of the first.
func TestPageWhileTrafficPlays(t *testing.T) {
	testenv.Root(t)
	chromium := testenv.Tool(t, "chromium")
	n, err := replay.NewNetwork("page")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}()
	socket := filepath.Join(t.TempDir(), "s.sock")
	cfg := sensorConfig{Hook: attach.HookTCX, Direction: flows.Bi, Speed: shortSpeed, Socket: socket, State: filepath.Join(t.TempDir(), "r.db")}
	s := startSensor(t, n, cfg)
	dial := func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) }
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "iotsense"})
	proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	proxy.Transport = &http.Transport{DialContext: dial, DisableKeepAlives: true}
	front := httptest.NewServer(proxy)
	defer front.Close()
	page, wrong := openBrowser(t, chromium)
	run := func(what string, actions ...chromedp.Action) {
		t.Helper()
		if err := chromedp.Run(page, actions...); err != nil {
			t.Fatalf("%s: %v; %v", what, err, wrong())
		}
	}
	run("before there is a device", chromedp.Navigate(front.URL), chromedp.WaitVisible(".empty"))

	enough, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	defer func() { stop(); clients.Wait() }()
	for i := range pressed {
		clients.Go(func() { press(enough, socket, i) })
	}
	played, err := n.Play(t.Context(), labFrames(t), replay.PlayOptions{Speed: shortSpeed})
	if err != nil {
		t.Fatal(err)
	}
	stop()
	clients.Wait()
	run("devices come", chromedp.WaitVisible("#rows"), chromedp.Poll(`document.querySelectorAll("#rows tr").length >= 10`, nil))
	run("a label", chromedp.Evaluate(`document.querySelector("#rows [data-do=label]").click()`, nil), chromedp.WaitVisible("#naming"),
		chromedp.SendKeys("#naming-label", "Kitchen/<b>first\r"), chromedp.WaitNotVisible("#naming"), chromedp.Poll(`document.getElementById("rows").textContent.includes("Kitchen/<b>first")`, nil))
	stats := s.stop().Stats
	run("the sensor has gone", chromedp.WaitVisible("#stale"))
	again := startSensor(t, n, cfg)
	run("another has come", chromedp.WaitNotVisible("#stale"), chromedp.Poll(`document.documentElement.dataset.feed === "live"`, nil),
		chromedp.Poll(`document.getElementById("rows").textContent.includes("Kitchen/<b>first") && document.querySelectorAll("#rows tr").length >= 10`, nil))
	again.stop()
	if complaints := wrong(); len(complaints) > 0 {
		t.Errorf("the browser says %q", complaints)
	}
	if stats.Packets.Seen != played.Frames || stats.Samples.RingFull != 0 {
		t.Errorf("%d packets seen, %d played; %d samples lost", stats.Packets.Seen, played.Frames, stats.Samples.RingFull)
	}
	checkIdentities(t, stats.Packets)
}

// press is one client of those that never read, never ask, leave, or want too much.
func press(ctx context.Context, socket string, i int) {
	for range 3 {
		c, err := net.DialTimeout("unix", socket, time.Second)
		if err != nil { // the socket's backlog is full
			return
		}
		c.SetDeadline(time.Now().Add(time.Second))
		switch i % 4 {
		case 0:
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", v1.FlowsPath)
			time.Sleep(200 * time.Millisecond)
		case 1:
			time.Sleep(200 * time.Millisecond)
		case 2:
			fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			_, _ = io.Copy(io.Discard, c) // until it is cut off
		case 3:
			fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n%4096d", v1.CorrectionPath("x", v1.DoLabel), 1)
		}
		c.Close()
		select {
		case <-ctx.Done():
			return
		case <-time.After(4 * time.Second):
		}
	}
}

// openBrowser opens Chromium; wrong is what it has complained of, but for a sensor that was
// too busy with others to answer.
func openBrowser(t *testing.T, path string) (ctx context.Context, wrong func() []string) {
	t.Helper()
	// By itself chromedp has the browser killed with the thread that began it, and threads
	// that were in another namespace end.
	lives := chromedp.ModifyCmdFunc(func(*exec.Cmd) {})
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Flag("disable-dev-shm-usage", true), lives)
	all, stopAll := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, stop := chromedp.NewContext(all)
	ctx, end := context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(func() { end(); stop(); stopAll() })
	var mu sync.Mutex
	var list []string
	chromedp.ListenTarget(ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			list = append(list, e.ExceptionDetails.Error())
		case *log.EventEntryAdded:
			if e.Entry.Source != log.SourceNetwork { // 502, 503: asked again
				list = append(list, e.Entry.Text)
			}
		}
	})
	return ctx, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return list
	}
}
