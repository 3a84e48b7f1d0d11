// Command screenshots opens the page of `iotsense demo --page` in Chromium and takes the pictures
// that the documents show: scripts/screenshots.sh.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

const (
	wide, high = 1360, 1000
	quality    = 80
	largest    = 150_000 // bytes of a picture
	patience   = 6 * time.Minute
)

func main() {
	program := flag.String("program", "bin/iotsense", "the program whose demo is shown")
	browser := flag.String("browser", "chromium", "Chromium")
	into := flag.String("into", "docs", "directory of the pictures")
	after := flag.Duration("after", 3*time.Minute, "how long traffic plays before")
	flag.Parse()
	if err := run(*program, *browser, *into, *after); err != nil {
		fmt.Fprintln(os.Stderr, "screenshots:", err)
		os.Exit(1)
	}
}

func run(program, browser, into string, after time.Duration) (err error) {
	demo := exec.Command(program, "demo", "--page")
	demo.Stdout = io.Discard
	said, err := demo.StderrPipe()
	if err != nil {
		return err
	}
	if err := demo.Start(); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, demo.Process.Signal(syscall.SIGINT), demo.Wait())
	}()
	address, token, err := opened(said)
	if err != nil {
		return err
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browser), chromedp.NoSandbox, chromedp.Flag("disable-dev-shm-usage", true))
	all, stopAll := chromedp.NewExecAllocator(context.Background(), opts...)
	defer stopAll()
	ctx, stop := chromedp.NewContext(all, chromedp.WithErrorf(func(string, ...any) {})) // of events that it does not know
	defer stop()
	ctx, end := context.WithTimeout(ctx, after+patience)
	defer end()
	fmt.Printf("traffic plays for %v\n", after)
	err = chromedp.Run(ctx, chromedp.EmulateViewport(wide, high), chromedp.Navigate(address), chromedp.WaitVisible("#token"), chromedp.SendKeys("#token", token+"\r"),
		chromedp.WaitVisible("#rows"), chromedp.Sleep(after), chromedp.WaitVisible(".card"))
	if err != nil {
		return fmt.Errorf("the list: %w", err)
	}
	if err := pictures(ctx, filepath.Join(into, "page")); err != nil {
		return err
	}
	err = chromedp.Run(ctx, chromedp.Click(".card h3 a"), chromedp.WaitVisible("#explanation"), chromedp.Click("#explanation a.button"), chromedp.WaitVisible("#explanation table"),
		chromedp.Evaluate(`document.getElementById("explanation").scrollIntoView()`, nil))
	if err != nil {
		return fmt.Errorf("a device: %w", err)
	}
	return pictures(ctx, filepath.Join(into, "page-device"))
}

// announced is what a demo says of its page.
var announced = regexp.MustCompile(`^page +(\S+), its token is (\w+)`)

// opened reads up to where the page's address stands, and passes on what is said behind it.
func opened(said io.Reader) (address, token string, err error) {
	lines := bufio.NewReader(said)
	for {
		line, err := lines.ReadString('\n')
		if m := announced.FindStringSubmatch(line); m != nil {
			go io.Copy(os.Stderr, lines)
			return m[1], m[2], nil
		}
		if err != nil {
			return "", "", fmt.Errorf("the demo has opened no page: %w", err)
		}
		fmt.Fprint(os.Stderr, line)
	}
}

// pictures takes one in light and one in dark.
func pictures(ctx context.Context, name string) error {
	for _, scheme := range []string{"light", "dark"} {
		var b []byte
		err := chromedp.Run(ctx, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
			chromedp.Sleep(500*time.Millisecond), chromedp.ActionFunc(func(ctx context.Context) (err error) {
				b, err = page.CaptureScreenshot().WithFormat(page.CaptureScreenshotFormatWebp).WithQuality(quality).Do(ctx)
				return err
			}))
		path := name + "-" + scheme + ".webp"
		if err == nil && len(b) > largest {
			err = fmt.Errorf("%d bytes: want %d at most", len(b), largest)
		}
		if err == nil {
			err = os.WriteFile(path, b, 0o644)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		fmt.Printf("%s: %d bytes\n", path, len(b))
	}
	return nil
}
