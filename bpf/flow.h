/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* A flow's lives. A life begins with a packet, lasts cfg.lifetime_ns from it,
 * and ends in one of two ways:
 *
 *   rolled   a packet came after its lifetime: the life word goes to the next
 *            life by compare-and-swap, the winner reports the old one.
 *   swept    the sweep program, run by user space, found it too old and marked
 *            it, again by compare-and-swap. User space waits until every packet
 *            program that may have seen it unmarked is done, then reads and
 *            deletes the entry.
 *
 * A packet that meets a marked life is late: it belongs to the flow's next life,
 * which lives in a second entry under the same key with alt flipped. There is
 * no third: user space deletes what it marked before it marks again, and the
 * sweep and a packet (see roll) mark an entry only while the other has no mark.
 *
 * Two races are left to be. A packet that met the mark opens the second entry at
 * the very moment when another opens the first one anew, just deleted: the flow
 * has two lives at once, both are reported and every packet is in one. And with
 * the ring full, a packet and the sweep can mark those two in the same instant:
 * what comes until they are deleted, milliseconds later, counts as table_full. */
#pragma once

#define ROLL_TRIES 4  /* each failure means that another CPU's packet got in first */
#define COUNT_TRIES 4 /* see count_packet */

static __always_inline __u64 life_first(__u64 life)
{
	return life >> LIFE_FIRST_SHIFT;
}

static __always_inline __u32 life_taken(__u64 life)
{
	return life >> LIFE_TAKEN_SHIFT & LIFE_TAKEN;
}

static __always_inline enum payer life_payer(__u64 life)
{
	return life >> LIFE_PAYER_SHIFT & LIFE_PAYER;
}

static __always_inline bool life_marked(__u64 life)
{
	return life & LIFE_MARKED;
}

static __always_inline __u64 read_life(const struct flow *f)
{
	return *(const volatile __u64 *)&f->life;
}

static __always_inline bool swap_life(struct flow *f, __u64 old, __u64 next)
{
	return __sync_val_compare_and_swap(&f->life, old, next) == old;
}

/* The time of a packet. The exact clock costs as much as a third of all the rest,
 * and most packets need it only to see that their life is not over: for that, and
 * for flow.last_ns, the coarse clock will do, which stands still between ticks.
 * It does not count the time that the machine was suspended: user space adds it,
 * so for an instant after a resume a life can seem younger than it is. */
static __always_inline __u64 exact_ns(struct clock *t)
{
	if (!t->exact)
		*t = (struct clock){ bpf_ktime_get_boot_ns(), true };
	return t->ns;
}

/* Up to cfg.coarse_ns late. */
static __always_inline __u64 coarse_ns(struct clock *t)
{
	if (!t->ns)
		t->ns = bpf_ktime_get_coarse_ns() + suspended_ns;
	return t->ns;
}

/* Signed: now can be older than the first packet that another CPU has brought. */
static __always_inline bool expired(__u64 life, __u64 now)
{
	return (__s64)(now - life_first(life) * 1000) >= (__s64)cfg.lifetime_ns;
}

static __always_inline __u64 new_life(__u64 first_us, __u32 taken, enum payer payer)
{
	return first_us << LIFE_FIRST_SHIFT | (__u64)taken << LIFE_TAKEN_SHIFT |
	       (__u64)payer << LIFE_PAYER_SHIFT;
}

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

static __always_inline struct end_words make_end(__u32 version, const __u64 *addr,
						 const __u8 *mac, __u16 port)
{
	struct end_words e = { { addr[0], addr[1] }, (__u64)port << 48 };

	if (is_local(version, addr))
		e.mac_port |= *(const __u32 *)mac | (__u64)*(const __u16 *)(mac + 4) << 32;
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

/* Builds the key of p; returns whether its sender is key.a. */
static __always_inline bool make_key(const struct packet *p, struct flow_key *key)
{
	struct end_words src = make_end(p->version, p->src, p->eth.h_source, p->src_port);
	struct end_words dst = make_end(p->version, p->dst, p->eth.h_dest, p->dst_port);
	bool from_a = cfg.uni || end_before(&src, &dst);

	store_end(&key->a, from_a ? &src : &dst);
	store_end(&key->b, from_a ? &dst : &src);
	/* version, proto, has_ports, alt and padding in one store */
	*(__u64 *)&key->version = p->version | p->proto << 8 | p->has_ports << 16;
	return from_a;
}

static __always_inline __u64 wire_bytes(const struct packet *p)
{
	if (p->samples == 1)
		return (__u64)p->segments * p->size;
	return p->payload + (__u64)p->segments * p->headers;
}

static __always_inline bool sibling_marked(const struct flow_key *key)
{
	struct flow_key k = *key;
	struct flow *f;

	k.alt ^= 1;
	f = bpf_map_lookup_elem(&flows, &k);
	return f && life_marked(f->life);
}

enum outcome {
	ADDED,     /* the packet is in the life */
	ELSEWHERE, /* another attachment owns this direction */
	CLOSING,   /* the life is marked */
	AGAIN,     /* the entry has just been deleted, or opened by another CPU */
	REFUSED,   /* there is no room for another life */
};

/* Ends the life in f, which is past its time, and begins the next with p. */
static __always_inline enum outcome roll(const struct flow_key *key, struct flow *f,
					 const struct packet *p, bool from_a, __u64 now,
					 struct grant *g, struct counters *c)
{
	for (int i = 0; i < ROLL_TRIES; i++) {
		__u64 life = read_life(f), last_ns = f->last_ns;
		struct close *e;

		if (life_marked(life))
			return CLOSING;
		if (!expired(life, now))
			return ADDED; /* another packet was faster */
		e = reserve_close();
		if (!e) {
			/* A full ring leaves the life to the sweep. While the other
			 * entry is being closed too, it goes on past its lifetime. */
			if (sibling_marked(key))
				return ADDED;
			if (swap_life(f, life, life | LIFE_MARKED))
				return CLOSING;
			continue;
		}
		*g = (struct grant){ now / 1000, 0, min_u32(cfg.samples, p->samples) };
		if (swap_life(f, life, new_life(g->first_us, g->count, life_payer(life)))) {
			/* A direction that its owner has not carried all life long is free. */
			if (!emit_close(e, key, f, life, last_ns, from_a, c))
				f->owner[from_a] = 0;
			note_record(find_share(payer_mac(key, life_payer(life))));
			c->opened++;
			return ADDED;
		}
		g->count = 0;
		bpf_ringbuf_discard(e, BPF_RB_NO_WAKEUP);
	}
	return ADDED; /* past its lifetime; unreachable but for a storm of swaps */
}

/* Takes samples of the life in f for p: life, index and state by one atomic add.
 * Adds of several CPUs at once can exceed cfg.samples; the excess is no
 * sample, and user space clamps what it reads. */
static __always_inline enum outcome take(struct flow *f, const struct packet *p, struct grant *g)
{
	__u64 add = (__u64)min_u32(cfg.samples, p->samples) << LIFE_TAKEN_SHIFT;
	__u64 life = __sync_fetch_and_add(&f->life, add);

	if (life_marked(life)) {
		__sync_fetch_and_add(&f->life, -add);
		return CLOSING;
	}
	g->first_us = life_first(life);
	g->index = life_taken(life);
	if (g->index < cfg.samples)
		g->count = min_u32(cfg.samples - g->index, p->samples);
	return ADDED;
}

/* Is f still the entry of key, and which life is in it? An entry that was marked
 * before the packet came can be deleted under it, and the next flow takes its place at
 * once. One read unmarked and then found again stays for as long as the packet does.
 * So whoever comes while user space deletes has to look twice, and in this order: a
 * processor that orders its loads less than amd64 could look before it has read. An
 * atomic operation that returns a value orders what is around it (LKMM, "fully
 * ordered"; on arm64 LDSETAL, or a loop and a barrier), and at all other times a load
 * will do. */
static __always_inline bool check_entry(const struct flow_key *key, struct flow *f, bool closing,
					__u64 *life)
{
	if (!closing) {
		*life = read_life(f);
		return true;
	}
	*life = __sync_fetch_and_or(&f->life, 0);
	return bpf_map_lookup_elem(&flows, key) == f;
}

/* Tries to add p to the life in f. g says which samples p has taken of it. */
static __always_inline enum outcome add(struct scratch *work, struct flow *f, bool from_a,
					__u32 owner, struct grant *g, struct counters *c)
{
	const struct flow_key *key = &work->sample.key;
	const struct packet *p = &work->packet;
	struct clock *t = &work->clock;
	__u32 side = !from_a, holder = *(volatile __u32 *)&f->owner[side];
	enum outcome o = ADDED;
	__u64 life;
	bool sampled;

	if (!check_entry(key, f, work->closing, &life))
		return AGAIN;
	/* The owner decides even for a marked life: the second sight of a packet
	 * that was added before the mark is no late packet. */
	if (holder && holder != owner)
		return ELSEWHERE;
	if (life_marked(life))
		return CLOSING;
	if (!holder) {
		holder = __sync_val_compare_and_swap(&f->owner[side], 0, owner);
		if (holder && holder != owner)
			return ELSEWHERE;
	}
	sampled = life_taken(life) < cfg.samples;
	if (sampled || expired(life, coarse_ns(t) + cfg.coarse_ns))
		exact_ns(t);
	if (expired(life, t->ns))
		o = roll(key, f, p, from_a, t->ns, g, c);
	else if (sampled)
		o = take(f, p, g);
	if (o != ADDED)
		return o;
	if (f->last_ns < t->ns) /* the coarse clock can be behind an earlier packet */
		f->last_ns = t->ns;
	__sync_fetch_and_add(&f->packets[side], p->segments);
	__sync_fetch_and_add(&f->bytes[side], wire_bytes(p));
	return ADDED;
}

/* Opens a life with p in it, unless the table is full or the rest of it is for
 * others. */
static __always_inline enum outcome open_life(struct scratch *work, bool from_a, __u32 owner,
				      struct grant *g, struct counters *c)
{
	const struct flow_key *key = &work->sample.key;
	const struct packet *p = &work->packet;
	__u64 now = exact_ns(&work->clock);
	struct flow f = {};
	enum payer payer;
	int err; /* before Linux 6.4 the upper half of a map helper's result is not its sign */

	if (!take_entry(key, from_a, work->closing, &payer, c))
		return REFUSED;
	*g = (struct grant){ now / 1000, 0, min_u32(cfg.samples, p->samples) };
	f.life = new_life(g->first_us, g->count, payer);
	f.last_ns = now;
	/* No index that varies: the verifier wants stack offsets constant. */
	f.packets[0] = from_a ? p->segments : 0;
	f.packets[1] = from_a ? 0 : p->segments;
	f.bytes[0] = from_a ? wire_bytes(p) : 0;
	f.bytes[1] = from_a ? 0 : wire_bytes(p);
	f.owner[0] = from_a ? owner : 0;
	f.owner[1] = from_a ? 0 : owner;
	/* Raised before the entry is there, so that no packet can miss it. */
	if (key->alt)
		__sync_fetch_and_add(&alt_created, 1);
	err = bpf_map_update_elem(&flows, key, &f, BPF_NOEXIST);
	if (!err) {
		c->opened++;
		return ADDED;
	}
	if (key->alt)
		__sync_fetch_and_add(&alt_created, -1);
	give_entry(key, payer);
	return err == -EEXIST ? AGAIN : REFUSED;
}

/* One try to put the packet into a life of its flow. */
static __always_inline enum outcome try_life(struct scratch *work, bool from_a, __u32 owner,
					     struct grant *g, struct counters *c)
{
	struct flow_key *key = &work->sample.key;
	struct flow *f = bpf_map_lookup_elem(&flows, key);

	if (!f && !work->looked && alt_created != alt_deleted) {
		work->looked = true;
		key->alt = 1;
		f = bpf_map_lookup_elem(&flows, key);
		if (!f)
			key->alt = 0;
	}
	return f ? add(work, f, from_a, owner, g, c) : open_life(work, from_a, owner, g, c);
}

/* Puts the packet into a life of its flow. A try fails on a mark, or when another
 * CPU opens the entry first. What is marked while the packet is here stays until
 * it is done, so more failures than tries need a run that outlasts a lifetime. */
static __always_inline void count_packet(const struct hook *h, struct scratch *work, __u32 owner,
					 struct counters *c)
{
	struct flow_key *key = &work->sample.key;
	struct packet *p = &work->packet;
	bool from_a = make_key(p, key);
	enum outcome o = AGAIN;
	struct grant g = {};

	work->clock = (struct clock){};
	work->closing = closing;
	work->looked = work->late = false;
	for (int i = 0; i < COUNT_TRIES && (o == AGAIN || o == CLOSING); i++) {
		g.count = 0;
		o = try_life(work, from_a, owner, &g, c);
		if (o == CLOSING) {
			work->late = work->looked = true;
			key->alt ^= 1;
		}
	}
	if (o == ELSEWHERE) {
		c->duplicate += p->segments;
		return;
	}
	if (o != ADDED) {
		c->table_full += p->segments;
		c->refused++;
		return;
	}
	c->counted += p->segments;
	if (p->truncated)
		c->truncated += p->segments;
	if (p->fragment)
		c->fragment += p->segments;
	if (work->late)
		c->late += p->segments;
	if (g.count)
		emit_samples(h, p, &work->sample, from_a, work->clock.ns, &g, c);
}
