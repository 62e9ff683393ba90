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
	if (icmp->type < ICMPV6_UNREACHABLE || icmp->type > ICMPV6_BAD_PARAMETER)
		return REASON_ICMP_NOT_TRANSLATABLE;
	p->upper = UPPER_ICMP_ERROR;
	return p->fragment == FRAGMENT_WHOLE ? REASON_NONE : REASON_FRAGMENTED_ICMP;
}

/* Reads the packet that an error quotes, and maps its addresses: opposite roles. */
__noinline int hairpin_read_inner(struct xdp_md *ctx, struct packet *p __nonnull_arg,
				  struct scratch *s __nonnull_arg)
{
	struct addr6 *source = &s->addresses[0], *destination = &s->addresses[1];
	struct inner *in = &s->inner;
	struct destination to;
	__u32 loaded;
	__be32 v4;
	__u8 type;
	int reason;

	loaded = load_inner(ctx, p, s, in);
	reason = read_inner_ipv6(s, in, loaded);
	if (reason)
		return reason;
	*source = ((struct ipv6_head *)s->chunk)->source;
	*destination = ((struct ipv6_head *)s->chunk)->destination;
	if (destination_of(source, &to) != DESTINATION_HAIRPIN || to.pref64 != s->hairpin.pref64)
		return REASON_INNER_NOT_TRANSLATABLE;
	host6_address(to.range, to.v4, &s->addresses[2]);
	if (source_to_ipv4(destination, &v4))
		return REASON_INNER_NOT_TRANSLATABLE;
	pref64_embed(s->hairpin.pref64, v4, &s->addresses[3]);
	if (in->proto == NEXT_ICMPV6 && in->fragment == FRAGMENT_WHOLE) {
		if (!in->l4_bytes ||
		    bpf_xdp_load_bytes(ctx, p->l4 + sizeof(struct icmp_head) + in->l4, &type, 1))
			return REASON_INNER_NOT_TRANSLATABLE;
		if (icmp_type_is_error(type, false))
			return REASON_ICMP_ERROR_IN_ERROR;
		if (type != ICMPV6_ECHO_REQUESTED && type != ICMPV6_ECHO_REPLIED)
			return REASON_INNER_NOT_TRANSLATABLE;
	}
	return REASON_NONE;
}

/* Writes what hairpin_read_inner found; the checksum of the error follows. */
__noinline int hairpin_write_inner(struct xdp_md *ctx, struct packet *p __nonnull_arg,
				   struct scratch *s __nonnull_arg, __u32 outer_change)
{
	struct inner *in = &s->inner;
	__u32 at = p->l4 + sizeof(struct icmp_head), csum_at = 0, inner_change;
	__be16 checksum, old = 0, new = 0;

	inner_change = csum_change(csum_addr6(&s->addresses[0]) + csum_addr6(&s->addresses[1]),
				   csum_addr6(&s->addresses[2]) + csum_addr6(&s->addresses[3]));
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
		}
	}
	if (csum_at && in->l4_bytes >= csum_at + 2) {
		if (bpf_xdp_load_bytes(ctx, at + in->l4 + csum_at, &old, 2))
			return REASON_INNER_INVALID;
		new = old;
		if (old || in->proto != IPPROTO_UDP)
			new = csum_updated(old, inner_change);
		if (!new && (in->proto == PROTO_UDPLITE || (in->proto == IPPROTO_UDP && old)))
			new = 0xffff;
		if (bpf_xdp_store_bytes(ctx, at + in->l4 + csum_at, &new, 2))
			return REASON_INNER_INVALID;
	}
	if (bpf_xdp_store_bytes(ctx, at + offsetof(struct ipv6_head, source), &s->addresses[2],
				2 * sizeof(s->addresses[2])) ||
	    bpf_xdp_load_bytes(ctx, p->l4 + 2, &checksum, 2))
		return REASON_INNER_INVALID;
	checksum = csum_updated(
		checksum, csum_fold((__u64)outer_change + inner_change + csum_change(old, new)));
	return bpf_xdp_store_bytes(ctx, p->l4 + 2, &checksum, 2) ? REASON_INNER_INVALID
								 : REASON_NONE;
}

__noinline int hairpin(struct xdp_md *ctx, struct packet *p __nonnull_arg,
		       struct scratch *s __nonnull_arg, int walk, int *action __nonnull_arg)
{
	struct hairpin *h = &s->hairpin;
	struct next_hop *n = NULL;
	struct ipv6_head *ip;
	struct range *r;
	__be32 source4 = 0;
	__u32 mtu, change;
	int reason, up = 0;

	reason = source_to_ipv4(&h->source, &source4);
	if (reason) {
		if (reason != REASON_SOURCE_UNMAPPED)
			return refuse(p, reason, 0, 0, 0);
		if (walk)
			return walk;
		if (!is_icmp_error(ctx, p, false))
			return refuse(p, reason, 1, 5, 0);
		h->new_source = h->source; /* both ends speak IPv6 */
	} else {
		r = range_of(source4);
		if (!r || well_known_refuses(r, h->pref64))
			return REASON_NON_GLOBAL_ADDRESS;
		pref64_embed(h->pref64, source4, &h->new_source);
	}
	if (walk)
		return walk;
	reason = check_ipv6(p);
	if (reason)
		return reason;
	reason = check_upper_hairpin(ctx, p);
	if (reason)
		return reason;
	if (p->upper == UPPER_ICMP_ERROR) {
		if (!icmp_checksum_ok(ctx, p,
				      csum_addr6(&h->source) + csum_addr6(&h->destination) +
					      csum_pseudo(p->payload, NEXT_ICMPV6)))
			return REASON_BAD_CHECKSUM;
		reason = hairpin_read_inner(ctx, p, s);
		if (reason)
			return reason;
	}

	reason = next_hop_ipv6(ctx, p, &h->new_source, &h->new_destination, &n, &mtu);
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
		reason = hairpin_write_inner(ctx, p, s, change);
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
