/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Events into the ring. Nothing here changes a life. */
#pragma once

/* The time of a packet, see flow.h. */
struct clock {
	__u64 ns; /* CLOCK_BOOTTIME; 0: not read yet */
	__u64 exact;
};

/* The samples that a packet has taken from a life. */
struct grant {
	__u64 first_us; /* names the life */
	__u32 index;    /* of the first of them */
	__u32 count;
};

/* What a packet program works on. On the stack it would be too large, and the
 * verifier would follow each way through the parser to the end of the program;
 * what is in a map it does not know, so that all of them meet. The sweep program
 * is preemptible and must not touch it. */
struct scratch {
	struct packet packet;
	struct clock  clock;   /* of the packet */
	struct sample sample;  /* its key is the packet's */
	__u64         before;  /* ring_bytes of this CPU, when the packet came */
	__u64         print;   /* the key's fingerprint */
	__u32         side;    /* 0: sent by key.a, else 1 */
	struct grant  grant;   /* the packet's samples */
	struct flow   fresh;   /* an entry about to be made */
	__u32         owner;   /* names the attachment: interface and direction */
	__u32         read;    /* the fast path has made packet */
	__u32         outcome; /* enum outcome, of the last try */
	bool          ethernet; /* see struct hook */
	bool          closing; /* when the packet came; see check_entry */
	bool          looked;  /* at both entries of the flow */
	bool          late;    /* met a life that was being closed */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

/* A wakeup costs more than everything else a packet does. An event itself wakes user space
 * only when this CPU has written another cfg.wake_bytes; else wake_later does. (To ask the
 * ring how much is waiting costs more.) */
static __always_inline __u64 wakeup(struct counters *c, __u32 bytes)
{
	__u64 before = c->ring_bytes, crossed;

	c->ring_bytes += bytes;
	crossed = -((before ^ c->ring_bytes) & ~(__u64)(cfg.wake_bytes - 1));
	barrier_var(crossed);
	/* Not a condition: the verifier of 6.1 follows each through all samples of a frame. */
	_Static_assert(BPF_RB_FORCE_WAKEUP == BPF_RB_NO_WAKEUP + 1, "flags of a wakeup");
	return BPF_RB_NO_WAKEUP + (crossed >> 63);
}

/* A sample that holds as much payload as there is room for: straight into the
 * ring, whose records are else copied from s. Payload that cannot be read is left
 * out, as that of shorter ones. False: the ring is full. It ends here for either
 * case: to go on in emit_sample is more than the verifier of 6.1 can follow. */
static __always_inline bool emit_full_sample(const struct hook *h, __u32 off,
					     struct sample *s, struct counters *c)
{
	struct sample *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e)
		return false;
	__builtin_memcpy(e, s, offsetof(struct sample, payload));
	if (load(h, off, e->payload, MAX_PREFIX)) {
		__u32 bytes = offsetof(struct sample, payload);

		bpf_ringbuf_discard(e, BPF_RB_NO_WAKEUP);
		return !bpf_ringbuf_output(&events, s, bytes, wakeup(c, bytes));
	}
	bpf_ringbuf_submit(e, wakeup(c, sizeof(*e)));
	return true;
}

/* The sample in s, with so many bytes of payload that lie at off, or the first of them. */
static __always_inline void emit_sample(const struct hook *h, struct sample *s, __u32 off,
					__u32 bytes, struct counters *c)
{
	__u32 record = offsetof(struct sample, payload);

	bytes = min_u32(bytes, cfg.prefix);
	if (bytes == MAX_PREFIX) {
		if (emit_full_sample(h, off, s, c))
			c->sent++;
		else
			c->ring_full++;
		return;
	}
	if (bytes) {
		/* The form that every verifier since 6.1 accepts: the range of m is
		 * known, and that m + 1 is not zero. */
		__u32 m = bytes - 1;

		barrier_var(m);
		if (m < MAX_PREFIX && !load(h, off, s->payload, m + 1))
			record += m + 1;
	}
	if (bpf_ringbuf_output(&events, s, record, wakeup(c, record)))
		c->ring_full++;
	else
		c->sent++;
}

/* What the samples that a packet has taken from a life have in common. */
static __always_inline void begin_samples(struct sample *s, const struct grant *g, __u64 now, __u32 side)
{
	s->kind = EVENT_SAMPLE;
	s->first_us = g->first_us;
	s->stamp_ns = now;
	s->from_a = ~side & 1;
}

/* The sample of the i-th wire packet of p. */
static __always_inline void emit_part(const struct hook *h, const struct packet *p, __u32 i,
				      struct sample *s, struct counters *c)
{
	__u32 from = i * p->segment, bytes = p->present;

	s->size = p->size;
	if (p->samples != 1) {
		bytes = min_u32(p->segment, p->payload - from);
		s->size = p->headers + bytes;
		bytes = from < p->present ? min_u32(bytes, p->present - from) : 0;
	}
	emit_sample(h, s, p->payload_off + from, bytes, c);
}

static __always_inline void emit_samples(const struct hook *h, struct scratch *work,
					 struct counters *c)
{
	const struct grant *g = &work->grant;
	struct sample *s = &work->sample;

	begin_samples(s, g, work->clock.ns, work->side);
	/* A frame that XDP sees is one wire packet. */
	for (__u32 i = 0; i < (h->xdp ? 1 : MAX_SAMPLES) && i < g->count; i++) {
		s->index = g->index + i;
		emit_part(h, &work->packet, i, s, c);
	}
}

static __always_inline __u64 total_bytes(__u64 word)
{
	return word & ((1ULL << TOTAL_SHIFT) - 1);
}

/* Room for a close event, taken before the life is ended: a life that cannot be
 * reported is not ended. */
static __always_inline struct close *reserve_close(void)
{
	return bpf_ringbuf_reserve(&events, sizeof(struct close), 0);
}

/* Totals are taken out of f, not copied: each packet is in exactly one close,
 * whatever other CPUs add meanwhile. Returns the packets of one side. */
static __always_inline __u64 emit_close(struct close *e, const struct flow_key *key,
					struct flow *f, __u64 life, __u64 last_ns, __u32 side,
					struct counters *c)
{
	__u64 packets;

	e->kind = EVENT_CLOSE;
	e->key = *key;
	e->life = life;
	e->last_ns = last_ns;
	for (int i = 0; i < 2; i++) {
		__u64 total = __sync_lock_test_and_set(&f->total[i].word, 0);

		e->packets[i] = __sync_lock_test_and_set(&f->packets[i], 0) + (total >> TOTAL_SHIFT);
		e->bytes[i] = __sync_lock_test_and_set(&f->bytes[i], 0) + total_bytes(total);
	}
	packets = side ? e->packets[1] : e->packets[0];
	bpf_ringbuf_submit(e, wakeup(c, sizeof(*e)));
	return packets;
}
