/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef EDGE64_INNER_BPF_H
#define EDGE64_INNER_BPF_H

#include "base.bpf.h"
#include "checksum.bpf.h"
#include "ipv4.bpf.h"
#include "ipv6.bpf.h"
#include "upper.bpf.h"

/* The packet that an ICMP error quotes: RFC 7915 sections 4.3 and 5.3, docs/translation.md 5. */

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

#endif
