/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the kernel half and package loader share: sizes, map values, ring
 * events. Go gets every type from here through bpf2go; none is written twice.
 * Numbers are in host order, addresses are bytes as on the wire. */
#pragma once

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "little-endian only: keys are built from words, see store_end and make_key"
#endif

/* Upper bounds that the verifier needs; what is used is in struct config. */
enum limits {
	MAX_SAMPLES = 32,   /* samples of one life */
	MAX_PREFIX  = 1000, /* payload bytes of one sample */
};

/* The parts of a life word, see struct flow. */
enum life_word {
	LIFE_MARKED      = 0x1,   /* being closed: nothing is added any more */
	LIFE_PAYER_SHIFT = 1,     /* enum payer */
	LIFE_PAYER       = 0x3,   /* mask of the above, after the shift */
	LIFE_TAKEN_SHIFT = 3,     /* samples taken so far */
	LIFE_TAKEN       = 0xfff, /* mask of the above, after the shift; can exceed cfg.samples */
	LIFE_FIRST_SHIFT = 15,    /* first packet, us of CLOCK_BOOTTIME: 49 bits, 17 years */
};

/* Whose share of the flow table an entry is taken from; see share.h. */
enum payer {
	PAYER_NONE, /* no MAC of its own */
	PAYER_A,    /* key.a.mac */
	PAYER_B,    /* key.b.mac */
};

/* The parts of struct mac_share's word. */
enum mac_word {
	MAC_HELD   = 0xfffffff,  /* mask: entries of the flow table it holds */
	MAC_EARLY  = 0x10000000, /* first seen while there was room enough */
	MAC_RECORD = 0x20000000, /* at least one of its lives has ended */
	MAC_GONE   = 0x40000000, /* being forgotten: nothing is added any more */
};

/* What one MAC holds of the flow table. */
struct mac_share {
	__u32 word; /* enum mac_word; changed by atomic operations only */
	__u32 pad;
	__u64 freed_us; /* when it last gave an entry back, CLOCK_BOOTTIME */
};

/* One end of a flow. mac is zero unless addr is local. An IPv4 address fills
 * the first four bytes. The packet path writes an end as three words. */
struct flow_end {
	__u8  addr[16] __attribute__((aligned(8)));
	__u8  mac[6];
	__u16 port;
};

/* A flow's identity. a and b stand in an order that both directions share (bi)
 * or are sender and receiver (uni). alt tells the entries of a flow apart, see
 * enum place. */
struct flow_key {
	struct flow_end a, b;
	__u8 version; /* 4 or 6 */
	__u8 proto;   /* IPv6: the last header reached */
	__u8 has_ports;
	__u8 alt;
	__u8 pad[4]; /* zero: a key is compared in words */
};

/* Where in the flow table an entry is: its key there is the fingerprint of its flow,
 * whose last bits are these. flow_key.alt has them too. */
enum place {
	PLACE_ALT    = 0x1, /* the flow's next life, while the one before is being closed */
	PLACE_SECOND = 0x2, /* the first place was another flow's, of the same fingerprint */
	PLACES       = 4,
};

/* Wire packets and the bytes of their IP total lengths, added in one atomic operation.
 * Both are moved out when one reaches half of what it can hold (see spill). */
enum total_word {
	TOTAL_SHIFT        = 36,      /* packets are above it, bytes below */
	TOTAL_MOST_PACKETS = 1 << 10, /* of one add: while those are moved out, 2^17 of these ... */
	TOTAL_MOST_BYTES   = 1 << 20, /* ... or 2^15 have room, one of each CPU */
};

union total {
	__u64 word;
	struct {
		__u64 bytes : TOTAL_SHIFT, packets : 64 - TOTAL_SHIFT;
	} parts; /* for bpftool */
};

/* One life of a flow. Index 0 of each pair: packets sent by key.a. */
struct flow {
	struct flow_key key;
	__u64 life;       /* enum life_word; changed by compare-and-swap only */
	__u64 last_ns;    /* latest packet, CLOCK_BOOTTIME; see struct clock */
	union total total[2]; /* what is not in packets and bytes */
	__u32 owner[2];   /* attachment that carried the direction first, 0: none yet */
	__u64 packets[2]; /* wire packets */
	__u64 bytes[2];   /* IP total lengths of the wire packets */
};

/* What the first field of every ring event says. */
enum event_kind {
	EVENT_SAMPLE = 1,
	EVENT_CLOSE  = 2,
};

/* Ring event: one of a life's first packets. The record ends with the payload. */
struct sample {
	__u32 kind;
	__u32 size;     /* IP total length of the wire packet */
	struct flow_key key;
	__u64 first_us; /* names the life, with key */
	__u64 stamp_ns; /* CLOCK_BOOTTIME */
	__u16 index;    /* place among the life's first packets */
	__u8  from_a;   /* sent by key.a */
	__u8  pad[5];
	__u8  payload[MAX_PREFIX]; /* transport payload, as much as the record holds */
};

/* Ring event: a life that ended because a packet came after its lifetime. */
struct close {
	__u32 kind;
	__u32 owner; /* of that packet's direction */
	struct flow_key key;
	__u64 last_ns;
	__u64 life; /* as it was: first packet, samples taken */
	__u64 packets[2];
	__u64 bytes[2];
};

/* Per-CPU counters, in wire packets unless said otherwise. Every packet raises
 * seen and exactly one of the next five. */
struct counters {
	__u64 seen;
	__u64 counted;    /* added to a life */
	__u64 not_ip;
	__u64 malformed;  /* link or IP header incomplete or impossible */
	__u64 table_full; /* of lives that were refused */
	__u64 duplicate;  /* another attachment owns this direction of the flow */
	__u64 truncated;  /* of counted: frame shorter than the IP length claims */
	__u64 fragment;   /* of counted: first or later fragment */
	__u64 late;       /* of counted: met a life that was being closed */
	__u64 sent;       /* samples in the ring */
	__u64 ring_full;  /* samples that found the ring full */
	__u64 ring_bytes; /* written to the ring */
	__u64 opened;     /* lives */
	__u64 refused;    /* lives: one for each packet that could not open one */
	__u64 over_share;   /* of refused: its MAC holds as much as one may */
	__u64 over_reserve; /* of refused: what is left is for known MACs */
	__u64 collided;   /* lives opened at their second place, or refused since that was taken too */
};

/* Words of one row of config.secret: a constant, and one for each 32 bits of a key. */
#define SECRET_WORDS 14

/* Load-time constants. */
struct config {
	__u64 secret[2][SECRET_WORDS]; /* random, see fingerprint */
	__u64 lifetime_ns;
	__u64 tick_ns;       /* from one tick to the next */
	__u64 coarse_ns;     /* what the time told by ticks can be late at most */
	__u64 wake_ns;       /* wake the reader so long after the first event that it has not read */
	__u32 samples;       /* per life, at most MAX_SAMPLES */
	__u32 prefix;        /* payload bytes per sample, at most MAX_PREFIX */
	__u32 wake_bytes;    /* wake the reader each time a CPU has written this much; a power of two */
	__u32 mac_flows;     /* entries of the flow table that one MAC may hold */
	__u32 open_flows;    /* entries that any MAC may take; the rest is for known ones */
	__u32 early_flows;   /* a MAC first seen when fewer were taken can become known ... */
	__u32 early_macs;    /* ... if also fewer MACs than this were listed */
	__u8  uni;           /* keys are directional */
	__u8  private_local; /* RFC 1918 and RFC 4193 addresses are local */
	__u8  pad[2];
};

/* Key of the local prefixes beside the built-in ones. */
struct prefix_key {
	__u32 bits;    /* 32 for the version + those of the prefix */
	__u32 version; /* 4 or 6 */
	__u8  addr[16];
};

/* A life that is being closed. */
struct marked_life {
	__u64 place;      /* its key in the flow table */
	struct flow flow; /* filled in by the collect program; life 0: not deleted */
};

/* Argument of the sweep program. */
struct sweep_args {
	__u64 first_before_us; /* in: mark lives whose first packet is older */
	__u64 freed_before_us; /* in: forget known MACs that hold nothing since then */
	__u32 limit;           /* in: room in the list of marked lives; 0: change nothing */
	__u32 marked;          /* out: lives listed */
	__u32 gone;            /* out: MACs about to be forgotten */
	__u32 left;            /* out: lives too old that wait for the flow's other one, which is marked */
	__u32 gone_ifindex;    /* in: interface whose directions are free again, 0: none */
	__u32 clock_only;      /* in: look up the time for the programs, walk through nothing */
	__u64 open;            /* out: lives going on, those just marked left out */
	__u64 open_packets;    /* out: wire packets of those */
	__u64 oldest_us;       /* out: first packet of the oldest of those, without any the greatest number */
};

/* Argument of the collect program. */
struct collect_args {
	__u32 marked;    /* in: lives that the sweep program has listed */
	__u32 collected; /* out: those of them that were read and deleted; the rest stays marked */
};
