/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The half of closing that user space starts, as programs that it runs: sweep
 * marks what is over, collect reads and deletes it. In between user space waits
 * until every packet program that may not have seen a mark is done. */
#pragma once

/* Marks a life that is too old, unless the flow's other one is marked: late
 * packets must have somewhere to go. */
static __always_inline bool mark_old(__u64 place, struct flow *f, __u64 life, struct sweep_args *a)
{
	if (life_first(life) >= a->first_before_us)
		return false;
	if (sibling_marked(&f->key, place)) {
		a->left++;
		return false;
	}
	return swap_life(f, life, life | LIFE_MARKED);
}

/* The directions that a lost interface has carried go to whoever carries them now. */
static __always_inline void free_owner(struct flow *f, __u32 ifindex)
{
	for (int i = 0; i < 2; i++) {
		__u32 owner = f->owner[i];

		if (ifindex && owner >> 1 == ifindex)
			__sync_val_compare_and_swap(&f->owner[i], owner, 0);
	}
}

/* The lesser of two numbers below 2^63, without a branch for the verifier to follow. */
static __always_inline __u64 least(__u64 a, __u64 b)
{
	__s64 more = a - b;

	return b + (more & more >> 63);
}

/* One life as the sweep program sees it: marked if it is too old, and listed for
 * the collect program. What is not listed counts as open. A full list ends the walk. */
static long sweep_life(void *map, __u64 *place, struct flow *f, struct sweep_args *a)
{
	__u64 life = read_life(f);

	if (a->limit && a->marked >= a->limit)
		return 1;
	free_owner(f, a->gone_ifindex);
	if (a->limit && (life_marked(life) || mark_old(*place, f, life, a))) {
		struct marked_life *slot = bpf_map_lookup_elem(&marked, &a->marked);

		if (slot) {
			slot->place = *place;
			slot->flow.life = 0;
			a->marked++;
			return 0;
		}
	}
	a->open++;
	a->oldest_us = least(a->oldest_us, life_first(life));
	a->open_packets += f->packets[0] + f->packets[1] +
			   (f->total[0].word >> TOTAL_SHIFT) + (f->total[1].word >> TOTAL_SHIFT);
	return 0;
}

/* One MAC: marked gone if it holds nothing and has no claim to be remembered. */
static long sweep_mac(void *map, __u64 *mac, struct mac_share *s, struct sweep_args *a)
{
	__u32 word = *(volatile __u32 *)&s->word;

	if (!*mac || word & MAC_HELD || (mac_known(word) && s->freed_us >= a->freed_before_us))
		return 0;
	if (word & MAC_GONE || __sync_val_compare_and_swap(&s->word, word, word | MAC_GONE) == word)
		a->gone++;
	return 0;
}

/* One listed life: read into the list, deleted, its entry given back. */
static long collect_life(__u32 i, struct collect_args *a)
{
	struct marked_life *m = bpf_map_lookup_elem(&marked, &i);
	struct flow *f = m ? bpf_map_lookup_elem(&flows, &m->place) : NULL;
	struct mac_share *s;
	struct flow flow;

	if (!m || !f)
		return 0;
	flow = *f;
	if (bpf_map_delete_elem(&flows, &m->place))
		return 0;
	m->flow = flow;
	if (flow.key.alt)
		__sync_fetch_and_add(&alt_deleted, 1);
	s = give_entry(&m->flow.key, life_payer(m->flow.life));
	if (s)
		s->freed_us = bpf_ktime_get_boot_ns() / 1000;
	note_record(s);
	a->collected++;
	return 0;
}

static long collect_mac(void *map, __u64 *mac, struct mac_share *s, void *unused)
{
	__u64 key = *mac;

	if (s->word & MAC_GONE && !bpf_map_delete_elem(&macs, &key))
		__sync_fetch_and_add(&macs_used, -1);
	return 0;
}
