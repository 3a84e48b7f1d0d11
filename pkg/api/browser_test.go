package api

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/iotsense/iotsense/internal/testenv"
	"github.com/iotsense/iotsense/pkg/api/v1"
)

const testToken = "a-token-of-some-length"

// gateway answers at a gate on the loopback interface, in the clear, to who has testToken.
func gateway(t *testing.T, src Source) (url string, stop func()) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(testToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	addr, stop := opened(t, GateConfig{Addr: "127.0.0.1:0", TokenFile: file}, src)
	return "http://" + addr, stop
}

// opened opens a gate and answers there until the test, or stop, ends it.
func opened(t *testing.T, cfg GateConfig, src Source) (addr string, stop func()) {
	t.Helper()
	g, err := NewGate(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := g.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { Serve(ctx, nil, src, slog.New(slog.DiscardHandler), Door{l, g}); close(done) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

var _ net.Listener = Door{}

// browser is Chromium, with what it complained of.
type browser struct {
	context.Context
	axe   string // axe-core
	mu    sync.Mutex
	wrong []string
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(testenv.Tool(t, "chromium")), chromedp.NoSandbox,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WindowSize(1024, 900))
	all, stopAll := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, stop := chromedp.NewContext(all, chromedp.WithErrorf(t.Logf)) // events that it does not know
	ctx, end := context.WithTimeout(ctx, 4*time.Minute)
	t.Cleanup(func() { end(); stop(); stopAll() })
	b := &browser{Context: ctx, axe: testenv.Axe(t)}
	chromedp.ListenTarget(ctx, func(event any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			b.wrong = append(b.wrong, e.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			for _, a := range e.Args {
				b.wrong = append(b.wrong, fmt.Sprintf("console %s: %s", e.Type, a.Value))
			}
		case *log.EventEntryAdded:
			b.wrong = append(b.wrong, fmt.Sprintf("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
		}
	})
	return b
}

// complaints are those since the last look.
func (b *browser) complaints() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := strings.Join(b.wrong, "\n")
	b.wrong = nil
	return text
}

func (b *browser) do(t *testing.T, what string, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(b, actions...); err != nil {
		t.Fatalf("%s: %v; the browser says %q", what, err, b.complaints())
	}
}

// barriers fails for what keeps people from using the page, after WCAG 2.2 AA and what axe-core
// takes for good practice.
func (b *browser) barriers(t *testing.T, name string) {
	t.Helper()
	var found struct {
		Passes int
		Wrong  []string
	}
	b.do(t, name, chromedp.Evaluate(b.axe+`;axe.run(document, {resultTypes: ["violations"]}).then((r) => ({Passes: r.passes.length, Wrong: r.violations.map((v) =>
		v.id + ": " + v.help + ": " + v.nodes.slice(0, 3).map((n) => n.html + " " + n.failureSummary).join("; "))}))`, &found,
		func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	for _, one := range found.Wrong {
		t.Errorf("%s: %s", name, one)
	}
	if found.Passes < 15 {
		t.Errorf("%s: axe-core has looked at %d rules alone", name, found.Passes)
	}
}

// shots writes pictures of the page in three widths, light and dark, below build/, and looks for
// barriers in two of them.
func (b *browser) shots(t *testing.T, name string) {
	t.Helper()
	dir := filepath.Join("..", "..", "build", "page")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{390, 1024, 1920} {
			var picture []byte
			var overflow bool
			var cut string
			b.do(t, name,
				emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
				chromedp.EmulateViewport(width, 900), chromedp.Sleep(100*time.Millisecond),
				chromedp.Evaluate(`document.documentElement.scrollWidth > document.documentElement.clientWidth`, &overflow),
				chromedp.Evaluate(`[...document.querySelectorAll("td, th, dd")].filter(e => e.offsetWidth > 1 && e.scrollWidth > e.clientWidth + 1).map(e => e.textContent).join()`, &cut),
				chromedp.FullScreenshot(&picture, 100))
			if width == 390 && scheme == "dark" || width == 1024 && scheme == "light" {
				b.barriers(t, fmt.Sprintf("%s at %d px, %s", name, width, scheme))
			}
			if cut != "" {
				t.Errorf("%s at %d px: too wide for their cells: %s", name, width, cut)
			}
			if overflow {
				t.Errorf("%s at %d px is wider than the screen", name, width)
			}
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)), picture, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.do(t, name, chromedp.EmulateViewport(1024, 900))
}

// prints writes the page as it is printed, which is a small file.
func (b *browser) prints(t *testing.T, name string) {
	t.Helper()
	const most = 1 << 20
	var pdf []byte
	b.do(t, name, emulation.SetEmulatedMedia(), chromedp.ActionFunc(func(ctx context.Context) (err error) {
		pdf, _, err = page.PrintToPDF().WithPrintBackground(true).Do(ctx)
		return err
	}))
	if len(pdf) > most {
		t.Errorf("%s is printed in %d bytes, want %d at most", name, len(pdf), most)
	}
	if err := os.WriteFile(filepath.Join("..", "..", "build", "page", name+".pdf"), pdf, 0o644); err != nil {
		t.Fatal(err)
	}
}

// buttons labels, ignores and forgets devices.
func (b *browser) buttons(t *testing.T) {
	const mac = "f4:f5:d8:8f:0a:3c"
	button := func(do string) string { return `.card [data-device="` + mac + `"][data-do="` + do + `"]` }
	var text string
	var options int
	b.do(t, "a label that is not taken", chromedp.Click(button("label")), chromedp.WaitVisible("#naming"), chromedp.SendKeys("#naming-label", "bad\r"),
		chromedp.WaitVisible("#naming [role=alert]"), chromedp.Text("#naming [role=alert]", &text), chromedp.Evaluate(`document.querySelectorAll("#names option").length`, &options))
	if !strings.Contains(text, "<script>") || options != 2 {
		t.Errorf("%q, %d suggestions", text, options)
	}
	if wrong := b.complaints(); !strings.Contains(wrong, "409") { // the browser's own line on a status
		t.Errorf("of a word that is not taken the browser says %q", wrong)
	}
	b.shots(t, "label")
	b.do(t, "a label", chromedp.SetValue("#naming-label", "TV/<b>hall"), chromedp.Click("#naming .button"), chromedp.WaitNotVisible("#naming"),
		chromedp.Poll(`document.getElementById("d-`+mac+`").textContent.includes("TV/<b>hall")`, nil))
	b.do(t, "ignore", chromedp.Click(button("ignore")), chromedp.Poll(`document.getElementById("d-`+mac+`").textContent.includes("ignored")`, nil))
	b.do(t, "by key", chromedp.Focus(`[id="d-a4:cf:12:00:00:01"] a`), chromedp.KeyEvent("l"), chromedp.WaitVisible("#naming"), chromedp.Text("#naming-title", &text),
		chromedp.KeyEvent("\x1b"), chromedp.WaitNotVisible("#naming"))
	if !strings.Contains(text, "a4:cf:12:00:00:01") {
		t.Errorf("the key asks %q", text)
	}
	b.do(t, "forget, or not", chromedp.Click(`.card [data-do="forget"]`), chromedp.WaitVisible("#sure"), chromedp.KeyEvent("\r"), chromedp.WaitNotVisible("#sure"),
		chromedp.Click(`.card [data-do="forget"]`), chromedp.WaitVisible("#sure"))
	b.shots(t, "forget")
	b.do(t, "forget", chromedp.Evaluate(`window.count = document.querySelectorAll("#rows tr").length`, nil), chromedp.Click("#sure .button"), chromedp.WaitNotVisible("#sure"),
		chromedp.Poll(`document.querySelectorAll("#rows tr").length === window.count - 1`, nil))
}

// A page in a real browser: who has the token comes in, what devices call themselves is
// text, a device that comes appears, keys and search work, and a sensor that has gone is told.
func TestBrowser(t *testing.T) {
	b := newBrowser(t)
	home := newHouse()
	url, stop := gateway(t, home)
	var title, text string
	var attacked, focused bool
	b.do(t, "log in", chromedp.Navigate(url), chromedp.WaitVisible("#token"))
	b.shots(t, "login")
	b.do(t, "log in", chromedp.SendKeys("#token", testToken+"\r"), chromedp.WaitVisible("#rows"), chromedp.Title(&title), chromedp.Sleep(2500*time.Millisecond),
		chromedp.Evaluate(`window.attacked === 1`, &attacked), chromedp.Text("#cards", &text))
	if attacked || !strings.Contains(text, "<script>window.attacked=1</script>") {
		t.Errorf("attacked: %v; %s", attacked, text)
	}
	b.shots(t, "list")
	b.prints(t, "list")
	b.do(t, "the stream", chromedp.Poll(`document.documentElement.dataset.feed === "live"`, nil))
	home.add("12:34:56:78:9a:bc", v1.Unknown, "Aria", 0.5, nil, "", v1.Facts{"dhcp_host": "newcomer"})
	b.do(t, "a device comes", chromedp.Poll(`document.getElementById("d-12:34:56:78:9a:bc")?.textContent.includes("newcomer")`, nil),
		chromedp.Poll(`document.querySelector(".card a").textContent.length > 0`, nil))
	b.do(t, "keys", chromedp.KeyEvent("j"), chromedp.KeyEvent("j"), chromedp.Sleep(3*time.Second),
		chromedp.Evaluate(`document.activeElement === document.querySelectorAll("#rows th a")[1]`, &focused))
	if !focused {
		t.Error("the second device has not the focus after two keys and an update")
	}
	// A browser drops the key that is not to be typed; this one is told each by itself.
	b.do(t, "search", chromedp.KeyEvent("/"), chromedp.Poll(`document.activeElement.id === "q"`, nil), chromedp.Evaluate(`document.getElementById("q").value = ""`, nil), chromedp.SendKeys("#q", "socket-3"))
	b.do(t, "search", chromedp.Poll(`document.querySelectorAll("#rows tr").length === 1`, nil),
		chromedp.Poll(`location.search === "?q=socket-3"`, nil))
	b.do(t, "nothing found", chromedp.SendKeys("#q", "zzz"), chromedp.WaitVisible(".empty"))
	b.shots(t, "empty")
	b.do(t, "cleared", chromedp.KeyEvent("\x1b"), chromedp.Poll(`document.querySelectorAll("#rows tr").length === 18`, nil))
	b.do(t, "a device", chromedp.Navigate(url+"/devices/50:c7:bf:00:fc:a3"), chromedp.WaitVisible("#explanation"), chromedp.Click("#explanation a.button"),
		chromedp.WaitVisible("#explanation table"), chromedp.Text("#main", &text))
	for _, want := range []string{"HS110", "203.0.113.4", "remote port 50443"} {
		if !strings.Contains(text, want) {
			t.Errorf("the device's page has no %q: %s", want, text)
		}
	}
	b.shots(t, "device")
	b.prints(t, "device")
	b.do(t, "back", chromedp.KeyEvent("u"), chromedp.WaitVisible("#rows"))
	b.buttons(t)
	if wrong := b.complaints(); wrong != "" {
		t.Errorf("the browser says:\n%s", wrong)
	}
	stop()
	b.do(t, "the sensor has gone", chromedp.WaitVisible("#stale"), chromedp.Text("#stale", &text))
	if !strings.Contains(text, "No answer from the sensor since") {
		t.Errorf("%q", text)
	}
	b.shots(t, "stale")
}
