/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The maps and the load-time configuration. Sizes marked "set at load" come
 * from package loader. */
#pragma once

const volatile struct config cfg;

#define CACHE_LINE 64

/* Entries in flows and in macs: raised by packets before they create one, lowered
 * by the collect program when it has deleted one. New flows write these: what every
 * packet reads is kept off their cache line. */
__u64 flows_used __attribute__((aligned(CACHE_LINE)));
__u64 macs_used;

/* Entries of flows with key.alt: created by packets, deleted by the collect
 * program. While the two are equal a miss needs no look at the other entry. */
__u64 alt_created __attribute__((aligned(CACHE_LINE)));
__u64 alt_deleted;

/* Not zero from before user space waits until it has deleted what is marked. */
volatile __u32 closing;

/* Not zero from an event on until user space is woken for it, see wake.h. */
volatile __u32 waking;

/* CLOCK_BOOTTIME when the kernel's count of ticks was zero, modulo 2^64; see set_tick_zero. */
volatile __u64 tick_zero_ns;

/* Local prefixes can change while the sensor runs; 0: no prefix of that version. */
volatile __u32 prefixes_v4, prefixes_v6;

/* Open lives. Preallocated: an LRU would evict open lives without a word, and
 * a life's packets would look new again and again. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536); /* set at load */
	__type(key, __u64); /* fingerprint and enum place */
	__type(value, struct flow);
} flows SEC(".maps");

/* Samples and closes. User space sleeps until it is woken, see wake.h. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20); /* set at load */
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
} packet_counters SEC(".maps");

/* Local prefixes that are not built in: --local and the interfaces' own. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 256);
	__type(key, struct prefix_key);
	__type(value, __u8);
} local_prefixes SEC(".maps");

/* The MACs that hold entries in flows, or have held some and are known. The low
 * six bytes of the key are the MAC, as in struct flow_end. 0 is always there: it
 * stands for all flows without a MAC and for MACs that found this map full. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192); /* set at load */
	__type(key, __u64);
	__type(value, struct mac_share);
} macs SEC(".maps");

/* The lives that the last run of the sweep program has marked. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8192); /* set at load */
	__type(key, __u32);
	__type(value, struct marked_life);
} marked SEC(".maps");
