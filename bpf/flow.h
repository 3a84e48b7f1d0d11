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
 * which lives in a second entry, at the same place but for PLACE_ALT. There is
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
#define COUNT_TRIES 6 /* see count_packet */

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

/* The time of a packet. To read a clock costs as much as to find the flow, and most
 * packets need the time only to see that their life is not over: for that, and for
 * flow.last_ns, the kernel's count of ticks will do, which is read in place. When it was
 * zero the sweep program looks up now and then, and before it the first packet: the count
 * stands still while the machine is suspended. One tick is taken off, or the time would
 * be ahead by what has passed of the one that was looked up in. */
static __always_inline void set_tick_zero(void)
{
	__u64 ticks = bpf_jiffies64(), now = bpf_ktime_get_boot_ns();

	if (bpf_jiffies64() == ticks) /* else long may have passed in between */
		tick_zero_ns = now - (ticks + 1) * cfg.tick_ns;
}

static __always_inline __u64 tick_time(void)
{
	return bpf_jiffies64() * cfg.tick_ns + tick_zero_ns;
}

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
		t->ns = tick_time();
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

static __always_inline void packet_key(struct scratch *work)
{
	const struct packet *p = &work->packet;
	struct names n = {
		.src = { p->src[0], p->src[1] }, .dst = { p->dst[0], p->dst[1] },
		.src_mac = mac_word(p->eth.h_source), .dst_mac = mac_word(p->eth.h_dest),
		.src_port = p->src_port, .dst_port = p->dst_port,
		.version = p->version, .proto = p->proto, .has_ports = p->has_ports,
	};

	work->side = !make_key(&n, &work->sample.key, &work->print);
}

static __always_inline __u64 wire_bytes(const struct packet *p)
{
	if (p->samples == 1)
		return (__u64)p->segments * p->size;
	return p->payload + (__u64)p->segments * p->headers;
}

/* Is there an entry of key's flow in f? What is in f can change under a packet that has
 * come while user space deletes: see check_entry. */
static __always_inline bool entry_of(const struct flow_key *key, const struct flow *f)
{
	return f && same_flow(key, &f->key);
}

/* key's entry is at place. */
static __always_inline bool sibling_marked(const struct flow_key *key, __u64 place)
{
	struct flow *f;

	place ^= PLACE_ALT;
	f = bpf_map_lookup_elem(&flows, &place);
	return entry_of(key, f) && life_marked(f->life);
}

/* The place where a stray entry of the packet's flow is, 0: nowhere. */
static __always_inline __u32 find_stray(struct scratch *work)
{
	struct flow *f;
	__u64 place;

	for (__u32 i = 1; i < PLACES; i++) {
		place = work->print | i;
		f = bpf_map_lookup_elem(&flows, &place);
		if (entry_of(&work->sample.key, f))
			return i;
	}
	return 0;
}

/* Moves what total[side] holds to the counters that cannot overflow. Whatever comes
 * meanwhile is in one of the two; what another CPU takes out of both just then, because
 * the life ends, has its place in the flow's next life. */
static __always_inline void spill(struct flow *f, __u64 side)
{
	__u64 total = __sync_lock_test_and_set(&f->total[side & 1].word, 0);

	__sync_fetch_and_add(&f->packets[side & 1], total >> TOTAL_SHIFT);
	__sync_fetch_and_add(&f->bytes[side & 1], total_bytes(total));
}

/* Adds wire packets, fewer than TOTAL_MOST_PACKETS of fewer than TOTAL_MOST_BYTES. Whoever
 * sees a part half full moves both out, so that until that is done each CPU can add once. */
static __always_inline void add_total(struct flow *f, __u64 side, __u64 packets, __u64 bytes)
{
	__u64 add = packets << TOTAL_SHIFT | bytes;
	__u64 half = 1ULL << 63 | 1ULL << (TOTAL_SHIFT - 1);

	if ((__sync_fetch_and_add(&f->total[side].word, add) + add) & half)
		spill(f, side);
}

enum outcome {
	ADDED,     /* the packet is in the life */
	ELSEWHERE, /* another attachment owns this direction */
	CLOSING,   /* the life is marked */
	AGAIN,     /* the entry has just been deleted, or opened by another CPU */
	TAKEN,     /* the entry is another flow's */
	REFUSED,   /* there is no room for another life */
};

/* Ends the life in f, which is past its time, and begins the next with p. */
static __always_inline enum outcome roll(struct scratch *work, struct flow *f, __u64 now,
					 struct counters *c)
{
	const struct flow_key *key = &work->sample.key;
	struct grant *g = &work->grant;
	__u64 other = ~work->side & 1;

	for (__u64 i = 0; i < ROLL_TRIES; i++) {
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
			if (sibling_marked(key, work->print | key->alt))
				return ADDED;
			if (swap_life(f, life, life | LIFE_MARKED))
				return CLOSING;
			continue;
		}
		e->owner = work->owner; /* in emit_close it costs 6.1's verifier six times as much */
		*g = (struct grant){ now / 1000, 0, min_u32(cfg.samples, work->packet.samples) };
		if (swap_life(f, life, new_life(g->first_us, g->count, life_payer(life)))) {
			/* A direction that its owner has not carried all life long is free. */
			if (!emit_close(e, key, f, life, last_ns, other, c))
				f->owner[other] = 0;
			note_record(find_share(payer_mac(key, life_payer(life))));
			c->opened++;
			return ADDED;
		}
		g->count = 0;
		bpf_ringbuf_discard(e, BPF_RB_NO_WAKEUP);
	}
	return ADDED; /* past its lifetime; unreachable but for a storm of swaps */
}

/* Takes samples of the life in f: life, index and state by one atomic add.
 * Adds of several CPUs at once can exceed cfg.samples; the excess is no
 * sample, and user space clamps what it reads. */
static __always_inline enum outcome take(struct flow *f, __u32 samples, struct grant *g)
{
	__u64 add = (__u64)min_u32(cfg.samples, samples) << LIFE_TAKEN_SHIFT;
	__u64 life = __sync_fetch_and_add(&f->life, add);

	if (life_marked(life)) {
		__sync_fetch_and_add(&f->life, -add);
		return CLOSING;
	}
	g->first_us = life_first(life);
	g->index = life_taken(life);
	if (g->index < cfg.samples)
		g->count = min_u32(cfg.samples - g->index, samples);
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
static __always_inline enum outcome check_entry(const struct scratch *work, struct flow *f, __u64 *life)
{
	__u64 place = work->print | work->sample.key.alt;
	struct flow *again;

	if (!work->closing) {
		*life = read_life(f);
		return same_flow(&work->sample.key, &f->key) ? ADDED : TAKEN;
	}
	*life = __sync_fetch_and_or(&f->life, 0);
	again = bpf_map_lookup_elem(&flows, &place);
	if (!again || again != f)
		return AGAIN;
	barrier_var(again); /* read through what was found: then no processor reads it before */
	return same_flow(&work->sample.key, &again->key) ? ADDED : TAKEN;
}

/* Tries to add the packet to the life in f. work->grant says which samples it has taken of it. */
static __always_inline enum outcome add(struct scratch *work, struct flow *f, struct counters *c)
{
	const struct packet *p = &work->packet;
	struct clock *t = &work->clock;
	__u64 side = work->side & 1;
	__u32 owner = work->owner, holder;
	enum outcome o;
	__u64 life, bytes;
	bool sampled;

	o = check_entry(work, f, &life);
	if (o != ADDED)
		return o;
	holder = *(volatile __u32 *)&f->owner[side];
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
		o = roll(work, f, t->ns, c);
	else if (sampled)
		o = take(f, p->samples, &work->grant);
	if (o != ADDED)
		return o;
	if (f->last_ns < t->ns) /* the coarse clock can be behind an earlier packet */
		f->last_ns = t->ns;
	bytes = wire_bytes(p);
	if (p->segments < TOTAL_MOST_PACKETS && bytes < TOTAL_MOST_BYTES) {
		add_total(f, side, p->segments, bytes);
	} else {
		__sync_fetch_and_add(&f->packets[side], p->segments);
		__sync_fetch_and_add(&f->bytes[side], bytes);
	}
	return ADDED;
}

/* Opens a life with p in it, unless the table is full or the rest of it is for
 * others. */
static __always_inline enum outcome open_life(struct scratch *work, struct counters *c)
{
	const struct flow_key *key = &work->sample.key;
	const struct packet *p = &work->packet;
	__u64 now = exact_ns(&work->clock);
	struct grant *g = &work->grant;
	struct flow *f = &work->fresh;
	__u64 place = work->print | key->alt;
	__u64 side = work->side & 1;
	enum payer payer;
	int err; /* before Linux 6.4 the upper half of a map helper's result is not its sign */

	if (!take_entry(key, !side, work->closing, &payer, c))
		return REFUSED;
	if (!tick_zero_ns)
		set_tick_zero();
	*g = (struct grant){ now / 1000, 0, min_u32(cfg.samples, p->samples) };
	__builtin_memset(f, 0, sizeof(*f));
	f->key = *key;
	f->life = new_life(g->first_us, g->count, payer);
	f->last_ns = now;
	f->packets[side] = p->segments;
	f->bytes[side] = wire_bytes(p);
	f->owner[side] = work->owner;
	/* Raised before the entry is there, so that no packet can miss it. */
	if (key->alt)
		__sync_fetch_and_add(&alt_created, 1);
	err = bpf_map_update_elem(&flows, &place, f, BPF_NOEXIST);
	if (!err) {
		c->opened++;
		c->collided += !!(key->alt & PLACE_SECOND);
		return ADDED;
	}
	if (key->alt)
		__sync_fetch_and_add(&alt_created, -1);
	give_entry(key, payer);
	return err == -EEXIST ? AGAIN : REFUSED;
}

/* One try to put the packet into a life of its flow; f is what is at the place of its
 * key. If that is not the flow's, its entry can be a stray: at another place. */
static __always_inline enum outcome try_entry(struct scratch *work, struct flow *f,
					      struct counters *c)
{
	struct flow_key *key = &work->sample.key;
	enum outcome o;

	work->grant.count = 0;
	if (!work->looked && alt_created != alt_deleted && !entry_of(key, f)) {
		__u32 stray = find_stray(work);

		work->looked = true;
		if (stray) {
			key->alt = stray;
			return AGAIN;
		}
	}
	o = f ? add(work, f, c) : open_life(work, c);
	if (o == TAKEN) {
		work->looked = true;
		key->alt ^= PLACE_SECOND;
	} else if (o == CLOSING) {
		work->late = work->looked = true;
		key->alt ^= PLACE_ALT;
	}
	return o;
}

/* What is at the place of the packet's key. */
static __always_inline struct flow *find_entry(const struct scratch *work)
{
	__u64 place = work->print | work->sample.key.alt;

	return bpf_map_lookup_elem(&flows, &place);
}

/* Puts the packet into a life of its flow. A try fails
 * on a mark, or when another CPU opens the entry first. What is marked while the packet
 * is here stays until it is done, so more failures than tries need a run that outlasts
 * a lifetime. Call it last, for wake_later. */
static __always_inline void count_packet(const struct hook *h, struct scratch *work,
					 struct counters *c)
{
	const struct packet *p = &work->packet;
	enum outcome o = AGAIN;

	work->clock = (struct clock){};
	work->before = c->ring_bytes;
	work->closing = closing; /* before the look at the entry that it holds for */
	work->looked = work->late = false;
	/* What comes out goes by way of a map, where the verifier cannot see it: else it would
	 * follow each outcome into the next try. */
	for (__u64 i = 0; i < COUNT_TRIES && (o == AGAIN || o == CLOSING || o == TAKEN); i++) {
		work->outcome = try_entry(work, find_entry(work), c);
		barrier();
		o = work->outcome;
	}
	if (o == ELSEWHERE) {
		c->duplicate += p->segments;
		return;
	}
	if (o != ADDED) {
		c->table_full += p->segments;
		c->refused++;
		c->collided += o == TAKEN;
		return;
	}
	c->counted += p->segments;
	if (p->truncated)
		c->truncated += p->segments;
	if (p->fragment)
		c->fragment += p->segments;
	if (work->late)
		c->late += p->segments;
	if (work->grant.count)
		emit_samples(h, work, c);
	if (c->ring_bytes != work->before)
		wake_later(h);
}

/* A packet that the fast path has left. */
static __always_inline void count_rest(const struct hook *h)
{
	__u32 zero = 0;
	struct counters *c = bpf_map_lookup_elem(&packet_counters, &zero);
	struct scratch *work = bpf_map_lookup_elem(&scratch, &zero);
	enum verdict v = COUNTED;

	if (!c || !work)
		return;
	if (!work->read) {
		struct hook here = *h;

		here.ethernet = h->xdp || work->ethernet;
		v = parse(&here, &work->packet);
	}
	cut(h, v, &work->packet);
	c->seen += work->packet.segments;
	if (v == NOT_IP) {
		c->not_ip += work->packet.segments;
		return;
	}
	if (v == MALFORMED) {
		c->malformed += work->packet.segments;
		return;
	}
	packet_key(work);
	count_packet(h, work, c);
}
