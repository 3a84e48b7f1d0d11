/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* From a packet to its flow: the key, and the fingerprint that it is found by. */
#pragma once

static __always_inline bool listed_local(__u32 version, const __u64 *addr)
{
	struct prefix_key k = { .bits = version == 4 ? 64 : 160, .version = version };

	__builtin_memcpy(k.addr, addr, 16);
	return bpf_map_lookup_elem(&local_prefixes, &k);
}

/* Is the address in a local range? Ranges alone decide, as in flows.Locals. */
static __always_inline bool is_local(__u32 version, const __u64 *addr)
{
	__u32 head = bpf_ntohl((__u32)addr[0]);

	if (version == 4)
		return head == 0 ||                                /* 0.0.0.0, no address yet */
		       head >> 16 == 0xa9fe ||                     /* 169.254/16, RFC 3927 */
		       (cfg.private_local && (head >> 24 == 10 ||   /* RFC 1918 */
					      head >> 20 == 0xac1 || head >> 16 == 0xc0a8)) ||
		       (prefixes_v4 && listed_local(version, addr));
	return !(addr[0] | addr[1]) ||                             /* :: */
	       head >> 22 == 0x3fa ||                              /* fe80::/10, RFC 4291 */
	       (cfg.private_local && head >> 25 == 0x7e) ||        /* fc00::/7, RFC 4193 */
	       (prefixes_v6 && listed_local(version, addr));
}

/* struct flow_end as words, in the registers: what the key is made of in pieces
 * the hash function would have to wait for. */
struct end_words {
	__u64 addr[2];
	__u64 mac_port;
};

/* What a packet's key is made of. */
struct names {
	__u64 src[2], dst[2]; /* as in struct packet */
	__u64 src_mac, dst_mac; /* the six bytes of each */
	__u16 src_port, dst_port;
	__u8  version, proto;
	bool  has_ports;
};

/* A MAC in pieces in which the kernel may just have written it. */
static __always_inline __u64 mac_word(const __u8 *mac)
{
	return *(const __u32 *)mac | (__u64)*(const __u16 *)(mac + 4) << 32;
}

static __always_inline void put_mac(__u8 *to, __u64 mac)
{
	*(__u32 *)to = mac;
	*(__u16 *)(to + 4) = mac >> 32;
}

static __always_inline struct end_words make_end(__u32 version, const __u64 *addr, __u64 mac, __u16 port)
{
	struct end_words e = { { addr[0], addr[1] }, (__u64)port << 48 };

	if (is_local(version, addr))
		e.mac_port |= mac;
	return e;
}

/* Order of two ends: address, port, MAC, each as flows.Key has it. */
static __always_inline bool end_before(const struct end_words *x, const struct end_words *y)
{
	for (int i = 0; i < 2; i++) {
		if (x->addr[i] != y->addr[i])
			return bpf_be64_to_cpu(x->addr[i]) < bpf_be64_to_cpu(y->addr[i]);
	}
	if (x->mac_port >> 48 != y->mac_port >> 48)
		return x->mac_port >> 48 < y->mac_port >> 48;
	return bpf_be64_to_cpu(x->mac_port << 16) <= bpf_be64_to_cpu(y->mac_port << 16);
}

static __always_inline void store_end(struct flow_end *to, const struct end_words *e)
{
	__u64 *w = (__u64 *)to;

	w[0] = e->addr[0];
	w[1] = e->addr[1];
	w[2] = e->mac_port;
}

/* Two sums of 32-bit pieces of a key, each times a secret. */
struct sums {
	__u64 x, y;
};

static __always_inline void add_half(struct sums *s, __u32 half, int at)
{
	s->x += cfg.secret[0][at] * half;
	s->y += cfg.secret[1][at] * half;
}

static __always_inline void add_word(struct sums *s, __u64 word, int at)
{
	add_half(s, word, at);
	add_half(s, word >> 32, at + 1);
}

/* The fingerprint of a key; place: 0. Multilinear hashing (Lemire and Kaser, "Strongly
 * universal string hashing is fast", 2014) gives two keys the same upper half of one sum
 * with a probability of 2^-32, whoever chooses them, if he does not know the secret,
 * which is random and another at each start. Two sums and the bits of the place make
 * that 2^-62. Of IPv4 the words that are zero are left out: they add nothing. */
static __always_inline __u64 fingerprint(bool ipv4, const struct end_words *a,
					 const struct end_words *b, __u32 rest)
{
	struct sums s = { cfg.secret[0][0], cfg.secret[1][0] };

	add_half(&s, rest, 1);
	add_word(&s, a->mac_port, 2);
	add_word(&s, b->mac_port, 4);
	add_half(&s, a->addr[0], 6);
	add_half(&s, b->addr[0], 7);
	if (!ipv4) {
		add_half(&s, a->addr[0] >> 32, 8);
		add_half(&s, b->addr[0] >> 32, 9);
		add_word(&s, a->addr[1], 10);
		add_word(&s, b->addr[1], 12);
	}
	return (s.x & 0xffffffff00000000) | (s.y >> 32 & ~(PLACES - 1));
}

/* Builds the key of a packet and its fingerprint; returns whether its sender is key.a. */
static __always_inline bool make_key(const struct names *n, struct flow_key *key, __u64 *print)
{
	struct end_words src = make_end(n->version, n->src, n->src_mac, n->src_port);
	struct end_words dst = make_end(n->version, n->dst, n->dst_mac, n->dst_port);
	bool from_a = cfg.uni || end_before(&src, &dst);
	/* version, proto, has_ports, alt and padding in one store */
	__u32 rest = n->version | n->proto << 8 | n->has_ports << 16;
	struct end_words a = from_a ? src : dst, b = from_a ? dst : src;

	store_end(&key->a, &a);
	store_end(&key->b, &b);
	*(__u64 *)&key->version = rest;
	*print = fingerprint(n->version == 4, &a, &b, rest);
	return from_a;
}

/* Are the two of one flow? alt is left out. */
static __always_inline bool same_flow(const struct flow_key *x, const struct flow_key *y)
{
	const __u64 *a = (const void *)x, *b = (const void *)y;
	__u64 other = 0;

#pragma unroll
	for (int i = 0; i < 6; i++)
		other |= a[i] ^ b[i];
	return !(other | ((a[6] ^ b[6]) & ~0xff000000ULL));
}
