/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef EDGE64_HAIRPIN_BPF_H
#define EDGE64_HAIRPIN_BPF_H

#include "addresses.bpf.h"
#include "base.bpf.h"
#include "checksum.bpf.h"
#include "frame.bpf.h"
#include "icmp_errors.bpf.h"
#include "ipv6.bpf.h"
#include "nexthop.bpf.h"
#include "upper.bpf.h"
#include "verdict.bpf.h"

/*
 * One inside host to another by its IPv4 address: from IPv6 to IPv6 in one step, the intrinsic
 * form of RFC 7757 section 4. docs/translation.md 8.
 */

/* Refuses as between the families, but fragments of an echo may pass: no length changes. */
static __always_inline int check_upper_hairpin(struct xdp_md *ctx, struct packet *p)
{
	const struct icmp_head *icmp = packet_at(ctx, p->l4 & 0x3fff);

	if (p->proto != NEXT_ICMPV6)
		return check_plain(ctx, p, false);
	p->upper = UPPER_UNTOUCHED;
	if (p->fragment == FRAGMENT_REST)
		return REASON_NONE;
	if (p->payload < sizeof(*icmp))
		return REASON_L4_TRUNCATED;
	if ((void *)(icmp + 1) > packet_end(ctx))
		return REASON_UP_NOT_LINEAR;
	p->upper = UPPER_CHECKSUM;
	p->csum_at = 2;
	if (icmp->type == ICMPV6_ECHO_REQUESTED || icmp->type == ICMPV6_ECHO_REPLIED)
		return REASON_NONE;
	if (!icmp_type_is_error(icmp->type, false))
		return REASON_ICMP_NOT_TRANSLATABLE;
	p->upper = UPPER_ICMP_ERROR;
	return p->fragment == FRAGMENT_WHOLE ? REASON_NONE : REASON_FRAGMENTED_ICMP;
}

/* The quoted packet of an error changes its addresses, and the error's checksum follows. */
__noinline int hairpin_inner(struct xdp_md *ctx, struct packet *p __nonnull_arg,
			     struct scratch *s __nonnull_arg, __u32 outer_change)
{
	struct hairpin *h = &s->hairpin;
	struct addr6 *source = &s->addresses[0], *destination = &s->addresses[1];
	struct addr6 *addresses = &s->addresses[2];
	struct inner *in = &s->inner;
	struct range *r;
	__u32 at = p->l4 + sizeof(struct icmp_head), loaded, csum_at = 0, change;
	__be16 checksum, old = 0, new = 0;
	__be32 v4;
	__u8 type;
	int reason;

	if (bpf_xdp_load_bytes(ctx, p->l4, &type, 1) || type < ICMPV6_UNREACHABLE ||
	    type > ICMPV6_BAD_PARAMETER)
		return REASON_ICMP_NOT_TRANSLATABLE;
	loaded = load_inner(ctx, p, s, in);
	reason = read_inner_ipv6(s, in, loaded);
	if (reason)
		return reason;
	*source = ((struct ipv6_head *)s->chunk)->source;
	*destination = ((struct ipv6_head *)s->chunk)->destination;
	if (pref64_of(source) != h->pref64)
		return REASON_INNER_NOT_TRANSLATABLE;
	v4 = pref64_extract(h->pref64, source);
	r = range_of(v4);
	if (!r || !is_inside(r))
		return REASON_INNER_NOT_TRANSLATABLE;
	host6_address(r, v4, &addresses[0]);
	if (source_to_ipv4(destination, &v4))
		return REASON_INNER_NOT_TRANSLATABLE;
	pref64_embed(h->pref64, v4, &addresses[1]);
	in->change = csum_change(csum_addr6(source) + csum_addr6(destination),
				 csum_addr6(&addresses[0]) + csum_addr6(&addresses[1]));

	if (in->fragment != FRAGMENT_REST) {
		switch (in->proto) {
		case IPPROTO_TCP:
			csum_at = 16;
			break;
		case IPPROTO_UDP:
		case PROTO_UDPLITE:
		case PROTO_DCCP:
			csum_at = 6;
			break;
		case NEXT_ICMPV6:
			csum_at = 2;
			if (in->l4_bytes && !bpf_xdp_load_bytes(ctx, at + in->l4, &type, 1) &&
			    icmp_type_is_error(type, false))
				return REASON_ICMP_ERROR_IN_ERROR;
		}
	}
	if (csum_at && in->l4_bytes >= csum_at + 2) {
		if (bpf_xdp_load_bytes(ctx, at + in->l4 + csum_at, &old, 2))
			return REASON_INNER_INVALID;
		new = old;
		if (old || in->proto != IPPROTO_UDP)
			new = csum_updated(old, in->change);
		if (!new && in->proto == IPPROTO_UDP && old)
			new = 0xffff;
		if (bpf_xdp_store_bytes(ctx, at + in->l4 + csum_at, &new, 2))
			return REASON_INNER_INVALID;
	}
	if (bpf_xdp_store_bytes(ctx, at + offsetof(struct ipv6_head, source), addresses,
				2 * sizeof(*addresses)) ||
	    bpf_xdp_load_bytes(ctx, p->l4 + 2, &checksum, 2))
		return REASON_INNER_INVALID;
	change = csum_fold((__u64)outer_change + in->change + csum_change(old, new));
	checksum = csum_updated(checksum, change);
	return bpf_xdp_store_bytes(ctx, p->l4 + 2, &checksum, 2) ? REASON_INNER_INVALID
								 : REASON_NONE;
}

__noinline int hairpin(struct xdp_md *ctx, struct packet *p __nonnull_arg,
		       struct scratch *s __nonnull_arg, int walk, int *action __nonnull_arg)
{
	struct hairpin *h = &s->hairpin;
	struct next_hop_query *q = &s->query;
	struct next_hop *n = NULL;
	struct ipv6_head *ip;
	struct range *r;
	__be32 source4 = 0;
	__u32 mtu, change;
	int reason, up = 0;

	reason = source_to_ipv4(&h->source, &source4);
	if (reason) {
		if (reason != REASON_SOURCE_UNMAPPED)
			return reason;
		if (!is_icmp_error(ctx, p, false))
			return refuse(p, reason, 1, 5, 0);
		source4 = rfc6791_ipv4(&h->source);
		if (!source4 && unmapped_source4(p, &source4))
			return reason;
	}
	if (walk)
		return walk;
	reason = check_ipv6(p);
	if (reason)
		return reason;
	reason = check_upper_hairpin(ctx, p);
	if (reason)
		return reason;
	if (p->upper == UPPER_ICMP_ERROR &&
	    !icmp_checksum_ok(ctx, p,
			      csum_addr6(&h->source) + csum_addr6(&h->destination) +
				      csum_pseudo(p->payload, NEXT_ICMPV6)))
		return REASON_BAD_CHECKSUM;
	r = range_of(source4);
	if (!r)
		return REASON_SOURCE_UNMAPPED;
	pref64_embed(h->pref64, source4, &h->new_source);

	query_ipv6(q, p, &h->new_source, &h->new_destination);
	reason = next_hop_of(ctx, p, q, &n, &mtu);
	if (reason) {
		if (!reason_is_no_next_hop(reason))
			return reason;
		up = reason;
	}
	if (mtu && p->l3_bytes > mtu)
		return refuse(p, REASON_PACKET_TOO_BIG, 2, 0, mtu);
	if (trim(ctx, p))
		return REASON_NO_ROOM;
	change = csum_change(csum_addr6(&h->source) + csum_addr6(&h->destination),
			     csum_addr6(&h->new_source) + csum_addr6(&h->new_destination));
	if (p->upper == UPPER_ICMP_ERROR)
		reason = hairpin_inner(ctx, p, s, change);
	else
		reason = update_upper(ctx, p, change, 0, false);
	if (reason)
		return reason;
	reason = reframe(ctx, p, n, bpf_htons(ETH_P_IPV6), 0, 0);
	if (reason)
		return reason;
	ip = packet_at(ctx, l2_out(p, n));
	if ((void *)(ip + 1) > packet_end(ctx))
		return REASON_NO_ROOM;
	if (n)
		ip->hop_limit = p->ttl - 1;
	ip->source = h->new_source;
	ip->destination = h->new_destination;
	*action = n ? verdict_sent(ctx, p, JOB_HAIRPIN, n) : verdict_up(ctx, p, up);
	return REASON_NONE;
}

#endif
