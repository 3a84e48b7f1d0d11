/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* From a frame to a plain struct: link header, what stands between it and IP, IP
 * headers, ports and where the payload lies. pkg/flows/parse.go does the same for capture files;
 * the two agree on every frame, which a differential test checks. Headers are
 * read with the load helpers, which also reach what is not linear; the most common
 * packets do not come here, see fast.h. */
#pragma once

/* Limits of the header walk. A packet past the last two is counted without ports. */
#define MAX_SHIMS        8 /* headers between the link header and IP that are walked */
#define MAX_MPLS_LABELS  4 /* MPLS labels of those */
#define MAX_VLAN_TAGS    2 /* VLAN tags after which the ports are still read (802.1ad) */
#define MAX_IPV6_HEADERS 6 /* IPv6 extension headers walked */

#define ETH_P_QINQ1_OLD 0x9100
#define PPPOE_DATA      0x1100 /* version, type and code of a session's data (RFC 2516) */
#define PPP_IPV4        0x0021
#define PPP_IPV6        0x0057
#define PPP_MPLS        0x0281
#define PPP_MPLS_MC     0x0283
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
	struct {
		__u32 off;  /* from the frame's begin */
		__u16 type; /* EtherType of what is there */
		__u8  tags, labels;
	} walk; /* to IP */
	__u64 ip6[5]; /* the IPv6 header as it was read: on the stack there is too little room */
};

/* Any part of the frame, of any length. */
static __always_inline int load(const struct hook *h, __u32 off, void *to, __u32 len)
{
	return h->xdp ? bpf_xdp_load_bytes(h->ctx, off, to, len)
		      : bpf_skb_load_bytes(h->ctx, off, to, len);
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
		if (load(h, l4, &t, sizeof(struct tcphdr)))
			return;
		start = l4 + (t.tcp_off >> 4) * 4;
		if (start < l4 + sizeof(struct tcphdr))
			stop = 0;
	} else if (p->proto == IPPROTO_UDP && l4 + sizeof(struct udphdr) <= present) {
		if (load(h, l4, &t, sizeof(struct udphdr)))
			return;
		start = l4 + sizeof(struct udphdr);
		stop = min_u32(claimed, l4 + bpf_ntohs(t.udp_len)); /* < 8: before start */
	} else if ((p->proto == IPPROTO_TCP || p->proto == IPPROTO_UDP) && l4 + 4 <= present) {
		if (load(h, l4, &t, 4))
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

	if (load(h, l3, &ip, sizeof(ip)) || ip.version != 4)
		return MALFORMED;
	header = ip.ihl * 4;
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
	const struct ipv6hdr *ip = (void *)p->ip6;
	struct {
		__u8   next, len;
		__be16 frag;
	} ext;
	__u32 off = l3 + sizeof(*ip), present;
	bool later = false, jumbogram;
	__u16 frag;
	__u8 next;

	if (load(h, l3, p->ip6, sizeof(*ip)) || ip->version != 6)
		return MALFORMED;
	next = ip->nexthdr;
	p->size = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	jumbogram = !ip->payload_len && next != IPPROTO_NONE; /* RFC 2675, BIG TCP */
	if (jumbogram)
		p->size = end - l3;
	p->version = 6;
	__builtin_memcpy(p->src, &ip->saddr, 16);
	__builtin_memcpy(p->dst, &ip->daddr, 16);
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

static __always_inline bool is_vlan(__u16 type)
{
	return type == ETH_P_8021Q || type == ETH_P_8021AD || type == ETH_P_QINQ1_OLD;
}

static __always_inline bool is_mpls(__u16 type)
{
	return type == ETH_P_MPLS_UC || type == ETH_P_MPLS_MC;
}

static __always_inline bool is_ip(__u16 type)
{
	return type == ETH_P_IP || type == ETH_P_IPV6;
}

/* The EtherType of a packet that begins with first; 0: it is not IP. */
static __always_inline __u16 ip_type(__u8 first)
{
	return first >> 4 == 4 ? ETH_P_IP : first >> 4 == 6 ? ETH_P_IPV6 : 0;
}

/* The EtherType of what follows a PPP protocol number; 0: nothing that we read. */
static __always_inline __u16 ppp_type(__u16 protocol)
{
	switch (protocol) {
	case PPP_IPV4:
		return ETH_P_IP;
	case PPP_IPV6:
		return ETH_P_IPV6;
	case PPP_MPLS:
		return ETH_P_MPLS_UC;
	case PPP_MPLS_MC:
		return ETH_P_MPLS_MC;
	}
	return 0;
}

/* An MPLS label (RFC 3032). What follows the last one is told by its first bits. */
static __always_inline enum verdict walk_label(const struct hook *h, struct packet *p)
{
	__u8 label[4], first;

	p->walk.labels++;
	if (p->walk.labels > MAX_MPLS_LABELS)
		return NOT_IP;
	if (load(h, p->walk.off, label, sizeof(label)))
		return MALFORMED;
	p->walk.off += sizeof(label);
	if (!(label[2] & 1))
		return COUNTED;
	if (load(h, p->walk.off, &first, 1))
		return MALFORMED;
	p->walk.type = ip_type(first);
	return p->walk.type ? COUNTED : NOT_IP;
}

/* SNAP (RFC 1042) of organization 0, or the header of a PPPoE session (RFC 2516),
 * whose PPP protocol is of one byte if it is compressed (RFC 1661). */
static __always_inline enum verdict walk_eight(const struct hook *h, struct packet *p)
{
	bool llc = p->walk.type < ETH_P_802_3_MIN;
	__be16 w[4];
	__u16 protocol;

	if (load(h, p->walk.off, w, sizeof(w)))
		return llc ? NOT_IP : MALFORMED;
	protocol = bpf_ntohs(w[3]);
	p->walk.off += sizeof(w);
	if (llc) {
		p->walk.type = protocol;
		return w[0] == bpf_htons(0xaaaa) && w[1] == bpf_htons(0x0300) && !w[2] ?
			COUNTED : NOT_IP;
	}
	if (w[0] != bpf_htons(PPPOE_DATA))
		return NOT_IP;
	if (protocol & 0x100) {
		protocol >>= 8;
		p->walk.off--;
	}
	p->walk.type = ppp_type(protocol);
	return p->walk.type ? COUNTED : NOT_IP;
}

/* One header between the link header and IP. */
static __always_inline enum verdict walk_shim(const struct hook *h, struct packet *p)
{
	__be16 tag[2];
	__u16 type = p->walk.type;

	if (is_mpls(type))
		return walk_label(h, p);
	if (type < ETH_P_802_3_MIN || type == ETH_P_PPP_SES)
		return walk_eight(h, p);
	if (!is_vlan(type))
		return NOT_IP;
	if (load(h, p->walk.off, tag, sizeof(tag)))
		return MALFORMED;
	p->walk.type = bpf_ntohs(tag[1]);
	p->walk.off += sizeof(tag);
	p->walk.tags++;
	return COUNTED;
}

/* Walks to the IP header. How it came there the verifier is made to forget: what is
 * read back from a map is any number to it, so that all ways there become one. */
static __always_inline enum verdict walk_to_ip(const struct hook *h, struct packet *p, __u32 walked)
{
	enum verdict v;

	/* A verifier before Linux 6.4 takes a loop only if it ends in a jump, and the
	 * compiler may let it end by falling through to its begin. */
#pragma unroll
	for (int i = 0; i < MAX_SHIMS; i++) {
		if (is_ip(p->walk.type) || walked >= MAX_SHIMS)
			break;
		v = walk_shim(h, p);
		if (v != COUNTED)
			return v;
		walked++;
		barrier();
	}
	return is_ip(p->walk.type) ? COUNTED : NOT_IP;
}

static __always_inline enum verdict parse_frame(const struct hook *h, struct packet *p,
						__u32 len, __u32 tags)
{
	enum verdict v;
	__u8 first;

	if (h->ethernet) {
		if (load(h, 0, &p->eth, sizeof(p->eth)))
			return MALFORMED;
		p->walk.off = sizeof(p->eth);
		p->walk.type = bpf_ntohs(p->eth.h_proto);
		p->walk.tags = tags;
		v = walk_to_ip(h, p, tags);
		if (v != COUNTED)
			return v;
	} else {
		if (load(h, 0, &first, 1))
			return MALFORMED;
		p->walk.type = ip_type(first);
		if (!is_ip(p->walk.type))
			return MALFORMED;
	}
	barrier();
	if (p->walk.type == ETH_P_IP)
		return parse_ipv4(h, p, p->walk.off, len, p->walk.tags <= MAX_VLAN_TAGS);
	return parse_ipv6(h, p, p->walk.off, len, p->walk.tags <= MAX_VLAN_TAGS);
}

/* On TC one skb can stand for many wire packets. The payload in pieces of gso_size
 * says how many; where gso_size is of a transport inside (a tunnel, ESP), there is
 * none that we read, or the frame has less than it claims, the kernel's own count,
 * and one sample stands for all. The headers that a tunnel's later packets repeat inside are not in their sizes. */
static __always_inline void cut(const struct hook *h, enum verdict v, struct packet *p)
{
	const struct __sk_buff *skb = h->ctx;
	__u32 size, count, pieces = 1;

	if (h->xdp)
		return;
	size = skb->gso_size;
	count = skb->gso_segs;
	if (v == COUNTED && size && p->payload > size && !p->truncated)
		pieces = (p->payload + size - 1) / size;
	if (count > 1 && (v != COUNTED || p->truncated ||
			  (p->proto != IPPROTO_TCP && count != pieces))) {
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
	struct __sk_buff *skb = h->ctx;

	__builtin_memset(p, 0, offsetof(struct packet, ip6));
	p->segments = p->samples = 1;
	if (h->xdp)
		return parse_frame(h, p, bpf_xdp_get_buff_len(h->ctx), 0);
	return parse_frame(h, p, skb->len, skb->vlan_present ? 1 : 0);
}
