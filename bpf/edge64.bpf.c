// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The XDP program: which job a packet is, and how it ends. docs/translation.md. */

#include "addresses.bpf.h"
#include "base.bpf.h"
#include "frame.bpf.h"
#include "hairpin.bpf.h"
#include "own_errors.bpf.h"
#include "translate.bpf.h"
#include "verdict.bpf.h"

static __always_inline int end(struct xdp_md *ctx, struct packet *p, int reason, int action,
			       bool ipv4)
{
	if (likely(!reason))
		return action;
	if (reason_goes_up(reason))
		return verdict_up(ctx, p, reason);
	return verdict_refused(ctx, p, reason, ipv4);
}

static __always_inline int handle_ipv4(struct xdp_md *ctx, struct packet *p)
{
	const struct ipv4_head *ip = packet_at(ctx, p->l2 & 0x1f);
	struct range *to;
	int reason, action = XDP_DROP;

	if ((void *)(ip + 1) > packet_end(ctx))
		return verdict_pass(p);
	to = range_of(ip->destination);
	if (!to || !is_inside(to) || to->own_ipv4)
		return verdict_pass(p);
	reason = ipv4_to_ipv6(ctx, p, ip->source, ip->destination, to, &action);
	return end(ctx, p, reason, action, true);
}

static __always_inline int handle_ipv6(struct xdp_md *ctx, struct packet *p)
{
	const struct ipv6_head *ip = packet_at(ctx, p->l2 & 0x1f);
	struct addr6 source, destination;
	struct destination to = {};
	int reason, walk = REASON_NONE, action = XDP_DROP, kind;

	if ((void *)(ip + 1) > packet_end(ctx))
		return verdict_pass(p);
	destination = ip->destination;
	kind = destination_of(&destination, &to);
	if (kind == DESTINATION_NATIVE)
		return verdict_pass(p);
	source = ip->source;
	reason = read_ipv6(ctx, p);
	if (unlikely(kind == DESTINATION_REFUSED)) {
		/* Whatever else is wrong with it; an error quotes what there is. */
		if (p->l3_bytes > p->frame_bytes - p->l2)
			p->l3_bytes = p->frame_bytes - p->l2;
		if (to.error)
			refuse(p, to.reason, 1, to.error_code, 0);
		return end(ctx, p, to.reason, action, false);
	}
	if (unlikely(reason))
		return end(ctx, p, reason, action, false);
	if (unlikely(is_skipped_header(p->proto) || p->proto == NEXT_FRAGMENT))
		walk = walk_extensions(ctx, p);
	if (likely(kind == DESTINATION_IPV4)) {
		reason = ipv6_to_ipv4(ctx, p, &source, &destination, &to, walk, &action);
	} else {
		struct scratch *s = get_scratch();

		if (!s)
			return verdict_drop(ctx, p, REASON_NO_ROOM);
		s->hairpin.source = source;
		s->hairpin.destination = destination;
		s->hairpin.pref64 = to.pref64;
		host6_address(to.range, to.v4, &s->hairpin.new_destination);
		reason = hairpin(ctx, p, s, walk, &action);
	}
	return end(ctx, p, reason, action, false);
}

SEC("xdp.frags")
int edge64_xdp(struct xdp_md *ctx)
{
	struct packet p;
	__be16 type;

	p.error_type = 0;
	p.walked = 0;
	p.fragment = FRAGMENT_WHOLE;
	p.egress = NO_PORT;
	p.l3_bytes = 0;
	type = parse_frame(ctx, &p);
	if (type == bpf_htons(ETH_P_IPV6))
		return handle_ipv6(ctx, &p);
	if (type == bpf_htons(ETH_P_IP))
		return handle_ipv4(ctx, &p);
	return XDP_PASS;
}

/* Run by the control plane once it has handled every event up to now. */
SEC("syscall")
int edge64_heartbeat(void *ctx __attribute__((unused)))
{
	runtime.heartbeat = bpf_jiffies64();
	return 0;
}

/* What only Python uses of the shared layouts must be in the BTF all the same. */
enum reason unused_reason;
enum job unused_job;
enum range_kind unused_range_kind;
enum range_class unused_range_class;
enum trace_flag unused_trace_flag;
struct trace_event *unused_trace_event;

char _license[] SEC("license") = "Dual BSD/GPL";
