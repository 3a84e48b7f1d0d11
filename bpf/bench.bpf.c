// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* What `iotsense bench kernel` runs beside the sensor's own programs, which are
 * here unchanged: the floor (empty), the least that a flow counter can do
 * (reference), and the sensor behind a wrapper that makes one frame into many
 * flows (many_count). The wrapper is also there alone (many), so that its cost
 * can be taken off. Run by BPF_PROG_TEST_RUN only, never attached. */
#include "iotsense.bpf.c"

/* Offset of the source address in an Ethernet frame with an IPv4 packet. */
#define SOURCE_ADDRESS (sizeof(struct ethhdr) + offsetof(struct iphdr, saddr))

__u32 bench_mask; /* 0: flows in turn; else at random, of that many + 1 */
__u32 bench_turn; /* how many flows were chosen in turn */
__u32 bench_seed; /* state of a linear congruential generator */

/* What a flow counter's entry holds: 56 bytes. */
struct bench_flow {
	__u64 count[7];
};

/* One entry, with the room of flows, found by a whole key. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct flow_key);
	__type(value, struct bench_flow);
} bench_reference SEC(".maps");

static __always_inline void count_reference(void)
{
	struct flow_key key = {};
	struct bench_flow *f = bpf_map_lookup_elem(&bench_reference, &key);

	if (f)
		__sync_fetch_and_add(&f->count[2], 1);
}

static __always_inline __u32 next_flow(void)
{
	if (!bench_mask)
		return bench_turn++;
	bench_seed = bench_seed * 1664525 + 1013904223;
	return bench_seed >> 16 & bench_mask;
}

/* Makes the frame's source 10.0.0.0 + the number of a flow, and its MAC one of
 * sixteen: a single one may not hold so many flows. */
static __always_inline void choose_flow(__u32 data, __u32 data_end)
{
	struct ethhdr *eth = (void *)(long)data;
	__be32 *source = (void *)eth + SOURCE_ADDRESS;

	if ((void *)(source + 1) <= (void *)(long)data_end) {
		__u32 flow = next_flow();

		*source = bpf_htonl(0x0a000000 | (flow & 0xffffff));
		eth->h_source[5] = flow & 0xf;
	}
}

SEC("tc")
int empty_tc(struct __sk_buff *skb)
{
	return TC_ACT_UNSPEC;
}

SEC("xdp.frags")
int empty_xdp(struct xdp_md *xdp)
{
	return XDP_PASS;
}

SEC("tc")
int reference_tc(struct __sk_buff *skb)
{
	count_reference();
	return TC_ACT_UNSPEC;
}

SEC("xdp.frags")
int reference_xdp(struct xdp_md *xdp)
{
	count_reference();
	return XDP_PASS;
}

SEC("tc")
int many_tc(struct __sk_buff *skb)
{
	choose_flow(skb->data, skb->data_end);
	return TC_ACT_UNSPEC;
}

SEC("xdp.frags")
int many_xdp(struct xdp_md *xdp)
{
	choose_flow(xdp->data, xdp->data_end);
	return XDP_PASS;
}

SEC("tc")
int many_count_tc(struct __sk_buff *skb)
{
	struct hook h = tc_hook(skb, true);

	choose_flow(skb->data, skb->data_end);
	count_frame(&h, skb->ifindex << 1);
	return TC_ACT_UNSPEC;
}

SEC("xdp.frags")
int many_count_xdp(struct xdp_md *xdp)
{
	struct hook h = xdp_hook(xdp);

	choose_flow(xdp->data, xdp->data_end);
	count_frame(&h, xdp->ingress_ifindex << 1);
	return XDP_PASS;
}
