/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef EDGE64_IPV4_BPF_H
#define EDGE64_IPV4_BPF_H

#include "base.bpf.h"
#include "checksum.bpf.h"
#include "frame.bpf.h"

/* Reading an IPv4 packet: docs/translation.md 3. */

#define OPTION_END  0
#define OPTION_NOP  1
#define OPTION_LSRR 131
#define OPTION_SSRR 137

static __always_inline int read_ipv4(struct xdp_md *ctx, struct packet *p)
{
	const struct ipv4_head *ip = packet_at(ctx, p->l2 & 0x1f);
	__u32 head, flags, offset;

	if ((void *)(ip + 1) > packet_end(ctx))
		return REASON_BAD_HEADER;
	if (unlikely((ip->version_ihl & 0xf0) != 0x40 || (ip->version_ihl & 0xf) < 5))
		return REASON_BAD_HEADER;
	head = (ip->version_ihl & 0xf) * 4;
	p->l4 = p->l2 + head;
	p->l3_bytes = bpf_ntohs(ip->total_length);
	if (unlikely(p->l3_bytes < head))
		return REASON_BAD_HEADER;
	if (unlikely(p->l2 + p->l3_bytes != p->frame_bytes)) {
		p->frame_bytes = whole_frame(ctx);
		if (p->l2 + p->l3_bytes > p->frame_bytes)
			return REASON_BAD_HEADER;
	}
	flags = bpf_ntohs(ip->flags_offset);
	offset = flags & IPV4_OFFSET;
	p->proto = ip->protocol;
	p->tos = ip->tos;
	p->ttl = ip->ttl;
	p->id16 = ip->id;
	p->df = !!(flags & IPV4_DF);
	p->more = !!(flags & IPV4_MF);
	p->offset = offset * 8;
	p->payload = p->l3_bytes - head;
	p->fragment = offset ? FRAGMENT_REST : p->more ? FRAGMENT_FIRST : FRAGMENT_WHOLE;
	p->walked = 1;
	if (likely(head == sizeof(*ip)))
		return csum_ipv4_head(ip) == 0xffff ? REASON_NONE : REASON_BAD_CHECKSUM;
	return csum_frame(ctx, p->l2, head) == 0xffff ? REASON_NONE : REASON_BAD_CHECKSUM;
}

/* RFC 7915 section 4.1: options vanish, but an unexpired source route must not. */
__noinline int check_options(struct xdp_md *ctx, struct packet *p __nonnull_arg)
{
	__u8 options[44] = {};
	__u32 length = (p->l4 - p->l2 - sizeof(struct ipv4_head)) & 0x3f;
	__u32 at = 0;

	opaque(length);
	if (length == 0 || length > 40)
		return REASON_NONE;
	if (bpf_xdp_load_bytes(ctx, p->l2 + sizeof(struct ipv4_head), options, length))
		return REASON_BAD_HEADER;
	for (int i = 0; i < 40; i++) {
		__u8 type, size;

		if (at >= length || at >= 40)
			break;
		type = options[at];
		if (type == OPTION_END)
			break;
		if (type == OPTION_NOP) {
			at++;
			continue;
		}
		if (at + 2 > length)
			return REASON_BAD_HEADER;
		size = options[at + 1];
		if (size < 2 || at + size > length)
			return REASON_BAD_HEADER;
		if (type == OPTION_LSRR || type == OPTION_SSRR) {
			if (size < 3)
				return REASON_BAD_HEADER;
			if (options[at + 2] <= size)
				return refuse(p, REASON_SOURCE_ROUTE, 3, 5, 0);
		}
		at += size;
	}
	return REASON_NONE;
}

/* ICMPv6 and what would be taken for extension headers on the other side. */
static __always_inline bool is_ipv6_only_protocol(__u8 proto)
{
	return proto == NEXT_HOP_BY_HOP || proto == NEXT_ROUTING || proto == NEXT_FRAGMENT ||
	       proto == NEXT_ICMPV6 || proto == NEXT_DESTINATION;
}

static __always_inline int check_ipv4(struct packet *p)
{
	if (unlikely(p->fragment != FRAGMENT_WHOLE)) {
		if (p->offset + p->payload > 65535)
			return REASON_BAD_FRAGMENT;
		if (p->more && (p->payload % 8 || !p->payload))
			return REASON_BAD_FRAGMENT;
	}
	if (unlikely(is_ipv6_only_protocol(p->proto)))
		return REASON_PROTOCOL_NOT_TRANSLATABLE;
	if (unlikely(p->ttl <= 1))
		return refuse(p, REASON_HOP_LIMIT, 11, 0, 0);
	return REASON_NONE;
}

/* A fragment identification for IPv4: of one CPU unique among 65,536, and not to be guessed. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} ipv4_ids SEC(".maps");

static __always_inline __be16 next_ipv4_id(void)
{
	__u32 zero = 0;
	__u32 *counter = bpf_map_lookup_elem(&ipv4_ids, &zero);
	__u32 n;

	if (!counter)
		return 0;
	n = (*counter)++ + bpf_get_smp_processor_id() * 0x9e37;
	/* A keyed permutation of 16 bits: odd secret factors, and shifts that can be undone. */
	n = (n * (settings.id_key[0] | 1)) & 0xffff;
	n ^= n >> 7;
	n = (n * (settings.id_key[0] >> 16 | 1)) & 0xffff;
	n ^= n >> 9;
	return n * (settings.id_key[1] | 1);
}

/* The octets of one setting: what the packet had, or the fixed one. */
static __always_inline __u8 tos_for_ipv4(__u8 traffic_class)
{
	return settings.tos == COPY_OCTET ? traffic_class : settings.tos & 0xff;
}

static __always_inline __u32 tos_for_ipv6(__u8 tos)
{
	return settings.traffic_class == COPY_OCTET ? tos : settings.traffic_class & 0xff;
}

/*
 * The IPv4 header made of an IPv6 packet, of length octets in all. Written by words, with the
 * checksum summed from the same values: what was just stored is slow to load in other widths.
 */
static __always_inline void write_ipv4(struct ipv4_head *ip, const struct packet *p, __u32 length,
				       __u8 protocol, __u8 ttl, __be32 source, __be32 destination)
{
	bool df = length > 1260 && !p->has_fragment_header;
	__be16 id = p->has_fragment_header ? p->id16 : df ? 0 : next_ipv4_id();
	__u32 flags = (df ? IPV4_DF : 0) | (p->more ? IPV4_MF : 0) | p->offset / 8;
	__u32 first = bpf_htonl(0x45u << 24 | (__u32)tos_for_ipv4(p->tos) << 16 | length);
	__u32 second = id | (__u32)bpf_htons(flags) << 16;
	__u32 third = ttl | (__u32)protocol << 8;
	__u64 sum = (__u64)first + second + third + source + destination;

	*(__u32 *)&ip->version_ihl = first;
	*(__u32 *)&ip->id = second;
	*(__u32 *)&ip->ttl = third | (__u32)(__u16)~csum_fold(sum) << 16;
	*(__u64 *)&ip->source = source | (__u64)destination << 32;
}

#endif
