package main

// This file makes a process one that harms nobody: without privileges, and with what processor
// and disk nobody else wants.

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// standBack gives up every capability for good, and has all threads run when nothing else
// does.
func standBack() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none, has [2]unix.CapUserData
	if err := unix.Capget(&header, &has[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	if has != none { // a program that is linked with C cannot, which this one is not as it is built
		_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none)), 0)
		if errno != 0 {
			return fmt.Errorf("give up capabilities: %w: run it as a user without any", errno)
		}
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("stand back: %w", err)
	}
	for _, t := range threads { // those that come are like the one that makes them
		if id, err := strconv.Atoi(t.Name()); err == nil {
			lower(id)
		}
	}
	return nil
}

const (
	ioprioWhoProcess = 1
	ioprioIdle       = 3 << 13
)

// lower has a thread wait for all others, as far as the kernel lets it.
func lower(thread int) {
	_ = unix.Setpriority(unix.PRIO_PROCESS, thread, 19)
	_ = unix.SchedSetAttr(thread, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE, Nice: 19}, 0)
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, uintptr(thread), ioprioIdle)
}
