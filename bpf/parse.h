/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* From a frame to a plain struct: link header, VLAN tags, IP headers, ports and
 * where the payload lies. pkg/flows/parse.go does the same for capture files;
 * the two agree on every frame, which a differential test checks. Headers are
 * read with the load helpers, which also reach what is not linear; but for the
 * most common frames the same code is there a second time, compiled to read them
 * where they lie. To let each read choose would multiply the verifier's ways. */
#pragma once

/* Limits of the header walk. A packet past one of them is counted without ports. */
#define MAX_VLAN_TAGS    2 /* tags after which the ports are still read (802.1ad) */
#define MAX_VLAN_WALK    8 /* tags walked to find the IP header at all */
#define MAX_IPV6_HEADERS 6 /* IPv6 extension headers walked */

#define ETH_P_QINQ1_OLD 0x9100
#define JUMBO_OPTION    0xc204 /* type and length of the jumbo payload option */
#define JUMBO_HEADER    8      /* the extension header that holds it, and nothing else */

enum verdict {
	COUNTED,
	NOT_IP,
	MALFORMED,
};

/* Where a packet program stands. All constant but ctx once inlined. */
struct hook {
	void *ctx; /* struct __sk_buff or struct xdp_md */
	void *data, *data_end; /* the frame's linear part */
	bool  xdp;
	bool  ethernet; /* the frame begins with an Ethernet header */
	bool  plain;    /* an IPv4 header without options follows it, all linear */
};

struct packet {
	__u64 src[2], dst[2]; /* addresses as on the wire; IPv4: the first four bytes */
	struct ethhdr eth;    /* zero on links without MACs */
	__u16 src_port, dst_port;
	__u8  version;
	__u8  proto;
	bool  has_ports;
	bool  fragment;    /* first or later */
	bool  truncated;   /* the frame is shorter than size claims */
	bool  jumbo;       /* BIG TCP: a jumbo payload option that no wire packet has */
	__u32 size;        /* IP total length as claimed; BIG TCP: what the frame holds; tunnel: of one wire packet */
	__u32 headers;     /* IP and transport header; meaningful when payload > 0 */
	__u32 payload;     /* transport payload as claimed */
	__u32 payload_off; /* from the frame's begin */
	__u32 present;     /* payload bytes in the frame */
	__u32 segment;     /* payload of one wire packet of an offloaded super-packet, else 0 */
	__u32 segments;    /* wire packets, at least 1 */
	__u32 samples;     /* of them can be cut out of the frame, at least 1 */
};

/* Any part of the frame, of any length. */
static __always_inline int load(const struct hook *h, __u32 off, void *to, __u32 len)
{
	return h->xdp ? bpf_xdp_load_bytes(h->ctx, off, to, len)
		      : bpf_skb_load_bytes(h->ctx, off, to, len);
}

/* The same for a header; len is a constant, and off if the frame is plain. */
static __always_inline int load_header(const struct hook *h, __u32 off, void *to, __u32 len)
{
	if (!h->plain || h->data + off + len > h->data_end)
		return load(h, off, to, len);
	/* Not so aligned, but neither amd64 nor arm64 mind, and else the compiler
	 * would copy byte by byte. */
	__builtin_memcpy(to, __builtin_assume_aligned(h->data + off, 8), len);
	return 0;
}

static __always_inline __u32 min_u32(__u32 a, __u32 b)
{
	return a < b ? a : b;
}

/* Ports and payload of TCP (RFC 9293) and UDP (RFC 768). l3 is where the IP
 * header begins, l4 where it ends, end where the frame does. */
static __always_inline void parse_transport(const struct hook *h, struct packet *p,
					    __u32 l3, __u32 l4, __u32 end)
{
	__u32 claimed = l3 + p->size, present = min_u32(end, claimed);
	struct {
		__be16 source, dest;
		__be16 udp_len;
		__u8   rest[6];
		__u8   tcp_off;
		__u8   more[7];
	} t; /* as much of struct tcphdr and struct udphdr as is needed */
	__u32 start, stop = claimed;

	if (p->proto == IPPROTO_TCP && l4 + sizeof(struct tcphdr) <= present) {
		if (load_header(h, l4, &t, sizeof(struct tcphdr)))
			return;
		start = l4 + (t.tcp_off >> 4) * 4;
		if (start < l4 + sizeof(struct tcphdr))
			stop = 0;
	} else if (p->proto == IPPROTO_UDP && l4 + sizeof(struct udphdr) <= present) {
		if (load_header(h, l4, &t, sizeof(struct udphdr)))
			return;
		start = l4 + sizeof(struct udphdr);
		stop = min_u32(claimed, l4 + bpf_ntohs(t.udp_len)); /* < 8: before start */
	} else if ((p->proto == IPPROTO_TCP || p->proto == IPPROTO_UDP) && l4 + 4 <= present) {
		if (load_header(h, l4, &t, 4))
			return;
		start = stop = 0;
	} else {
		return;
	}
	p->has_ports = true;
	p->src_port = bpf_ntohs(t.source);
	p->dst_port = bpf_ntohs(t.dest);
	if (start >= stop)
		return;
	p->headers = start - l3;
	p->payload = stop - start;
	p->payload_off = start;
	p->present = min_u32(stop, end) > start ? min_u32(stop, end) - start : 0;
}

/* IPv4 (RFC 791). */
static __always_inline enum verdict parse_ipv4(const struct hook *h, struct packet *p,
					       __u32 l3, __u32 end, bool ports)
{
	struct iphdr ip;
	__u32 header;
	__u16 frag;

	if (load_header(h, l3, &ip, sizeof(ip)) || ip.version != 4)
		return MALFORMED;
	header = h->plain ? sizeof(ip) : ip.ihl * 4;
	if (header < sizeof(ip) || l3 + header > end)
		return MALFORMED;
	p->size = bpf_ntohs(ip.tot_len);
	if (!p->size) /* BIG TCP */
		p->size = end - l3;
	if (p->size < header)
		return MALFORMED;
	p->version = 4;
	p->proto = ip.protocol;
	p->src[0] = ip.saddr;
	p->dst[0] = ip.daddr;
	p->truncated = end - l3 < p->size;
	frag = bpf_ntohs(ip.frag_off);
	p->fragment = frag & 0x3fff; /* MF or an offset */
	if (ports && !(frag & 0x1fff))
		parse_transport(h, p, l3, l3 + header, end);
	return COUNTED;
}

static __always_inline bool is_ipv6_extension(__u8 next)
{
	return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_FRAGMENT ||
	       next == IPPROTO_AH || next == IPPROTO_DSTOPTS;
}

/* IPv6 and its extension headers (RFC 8200). */
static __always_inline enum verdict parse_ipv6(const struct hook *h, struct packet *p,
					       __u32 l3, __u32 end, bool ports)
{
	struct ipv6hdr ip __attribute__((aligned(8)));
	struct {
		__u8   next, len;
		__be16 frag;
	} ext;
	__u32 off = l3 + sizeof(ip), present;
	bool later = false, jumbogram;
	__u16 frag;
	__u8 next;

	if (load(h, l3, &ip, sizeof(ip)) || ip.version != 6)
		return MALFORMED;
	next = ip.nexthdr;
	p->size = sizeof(ip) + bpf_ntohs(ip.payload_len);
	jumbogram = !ip.payload_len && next != IPPROTO_NONE; /* RFC 2675, BIG TCP */
	if (jumbogram)
		p->size = end - l3;
	p->version = 6;
	__builtin_memcpy(p->src, &ip.saddr, 16);
	__builtin_memcpy(p->dst, &ip.daddr, 16);
	p->truncated = end - l3 < p->size;
	present = min_u32(end, l3 + p->size);
	for (int i = 0; i < MAX_IPV6_HEADERS; i++) {
		if (later || !is_ipv6_extension(next) || off + 8 > present ||
		    load(h, off, &ext, sizeof(ext)))
			break;
		if (next == IPPROTO_FRAGMENT) {
			frag = bpf_ntohs(ext.frag);
			if (frag & 0xfff9) /* an atomic fragment is none (RFC 6946) */
				p->fragment = true;
			later = frag & 0xfff8;
			off += 8;
		} else if (next == IPPROTO_AH) {
			off += (ext.len + 2) * 4;
		} else {
			if (jumbogram && !ext.len && ext.frag == bpf_htons(JUMBO_OPTION))
				p->jumbo = true;
			off += (ext.len + 1) * 8;
		}
		next = ext.next;
	}
	p->proto = next;
	if (ports && !later && !is_ipv6_extension(next))
		parse_transport(h, p, l3, off, end);
	return COUNTED;
}

static __always_inline bool is_vlan(__be16 type)
{
	return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD) ||
	       type == bpf_htons(ETH_P_QINQ1_OLD);
}

/* An Ethernet frame that begins with the headers of plain IPv4? */
static __always_inline bool is_plain(const struct hook *h)
{
	const struct {
		struct ethhdr eth;
		__u8 version_ihl;
		__u8 more[sizeof(struct iphdr) - 1];
	} *f = h->data;

	return (void *)(f + 1) <= h->data_end && f->eth.h_proto == bpf_htons(ETH_P_IP) &&
	       f->version_ihl == 0x45;
}

static __always_inline enum verdict parse_frame(const struct hook *h, struct packet *p,
						__u32 len, __u32 tags)
{
	struct {
		__be16 tci, type;
	} tag;
	__u32 off = sizeof(p->eth);
	__u8 first;

	if (!h->ethernet) {
		if (load(h, 0, &first, 1))
			return MALFORMED;
		if (first >> 4 == 4)
			return parse_ipv4(h, p, 0, len, true);
		if (first >> 4 == 6)
			return parse_ipv6(h, p, 0, len, true);
		return MALFORMED;
	}
	if (is_plain(h)) {
		struct hook plain = *h;

		plain.plain = true;
		load_header(&plain, 0, &p->eth, sizeof(p->eth));
		return parse_ipv4(&plain, p, sizeof(p->eth), len, true);
	}
	if (load(h, 0, &p->eth, sizeof(p->eth)))
		return MALFORMED;
	tag.type = p->eth.h_proto;
	/* A verifier before Linux 6.4 takes a loop only if it ends in a jump, and the
	 * compiler may let it end by falling through to its begin. */
#pragma unroll
	for (int i = 0; i < MAX_VLAN_WALK; i++) {
		if (!is_vlan(tag.type) || tags >= MAX_VLAN_WALK)
			break;
		if (load(h, off, &tag, sizeof(tag)))
			return MALFORMED;
		off += sizeof(tag);
		tags++;
	}
	if (tag.type == bpf_htons(ETH_P_IP))
		return parse_ipv4(h, p, off, len, tags <= MAX_VLAN_TAGS);
	if (tag.type == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(h, p, off, len, tags <= MAX_VLAN_TAGS);
	return NOT_IP;
}

/* On TC one skb can stand for many wire packets. The payload in pieces of gso_size
 * says how many; where gso_size is of a transport inside (a tunnel, ESP) or there
 * is none that we read, the kernel's own count, and one sample stands for all. The
 * headers that a tunnel's later packets repeat inside are not in their sizes. */
static __always_inline void cut(const struct __sk_buff *skb, enum verdict v, struct packet *p)
{
	__u32 size = skb->gso_size, count = skb->gso_segs, pieces = 1;

	if (v == COUNTED && size && p->payload > size)
		pieces = (p->payload + size - 1) / size;
	if (count > 1 && (v != COUNTED || (p->proto != IPPROTO_TCP && count != pieces))) {
		p->segments = count;
		p->size = (p->size + count - 1) / count;
		p->present = min_u32(p->present, p->payload / count);
	} else if (pieces > 1) {
		p->segment = size;
		p->segments = p->samples = pieces;
		if (p->jumbo)
			p->headers -= JUMBO_HEADER;
	}
}

/* parse fills p; what it means, but for p->segments, depends on the verdict. */
static __always_inline enum verdict parse(const struct hook *h, struct packet *p)
{
	enum verdict v;

	__builtin_memset(p, 0, sizeof(*p));
	p->segments = p->samples = 1;
	if (h->xdp)
		return parse_frame(h, p, bpf_xdp_get_buff_len(h->ctx), 0);

	struct __sk_buff *skb = h->ctx;

	v = parse_frame(h, p, skb->len, skb->vlan_present ? 1 : 0);
	cut(skb, v, p);
	return v;
}
