/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef EDGE64_ICMP_ERRORS_BPF_H
#define EDGE64_ICMP_ERRORS_BPF_H

#include "addresses.bpf.h"
#include "base.bpf.h"
#include "checksum.bpf.h"
#include "frame.bpf.h"
#include "ipv4.bpf.h"
#include "ipv6.bpf.h"
#include "message.bpf.h"
#include "nexthop.bpf.h"
#include "upper.bpf.h"
#include "verdict.bpf.h"

/*
 * ICMP errors between the families, with the packet they quote: RFC 7915 sections 4.2 to 4.5 and
 * 5.2 to 5.5, docs/translation.md 5.
 */

static __always_inline __u32 min_u32(__u32 a, __u32 b)
{
	return a < b ? a : b;
}

static __always_inline __u32 max_u32(__u32 a, __u32 b)
{
	return a > b ? a : b;
}

/* RFC 1191 section 7: what an old router that tells no MTU may have meant. */
static __always_inline __u32 plateau_below(__u32 length)
{
	if (length > 65535)
		return 65535;
	if (length > 32000)
		return 32000;
	if (length > 17914)
		return 17914;
	if (length > 8166)
		return 8166;
	if (length > 4352)
		return 4352;
	if (length > 2002)
		return 2002;
	if (length > 1492)
		return 1492;
	if (length > 1006)
		return 1006;
	if (length > 508)
		return 508;
	if (length > 296)
		return 296;
	return 68;
}

/* RFC 7915 figure 3. Returns -1 for a pointer at nothing that IPv6 has. */
static __always_inline int pointer_to_ipv6(__u8 pointer)
{
	if (pointer <= 1)
		return pointer;
	if (pointer <= 3)
		return 4;
	if (pointer == 8)
		return 7;
	if (pointer == 9)
		return 6;
	if (pointer >= 12 && pointer <= 15)
		return 8;
	if (pointer >= 16 && pointer <= 19)
		return 24;
	return -1;
}

/* RFC 7915 figure 6. */
static __always_inline int pointer_to_ipv4(__u32 pointer)
{
	if (pointer <= 1)
		return pointer;
	if (pointer == 4 || pointer == 5)
		return 2;
	if (pointer == 6)
		return 9;
	if (pointer == 7)
		return 8;
	if (pointer >= 8 && pointer <= 23)
		return 12;
	if (pointer >= 24 && pointer <= 39)
		return 16;
	return -1;
}

/* The ICMPv6 header for an ICMPv4 error; the MTU is put in later. */
static __always_inline int icmp_head_to_ipv6(const struct icmp_head *in, struct icmp_head *out)
{
	int pointer;

	__builtin_memset(out, 0, sizeof(*out));
	out->type = ICMPV6_UNREACHABLE;
	switch (in->type) {
	case ICMP_UNREACHABLE:
		switch (in->code) {
		case 0:
		case 1:
		case 5:
		case 6:
		case 7:
		case 8:
		case 11:
		case 12:
			out->code = 0;
			return REASON_NONE;
		case 2:
			out->type = ICMPV6_BAD_PARAMETER;
			out->code = 1;
			out->rest[3] = offsetof(struct ipv6_head, next_header);
			return REASON_NONE;
		case 3:
			out->code = 4;
			return REASON_NONE;
		case 4:
			out->type = ICMPV6_TOO_BIG;
			return REASON_NONE;
		case 9:
		case 10:
		case 13:
		case 15:
			out->code = 1;
			return REASON_NONE;
		}
		return REASON_ICMP_NOT_TRANSLATABLE;
	case ICMP_TIME_OVER:
		if (in->code > 1)
			return REASON_ICMP_NOT_TRANSLATABLE;
		out->type = ICMPV6_TIME_OVER;
		out->code = in->code;
		return REASON_NONE;
	case ICMP_BAD_PARAMETER:
		if (in->code != 0 && in->code != 2)
			return REASON_ICMP_NOT_TRANSLATABLE;
		pointer = pointer_to_ipv6(in->rest[0]);
		if (pointer < 0)
			return REASON_ICMP_NOT_TRANSLATABLE;
		out->type = ICMPV6_BAD_PARAMETER;
		out->rest[3] = pointer;
		return REASON_NONE;
	}
	return REASON_ICMP_NOT_TRANSLATABLE;
}

static __always_inline int icmp_head_to_ipv4(const struct icmp_head *in, struct icmp_head *out)
{
	int pointer;

	__builtin_memset(out, 0, sizeof(*out));
	out->type = ICMP_UNREACHABLE;
	switch (in->type) {
	case ICMPV6_UNREACHABLE:
		switch (in->code) {
		case 0:
		case 2:
		case 3:
			out->code = 1;
			return REASON_NONE;
		case 1:
			out->code = 10;
			return REASON_NONE;
		case 4:
			out->code = 3;
			return REASON_NONE;
		}
		return REASON_ICMP_NOT_TRANSLATABLE;
	case ICMPV6_TOO_BIG:
		out->code = 4;
		return REASON_NONE;
	case ICMPV6_TIME_OVER:
		if (in->code > 1)
			return REASON_ICMP_NOT_TRANSLATABLE;
		out->type = ICMP_TIME_OVER;
		out->code = in->code;
		return REASON_NONE;
	case ICMPV6_BAD_PARAMETER:
		if (in->code == 1) {
			out->code = 2;
			return REASON_NONE;
		}
		if (in->code)
			return REASON_ICMP_NOT_TRANSLATABLE;
		pointer = pointer_to_ipv4((__u32)in->rest[0] << 24 | in->rest[1] << 16 |
					  in->rest[2] << 8 | in->rest[3]);
		if (pointer < 0)
			return REASON_ICMP_NOT_TRANSLATABLE;
		out->type = ICMP_BAD_PARAMETER;
		out->rest[0] = pointer;
		return REASON_NONE;
	}
	return REASON_ICMP_NOT_TRANSLATABLE;
}

/* RFC 4884 section 4: where these messages keep the length of a quote that an extension follows. */
static __always_inline bool has_extension(const struct icmp_head *icmp, bool ipv4)
{
	if (ipv4)
		return (icmp->type == ICMP_UNREACHABLE || icmp->type == ICMP_TIME_OVER ||
			icmp->type == ICMP_BAD_PARAMETER) &&
		       icmp->rest[1];
	return (icmp->type == ICMPV6_UNREACHABLE || icmp->type == ICMPV6_TIME_OVER) &&
	       icmp->rest[0];
}

/* The upper layer of the quote, which is in the message at at. */
static __always_inline int translate_inner_upper(struct scratch *s, const struct inner *in,
						 __u32 at, bool to_ipv6)
{
	__u8 icmp = to_ipv6 ? IPPROTO_ICMP : NEXT_ICMPV6;
	__u32 csum_at;
	__be16 *field;

	if (in->fragment != FRAGMENT_WHOLE && in->proto == icmp)
		return REASON_INNER_NOT_TRANSLATABLE;
	if (in->fragment == FRAGMENT_REST)
		return REASON_NONE;
	opaque(at);
	if (at > 256)
		return REASON_INNER_INVALID;
	if (in->proto == icmp) {
		__u8 *type = s->out + at;
		__be16 before, after;

		if (!in->l4_bytes)
			return REASON_INNER_NOT_TRANSLATABLE;
		if (icmp_type_is_error(*type, to_ipv6))
			return REASON_ICMP_ERROR_IN_ERROR;
		before = *(__be16 *)type;
		if (in->l4_bytes == 1)
			before = *type;
		if (*type == (to_ipv6 ? ICMP_ECHO_REQUEST : ICMPV6_ECHO_REQUESTED))
			*type = to_ipv6 ? ICMPV6_ECHO_REQUESTED : ICMP_ECHO_REQUEST;
		else if (*type == (to_ipv6 ? ICMP_ECHO_REPLY : ICMPV6_ECHO_REPLIED))
			*type = to_ipv6 ? ICMPV6_ECHO_REPLIED : ICMP_ECHO_REPLY;
		else
			return REASON_INNER_NOT_TRANSLATABLE;
		if (in->l4_bytes < 4)
			return REASON_NONE;
		after = *(__be16 *)type;
		field = (__be16 *)(type + 2);
		*field = csum_updated(*field, to_ipv6 ? csum_change(before, after + in->pseudo)
						      : csum_change(before + in->pseudo, after));
		return REASON_NONE;
	}
	switch (in->proto) {
	case IPPROTO_TCP:
		csum_at = 16;
		break;
	case IPPROTO_UDP:
	case PROTO_UDPLITE:
	case PROTO_DCCP:
		csum_at = 6;
		break;
	default:
		return REASON_NONE;
	}
	if (in->l4_bytes < csum_at + 2)
		return REASON_NONE;
	field = (__be16 *)(s->out + at + csum_at);
	if (in->proto == IPPROTO_UDP && !*field)
		return REASON_NONE;
	*field = csum_updated(*field, in->change);
	if (!*field && (in->proto == IPPROTO_UDP || in->proto == PROTO_UDPLITE))
		*field = 0xffff;
	return REASON_NONE;
}

/* Loads the head of the quote into s->chunk. Returns how much there is. */
static __always_inline __u32 load_inner(struct xdp_md *ctx, const struct packet *p,
					struct scratch *s, struct inner *in)
{
	__u32 n = p->payload - sizeof(struct icmp_head);

	in->available = n;
	if (n > CSUM_CHUNK)
		n = CSUM_CHUNK;
	__builtin_memset(s->chunk, 0, 64);
	opaque(n);
	if (n == 0 || n > CSUM_CHUNK)
		return 0;
	if (bpf_xdp_load_bytes(ctx, p->l4 + sizeof(struct icmp_head), s->chunk, n))
		return 0;
	return n;
}

static __always_inline int read_inner_ipv4(struct scratch *s, struct inner *in, __u32 loaded)
{
	const struct ipv4_head *ip = (void *)s->chunk;
	__u32 head = (ip->version_ihl & 0xf) * 4, flags, total;

	if (loaded < sizeof(*ip) || (ip->version_ihl >> 4) != 4 || head < sizeof(*ip) ||
	    head > loaded)
		return REASON_INNER_INVALID;
	total = bpf_ntohs(ip->total_length);
	if (total < head)
		return REASON_INNER_INVALID;
	flags = bpf_ntohs(ip->flags_offset);
	in->l4 = head;
	in->l4_bytes = in->available - head;
	in->payload = total - head;
	in->proto = ip->protocol;
	in->tos = ip->tos;
	in->ttl = ip->ttl;
	in->more = !!(flags & IPV4_MF);
	in->offset = (flags & IPV4_OFFSET) * 8;
	in->fragment = in->offset ? FRAGMENT_REST : in->more ? FRAGMENT_FIRST : FRAGMENT_WHOLE;
	in->id = (__u32)ip->id << 16;
	return is_ipv6_only_protocol(in->proto) ? REASON_INNER_NOT_TRANSLATABLE : REASON_NONE;
}

static __always_inline int read_inner_ipv6(struct scratch *s, struct inner *in, __u32 loaded)
{
	const struct ipv6_head *ip = (void *)s->chunk;
	__u32 word = bpf_ntohl(ip->version_class_label);
	__u32 at = sizeof(*ip), length;
	__u8 type;

	if (loaded < sizeof(*ip) || word >> 28 != 6)
		return REASON_INNER_INVALID;
	length = bpf_ntohs(ip->payload_length) + sizeof(*ip);
	in->tos = word >> 20;
	in->ttl = ip->hop_limit;
	in->more = 0;
	in->offset = 0;
	in->has_fragment_header = 0;
	in->fragment = FRAGMENT_WHOLE;
	in->id = 0;
	type = ip->next_header;
	for (int i = 0; i <= MAX_EXTENSION_HEADERS; i++) {
		__u32 size;

		if (!is_skipped_header(type))
			break;
		if (i == MAX_EXTENSION_HEADERS || at + 8 > in->available || at + 8 > length)
			return REASON_INNER_INVALID;
		if (at + 8 > CSUM_CHUNK)
			return REASON_UP_SLOW_PATH;
		opaque(at);
		size = (s->chunk[(at + 1) & 0x1ff] + 1) * 8;
		if (at + size > in->available || at + size > length)
			return REASON_INNER_INVALID;
		type = s->chunk[at & 0x1ff];
		at += size;
	}
	if (type == NEXT_FRAGMENT) {
		__u32 flags;

		if (at + 8 > in->available || at + 8 > length)
			return REASON_INNER_INVALID;
		if (at + 8 > CSUM_CHUNK)
			return REASON_UP_SLOW_PATH;
		opaque(at);
		type = s->chunk[at & 0x1ff];
		flags = s->chunk[(at + 2) & 0x1ff] << 8 | s->chunk[(at + 3) & 0x1ff];
		in->has_fragment_header = 1;
		in->offset = flags & IPV6_OFFSET;
		in->more = flags & IPV6_MF;
		in->id = (__u32)s->chunk[(at + 6) & 0x1ff] << 16 | (__u32)s->chunk[(at + 7) & 0x1ff]
									   << 24;
		in->fragment = in->offset ? FRAGMENT_REST
			       : in->more ? FRAGMENT_FIRST
					  : FRAGMENT_WHOLE;
		at += 8;
		if (is_skipped_header(type) || type == NEXT_FRAGMENT || type == NEXT_AUTH)
			return REASON_INNER_NOT_TRANSLATABLE;
	}
	in->proto = type;
	in->l4 = at;
	in->l4_bytes = in->available - at;
	in->payload = length - at;
	if (type == IPPROTO_ICMP || in->payload + sizeof(struct ipv4_head) > 65535)
		return REASON_INNER_NOT_TRANSLATABLE;
	return REASON_NONE;
}

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
