package capturebench

// This file starts, awaits and ends processes in groups.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	startPatience = 30 * time.Second // until a tool captures
	endPatience   = 10 * time.Second // from SIGTERM to its count
	pollEvery     = 20 * time.Millisecond
	restWindow    = 100 * time.Millisecond
	restWindows   = 10   // one after the other, for a tool to be at rest, and not kept from a CPU
	restShare     = 0.05 // of a core, that a tool at rest may use
	// ringPatience is how long libpcap may let packets wait in its ring (1 s by default),
	// with the tool at rest meanwhile.
	ringPatience = 1200 * time.Millisecond
)

// output is what a process has printed, which may be read meanwhile.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer. What is beyond a megabyte is dropped but for its end.
func (o *output) Write(p []byte) (int, error) {
	const most = 1 << 20
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b.Write(p)
	if o.b.Len() > 2*most {
		o.b.Next(o.b.Len() - most)
	}
	return len(p), nil
}

// String is what has been printed so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// last is the last line printed.
func (o *output) last() string {
	lines := strings.Split(strings.TrimSpace(o.String()), "\n")
	return lines[len(lines)-1]
}

// process is one of a group's own.
type process struct {
	name  string
	cmd   *exec.Cmd
	group *Group
	ended <-chan error
	out   output
}

// startIn starts a command line in a group. What it prints in JSON, line after line, is
// left unread: it goes to /dev/null.
func startIn(name string, group *Group, start func(*exec.Cmd) (<-chan error, error), line []string, quiet bool) (*process, error) {
	path, err := exec.LookPath(line[0])
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, group: group, cmd: exec.Command(path, line[1:]...)}
	p.cmd.Stderr = &p.out
	if !quiet {
		p.cmd.Stdout = &p.out
	}
	p.cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	p.cmd.WaitDelay = time.Second // of pipes that its children hold
	group.Wrap(p.cmd)
	p.ended, err = start(p.cmd)
	return p, err
}

// runIn runs a command line in a group to its end.
func runIn(ctx context.Context, group *Group, start func(*exec.Cmd) (<-chan error, error), line []string) (string, error) {
	p, err := startIn(line[0], group, start, line, false)
	if err != nil {
		return "", err
	}
	select {
	case err = <-p.ended:
	case <-ctx.Done():
		return "", ctx.Err() // whoever has made the group ends it
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", line[0], err, p.out.last())
	}
	return p.out.String(), nil
}

// stop ends the process, and what it has not ended of its own, and returns what it has
// printed.
func (p *process) stop() (string, error) {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return "", fmt.Errorf("stop %s: %w", p.name, err)
	}
	select {
	case <-p.ended: // its status tells less than whether it has printed its count
		return p.out.String(), nil
	case <-time.After(endPatience):
		_ = p.cmd.Process.Kill() // it may have ended by now
		<-p.ended
		return "", fmt.Errorf("%s had not ended %v after SIGTERM: killed", p.name, endPatience)
	}
}

// waitFor polls until yes, the process has ended, or for startPatience.
func waitFor(ctx context.Context, what string, ended <-chan error, yes func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		ok, err := yes()
		if ok || err != nil {
			return err
		}
		select {
		case err := <-ended:
			return fmt.Errorf("wait for %s: it has ended: %w", what, err)
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, ctx.Err())
		case <-time.After(pollEvery):
		}
	}
}

// rest waits until the group has used next to nothing for a while, but no longer than most,
// and at least so long, and returns when that while began.
func (g *Group) rest(ctx context.Context, least, most time.Duration) (since time.Time, err error) {
	since = time.Now()
	earliest, latest := since.Add(least), since.Add(most)
	before, err := g.CPU()
	if err != nil {
		return since, err
	}
	for still := 0; (still < restWindows || time.Now().Before(earliest)) && time.Now().Before(latest); {
		begin := time.Now()
		if err := sleep(ctx, restWindow); err != nil {
			return since, err
		}
		now, err := g.CPU()
		if err != nil {
			return since, err
		}
		if (now.Total - before.Total).Seconds() > restShare*time.Since(begin).Seconds() {
			still, since = 0, time.Now()
		} else {
			still++
		}
		before = now
	}
	return since, nil
}

// sleep waits for a while, unless ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func duration(t syscall.Timeval) time.Duration { return time.Duration(t.Nano()) }
