/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef EDGE64_IPV6_BPF_H
#define EDGE64_IPV6_BPF_H

#include "base.bpf.h"
#include "frame.bpf.h"

/* Reading an IPv6 packet: docs/translation.md 3. */

#define MAX_EXTENSION_HEADERS 8

static __always_inline int read_ipv6(struct xdp_md *ctx, struct packet *p)
{
	const struct ipv6_head *ip = packet_at(ctx, p->l2 & 0x1f);
	__u32 word, length;

	if ((void *)(ip + 1) > packet_end(ctx))
		return REASON_BAD_HEADER;
	word = bpf_ntohl(ip->version_class_label);
	length = bpf_ntohs(ip->payload_length);
	p->l3_bytes = sizeof(*ip) + length;
	p->proto = ip->next_header;
	p->tos = word >> 20;
	p->ttl = ip->hop_limit;
	p->l4 = p->l2 + sizeof(*ip);
	p->payload = length;
	p->fragment = FRAGMENT_WHOLE;
	p->has_fragment_header = 0;
	p->more = 0;
	p->offset = 0;
	p->walked = 1;
	if (unlikely(p->l2 + p->l3_bytes != p->frame_bytes)) {
		p->frame_bytes = whole_frame(ctx);
		if (p->l2 + p->l3_bytes > p->frame_bytes)
			return REASON_BAD_HEADER;
	}
	if (unlikely(word >> 28 != 6 || (!length && p->proto != NEXT_NONE)))
		return REASON_BAD_HEADER;
	return REASON_NONE;
}

static __always_inline bool is_skipped_header(__u8 type)
{
	return type == NEXT_HOP_BY_HOP || type == NEXT_ROUTING || type == NEXT_DESTINATION;
}

/* Finds the upper layer behind extension headers. p->walked tells whether it did. */
__noinline int walk_extensions(struct xdp_md *ctx, struct packet *p __nonnull_arg)
{
	__u32 end = p->l2 + p->l3_bytes;
	__u32 at = p->l4;
	__u8 type = p->proto;
	__u8 head[8];

	p->walked = 0;
	for (int i = 0; i <= MAX_EXTENSION_HEADERS; i++) {
		if (!is_skipped_header(type))
			break;
		if (i == MAX_EXTENSION_HEADERS || at + 8 > end)
			return REASON_BAD_EXTENSION_HEADER;
		if (bpf_xdp_load_bytes(ctx, at, head, sizeof(head)))
			return REASON_BAD_EXTENSION_HEADER;
		if (at + (head[1] + 1) * 8 > end)
			return REASON_BAD_EXTENSION_HEADER;
		if (type == NEXT_ROUTING && head[3])
			return refuse(p, REASON_SOURCE_ROUTE, 4, 0, at - p->l2 + 3);
		at += (head[1] + 1) * 8;
		type = head[0];
	}
	if (type == NEXT_FRAGMENT) {
		__u32 flags;

		if (at + 8 > end || bpf_xdp_load_bytes(ctx, at, head, sizeof(head)))
			return REASON_BAD_EXTENSION_HEADER;
		at += 8;
		type = head[0];
		flags = head[2] << 8 | head[3];
		p->has_fragment_header = 1;
		p->offset = flags & IPV6_OFFSET;
		p->more = flags & IPV6_MF;
		p->id16 = head[7] << 8 | head[6]; /* as it lies in memory */
		p->fragment = p->offset ? FRAGMENT_REST : p->more ? FRAGMENT_FIRST : FRAGMENT_WHOLE;
		if (is_skipped_header(type) || type == NEXT_FRAGMENT || type == NEXT_AUTH) {
			p->proto = type;
			return refuse(p, REASON_HEADER_AFTER_FRAGMENT, 1, 1, 0);
		}
	}
	p->proto = type;
	p->payload = end - at;
	p->l4 = at;
	/* Headers this deep do not come but from an attacker, or in buffers XDP cannot see. */
	if (at >= 0x3fff - 64)
		return REASON_UP_NOT_LINEAR;
	p->walked = 1;
	return REASON_NONE;
}

static __always_inline int check_ipv6(struct packet *p)
{
	if (unlikely(p->fragment != FRAGMENT_WHOLE)) {
		if (p->offset + p->payload > 65535)
			return REASON_BAD_FRAGMENT;
		if (p->more && (p->payload % 8 || !p->payload))
			return REASON_BAD_FRAGMENT;
	}
	if (unlikely(p->proto == IPPROTO_ICMP))
		return REASON_PROTOCOL_NOT_TRANSLATABLE;
	if (unlikely(p->ttl <= 1))
		return refuse(p, REASON_HOP_LIMIT, 3, 0, 0);
	return REASON_NONE;
}

#endif
