package box

// This file keeps a sensor that is at work small.

import (
	"bufio"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// spareMemory has garbage collected when it is half of what is in use, not as much again: a
// box has more time than memory. GOGC in the environment says otherwise.
func spareMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}

// endStart gives back what a start has needed and work does not: garbage, and the pages of
// the program. Those stay in the kernel's cache of files while there is room, and what
// work wants of them is mapped again. An error leaves the rest as it was.
func endStart() error {
	debug.FreeOSMemory()
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	file, err := os.Open("/proc/self/smaps") // proc_pid_smaps(5)
	if err != nil {
		return fmt.Errorf("see what is mapped: %w", err)
	}
	defer file.Close()
	var from, to uintptr // of a mapping that is only read
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := lines.Text()
		switch fields := strings.Fields(line); {
		case strings.Contains(fields[0], "-"):
			from, to = 0, 0
			if strings.HasSuffix(line, program) && fields[1][1] != 'w' {
				_, err = fmt.Sscanf(fields[0], "%x-%x", &from, &to)
			}
		case from != to && fields[0] == "Anonymous:" && fields[1] == "0": // else a linker has changed it
			if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED); errno != 0 {
				err = errno
			}
		}
		if err != nil {
			return fmt.Errorf("unmap %s: %w", program, err)
		}
	}
	return nil
}
