/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef EDGE64_CHECKSUM_BPF_H
#define EDGE64_CHECKSUM_BPF_H

#include "base.bpf.h"

/* One's complement sums (RFC 1071, 1624). Sums are of 16-bit words as they lie in memory. */

static __always_inline __u32 csum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
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
	const __u16 *w = (const __u16 *)ip;
	__u64 sum = 0;

#pragma unroll
	for (int i = 0; i < 10; i++)
		sum += w[i];
	return csum_fold(sum);
}

/* What there is of a quoted packet, and what becomes of it. */
struct inner {
	__u32 available; /* octets quoted of the IP packet */
	__u32 l4; /* where its upper layer starts in the quote */
	__u32 l4_bytes; /* quoted of the upper layer */
	__u32 payload; /* upper layer, by the packet's own lengths */
	__u8 proto;
	__u8 tos;
	__u8 ttl;
	__u8 fragment; /* enum fragment */
	__u8 more;
	__u8 has_fragment_header;
	__u16 offset;
	__u32 id; /* network order, IPv6's width */
	__u32 change; /* of the sum over the addresses */
	__u64 pseudo; /* sum of the IPv6 pseudo-header, for an echo */
};

struct error_job {
	struct addr6 source6;
	struct addr6 destination6;
	__be32 source4;
	__be32 destination4;
	__u32 mtu; /* of the route out, 0: unknown */
	int up;
};

#define CSUM_CHUNK 512
#define SCRATCH_BYTES 2048

/* Work space of one CPU: a message being built, and octets being summed. */
struct scratch {
	__u8 out[SCRATCH_BYTES];
	__u8 chunk[CSUM_CHUNK + 8];
	struct error_job job;
	struct inner inner;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

static __always_inline struct scratch *get_scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
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
	struct csum_walk w = {.ctx = ctx, .offset = offset, .length = length};

	bpf_loop(65536 / CSUM_CHUNK + 1, csum_step, &w, 0);
	return w.length ? CSUM_FAILED : csum_fold((__u32)w.sum);
}

#endif
