package report

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/iotsense/iotsense/internal/testenv"
)

// A page that Chromium prints is a small file, however many of its cells stand out.
func TestPrintsSmall(t *testing.T) {
	const most = 1 << 20
	chromium, dir := testenv.Tool(t, "chromium"), t.TempDir()
	res := result()
	for i := range res.Classes {
		for j := range res.Classes[i].Metadata {
			res.Classes[i].Metadata[j].Entropy = 1
		}
	}
	r, err := Analysis(res)
	if err != nil {
		t.Fatal(err)
	}
	page, pdf := filepath.Join(dir, "page.html"), filepath.Join(dir, "page.pdf")
	if err := r.WritePage(page); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir="+dir, "--print-to-pdf="+pdf, "file://"+page).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if f, err := os.Stat(pdf); err != nil || f.Size() > most {
		t.Errorf("%v: %d bytes printed, want %d at most", err, f.Size(), most)
	} else {
		t.Logf("%d bytes", f.Size())
	}
}
