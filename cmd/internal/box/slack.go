package box

// This file has a sensor's threads wake less often.

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// slack is how late the kernel may wake a thread of a sensor that waits for a time: none of its
// times is as fine. Go's scheduler naps 20 us at a time for as long as anything runs, a
// fifth of what little a sensor at rest does; so it naps once for each time that this wakes.
const slack = time.Millisecond

// slacken gives every thread the slack, and those the same that they start. Without
// CAP_SYS_NICE it cannot: a service manager can before (systemd's TimerSlackNSec=). The error
// leaves threads as they were.
func slacken() error {
	threads, err := os.ReadDir("/proc/self/task")
	for _, t := range threads {
		err = errors.Join(err, slackenThread("/proc/"+t.Name()+"/timerslack_ns")) // proc_pid_timerslack_ns(5)
	}
	return err
}

func slackenThread(file string) error {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) { // it has ended
		return nil
	}
	if err != nil {
		return fmt.Errorf("wake less often: %w", err)
	}
	if ns, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && ns >= slack.Nanoseconds() {
		return nil
	}
	if err := os.WriteFile(file, []byte(strconv.FormatInt(slack.Nanoseconds(), 10)), 0); err != nil {
		return fmt.Errorf("wake less often: %w", err)
	}
	return nil
}
