package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const standsBack = "IOTSENSE_TEST_STANDS_BACK"

// A process that stands back has no capability, in no thread, and waits for all others.
func TestStandBack(t *testing.T) {
	if os.Getenv(standsBack) != "" {
		if err := standBack(); err != nil {
			if errors.Is(err, syscall.ENOTSUP) { // a test that is linked with C
				fmt.Println("linked with C")
				return
			}
			t.Fatal(err)
		}
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		for _, thread := range threads {
			status, err := os.ReadFile("/proc/self/task/" + thread.Name() + "/status")
			if err != nil {
				continue // it has ended
			}
			stat, _ := os.ReadFile("/proc/self/task/" + thread.Name() + "/stat")
			fields := strings.Fields(string(stat[strings.LastIndex(string(stat), ")"):]))
			fmt.Printf("capabilities %s nice %s policy %s\n", regexp.MustCompile(`CapEff:\s*(\w+)`).FindSubmatch(status)[1], fields[17], fields[39])
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestStandBack$")
	cmd.Env = append(os.Environ(), standsBack+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), "linked with C") {
		t.Skip("linked with C: run it with CGO_ENABLED=0")
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "capabilities ") {
			if n++; line != fmt.Sprintf("capabilities 0000000000000000 nice 19 policy %d\n", unix.SCHED_IDLE) {
				t.Errorf("a thread has %s", line)
			}
		}
	}
	if n == 0 {
		t.Errorf("no thread: %s", out)
	}
}
