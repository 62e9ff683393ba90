/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef EDGE64_UPPER_BPF_H
#define EDGE64_UPPER_BPF_H

#include "base.bpf.h"
#include "checksum.bpf.h"

/* The upper layer: what is refused in it, and how its checksum follows (docs/translation.md 4). */

#define ICMP_ECHO_REPLY       0
#define ICMP_UNREACHABLE      3
#define ICMP_SOURCE_QUENCH    4
#define ICMP_REDIRECT_ROUTE   5
#define ICMP_ECHO_REQUEST     8
#define ICMP_TIME_OVER        11
#define ICMP_BAD_PARAMETER    12
#define ICMPV6_UNREACHABLE    1
#define ICMPV6_TOO_BIG        2
#define ICMPV6_TIME_OVER      3
#define ICMPV6_BAD_PARAMETER  4
#define ICMPV6_ECHO_REQUESTED 128
#define ICMPV6_ECHO_REPLIED   129

static __always_inline bool icmp_type_is_error(__u8 type, bool ipv4)
{
	if (!ipv4)
		return type < 128;
	return type == ICMP_UNREACHABLE || type == ICMP_SOURCE_QUENCH ||
	       type == ICMP_REDIRECT_ROUTE || type == ICMP_TIME_OVER || type == ICMP_BAD_PARAMETER;
}

/* Is this an ICMP error, as far as can be seen? */
static __always_inline bool is_icmp_error(struct xdp_md *ctx, const struct packet *p, bool ipv4)
{
	const __u8 *icmp = packet_at(ctx, p->l4 & 0x3fff);

	if (!p->walked || p->proto != (ipv4 ? IPPROTO_ICMP : NEXT_ICMPV6) ||
	    p->fragment == FRAGMENT_REST || !p->payload)
		return false;
	return (void *)(icmp + 1) <= packet_end(ctx) && icmp_type_is_error(*icmp, ipv4);
}

static __always_inline int check_udp(struct xdp_md *ctx, struct packet *p, bool ipv4)
{
	const __be16 *udp = packet_at(ctx, p->l4 & 0x3fff);
	__u32 length;

	if (p->payload < 8)
		return REASON_L4_TRUNCATED;
	if ((void *)(udp + 4) > packet_end(ctx))
		return REASON_UP_NOT_LINEAR;
	length = bpf_ntohs(udp[2]);
	if (length < 8 || (p->fragment == FRAGMENT_WHOLE && length > p->payload))
		return REASON_BAD_LENGTH;
	p->upper = UPPER_UDP;
	p->csum_at = 6;
	if (likely(udp[3]))
		return REASON_NONE;
	if (!ipv4 || p->fragment != FRAGMENT_WHOLE || !settings.compute_udp_checksum)
		return REASON_UDP_ZERO_CHECKSUM;
	p->upper = UPPER_UDP_COMPUTE;
	return REASON_NONE;
}

/* Between IPv4 and IPv6. A hairpin has check_upper_hairpin. */
static __always_inline int check_icmp(struct xdp_md *ctx, struct packet *p, bool ipv4)
{
	const struct icmp_head *icmp = packet_at(ctx, p->l4 & 0x3fff);

	if (p->fragment != FRAGMENT_WHOLE)
		return REASON_FRAGMENTED_ICMP;
	if (p->payload < sizeof(*icmp))
		return REASON_L4_TRUNCATED;
	if ((void *)(icmp + 1) > packet_end(ctx))
		return REASON_UP_NOT_LINEAR;
	p->upper = UPPER_ECHO;
	if (icmp->type == (ipv4 ? ICMP_ECHO_REQUEST : ICMPV6_ECHO_REQUESTED)) {
		p->icmp_type = ipv4 ? ICMPV6_ECHO_REQUESTED : ICMP_ECHO_REQUEST;
		return REASON_NONE;
	}
	if (icmp->type == (ipv4 ? ICMP_ECHO_REPLY : ICMPV6_ECHO_REPLIED)) {
		p->icmp_type = ipv4 ? ICMPV6_ECHO_REPLIED : ICMP_ECHO_REPLY;
		return REASON_NONE;
	}
	p->upper = UPPER_ICMP_ERROR;
	if (ipv4 ? icmp->type == ICMP_UNREACHABLE || icmp->type == ICMP_TIME_OVER ||
			    icmp->type == ICMP_BAD_PARAMETER
		 : icmp->type >= ICMPV6_UNREACHABLE && icmp->type <= ICMPV6_BAD_PARAMETER)
		return REASON_NONE;
	return REASON_ICMP_NOT_TRANSLATABLE;
}

/* Protocols other than ICMP; sets what there is to do. */
static __always_inline int check_plain(struct xdp_md *ctx, struct packet *p, bool ipv4)
{
	p->upper = UPPER_UNTOUCHED;
	if (unlikely(p->fragment == FRAGMENT_REST))
		return REASON_NONE;
	switch (p->proto) {
	case IPPROTO_TCP:
		p->upper = UPPER_CHECKSUM;
		p->csum_at = 16;
		return p->payload < 20 ? REASON_L4_TRUNCATED : REASON_NONE;
	case IPPROTO_UDP:
		return check_udp(ctx, p, ipv4);
	case PROTO_UDPLITE:
		p->upper = UPPER_UDP; /* RFC 3828 section 3.1 */
		p->csum_at = 6;
		return p->payload < 8 ? REASON_L4_TRUNCATED : REASON_NONE;
	case PROTO_DCCP:
		p->upper = UPPER_CHECKSUM;
		p->csum_at = 6;
		return p->payload < 12 ? REASON_L4_TRUNCATED : REASON_NONE;
	default:
		return REASON_NONE;
	}
}

static __always_inline int check_upper(struct xdp_md *ctx, struct packet *p, bool ipv4)
{
	if (p->proto == (ipv4 ? IPPROTO_ICMP : NEXT_ICMPV6))
		return check_icmp(ctx, p, ipv4);
	return check_plain(ctx, p, ipv4);
}

/*
 * Lets the checksum follow the addresses. change: of the sum over source and destination.
 * pseudo: sum of the IPv6 pseudo-header of an echo, which ICMPv4 does not cover; ipv4 says what
 * the packet is now.
 */
static __always_inline int update_upper(struct xdp_md *ctx, const struct packet *p, __u32 change,
					__u64 pseudo, bool ipv4)
{
	void *l4 = packet_at(ctx, p->l4 & 0x3fff);

	if (p->upper == UPPER_CHECKSUM || p->upper == UPPER_UDP) {
		__be16 *field = l4 + (p->csum_at & 0x1f);
		__be16 updated;

		if ((void *)(field + 1) > packet_end(ctx))
			return REASON_UP_NOT_LINEAR;
		updated = csum_updated(*field, change);
		if (p->upper == UPPER_UDP && !updated)
			updated = 0xffff;
		*field = updated;
	} else if (p->upper == UPPER_ECHO) {
		struct icmp_head *icmp = l4;
		__be16 old, new;

		if ((void *)(icmp + 1) > packet_end(ctx))
			return REASON_UP_NOT_LINEAR;
		old = *(__be16 *)icmp;
		icmp->type = p->icmp_type;
		new = *(__be16 *)icmp;
		icmp->checksum =
			csum_updated(icmp->checksum, ipv4 ? csum_change(old, new + pseudo)
							  : csum_change(old + pseudo, new));
	}
	return REASON_NONE;
}

/* UDP without a checksum gets one (RFC 7915 section 4.5). addresses: the sum over the new ones. */
static __always_inline int compute_udp(struct xdp_md *ctx, const struct packet *p, __u64 addresses)
{
	__be16 *udp = packet_at(ctx, p->l4 & 0x3fff);
	__u32 length, sum;
	__be16 checksum;

	if ((void *)(udp + 4) > packet_end(ctx))
		return REASON_UP_NOT_LINEAR;
	length = bpf_ntohs(udp[2]);
	sum = csum_frame(ctx, p->l4, length);
	if (sum == CSUM_FAILED)
		return REASON_BAD_LENGTH;
	checksum = ~csum_fold((__u64)sum + addresses + csum_pseudo(length, IPPROTO_UDP));
	udp = packet_at(ctx, p->l4 & 0x3fff);
	if ((void *)(udp + 4) > packet_end(ctx))
		return REASON_UP_NOT_LINEAR;
	udp[3] = checksum ? checksum : 0xffff;
	return REASON_NONE;
}

#endif
