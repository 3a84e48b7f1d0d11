package box

import (
	"fmt"
	"os"
	"regexp"
	"testing"
)

// What is mapped of the program goes, and comes again where it runs: from Linux 6.18 on in
// pieces as large as the cache of files has them.
func TestEndStart(t *testing.T) {
	mapped := func() (kilobytes int) {
		t.Helper()
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`RssFile:\s+(\d+)`).FindSubmatch(status)
		if _, err := fmt.Sscan(string(found[1]), &kilobytes); err != nil {
			t.Fatal(err)
		}
		return kilobytes
	}
	before := mapped()
	if err := endStart(); err != nil {
		t.Fatal(err)
	}
	if after := mapped(); after > before*9/10 {
		t.Errorf("%d kB of files are mapped, before %d", after, before)
	}
}
