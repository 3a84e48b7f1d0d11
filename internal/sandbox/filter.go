package sandbox

// This file makes a seccomp filter of rules, as seccomp(2) and the kernel's
// Documentation/userspace-api/seccomp_filter.rst describe it. github.com/elastic/go-seccomp-bpf
// 1.6 would, but compares arguments of one call with the numbers of the next, and in long
// filters lets calls through without a look at their arguments.

import (
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// rule allows a call when all conditions hold.
type rule struct {
	call       uint32
	conditions []condition
}

// condition holds when the bits of mask are value in an argument.
type condition struct {
	argument    uint32
	mask, value uint64
}

// Offsets in struct seccomp_data, of machines that store the low half of a word first.
const (
	offsetCall      = 0
	offsetArch      = 4
	offsetArguments = 16
)

const refuse = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)

// filter is the program that decides of a call. Those of another architecture, whose numbers
// mean others, it refuses.
func filter(cfg Config) []bpf.Instruction {
	load := func(offset uint32) bpf.Instruction { return bpf.LoadAbsolute{Off: offset, Size: 4} }
	program := []bpf.Instruction{
		load(offsetArch), bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1}, bpf.RetConstant{Val: refuse}, load(offsetCall),
	}
	verdict := func(call, value uint32) {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: call, SkipFalse: 1}, bpf.RetConstant{Val: value})
	}
	for _, call := range slices.Concat(calls, legacyCalls) {
		verdict(call, unix.SECCOMP_RET_ALLOW)
	}
	// Its flags lie where no filter can look; glibc takes clone where there is no clone3.
	verdict(unix.SYS_CLONE3, unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS))
	for _, r := range conditional(cfg) {
		const each = 6 // instructions of a condition
		after := each*len(r.conditions) + 2
		program = append(program, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: r.call, SkipTrue: uint8(after)})
		for i, c := range r.conditions {
			failed := each*(len(r.conditions)-i) + 1 - 3 // from the first half's comparison to the last instruction
			low := offsetArguments + 8*c.argument
			program = append(program,
				load(low+4), bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: uint32(c.mask >> 32)},
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(c.value >> 32), SkipTrue: uint8(failed)},
				load(low), bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: uint32(c.mask)},
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(c.value), SkipTrue: uint8(failed - 3)})
		}
		program = append(program, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}, load(offsetCall))
	}
	return append(program, bpf.RetConstant{Val: refuse})
}

// filterCalls leaves the process the system calls of a sensor.
func filterCalls(cfg Config) error {
	raw, err := bpf.Assemble(filter(cfg))
	if err != nil {
		return err
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	program := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(code)
	switch {
	case errno != 0:
		return errno
	case thread != 0:
		return fmt.Errorf("thread %d has a filter of its own", thread)
	}
	return nil
}

// hasSeccomp reports whether the kernel takes filters: asked without one, it says that it
// cannot read it.
func hasSeccomp() bool {
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, 0)
	return errno == unix.EFAULT
}
