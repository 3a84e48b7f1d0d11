package replay

// This file runs commands in the namespaces.

import (
	"fmt"
	"os/exec"
	"syscall"
)

// Start starts cmd in the sensor's namespace and returns a channel that gets
// what cmd.Wait returns. Only the network is another: files, sockets by path and
// the bpf file system are this process's own, unlike under `ip netns exec`. The
// kernel kills the command when this process dies.
func (n *Network) Start(cmd *exec.Cmd) (<-chan error, error) { return startOn(n.Do, cmd) }

// StartDevice is Start in the devices' namespace.
func (n *Network) StartDevice(cmd *exec.Cmd) (<-chan error, error) { return startOn(n.DoDevice, cmd) }

// startOn starts cmd on a thread that do has put in place.
func startOn(do func(func() error) error, cmd *exec.Cmd) (<-chan error, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		// The thread must outlive the command: Pdeathsig is about the thread.
		err := do(func() error {
			if err := cmd.Start(); err != nil {
				return err
			}
			started <- nil
			ended <- cmd.Wait()
			return nil
		})
		if err != nil {
			started <- err
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s on the private network: %w", cmd.Path, err)
	}
	return ended, nil
}
