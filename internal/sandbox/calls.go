package sandbox

// This file says which system calls a sensor makes.

import (
	"os"

	"golang.org/x/sys/unix"
)

// calls are those that are allowed whatever their arguments are, beside legacyCalls. What is
// in neither and not below fails with EPERM: execve, ptrace, mount, init_module, unshare,
// io_uring_setup and such; chmod of a path, which no rule for files keeps from those of root.
var calls = []uint32{
	// files
	unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_CLOSE, unix.SYS_CLOSE_RANGE, unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV,
	unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_PREADV, unix.SYS_PWRITEV, unix.SYS_LSEEK, unix.SYS_FSTAT, newfstatat, unix.SYS_STATX,
	unix.SYS_STATFS, unix.SYS_FSTATFS, unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2, unix.SYS_READLINKAT, unix.SYS_GETDENTS64, unix.SYS_GETCWD,
	unix.SYS_DUP, unix.SYS_DUP3, unix.SYS_FCNTL, unix.SYS_FLOCK, unix.SYS_FTRUNCATE, unix.SYS_TRUNCATE, unix.SYS_FALLOCATE, unix.SYS_FSYNC,
	unix.SYS_FDATASYNC, unix.SYS_SYNC_FILE_RANGE, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_UNLINKAT, unix.SYS_MKDIRAT,
	unix.SYS_FCHMOD, unix.SYS_FCHOWN, unix.SYS_UTIMENSAT, unix.SYS_FADVISE64, unix.SYS_COPY_FILE_RANGE,
	unix.SYS_SENDFILE, unix.SYS_SPLICE, unix.SYS_UMASK, unix.SYS_PIPE2, unix.SYS_EVENTFD2, unix.SYS_INOTIFY_INIT1,
	unix.SYS_INOTIFY_ADD_WATCH, unix.SYS_INOTIFY_RM_WATCH,
	// waiting, talking
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2, unix.SYS_PPOLL, unix.SYS_PSELECT6,
	unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_ACCEPT, unix.SYS_ACCEPT4, unix.SYS_CONNECT, unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME,
	unix.SYS_GETSOCKOPT, unix.SYS_SETSOCKOPT, unix.SYS_SENDTO, unix.SYS_RECVFROM, unix.SYS_SENDMSG, unix.SYS_RECVMSG,
	unix.SYS_SENDMMSG, unix.SYS_RECVMMSG, unix.SYS_SHUTDOWN,
	// memory, threads, time, signals
	unix.SYS_BRK, unix.SYS_MUNMAP, unix.SYS_MREMAP, unix.SYS_MADVISE, unix.SYS_MINCORE, unix.SYS_FUTEX, unix.SYS_RSEQ,
	unix.SYS_MEMBARRIER, unix.SYS_SET_ROBUST_LIST, unix.SYS_SET_TID_ADDRESS, unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_SCHED_YIELD,
	unix.SYS_SCHED_GETAFFINITY, unix.SYS_GETTID, unix.SYS_GETPID, unix.SYS_GETPPID, unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID,
	unix.SYS_GETEGID, unix.SYS_GETRUSAGE, unix.SYS_SYSINFO, unix.SYS_UNAME, unix.SYS_GETRANDOM, unix.SYS_GETCPU, unix.SYS_CAPGET,
	unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES, unix.SYS_GETTIMEOFDAY, unix.SYS_TIMES,
	unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE, unix.SYS_SETITIMER, unix.SYS_RESTART_SYSCALL,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK,
}

// commands are those of bpf(2) that work on programs, maps and links that are there.
var commands = []uint64{
	unix.BPF_MAP_LOOKUP_ELEM, unix.BPF_MAP_UPDATE_ELEM, unix.BPF_MAP_DELETE_ELEM, unix.BPF_MAP_GET_NEXT_KEY,
	unix.BPF_MAP_LOOKUP_AND_DELETE_ELEM, unix.BPF_MAP_LOOKUP_BATCH, unix.BPF_MAP_LOOKUP_AND_DELETE_BATCH,
	unix.BPF_MAP_UPDATE_BATCH, unix.BPF_MAP_DELETE_BATCH, unix.BPF_OBJ_PIN, unix.BPF_OBJ_GET, unix.BPF_OBJ_GET_INFO_BY_FD,
	unix.BPF_PROG_TEST_RUN, unix.BPF_PROG_QUERY, unix.BPF_LINK_CREATE, unix.BPF_LINK_UPDATE, unix.BPF_LINK_DETACH,
}

// conditional are the calls whose arguments decide.
func conditional(cfg Config) (list []rule) {
	allow := func(call uint32, conditions ...condition) { list = append(list, rule{call, conditions}) }
	is := func(argument uint32, value uint64) condition { return condition{argument, ^uint64(0), value} }
	without := func(argument uint32, bits uint64) condition { return condition{argument, bits, 0} }
	for _, c := range commands {
		allow(unix.SYS_BPF, is(0, c))
	}
	allow(unix.SYS_SOCKET, is(0, unix.AF_UNIX))
	for _, protocol := range []uint64{unix.NETLINK_ROUTE, unix.NETLINK_SOCK_DIAG} {
		allow(unix.SYS_SOCKET, is(0, unix.AF_NETLINK), is(2, protocol))
	}
	if cfg.Promisc {
		allow(unix.SYS_SOCKET, is(0, unix.AF_PACKET), is(2, 0))
	}
	if cfg.Connect {
		const types = ^uint64(unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK)
		for _, domain := range []uint64{unix.AF_INET, unix.AF_INET6} {
			for _, kind := range []uint64{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
				allow(unix.SYS_SOCKET, is(0, domain), condition{1, types, kind})
			}
		}
	}
	allow(unix.SYS_CLONE, condition{0, unix.CLONE_THREAD, unix.CLONE_THREAD})
	allow(unix.SYS_TGKILL, is(0, uint64(os.Getpid()))) // with which Go interrupts its own threads
	allow(unix.SYS_PRLIMIT64, is(2, 0))                // asks
	for _, option := range []uint64{unix.PR_SET_VMA, unix.PR_SET_NAME, unix.PR_CAPBSET_READ} {
		allow(unix.SYS_PRCTL, is(0, option))
	}
	allow(unix.SYS_MMAP, without(2, unix.PROT_EXEC))
	allow(unix.SYS_MPROTECT, without(2, unix.PROT_EXEC))
	for _, request := range []uint64{unix.TCGETS, unix.TIOCGWINSZ} {
		allow(unix.SYS_IOCTL, is(1, request))
	}
	return list
}
