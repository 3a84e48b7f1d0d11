package box

// This file has a sensor's threads wake less often.

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// slack is how late the kernel may wake a thread of a sensor that waits for a time: none of the
// sensor's times is as fine. Go's scheduler naps 20 us at a time for as long as anything runs;
// with this it naps once where it did five times, see docs/CAPTURE.md.
const slack = time.Millisecond

// slacken gives every thread the slack; those that start later have it of the one that starts
// them. Without CAP_SYS_NICE it can do so only for its own: there a service manager does it
// before (systemd's TimerSlackNSec=).
func slacken() error {
	if ns, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err == nil && ns >= int(slack) {
		return nil
	}
	for changed := true; changed; { // until no thread has started another meanwhile
		changed = false
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("list this process's threads: %w", err)
		}
		for _, t := range threads {
			did, err := slackenThread("/proc/" + t.Name() + "/timerslack_ns") // proc_pid_timerslack_ns(5)
			if err != nil {
				return fmt.Errorf("have thread %s wake less often: %w", t.Name(), err)
			}
			changed = changed || did
		}
	}
	return nil
}

// slackenThread gives one thread the slack where it has less; one that has ended needs none.
func slackenThread(file string) (changed bool, err error) {
	text, err := os.ReadFile(file)
	if err == nil {
		if ns, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); ns >= slack.Nanoseconds() {
			return false, nil
		}
		err = os.WriteFile(file, []byte(strconv.FormatInt(slack.Nanoseconds(), 10)), 0)
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return false, nil
	}
	return err == nil, err
}
