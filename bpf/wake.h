/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Waking user space, which costs more than everything else a packet does: once for all events of
 * cfg.wake_ns, so that the first packets of a flow are one wakeup. The timer is started by
 * programs of its own, to which those that count packets go on last: a callback makes a program
 * one of several functions, of which the verifier before Linux 6.2 tells every number from
 * every other. */
#pragma once

struct alarm {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct alarm);
} alarms SEC(".maps");

/* Wakes user space. An event that is in the ring before waking is cleared is there when user space
 * reads; a later one finds it cleared, and starts the timer again. In a full ring there is no room
 * for the record that wakes: some CPU has written cfg.wake_bytes then, and woken user space. */
static int wake(void *map, __u32 *key, struct alarm *a)
{
	void *e;

	__sync_lock_test_and_set(&waking, 0);
	e = bpf_ringbuf_reserve(&events, sizeof(__u64), 0);
	if (e)
		bpf_ringbuf_discard(e, BPF_RB_FORCE_WAKEUP);
	return 0;
}

/* Has user space woken in a while, or now if that cannot be. */
static __always_inline void set_alarm(void)
{
	__u32 zero = 0;
	struct alarm *a;

	if (__sync_lock_test_and_set(&waking, 1))
		return; /* another CPU was faster */
	a = bpf_map_lookup_elem(&alarms, &zero);
	if (!a)
		return;
	bpf_timer_init(&a->timer, &alarms, CLOCK_MONOTONIC); /* but the first time it is already */
	bpf_timer_set_callback(&a->timer, wake);
	if (bpf_timer_start(&a->timer, cfg.wake_ns, 0))
		wake(&alarms, &zero, a);
}

SEC("tc")
int iotsense_wake(struct __sk_buff *skb)
{
	set_alarm();
	return TC_ACT_UNSPEC;
}

SEC("xdp.frags")
int iotsense_wake_xdp(struct xdp_md *xdp)
{
	set_alarm();
	return XDP_PASS;
}

GOES_ON_TO(wakes, iotsense_wake);
GOES_ON_TO(wakes_xdp, iotsense_wake_xdp);

/* Has user space woken for events that are in the ring. It comes back only where that is under
 * way: call it last. */
static __always_inline void wake_later(const struct hook *h)
{
	if (!waking)
		go_on(h, &wakes, &wakes_xdp);
}
