/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef EDGE64_MESSAGE_BPF_H
#define EDGE64_MESSAGE_BPF_H

#include "base.bpf.h"
#include "checksum.bpf.h"
#include "frame.bpf.h"
#include "upper.bpf.h"

/*
 * ICMP errors are built whole in scratch memory and then put in the place of the packet: they are
 * short (at most 1280 octets), rare, and change in too many places for anything else.
 */

#define LIMIT_IPV6 1280
#define LIMIT_IPV4 576

/* The sum over octets [from, to) of the message; zeroes what pads it to four octets. */
__noinline __s64 csum_message(struct scratch *s __nonnull_arg, __u32 from, __u32 to)
{
	__s64 sum = 0;

	if (to > LIMIT_IPV6 || from > to)
		return -1;
	opaque(to);
	if (to <= LIMIT_IPV6)
		*(__u32 *)(s->out + to) = 0;
	for (int i = 0; i < LIMIT_IPV6 / CSUM_CHUNK + 1 && from < to; i++) {
		__u32 n = to - from;

		if (n > CSUM_CHUNK)
			n = CSUM_CHUNK;
		n = (n + 3) & ~3u;
		opaque(n);
		opaque(from);
		if (n == 0 || n > CSUM_CHUNK || from > LIMIT_IPV6)
			return -1;
		sum = bpf_csum_diff(NULL, 0, (__be32 *)(s->out + from), n, sum);
		if (sum < 0)
			return -1;
		sum &= 0xffffffff;
		from += n;
	}
	return sum;
}

/* Copies length octets of the frame from offset into the message at at. */
static __always_inline int quote(struct xdp_md *ctx, struct scratch *s, __u32 at, __u32 offset,
				 __u32 length)
{
	if (!length)
		return 0;
	opaque(length);
	opaque(at);
	if (at > 256 || length > LIMIT_IPV6 || length == 0)
		return -1;
	return bpf_xdp_load_bytes(ctx, offset, s->out + at, length);
}

/* Puts total octets of message behind a new Ethernet header, in the place of the packet. */
__noinline int replace_packet(struct xdp_md *ctx, struct packet *p __nonnull_arg,
			      struct scratch *s __nonnull_arg, struct next_hop *n, __u32 type_total)
{
	__u32 total = type_total & 0xffff;
	int reason;

	if (trim(ctx, p))
		return REASON_NO_ROOM;
	if (total < p->l3_bytes) {
		if (bpf_xdp_adjust_tail(ctx, (int)total - (int)p->l3_bytes))
			return REASON_NO_ROOM;
		reason = reframe(ctx, p, n, type_total >> 16, 0, 0);
	} else {
		reason = reframe(ctx, p, n, type_total >> 16, p->l3_bytes, total);
	}
	if (reason)
		return reason;
	opaque(total);
	if (total == 0 || total > LIMIT_IPV6)
		return REASON_NO_ROOM;
	return bpf_xdp_store_bytes(ctx, l2_out(p, n), s->out, total) ? REASON_NO_ROOM : REASON_NONE;
}

/* Is the checksum of this ICMP message right? pseudo: the sum of its pseudo-header. */
static __always_inline bool icmp_checksum_ok(struct xdp_md *ctx, const struct packet *p,
					     __u64 pseudo)
{
	__u32 sum = csum_frame(ctx, p->l4, p->payload);

	return sum != CSUM_FAILED && csum_fold(sum + pseudo) == 0xffff;
}

#endif
