package replay

// This file sends frames at their times.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/iotsense/iotsense/pkg/lab"
)

// PlayOptions says how frames are played.
type PlayOptions struct {
	Speed float64 // times faster than recorded; 0: 1
	// FarEnd sends every frame from the devices' end, as on a mirror port and for
	// hooks that see ingress only (XDP); else frames that no device sent leave
	// through the sensor's own interface.
	FarEnd bool
}

// Played is what Play has done.
type Played struct {
	Frames, Bytes uint64
	Ingress       uint64        // frames that came in at Interface; the others went out
	Latest        time.Duration // how late the latest frame was sent
}

// longestSleep bounds how long Play takes to notice that its context has ended.
const longestSleep = 20 * time.Millisecond

// Play sends the frames in the order given, each at its time after the first's
// divided by the speed, or at once when that is past. It returns when all are
// sent, the context has ended or a frame cannot be sent.
func (n *Network) Play(ctx context.Context, frames []lab.Frame, opts PlayOptions) (Played, error) {
	speed := cmp.Or(opts.Speed, 1)
	var played Played
	if len(frames) == 0 {
		return played, nil
	}
	far, err := packetSocket(n.device, DeviceInterface)
	if err != nil {
		return played, err
	}
	defer unix.Close(far)
	near, err := packetSocket(n.sensor, Interface)
	if err != nil {
		return played, err
	}
	defer unix.Close(near)
	err = onThread(func() error {
		if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("set timer slack: %w", err)
		}
		begin := time.Now()
		for i := range frames {
			f := &frames[i]
			due := begin.Add(time.Duration(float64(f.Time.Sub(frames[0].Time)) / speed))
			if err := sleepUntil(ctx, due); err != nil {
				return err
			}
			socket := near
			if f.FromDevice || opts.FarEnd {
				socket = far
				played.Ingress++
			}
			if _, err := unix.Write(socket, f.Data); err != nil {
				return fmt.Errorf("send frame %d of %d (%d bytes): %w", i, len(frames), len(f.Data), err)
			}
			played.Frames++
			played.Bytes += uint64(len(f.Data))
			played.Latest = max(played.Latest, time.Since(due))
		}
		return nil
	})
	return played, err
}

// sleepUntil sleeps in the kernel, which is exact to some 50 us; Go's own timers
// are to a millisecond.
func sleepUntil(ctx context.Context, due time.Time) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		left := time.Until(due)
		if left <= 0 {
			return nil
		}
		ts := unix.NsecToTimespec(min(left, longestSleep).Nanoseconds())
		if err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("sleep: %w", err)
		}
	}
}

// packetSocket opens a socket that sends whole frames through an interface and
// receives none (packet(7)).
func packetSocket(ns netns.NsHandle, name string) (int, error) {
	fd := -1
	err := inNamespace(ns, func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find %s: %w", name, err)
		}
		const noProtocol = 0
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, noProtocol); err != nil {
			return fmt.Errorf("packet socket: %w", err)
		}
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index}); err != nil {
			unix.Close(fd)
			return fmt.Errorf("bind packet socket to %s: %w", name, err)
		}
		return nil
	})
	return fd, err
}

// Merge makes one list of several that are to be played side by side. Each begins
// apart later than the one before it, with its own first frame. Within a list the
// order stays, even where its times step back.
func Merge(apart time.Duration, lists ...[]lab.Frame) []lab.Frame {
	var merged []lab.Frame
	for i, list := range lists {
		start := time.Unix(0, 0).Add(time.Duration(i) * apart)
		latest := start
		for _, f := range list {
			f.Time = start.Add(f.Time.Sub(list[0].Time))
			if f.Time.Before(latest) {
				f.Time = latest
			}
			latest = f.Time
			merged = append(merged, f)
		}
	}
	slices.SortStableFunc(merged, func(x, y lab.Frame) int { return x.Time.Compare(y.Time) })
	return merged
}
