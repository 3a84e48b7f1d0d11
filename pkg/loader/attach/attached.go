package attach

// This file finds out whose programs are on an interface beside ours.

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// AttachedProgram is one program in an interface's TCX chain.
type AttachedProgram struct {
	ID     uint32 // of the program, as bpftool prints it
	Egress bool
}

// AttachedTCX lists the programs of an interface's two TCX chains in the order
// in which they run. It needs CAP_NET_ADMIN; a kernel without TCX has none.
func AttachedTCX(ifindex int) ([]AttachedProgram, error) {
	var list []AttachedProgram
	for _, at := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
		result, err := link.QueryPrograms(link.QueryOptions{Target: ifindex, Attach: at})
		if errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, unix.EINVAL) {
			return nil, nil // before Linux 6.6 there is no such chain to ask about
		}
		if err != nil {
			return nil, fmt.Errorf("TCX chain of interface %d: %w", ifindex, err)
		}
		for _, p := range result.Programs {
			list = append(list, AttachedProgram{ID: uint32(p.ID), Egress: at == ebpf.AttachTCXEgress})
		}
	}
	return list, nil
}

// ProgramName is the name under which a program was loaded. Asking for programs
// of others needs CAP_SYS_ADMIN.
func ProgramName(id uint32) (string, error) {
	p, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
	if err != nil {
		return "", fmt.Errorf("program %d: %w", id, err)
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return "", fmt.Errorf("program %d: %w", id, err)
	}
	return info.Name, nil
}
