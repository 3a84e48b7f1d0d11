/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Who may take an entry of the flow table. Open flows are never evicted, so a
 * flood must not be let in to begin with:
 *
 *   share    one MAC holds at most cfg.mac_flows entries.
 *   reserve  entries beyond cfg.open_flows are for known MACs: those with at
 *            least one ended life that were first seen in quiet times.
 *
 * The MAC that opens a flow pays for its entry: the sender's if its end is local,
 * else the receiver's. The life word remembers which. Only creating and deleting
 * an entry, and a rollover, come here.
 *
 * A MAC that holds nothing is forgotten in two steps, as lives are closed: the
 * sweep program marks it gone, by compare-and-swap with a count of zero; the
 * collect program deletes it once no packet can hold it any more. A flow opened
 * in between has no MAC of its own. */
#pragma once

static __always_inline __u64 end_mac(const struct flow_end *e)
{
	return *(const __u64 *)e->mac & 0xffffffffffff; /* without the port */
}

static __always_inline enum payer payer_of(const struct flow_key *key, bool from_a)
{
	bool a = end_mac(&key->a), b = end_mac(&key->b);

	if (a && (from_a || !b))
		return PAYER_A;
	return b ? PAYER_B : PAYER_NONE;
}

static __always_inline __u64 payer_mac(const struct flow_key *key, enum payer payer)
{
	if (payer == PAYER_NONE)
		return 0;
	return end_mac(payer == PAYER_A ? &key->a : &key->b);
}

static __always_inline bool mac_known(__u32 word)
{
	return word & MAC_EARLY && word & MAC_RECORD;
}

static __always_inline struct mac_share *find_share(__u64 mac)
{
	return bpf_map_lookup_elem(&macs, &mac);
}

/* Lists a MAC; NULL when there is no room for it. */
static __always_inline struct mac_share *add_share(__u64 mac, __u64 flows_before)
{
	struct mac_share s = {};
	__u64 macs_before = __sync_fetch_and_add(&macs_used, 1);

	if (flows_before < cfg.early_flows && macs_before < cfg.early_macs)
		s.word = MAC_EARLY;
	if (bpf_map_update_elem(&macs, &mac, &s, BPF_NOEXIST))
		__sync_fetch_and_add(&macs_used, -1); /* full, or another CPU was faster */
	return find_share(mac);
}

enum hold { HELD, OVER_SHARE, GONE };

/* s is the entry of mac, found by a packet that has seen closing as given; for why
 * it is looked up again, and read how, see check_entry. */
static __always_inline enum hold hold(struct mac_share *s, __u64 mac, bool closing)
{
	__u32 word = closing ? __sync_fetch_and_or(&s->word, 0) : *(volatile __u32 *)&s->word;

	if (word & MAC_GONE || (closing && find_share(mac) != s))
		return GONE;
	word = __sync_fetch_and_add(&s->word, 1);
	if (!(word & MAC_GONE) && (word & MAC_HELD) < cfg.mac_flows)
		return HELD;
	__sync_fetch_and_add(&s->word, -1);
	return word & MAC_GONE ? GONE : OVER_SHARE;
}

/* Takes an entry for a flow about to be opened and says who pays; false: refused.
 * What is taken and then not used must be given back. */
static __always_inline bool take_entry(const struct flow_key *key, bool from_a, bool closing,
				       enum payer *payer, struct counters *c)
{
	__u64 before = __sync_fetch_and_add(&flows_used, 1), mac;
	struct mac_share *s = NULL;
	enum hold got = GONE;

	*payer = payer_of(key, from_a);
	mac = payer_mac(key, *payer);
	if (mac)
		s = find_share(mac);
	if (before >= cfg.open_flows && !(s && mac_known(s->word))) {
		c->over_reserve++;
		goto refuse;
	}
	if (mac && !s)
		s = add_share(mac, before);
	if (s)
		got = hold(s, mac, closing);
	if (got == GONE) { /* no MAC, or not listed */
		*payer = PAYER_NONE;
		s = find_share(0);
		if (s)
			got = hold(s, 0, false);
	}
	if (got == HELD)
		return true;
	c->over_share++;
refuse:
	__sync_fetch_and_add(&flows_used, -1);
	return false;
}

/* Gives an entry back. */
static __always_inline struct mac_share *give_entry(const struct flow_key *key, enum payer payer)
{
	struct mac_share *s = find_share(payer_mac(key, payer));

	if (s)
		__sync_fetch_and_add(&s->word, -1);
	__sync_fetch_and_add(&flows_used, -1);
	return s;
}

/* A life that this MAC pays for has ended. */
static __always_inline void note_record(struct mac_share *s)
{
	if (s && !(s->word & MAC_RECORD))
		__sync_fetch_and_or(&s->word, MAC_RECORD);
}
