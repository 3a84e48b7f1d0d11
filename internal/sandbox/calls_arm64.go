package sandbox

import "golang.org/x/sys/unix"

const (
	auditArch  = unix.AUDIT_ARCH_AARCH64
	newfstatat = unix.SYS_FSTATAT
)

var legacyCalls []uint32
