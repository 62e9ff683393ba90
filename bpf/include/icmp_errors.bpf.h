/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef EDGE64_ICMP_ERRORS_BPF_H
#define EDGE64_ICMP_ERRORS_BPF_H

#include "addresses.bpf.h"
#include "base.bpf.h"
#include "checksum.bpf.h"
#include "frame.bpf.h"
#include "icmp_heads.bpf.h"
#include "inner.bpf.h"
#include "ipv4.bpf.h"
#include "message.bpf.h"
#include "nexthop.bpf.h"
#include "upper.bpf.h"
#include "verdict.bpf.h"

/*
 * ICMP errors between the families, with the packet they quote: RFC 7915 sections 4.2 to 4.5 and
 * 5.2 to 5.5, docs/translation.md 5.
 */

/* A port with an address of the family: that of the way out, or any where that is not known. */
static __always_inline bool port_with_address(const struct packet *p, bool ipv4, __u32 *index)
{
	for (__u32 i = 0; i < MAX_PORTS; i++) {
		if (i >= settings.port_count)
			break;
		if (p->egress != NO_PORT && p->egress != i)
			continue;
		if (ipv4 ? settings.ports[i].has_ipv4 : settings.ports[i].has_ipv6) {
			*index = i;
			return true;
		}
	}
	return false;
}

/* RFC 6791: who an error comes from if its source has no mapping. */
static __always_inline int unmapped_source6(const struct packet *p, struct addr6 *source)
{
	__u32 i;

	if (settings.has_rfc6791_ipv6) {
		source->q[0] = *(const volatile __u64 *)settings.rfc6791_ipv6;
		source->q[1] = *(const volatile __u64 *)(settings.rfc6791_ipv6 + 8);
		return REASON_NONE;
	}
	if (!port_with_address(p, false, &i))
		return REASON_NO_OWN_ADDRESS;
	i &= MAX_PORTS - 1;
	source->q[0] = *(const volatile __u64 *)settings.ports[i].ipv6;
	source->q[1] = *(const volatile __u64 *)(settings.ports[i].ipv6 + 8);
	return REASON_NONE;
}

static __always_inline int unmapped_source4(const struct packet *p, __be32 *source)
{
	__u32 i;

	if (!port_with_address(p, true, &i))
		return REASON_NO_OWN_ADDRESS;
	*source = *(const volatile __be32 *)settings.ports[i & (MAX_PORTS - 1)].ipv4;
	return REASON_NONE;
}

__noinline int build_error_to_ipv6(struct xdp_md *ctx, struct packet *p __nonnull_arg,
				   struct scratch *s __nonnull_arg, struct next_hop *n)
{
	struct error_job *job = &s->job;
	struct icmp_head icmp, icmp6;
	struct addr6 inner_source, inner_destination;
	struct range *r;
	struct inner *in = &s->inner;
	struct ipv6_head *ip;
	const struct ipv4_head *quoted;
	__u32 loaded, at, quoted_bytes, total;
	__s64 sum;
	int reason;

	if (!icmp_checksum_ok(ctx, p, 0))
		return REASON_BAD_CHECKSUM;
	if (bpf_xdp_load_bytes(ctx, p->l4, &icmp, sizeof(icmp)))
		return REASON_L4_TRUNCATED;
	reason = icmp_head_to_ipv6(&icmp, &icmp6);
	if (reason)
		return reason;
	if (has_extension(&icmp, true))
		return REASON_UP_SLOW_PATH;
	if (!job->source6.q[0] && !job->source6.q[1]) {
		reason = unmapped_source6(p, &job->source6);
		if (reason)
			return reason;
	}

	loaded = load_inner(ctx, p, s, in);
	reason = read_inner_ipv4(s, in, loaded);
	if (reason)
		return reason;
	quoted = (void *)s->chunk;
	if (icmp6.type == ICMPV6_TOO_BIG) {
		__u32 mtu6 = job->mtu ? job->mtu : 65535, mtu4 = port_of(p)->mtu;
		__u32 m = icmp.rest[2] << 8 | icmp.rest[3];

		if (!m)
			m = plateau_below(bpf_ntohs(quoted->total_length));
		m = max_u32(LIMIT_IPV6, min_u32(m + 20, min_u32(mtu6, mtu4 + 20)));
		icmp6.rest[1] = m >> 16;
		icmp6.rest[2] = m >> 8;
		icmp6.rest[3] = m;
	}

	/* Opposite roles: the quoted source is one of ours, the destination a host out there. */
	r = range_of(quoted->source);
	if (!r || !is_inside(r))
		return REASON_INNER_NOT_TRANSLATABLE;
	host6_address(r, quoted->source, &inner_source);
	r = range_of(quoted->destination);
	if (!r || source_to_ipv6(r, quoted->destination, &inner_destination))
		return REASON_INNER_NOT_TRANSLATABLE;
	in->pseudo = csum_addr6(&inner_source) + csum_addr6(&inner_destination);
	in->change = csum_change((__u64)quoted->source + quoted->destination, in->pseudo);
	in->pseudo += csum_pseudo(in->payload, NEXT_ICMPV6);

	ip = (void *)(s->out + sizeof(*ip) + sizeof(icmp6));
	ip->version_class_label = bpf_htonl(6u << 28 | tos_for_ipv6(in->tos) << 20);
	ip->next_header = in->proto == IPPROTO_ICMP ? NEXT_ICMPV6 : in->proto;
	ip->hop_limit = in->ttl;
	ip->source = inner_source;
	ip->destination = inner_destination;
	at = 2 * sizeof(*ip) + sizeof(icmp6);
	ip->payload_length = bpf_htons(in->payload);
	if (in->fragment != FRAGMENT_WHOLE) {
		struct frag_head *f = (void *)(ip + 1);

		f->next_header = ip->next_header;
		f->reserved = 0;
		f->offset_flags = bpf_htons(in->offset | in->more);
		f->id = in->id;
		ip->next_header = NEXT_FRAGMENT;
		ip->payload_length = bpf_htons(in->payload + sizeof(*f));
		at += sizeof(*f);
	}
	quoted_bytes = min_u32(in->l4_bytes, LIMIT_IPV6 - at);
	if (quote(ctx, s, at, p->l4 + sizeof(icmp) + in->l4, quoted_bytes))
		return REASON_INNER_INVALID;
	in->l4_bytes = quoted_bytes;
	reason = translate_inner_upper(s, in, at, true);
	if (reason)
		return reason;

	total = at + quoted_bytes;
	ip = (void *)s->out;
	ip->version_class_label = bpf_htonl(6u << 28 | tos_for_ipv6(p->tos) << 20);
	ip->payload_length = bpf_htons(total - sizeof(*ip));
	ip->next_header = NEXT_ICMPV6;
	ip->hop_limit = n ? p->ttl - 1 : p->ttl;
	ip->source = job->source6;
	ip->destination = job->destination6;
	__builtin_memcpy(s->out + sizeof(*ip), &icmp6, sizeof(icmp6));
	sum = csum_message(s, sizeof(*ip), total);
	if (sum < 0)
		return REASON_INNER_INVALID;
	((struct icmp_head *)(ip + 1))->checksum =
		~csum_fold(sum + csum_addr6(&job->source6) + csum_addr6(&job->destination6) +
			   csum_pseudo(total - sizeof(*ip), NEXT_ICMPV6));
	return replace_packet(ctx, p, s, n, (__u32)bpf_htons(ETH_P_IPV6) << 16 | total);
}

__noinline int build_error_to_ipv4(struct xdp_md *ctx, struct packet *p __nonnull_arg,
				   struct scratch *s __nonnull_arg, struct next_hop *n)
{
	struct error_job *job = &s->job;
	struct icmp_head icmp, icmp4;
	struct addr6 *inner_source = &s->addresses[0], *inner_destination = &s->addresses[1];
	struct destination inner_to;
	__be32 inner_source4, inner_destination4;
	struct range *r;
	struct inner *in = &s->inner;
	struct ipv4_head *ip;
	const struct ipv6_head *quoted;
	__u32 loaded, at, quoted_bytes, total, length;
	__s64 sum;
	int reason;

	if (!icmp_checksum_ok(ctx, p,
			      csum_addr6(&job->source6) + csum_addr6(&job->destination6) +
				      csum_pseudo(p->payload, NEXT_ICMPV6)))
		return REASON_BAD_CHECKSUM;
	if (bpf_xdp_load_bytes(ctx, p->l4, &icmp, sizeof(icmp)))
		return REASON_L4_TRUNCATED;
	reason = icmp_head_to_ipv4(&icmp, &icmp4);
	if (reason)
		return reason;
	if (has_extension(&icmp, false))
		return REASON_UP_SLOW_PATH;
	if (!job->source4) {
		reason = unmapped_source4(p, &job->source4);
		if (reason)
			return reason;
	}
	if (icmp.type == ICMPV6_TOO_BIG) {
		__u32 mtu4 = job->mtu ? job->mtu : 65535, mtu6 = port_of(p)->mtu;
		__u32 m = (__u32)icmp.rest[0] << 24 | icmp.rest[1] << 16 | icmp.rest[2] << 8 |
			  icmp.rest[3];

		m = m > 20 ? m - 20 : 0;
		m = max_u32(68, min_u32(m, min_u32(mtu4, mtu6 - 20)));
		icmp4.rest[2] = m >> 8;
		icmp4.rest[3] = m;
	}

	loaded = load_inner(ctx, p, s, in);
	reason = read_inner_ipv6(s, in, loaded);
	if (reason)
		return reason;
	quoted = (void *)s->chunk;
	*inner_source = quoted->source;
	*inner_destination = quoted->destination;
	/* Opposite roles: the quoted source stands for a host out there, the destination is ours.
	 */
	if (destination_of(inner_source, &inner_to) != DESTINATION_IPV4)
		return REASON_INNER_NOT_TRANSLATABLE;
	inner_source4 = inner_to.v4;
	if (source_to_ipv4(inner_destination, &inner_destination4))
		return REASON_INNER_NOT_TRANSLATABLE;
	r = range_of(inner_destination4);
	if (!r)
		return REASON_INNER_NOT_TRANSLATABLE;
	in->pseudo = csum_addr6(inner_source) + csum_addr6(inner_destination);
	in->change = csum_change(in->pseudo, (__u64)inner_source4 + inner_destination4);
	in->pseudo += csum_pseudo(in->payload, NEXT_ICMPV6);

	at = 2 * sizeof(*ip) + sizeof(icmp4);
	length = in->payload + sizeof(*ip);
	ip = (void *)(s->out + sizeof(*ip) + sizeof(icmp4));
	ip->version_ihl = 0x45;
	ip->tos = tos_for_ipv4(in->tos);
	ip->total_length = bpf_htons(length);
	ip->id = in->id >> 16; /* none is made up for a packet that was never sent */
	ip->flags_offset = bpf_htons((length > 1260 && !in->has_fragment_header ? IPV4_DF : 0) |
				     (in->more ? IPV4_MF : 0) | in->offset / 8);
	ip->ttl = in->ttl;
	ip->protocol = in->proto == NEXT_ICMPV6 ? IPPROTO_ICMP : in->proto;
	ip->checksum = 0;
	ip->source = inner_source4;
	ip->destination = inner_destination4;
	ip->checksum = ~csum_ipv4_head(ip);
	quoted_bytes = min_u32(in->l4_bytes, LIMIT_IPV4 - at);
	if (quote(ctx, s, at, p->l4 + sizeof(icmp) + in->l4, quoted_bytes))
		return REASON_INNER_INVALID;
	in->l4_bytes = quoted_bytes;
	reason = translate_inner_upper(s, in, at, false);
	if (reason)
		return reason;

	total = at + quoted_bytes;
	if (job->mtu && total > job->mtu) {
		job->up = REASON_UP_KERNEL_FRAGMENTS;
		n = NULL;
	}
	__builtin_memcpy(s->out + sizeof(*ip), &icmp4, sizeof(icmp4));
	sum = csum_message(s, sizeof(*ip), total);
	if (sum < 0)
		return REASON_INNER_INVALID;
	((struct icmp_head *)(s->out + sizeof(*ip)))->checksum = ~csum_fold(sum);
	write_ipv4((void *)s->out, p, total, IPPROTO_ICMP, n ? p->ttl - 1 : p->ttl, job->source4,
		   job->destination4);
	return replace_packet(ctx, p, s, n, (__u32)bpf_htons(ETH_P_IP) << 16 | total);
}

static __always_inline int verdict_error(struct xdp_md *ctx, const struct packet *p,
					 const struct next_hop *n, int up, __u32 kind)
{
	return n ? verdict_sent(ctx, p, kind, n) : verdict_up(ctx, p, up);
}

#endif
