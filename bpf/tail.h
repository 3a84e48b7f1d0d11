/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Programs that go on to another one, and do not come back. */
#pragma once

/* An array through which programs go on to the one of their type that it holds. */
#define GOES_ON_TO(array, program)                 \
	struct {                                   \
		__uint(type, BPF_MAP_TYPE_PROG_ARRAY); \
		__uint(max_entries, 1);                \
		__type(key, __u32);                    \
		__array(values, int(void *));          \
	} array SEC(".maps") = { .values = { (void *)&program } }

/* Goes on through the array of the hook's type; it comes back only if that is empty. */
static __always_inline void go_on(const struct hook *h, void *tc, void *xdp)
{
	if (h->xdp)
		bpf_tail_call(h->ctx, xdp, 0);
	else
		bpf_tail_call(h->ctx, tc, 0);
}
