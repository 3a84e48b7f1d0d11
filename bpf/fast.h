/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The fast path: a whole packet of a life that goes on, sampled or not. It reads the
 * headers where they lie, finds the entry and adds to it. Whatever
 * else a packet asks for is left to flow.h, with the headers as they were read; what
 * cannot be read so is left to parse.h. It makes of a frame what those would, which a
 * differential test checks. */
#pragma once

/* A whole packet: none of it is cut off, a fragment, or behind an IPv6 extension. */
struct view {
	const void *l4;     /* what is behind the IP header */
	__u32 l3;           /* from the frame's begin to the IP header */
	__u32 header, size; /* of the IP packet */
	__u32 start, payload; /* from the IP header to the payload, and as much as the headers claim */
	struct names names;
};

/* Ports, which can end where the frame's linear part does. False: they are not in it. */
static __always_inline bool view_ports(struct view *v, const void *data_end)
{
	const __be16 *ports = v->l4;
	struct names *n = &v->names;

	if ((n->proto != IPPROTO_TCP && n->proto != IPPROTO_UDP) || v->size < v->header + 4)
		return true;
	if ((void *)(ports + 2) > data_end)
		return false;
	n->has_ports = true;
	n->src_port = bpf_ntohs(ports[0]);
	n->dst_port = bpf_ntohs(ports[1]);
	return true;
}

static __always_inline bool view_ipv4(struct view *v, const void *l3, const void *data_end)
{
	const struct iphdr *ip = l3;
	__u8 first;

	if ((void *)(ip + 1) > data_end)
		return false;
	first = *(const __u8 *)l3;
	v->header = (first & 0xf) * 4;
	v->size = bpf_ntohs(ip->tot_len);
	if (first >> 4 != 4 || v->header < sizeof(*ip) || v->size < v->header ||
	    ip->frag_off & bpf_htons(0x3fff))
		return false;
	v->l4 = l3 + v->header;
	v->names.version = 4;
	v->names.proto = ip->protocol;
	v->names.src[0] = ip->saddr;
	v->names.dst[0] = ip->daddr;
	return view_ports(v, data_end);
}

static __always_inline bool view_ipv6(struct view *v, const void *l3, const void *data_end)
{
	const struct ipv6hdr *ip = l3;
	const __u64 *addr = (void *)&ip->saddr;

	if ((void *)(ip + 1) > data_end)
		return false;
	v->header = sizeof(*ip);
	v->size = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	if (*(const __u8 *)l3 >> 4 != 6 || !ip->payload_len || is_ipv6_extension(ip->nexthdr))
		return false;
	v->l4 = ip + 1;
	v->names.version = 6;
	v->names.proto = ip->nexthdr;
	v->names.src[0] = addr[0];
	v->names.src[1] = addr[1];
	v->names.dst[0] = addr[2];
	v->names.dst[1] = addr[3];
	return view_ports(v, data_end);
}

/* Finds the payload, as parse_transport does. False: the transport header is not linear. */
static __always_inline bool view_payload(struct view *v, const void *data_end)
{
	const __be16 *udp = v->l4;
	const __u8 *tcp = v->l4;
	__u32 left = v->size - v->header, skip = 0, stop = 0;

	if (v->names.proto == IPPROTO_TCP && left >= sizeof(struct tcphdr)) {
		if (v->l4 + sizeof(struct tcphdr) > data_end)
			return false;
		skip = (tcp[12] >> 4) * 4;
		stop = skip < sizeof(struct tcphdr) ? 0 : left;
	} else if (v->names.proto == IPPROTO_UDP && left >= sizeof(struct udphdr)) {
		if (v->l4 + sizeof(struct udphdr) > data_end)
			return false;
		skip = sizeof(struct udphdr);
		stop = min_u32(left, bpf_ntohs(udp[2]));
	}
	v->start = v->header + skip;
	v->payload = skip < stop ? stop - skip : 0;
	return true;
}

/* Can the frame stand for many wire packets? See cut. */
static __always_inline bool is_many(const struct hook *h)
{
	const struct __sk_buff *skb = h->ctx;

	return !h->xdp && (skb->gso_size || skb->gso_segs > 1);
}

/* Reads the headers of a frame; false: they are not of a whole packet, or not linear. */
static __always_inline bool view_frame(struct view *v, const struct hook *h)
{
	const struct ethhdr *eth = h->data;
	const void *l3 = h->data;
	__be16 type;

	v->l3 = 0;
	if (h->ethernet) {
		l3 = eth + 1;
		if (l3 > h->data_end)
			return false;
		v->names.src_mac = mac_word(eth->h_source);
		v->names.dst_mac = mac_word(eth->h_dest);
		v->l3 = sizeof(*eth);
		type = eth->h_proto;
		if (is_vlan(bpf_ntohs(type))) { /* with one that is not in the frame, two: it may have ports */
			const __be16 *tag = l3;

			l3 = tag + 2;
			if (l3 > h->data_end)
				return false;
			v->l3 += 2 * sizeof(*tag);
			type = tag[1];
		}
	} else {
		if (l3 + 1 > h->data_end)
			return false;
		type = bpf_htons(ip_type(*(const __u8 *)l3));
	}
	if (type == bpf_htons(ETH_P_IP))
		return view_ipv4(v, l3, h->data_end);
	return type == bpf_htons(ETH_P_IPV6) && view_ipv6(v, l3, h->data_end);
}

/* Is the IP packet's end in the frame? */
static __always_inline bool is_whole(const struct view *v, const struct hook *h)
{
	__u32 end = v->l3 + v->size;

	if (!h->xdp)
		return end <= ((struct __sk_buff *)h->ctx)->len;
	return end <= (__u32)(h->data_end - h->data) || end <= bpf_xdp_get_buff_len(h->ctx);
}

/* Adds a packet to the life in f, whose samples are taken; false: it has more to do there.
 * What add does in flow.h, where nothing is to be decided. */
static __always_inline bool add_known(struct flow *f, __u64 life, __u32 side, __u32 size)
{
	__u64 now;

	if (life_taken(life) < cfg.samples)
		return false;
	now = tick_time();
	if (expired(life, now + cfg.coarse_ns))
		return false;
	if (f->last_ns < now)
		f->last_ns = now;
	add_total(f, side, 1, size);
	return true;
}

/* The same for a packet that is sampled. */
static __always_inline bool add_sampled(const struct hook *h, struct flow *f, __u64 life, __u32 side,
					const struct view *v, struct sample *s, struct counters *c)
{
	struct grant g = {};
	__u64 now;

	if (life_taken(life) >= cfg.samples)
		return false;
	now = bpf_ktime_get_boot_ns();
	if (expired(life, now) || take(f, 1, &g) != ADDED)
		return false;
	if (f->last_ns < now)
		f->last_ns = now;
	add_total(f, side, 1, v->size);
	if (!g.count)
		return true;
	begin_samples(s, &g, now, side);
	s->index = g.index;
	s->size = v->size;
	emit_sample(h, s, v->l3 + v->start, v->payload, c);
	return true;
}

/* The packet as parse would have it, but for what only parse itself uses. */
static __always_inline void hand_over(const struct view *v, struct packet *p)
{
	const struct names *n = &v->names;

	p->src[0] = n->src[0];
	p->src[1] = n->src[1];
	p->dst[0] = n->dst[0];
	p->dst[1] = n->dst[1];
	put_mac(p->eth.h_source, n->src_mac);
	put_mac(p->eth.h_dest, n->dst_mac);
	p->src_port = n->src_port;
	p->dst_port = n->dst_port;
	p->version = n->version;
	p->proto = n->proto;
	p->has_ports = n->has_ports;
	p->fragment = p->truncated = p->jumbo = false;
	p->size = v->size;
	p->headers = v->start;
	p->payload = p->present = v->payload;
	p->payload_off = v->l3 + v->start;
	p->segment = 0;
	p->segments = p->samples = 1;
}

static __always_inline void count_one(struct counters *c)
{
	c->seen++;
	c->counted++;
}

/* Counts a packet that needs nothing else (true), or leaves it to the rest; work->read says
 * whether with its headers. */
static __always_inline bool glance(const struct hook *h, __u32 owner, struct counters *c,
				   struct scratch *work)
{
	struct flow *f = NULL;
	struct flow_key key;
	struct view v = {};
	__u64 print, life;
	__u32 side;

	if (closing || !view_frame(&v, h) || !is_whole(&v, h))
		return false;
	side = !make_key(&v.names, &key, &print);
	if (!is_many(h))
		f = bpf_map_lookup_elem(&flows, &print);
	if (f) {
		life = read_life(f);
		if (!same_flow(&key, &f->key) || *(volatile __u32 *)&f->owner[side] != owner ||
		    life_marked(life))
			f = NULL;
		else if (add_known(f, life, side, v.size)) {
			count_one(c);
			return true;
		}
	}
	if (!view_payload(&v, h->data_end))
		return false;
	if (f) {
		work->sample.key = key;
		if (add_sampled(h, f, life, side, &v, &work->sample, c)) {
			count_one(c);
			wake_later(h);
			return true;
		}
	}
	hand_over(&v, &work->packet);
	work->read = true;
	return false;
}
