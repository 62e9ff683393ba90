/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef EDGE64_TRANSLATE_BPF_H
#define EDGE64_TRANSLATE_BPF_H

#include "addresses.bpf.h"
#include "base.bpf.h"
#include "checksum.bpf.h"
#include "frame.bpf.h"
#include "icmp_errors.bpf.h"
#include "ipv4.bpf.h"
#include "ipv6.bpf.h"
#include "nexthop.bpf.h"
#include "upper.bpf.h"
#include "verdict.bpf.h"

/*
 * RFC 7915 between the families. Each function decides everything before it writes anything, so
 * that an own ICMP error can quote the packet as it came; it returns REASON_NONE with the verdict
 * in *action, or the reason of a drop or of going up untouched.
 */

static __always_inline __be32 class_and_label(const struct packet *p, const struct addr6 *source,
					      const struct addr6 *destination, __u32 tos,
					      __u32 ports)
{
	__u32 label = 0;

	if (settings.flow_label_hash) {
		__u64 h = source->q[0] ^ source->q[1] * 0x9e3779b97f4a7c15ULL;

		h = (h ^ destination->q[0]) * 0xbf58476d1ce4e5b9ULL;
		h = (h ^ destination->q[1] ^ ports ^ p->proto) * 0x94d049bb133111ebULL;
		label = h >> 44;
		label |= !label;
	}
	return bpf_htonl(6u << 28 | tos << 20 | label);
}

/* Ports for the flow label: the first four octets of what has ports. */
static __always_inline __u32 ports_of(struct xdp_md *ctx, const struct packet *p)
{
	const __u32 *ports = packet_at(ctx, p->l4 & 0x3fff);

	if (!settings.flow_label_hash || p->fragment != FRAGMENT_WHOLE ||
	    (p->upper != UPPER_CHECKSUM && p->upper != UPPER_UDP))
		return 0;
	return (void *)(ports + 1) <= packet_end(ctx) ? *ports : 0;
}

static __always_inline int ipv4_to_ipv6(struct xdp_md *ctx, struct packet *p, __be32 source4,
					__be32 destination4, const struct range *to, int *action)
{
	const struct range *from = range_of(source4);
	struct addr6 source, destination;
	struct next_hop *n = NULL;
	__u32 head, fragment, length, mtu, old_head, ports;
	__u64 addresses;
	int reason, up = 0;
	struct ipv6_head *ip;

	reason = read_ipv4(ctx, p);
	if (unlikely(reason))
		return reason;
	if (!from)
		return REASON_SOURCE_UNMAPPED;
	old_head = p->l4 - p->l2;
	reason = source_to_ipv6(from, source4, &source);
	if (unlikely(reason)) {
		if (reason != REASON_SOURCE_UNMAPPED && reason != REASON_NON_GLOBAL_ADDRESS)
			return reason;
		if (!is_icmp_error(ctx, p, true))
			return reason;
		source.q[0] = source.q[1] = 0; /* RFC 6791, once the way out is known */
	}
	if (unlikely(old_head != sizeof(struct ipv4_head))) {
		reason = check_options(ctx, p);
		if (reason)
			return reason;
	}
	reason = check_ipv4(p);
	if (unlikely(reason))
		return reason;
	reason = check_upper(ctx, p, true);
	if (unlikely(reason))
		return reason;
	host6_address(to, destination4, &destination);

	reason = next_hop_ipv6(ctx, p, &source, &destination, &n, &mtu);
	if (unlikely(reason)) {
		if (!reason_is_no_next_hop(reason))
			return reason;
		up = reason;
	}
	if (unlikely(p->upper == UPPER_ICMP_ERROR)) {
		struct scratch *s = get_scratch();

		if (!s)
			return REASON_NO_ROOM;
		s->job.source6 = source;
		s->job.destination6 = destination;
		s->job.mtu = mtu;
		s->job.up = up;
		reason = build_error_to_ipv6(ctx, p, s, n);
		if (!reason)
			*action = verdict_error(ctx, p, n, up, JOB_4TO6);
		return reason;
	}

	fragment = p->fragment == FRAGMENT_WHOLE ? 0 : sizeof(struct frag_head);
	head = sizeof(struct ipv6_head) + fragment;
	length = p->payload + head;
	if (p->df) {
		if (unlikely(mtu && length > mtu))
			return refuse(p, REASON_PACKET_TOO_BIG, 3, 4,
				      mtu - sizeof(struct ipv4_head) - fragment);
	} else if (unlikely(length > settings.lowest_ipv6_mtu || (mtu && length > mtu))) {
		return REASON_UP_SLOW_PATH;
	}

	if (unlikely(trim(ctx, p)))
		return REASON_NO_ROOM;
	ports = ports_of(ctx, p);
	addresses = csum_addr6(&source) + csum_addr6(&destination);
	if (likely(p->upper)) {
		if (unlikely(p->upper == UPPER_UDP_COMPUTE))
			reason = compute_udp(ctx, p, addresses);
		else
			reason = update_upper(
				ctx, p, csum_change((__u64)source4 + destination4, addresses),
				addresses + csum_pseudo(p->payload, NEXT_ICMPV6), true);
		if (reason)
			return reason;
	}
	reason = reframe(ctx, p, n, bpf_htons(ETH_P_IPV6), old_head, head);
	if (unlikely(reason))
		return reason;
	ip = packet_at(ctx, l2_out(p, n));
	if ((void *)(ip + 1) > packet_end(ctx))
		return REASON_NO_ROOM;
	ip->version_class_label =
		class_and_label(p, &source, &destination, tos_for_ipv6(p->tos), ports);
	ip->payload_length = bpf_htons(p->payload + fragment);
	ip->next_header = p->proto == IPPROTO_ICMP ? NEXT_ICMPV6 : p->proto;
	ip->hop_limit = n ? p->ttl - 1 : p->ttl;
	ip->source = source;
	ip->destination = destination;
	if (unlikely(fragment)) {
		struct frag_head *f = (void *)(ip + 1);

		if ((void *)(f + 1) > packet_end(ctx))
			return REASON_NO_ROOM;
		f->next_header = ip->next_header;
		ip->next_header = NEXT_FRAGMENT;
		f->reserved = 0;
		f->offset_flags = bpf_htons(p->offset | p->more);
		f->id = (__u32)p->id16 << 16;
	}
	*action = n ? verdict_sent(ctx, p, JOB_4TO6, n) : verdict_up(ctx, p, up);
	return REASON_NONE;
}

static __always_inline int ipv6_to_ipv4(struct xdp_md *ctx, struct packet *p,
					const struct addr6 *source, const struct addr6 *destination,
					const struct destination *to, int walk, int *action)
{
	__be32 source4 = 0, destination4 = to->v4;
	struct next_hop *n = NULL;
	struct ipv4_head *ip;
	__u32 length, mtu, old_head;
	__u64 addresses;
	int reason, up = 0;

	reason = source_to_ipv4(source, &source4);
	if (unlikely(reason)) {
		if (reason != REASON_SOURCE_UNMAPPED)
			return refuse(p, reason, 0, 0, 0);
		if (walk)
			return walk;
		if (!is_icmp_error(ctx, p, false))
			return refuse(p, reason, 1, 5, 0);
		source4 = rfc6791_ipv4(source);
	}
	if (unlikely(walk))
		return walk;
	reason = check_ipv6(p);
	if (unlikely(reason))
		return reason;
	reason = check_upper(ctx, p, false);
	if (unlikely(reason))
		return reason;

	reason = next_hop_ipv4(ctx, p, source4, destination4, &n, &mtu);
	if (unlikely(reason)) {
		if (!reason_is_no_next_hop(reason))
			return reason;
		up = reason;
	}
	if (unlikely(p->upper == UPPER_ICMP_ERROR)) {
		struct scratch *s = get_scratch();

		if (!s)
			return REASON_NO_ROOM;
		s->job.source6 = *source;
		s->job.destination6 = *destination;
		s->job.source4 = source4;
		s->job.destination4 = destination4;
		s->job.mtu = mtu;
		s->job.up = up;
		reason = build_error_to_ipv4(ctx, p, s, n);
		if (!reason)
			*action = verdict_error(ctx, p, s->job.up ? NULL : n, s->job.up, JOB_6TO4);
		return reason;
	}

	old_head = p->l4 - p->l2;
	length = p->payload + sizeof(*ip);
	if (unlikely(length > 65535 || (mtu && length > mtu))) {
		if (p->l3_bytes > 1280)
			return refuse(p, REASON_PACKET_TOO_BIG, 2, 0,
				      mtu + 20 < 1280 ? 1280 : mtu + 20);
		up = REASON_UP_KERNEL_FRAGMENTS;
		n = NULL;
	}

	if (unlikely(trim(ctx, p)))
		return REASON_NO_ROOM;
	if (likely(p->upper)) {
		addresses = csum_addr6(source) + csum_addr6(destination);
		reason = update_upper(ctx, p, csum_change(addresses, (__u64)source4 + destination4),
				      addresses + csum_pseudo(p->payload, NEXT_ICMPV6), false);
		if (reason)
			return reason;
	}
	reason = reframe(ctx, p, n, bpf_htons(ETH_P_IP), old_head, sizeof(*ip));
	if (unlikely(reason))
		return reason;
	ip = packet_at(ctx, l2_out(p, n));
	if ((void *)(ip + 1) > packet_end(ctx))
		return REASON_NO_ROOM;
	write_ipv4(ip, p, length, p->proto == NEXT_ICMPV6 ? IPPROTO_ICMP : p->proto,
		   n ? p->ttl - 1 : p->ttl, source4, destination4);
	*action = n ? verdict_sent(ctx, p, JOB_6TO4, n) : verdict_up(ctx, p, up);
	return REASON_NONE;
}

#endif
