/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef EDGE64_CHECKSUM_BPF_H
#define EDGE64_CHECKSUM_BPF_H

#include "base.bpf.h"
#include "scratch.bpf.h"

/* One's complement sums (RFC 1071, 1624). Sums are of 16-bit words as they lie in memory. */

static __always_inline __u32 csum_fold(__u64 sum)
{
	/* Two halves to 33 bits, four quarters of that to 18, and twice the carries. */
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline __u64 csum_addr6(const struct addr6 *a)
{
	return (a->q[0] & 0xffffffff) + (a->q[0] >> 32) + (a->q[1] & 0xffffffff) + (a->q[1] >> 32);
}

/* The change from one sum to another, to add to the complement of a checksum. */
static __always_inline __u32 csum_change(__u64 from, __u64 to)
{
	return csum_fold(to + (__u16)~csum_fold(from));
}

static __always_inline __be16 csum_updated(__be16 checksum, __u32 change)
{
	return ~csum_fold((__u64)(__u16)~checksum + change);
}

/* The share of a pseudo-header that is not addresses (RFC 8200 section 8.1). */
static __always_inline __u64 csum_pseudo(__u32 length, __u8 proto)
{
	return (__u64)bpf_htonl(length) + bpf_htons(proto);
}

static __always_inline __u32 csum_ipv4_head(const struct ipv4_head *ip)
{
	const __u32 *w = (const __u32 *)ip;

	return csum_fold((__u64)w[0] + w[1] + w[2] + w[3] + w[4]);
}

#define CSUM_FAILED (~0u)

struct csum_walk {
	struct xdp_md *ctx;
	__u32 offset;
	__u32 length;
	__s64 sum;
};

static long csum_step(__u32 index __attribute__((unused)), struct csum_walk *w)
{
	struct scratch *s = get_scratch();
	__u32 n = w->length < CSUM_CHUNK ? w->length : CSUM_CHUNK;

	opaque(n);
	if (!s || n == 0 || n > CSUM_CHUNK)
		return 1;
	if (bpf_xdp_load_bytes(w->ctx, w->offset, s->chunk, n))
		return 1;
	*(__u32 *)(s->chunk + n) = 0;
	w->sum = bpf_csum_diff(NULL, 0, (__be32 *)s->chunk, (n + 3) & ~3u, (__u32)w->sum);
	w->offset += n;
	w->length -= n;
	return 0;
}

/*
 * The folded sum of length octets of the frame from offset on, in whatever buffer they lie, or
 * CSUM_FAILED where they are not there. A global function: verified once, not at each call.
 */
__noinline __u32 csum_frame(struct xdp_md *ctx, __u32 offset, __u32 length)
{
	struct csum_walk w = { .ctx = ctx, .offset = offset, .length = length };

	bpf_loop(65536 / CSUM_CHUNK + 1, csum_step, &w, 0);
	return w.length ? CSUM_FAILED : csum_fold((__u32)w.sum);
}

#endif
