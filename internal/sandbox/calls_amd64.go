package sandbox

import "golang.org/x/sys/unix"

const (
	auditArch  = unix.AUDIT_ARCH_X86_64
	newfstatat = unix.SYS_NEWFSTATAT
)

// legacyCalls are those of calls in forms that newer architectures do without.
var legacyCalls = []uint32{
	unix.SYS_OPEN, unix.SYS_STAT, unix.SYS_LSTAT, unix.SYS_ACCESS, unix.SYS_READLINK, unix.SYS_DUP2, unix.SYS_RENAME, unix.SYS_UNLINK,
	unix.SYS_RMDIR, unix.SYS_MKDIR, unix.SYS_EPOLL_WAIT, unix.SYS_POLL, unix.SYS_SELECT, unix.SYS_TIME, unix.SYS_GETRLIMIT,
}
