package object

// This file computes what the maps will take before any of them is made.

import (
	"fmt"
	"math/bits"
	"os"

	"github.com/cilium/ebpf"

	"github.com/iotsense/iotsense/gen"
)

// Sizes inside the kernel, 64 bit, Linux 6.1 to 6.18 (kernel/bpf/hashtab.c,
// ringbuf.c, lpm_trie.c).
const (
	hashElement = 48  // struct htab_elem
	hashBucket  = 16  // struct bucket
	trieNode    = 40  // struct lpm_trie_node
	mapHead     = 512 // struct bpf_htab, struct bpf_array and the like: at most
	ringPages   = 3   // beside the data: bookkeeping, consumer's, producer's
)

// TableMemory is what the maps take in the kernel, in bytes, with maxFlows open
// flows and a ring of ringSize bytes, everything filled.
func TableMemory(maxFlows, ringSize int) (int64, error) {
	spec, err := gen.LoadIotsense()
	if err != nil {
		return 0, fmt.Errorf("read the compiled programs: %w", err)
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return 0, fmt.Errorf("count CPUs: %w", err)
	}
	var sum int64
	setMapSizes(spec, maxFlows, ringSize)
	for _, m := range spec.Maps {
		sum += mapMemory(m, int64(cpus), int64(os.Getpagesize()))
	}
	return sum, nil
}

const (
	// SweepWalks is how many walks through the flow table end all lives in it: each
	// lists as many as the map of marked lives holds.
	SweepWalks = 16
	minMarked  = 8192
)

// setMapSizes makes room for maxFlows open flows and a ring of ringSize bytes.
func setMapSizes(spec *ebpf.CollectionSpec, maxFlows, ringSize int) {
	spec.Maps[gen.IotsenseMapFlows].MaxEntries = uint32(maxFlows)
	spec.Maps[gen.IotsenseMapMacs].MaxEntries = shareOf(maxFlows).macs + 1 // noMAC
	spec.Maps[gen.IotsenseMapEvents].MaxEntries = uint32(ringSize)
	spec.Maps[gen.IotsenseMapMarked].MaxEntries = uint32(max(minMarked, maxFlows/SweepWalks))
}

// mapMemory is what one map takes on a kernel with that many possible CPUs.
func mapMemory(m *ebpf.MapSpec, cpus, page int64) int64 {
	n, key, value := int64(m.MaxEntries), roundUp(int64(m.KeySize), 8), roundUp(int64(m.ValueSize), 8)
	switch m.Type {
	case ebpf.Hash:
		buckets := int64(1) << bits.Len64(uint64(max(n, 1)-1))
		return mapHead + buckets*hashBucket + (n+cpus)*(hashElement+key+value) + cpus*8
	case ebpf.RingBuf:
		return n + ringPages*page + (ringPages+2*n/page)*8
	case ebpf.PerCPUArray:
		return mapHead + n*value*cpus + n*8
	case ebpf.LPMTrie:
		return mapHead + n*roundUp(trieNode+int64(m.KeySize)+int64(m.ValueSize), 8)
	default: // arrays, the programs' constants and variables among them
		return mapHead + roundUp(n*value, page)
	}
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }
