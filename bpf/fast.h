/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The fast path: a whole packet of a life that goes on, whose samples are taken.
 * It reads the headers where they lie, finds the entry and adds to it; whatever
 * else a packet is or asks for is left to parse.h and flow.h, with the key and the
 * entry if they are known by then, so that nothing is looked up twice. It makes
 * of a frame what those would make of it, which a differential test checks.
 *
 * A function of its own: inlined into the programs it would share their registers,
 * and the verifier would follow each of its ways through all the rest. */
#pragma once

/* Ports behind an IP header, which end where the frame's linear part does, or
 * before; payload is what the IP header claims. False: they are not linear. */
static __always_inline bool read_ports(const void *l4, const void *data_end, __u32 payload,
				       struct names *n)
{
	const __be16 *ports = l4;

	if ((n->proto != IPPROTO_TCP && n->proto != IPPROTO_UDP) || payload < 4)
		return true;
	if ((void *)(ports + 2) > data_end)
		return false;
	n->has_ports = true;
	n->src_port = bpf_ntohs(ports[0]);
	n->dst_port = bpf_ntohs(ports[1]);
	return true;
}

/* IPv4 that is no fragment and not cut off; returns its total length, 0 if it is
 * anything else. rest is what the frame holds from l3 on. */
static __always_inline __u32 read_ipv4(const void *l3, const void *data_end, __u32 rest,
				       struct names *n)
{
	const struct iphdr *ip = l3;
	__u32 header, size;
	__u8 first;

	if ((void *)(ip + 1) > data_end)
		return 0;
	first = *(const __u8 *)l3;
	header = (first & 0xf) * 4;
	size = bpf_ntohs(ip->tot_len);
	if (first >> 4 != 4 || header < sizeof(*ip) || size < header || size > rest ||
	    ip->frag_off & bpf_htons(0x3fff))
		return 0;
	n->version = 4;
	n->proto = ip->protocol;
	n->src[0] = ip->saddr;
	n->dst[0] = ip->daddr;
	return read_ports(l3 + header, data_end, size - header, n) ? size : 0;
}

/* The same for IPv6 without extension headers. */
static __always_inline __u32 read_ipv6(const void *l3, const void *data_end, __u32 rest,
				       struct names *n)
{
	const struct ipv6hdr *ip = l3;
	const __u64 *addr = (void *)&ip->saddr;
	__u32 payload, size;

	if ((void *)(ip + 1) > data_end)
		return 0;
	payload = bpf_ntohs(ip->payload_len);
	size = sizeof(*ip) + payload;
	if (*(const __u8 *)l3 >> 4 != 6 || !payload || size > rest || is_ipv6_extension(ip->nexthdr))
		return 0;
	n->version = 6;
	n->proto = ip->nexthdr;
	n->src[0] = addr[0];
	n->src[1] = addr[1];
	n->dst[0] = addr[2];
	n->dst[1] = addr[3];
	return read_ports(l3 + sizeof(*ip), data_end, payload, n) ? size : 0;
}

/* Adds a packet of so many bytes to the life in f; false: it has more to do there.
 * What add does in flow.h, where nothing is to be decided. */
static __always_inline bool add_known(struct flow *f, __u32 side, __u32 owner, __u32 size)
{
	__u64 life = read_life(f), now;

	if (*(volatile __u32 *)&f->owner[side] != owner || life_marked(life) ||
	    life_taken(life) < cfg.samples)
		return false;
	now = bpf_ktime_get_coarse_ns() + suspended_ns;
	if (expired(life, now + cfg.coarse_ns))
		return false;
	if (f->last_ns < now)
		f->last_ns = now;
	add_total(f, side, 1, size);
	return true;
}

/* An Ethernet frame of len bytes, of which the first ones lie at data. Returns the
 * entry, if one was found and the packet is not DONE. */
static __always_inline struct flow *glance(const void *data, const void *data_end, __u32 len,
					   __u32 owner, struct counters *c, struct sight *s)
{
	const struct ethhdr *eth = data;
	const void *l3 = eth + 1;
	struct names n = { .eth = eth };
	__be16 type;
	__u32 size = 0;
	struct flow *f;

	if (l3 > data_end || closing)
		return NULL;
	type = eth->h_proto;
	len -= sizeof(*eth);
	if (is_vlan(bpf_ntohs(type))) { /* with one that is not in the frame, two: it may have ports */
		const __be16 *tag = l3;

		l3 = tag + 2;
		if (l3 > data_end)
			return NULL;
		type = tag[1];
		len -= 2 * sizeof(*tag);
	}
	if (type == bpf_htons(ETH_P_IP)) {
		size = read_ipv4(l3, data_end, len, &n);
		if (size)
			s->from_a = make_key(&n, &s->key, &s->print);
	} else if (type == bpf_htons(ETH_P_IPV6)) {
		size = read_ipv6(l3, data_end, len, &n);
		if (size)
			s->from_a = make_key(&n, &s->key, &s->print);
	}
	if (!size)
		return NULL;
	s->state = LOOKED;
	f = bpf_map_lookup_elem(&flows, &s->print);
	if (!f || !same_flow(&s->key, &f->key) || !add_known(f, !s->from_a, owner, size))
		return f;
	c->seen++;
	c->counted++;
	s->state = DONE;
	return NULL;
}

static __noinline struct flow *glance_tc(struct __sk_buff *skb, __u32 owner, struct counters *c,
					 struct sight *s)
{
	if (skb->gso_size || skb->gso_segs > 1) /* many wire packets */
		return NULL;
	return glance((void *)(long)skb->data, (void *)(long)skb->data_end, skb->len, owner, c, s);
}

static __noinline struct flow *glance_xdp(struct xdp_md *xdp, __u32 owner, struct counters *c,
					  struct sight *s)
{
	return glance((void *)(long)xdp->data, (void *)(long)xdp->data_end,
		      bpf_xdp_get_buff_len(xdp), owner, c, s);
}
