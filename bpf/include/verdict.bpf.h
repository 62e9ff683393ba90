/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef EDGE64_VERDICT_BPF_H
#define EDGE64_VERDICT_BPF_H

#include "base.bpf.h"
#include "counters.bpf.h"
#include "frame.bpf.h"

/* How a packet leaves the program, each way counted once. */

static __always_inline bool reason_goes_up(int reason)
{
	return reason >= REASON_UP_NEIGHBOUR_UNKNOWN && reason <= REASON_UP_NOT_LINEAR;
}

/* Reasons of next_hop_of after which the packet is translated all the same, for the kernel. */
static __always_inline bool reason_is_no_next_hop(int reason)
{
	return reason >= REASON_UP_NEIGHBOUR_UNKNOWN && reason <= REASON_UP_EGRESS_NOT_OURS;
}

static __always_inline int verdict_pass(const struct packet *p)
{
	count_job(p, JOB_PASS);
	return XDP_PASS;
}

static __always_inline int verdict_drop(struct xdp_md *ctx, const struct packet *p, int reason)
{
	trace(ctx, p, reason, JOB_DROP);
	/* RFC 7915 section 4.5 wants addresses and ports of these logged. */
	if (unlikely(reason == REASON_UDP_ZERO_CHECKSUM))
		trace_write(ctx, port_of(p)->ifindex, p->frame_bytes, reason << 8 | JOB_DROP,
			    TRACE_LOG);
	count_job(p, JOB_DROP);
	count_reason(p, reason);
	return XDP_DROP;
}

static __always_inline int verdict_up(struct xdp_md *ctx, const struct packet *p, int reason)
{
	trace(ctx, p, reason, JOB_UP);
	count_job(p, JOB_UP);
	count_reason(p, reason);
	return XDP_PASS;
}

static __always_inline int verdict_sent(struct xdp_md *ctx, const struct packet *p, __u32 job,
					const struct next_hop *n)
{
	trace(ctx, p, REASON_NONE, job);
	count_job(p, job);
	return send(ctx, n);
}

#endif
