// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* iotsense, the kernel half: counts every packet of every IP flow and hands the
 * first packets of each life of a flow to user space. It changes no packet and
 * stops no other program's chain.
 *
 * One parser and one flow function, three kinds of entry. Kernel headers of the
 * UAPI only: stock Raspberry Pi kernels have no BTF. */
#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/time.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "types.h"
#include "maps.h"
#include "parse.h"
#include "tail.h"
#include "wake.h"
#include "emit.h"
#include "share.h"
#include "key.h"
#include "flow.h"
#include "fast.h"
#include "sweep.h"

/* Types and constants that bpf2go shall find although no map holds them. */
const struct close *unused_close __attribute__((unused));
const struct sweep_args *unused_sweep_args __attribute__((unused));
const struct collect_args *unused_collect_args __attribute__((unused));
const enum limits *unused_limits __attribute__((unused));
const enum life_word *unused_life_word __attribute__((unused));
const enum mac_word *unused_mac_word __attribute__((unused));
const enum place *unused_place __attribute__((unused));
const enum total_word *unused_total_word __attribute__((unused));
const enum event_kind *unused_event_kind __attribute__((unused));

static __always_inline struct hook tc_hook(struct __sk_buff *skb, bool ethernet)
{
	return (struct hook){
		.ctx = skb,
		.data = (void *)(long)skb->data,
		.data_end = (void *)(long)skb->data_end,
		.ethernet = ethernet,
	};
}

static __always_inline struct hook xdp_hook(struct xdp_md *xdp)
{
	return (struct hook){
		.ctx = xdp,
		.data = (void *)(long)xdp->data,
		.data_end = (void *)(long)xdp->data_end,
		.xdp = true,
		.ethernet = true,
	};
}

/* What the fast path leaves a program goes on with in another: what the verifier makes of the
 * two is a sum then, not a product. (Functions would do, but then the verifier before Linux
 * 6.2 tells every number from every other.) A program that goes on to another does not come
 * back. */
SEC("tc")
int iotsense_rest(struct __sk_buff *skb)
{
	struct hook h = tc_hook(skb, true); /* if it is one, see count_rest */

	count_rest(&h);
	return TC_ACT_UNSPEC;
}

SEC("xdp.frags")
int iotsense_rest_xdp(struct xdp_md *xdp)
{
	struct hook h = xdp_hook(xdp);

	count_rest(&h);
	return XDP_PASS;
}

GOES_ON_TO(rest, iotsense_rest);
GOES_ON_TO(rest_xdp, iotsense_rest_xdp);

/* One frame at one hook. owner names the attachment: interface and direction. */
static __always_inline void count_frame(const struct hook *h, __u32 owner)
{
	__u32 zero = 0;
	struct counters *c = bpf_map_lookup_elem(&packet_counters, &zero);
	struct scratch *work = bpf_map_lookup_elem(&scratch, &zero);

	if (!c || !work)
		return;
	work->read = false;
	if (glance(h, owner, c, work))
		return;
	work->owner = owner;
	work->ethernet = h->ethernet;
	go_on(h, &rest, &rest_xdp);
}

SEC("tc")
int iotsense_in(struct __sk_buff *skb)
{
	struct hook h = tc_hook(skb, true);

	count_frame(&h, skb->ifindex << 1);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int iotsense_out(struct __sk_buff *skb)
{
	struct hook h = tc_hook(skb, true);

	count_frame(&h, skb->ifindex << 1 | 1);
	return TC_ACT_UNSPEC;
}

/* The same for interfaces without a link header: tun, ppp, wireguard. */
SEC("tc")
int iotsense_in_ip(struct __sk_buff *skb)
{
	struct hook h = tc_hook(skb, false);

	count_frame(&h, skb->ifindex << 1);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int iotsense_out_ip(struct __sk_buff *skb)
{
	struct hook h = tc_hook(skb, false);

	count_frame(&h, skb->ifindex << 1 | 1);
	return TC_ACT_UNSPEC;
}

SEC("xdp.frags")
int iotsense_xdp(struct xdp_md *xdp)
{
	struct hook h = xdp_hook(xdp);

	count_frame(&h, xdp->ingress_ifindex << 1);
	return XDP_PASS;
}

/* Marks lives that are past their time and MACs that hold nothing; see sweep.h. */
SEC("syscall")
int iotsense_sweep(struct sweep_args *args)
{
	struct sweep_args a = {
		.first_before_us = args->first_before_us,
		.freed_before_us = args->freed_before_us,
		.limit = args->limit,
		.gone_ifindex = args->gone_ifindex,
		.oldest_us = ~0ULL >> 1,
	};

	set_tick_zero();
	if (args->clock_only)
		return 0;
	bpf_for_each_map_elem(&flows, sweep_life, &a, 0);
	if (a.limit)
		bpf_for_each_map_elem(&macs, sweep_mac, &a, 0);
	args->marked = a.marked;
	args->gone = a.gone;
	args->left = a.left;
	args->open = a.open;
	args->open_packets = a.open_packets;
	args->oldest_us = a.oldest_us;
	return 0;
}

/* Reads and deletes what the sweep program has marked. */
SEC("syscall")
int iotsense_collect(struct collect_args *args)
{
	struct collect_args a = {};

	bpf_loop(args->marked, collect_life, &a, 0);
	bpf_for_each_map_elem(&macs, collect_mac, NULL, 0);
	args->collected = a.collected;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
