package loader

// This file waits for running programs.

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// gracePeriod waits until every packet program that was running is done.
//
// An update of a map of maps returns only then: the kernel promises that no
// program still uses the inner map that was replaced (maybe_wait_bpf_programs,
// Linux 5.0). membarrier(2) would wait as well, but promises less, and fails
// where CPUs run without a tick (nohz_full) or a seccomp filter stands before it.
type gracePeriod struct {
	outer, inner *ebpf.Map
}

func newGracePeriod() (*gracePeriod, error) {
	spec := &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}
	inner, err := ebpf.NewMap(spec)
	if err != nil {
		return nil, fmt.Errorf("make a map for grace periods: %w", err)
	}
	outer, err := ebpf.NewMap(&ebpf.MapSpec{
		Type: ebpf.ArrayOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 1, InnerMap: spec,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a map for grace periods: %w", err), inner.Close())
	}
	return &gracePeriod{outer, inner}, nil
}

// wait returns when every program that was running at the call is done.
func (g *gracePeriod) wait() error {
	if err := g.outer.Put(uint32(0), g.inner); err != nil {
		return fmt.Errorf("wait for running programs: %w", err)
	}
	return nil
}

// Close frees the maps.
func (g *gracePeriod) Close() error { return errors.Join(g.outer.Close(), g.inner.Close()) }
