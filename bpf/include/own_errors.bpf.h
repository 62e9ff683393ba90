/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef EDGE64_OWN_ERRORS_BPF_H
#define EDGE64_OWN_ERRORS_BPF_H

#include "addresses.bpf.h"
#include "base.bpf.h"
#include "checksum.bpf.h"
#include "ipv6.bpf.h"
#include "message.bpf.h"
#include "upper.bpf.h"
#include "verdict.bpf.h"

/* ICMP errors of our own, about a packet just refused: docs/translation.md 9. */

#define OWN_ERROR_HOP_LIMIT 64

struct token_bucket {
	__u64 filled; /* jiffies */
	__u64 tokens; /* times hz, so that nothing is lost to rounding */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct token_bucket);
} error_tokens SEC(".maps");

static __always_inline bool take_error_token(void)
{
	__u32 zero = 0;
	struct token_bucket *b = bpf_map_lookup_elem(&error_tokens, &zero);
	__u64 rate = settings.icmp_error_rate, full = rate * settings.hz;
	__u64 now = bpf_jiffies64(), passed;

	if (!b || !rate)
		return false;
	passed = now - b->filled;
	b->filled = now;
	b->tokens = passed > settings.hz ? full : b->tokens + passed * rate;
	if (b->tokens > full)
		b->tokens = full;
	if (b->tokens < settings.hz)
		return false;
	b->tokens -= settings.hz;
	return true;
}

#define ERROR_WALK 24

/*
 * May an error be sent about this IPv6 packet, as far as its upper layer says? Extension headers
 * are walked to their end, also those after which translation had given up.
 */
static __always_inline bool may_err_about_ipv6(struct xdp_md *ctx, const struct packet *p)
{
	__u32 at = p->l2 + sizeof(struct ipv6_head), end = p->l2 + p->l3_bytes;
	__u8 head[8], type;

	if (bpf_xdp_load_bytes(ctx, p->l2 + offsetof(struct ipv6_head, next_header), &type, 1))
		return false;
	for (int i = 0; i < ERROR_WALK; i++) {
		if (type == NEXT_ICMPV6)
			return at + sizeof(struct icmp_head) <= end &&
			       !bpf_xdp_load_bytes(ctx, at, head, 1) &&
			       !icmp_type_is_error(head[0], false);
		if (!is_skipped_header(type) && type != NEXT_FRAGMENT && type != NEXT_AUTH)
			return true;
		if (at + 8 > end || bpf_xdp_load_bytes(ctx, at, head, sizeof(head)))
			return false;
		if (type == NEXT_FRAGMENT) {
			if ((head[2] << 8 | head[3]) & IPV6_OFFSET)
				return false;
			at += 8;
		} else if (type == NEXT_AUTH) {
			at += (head[1] + 2) * 4;
		} else {
			at += (head[1] + 1) * 8;
		}
		type = head[0];
		if (at > end)
			return false;
	}
	return false;
}

/* A source that no host on the IPv6 side can have: an error would go to who never asked. */
static __always_inline bool is_false_source6(const struct addr6 *a)
{
	__be32 v4;
	int reason = source_to_ipv4(a, &v4);

	return reason == REASON_SOURCE_NOT_TRANSLATABLE || reason == REASON_SOURCE_SPOOFED;
}

/* Turns the packet into the error and gives the reason that it was, or was not, sent. */
__noinline int build_own_error(struct xdp_md *ctx, struct packet *p __nonnull_arg, bool ipv4)
{
	struct scratch *s = get_scratch();
	const __u32 head = (ipv4 ? sizeof(struct ipv4_head) : sizeof(struct ipv6_head)) +
			   sizeof(struct icmp_head);
	const __u32 limit = ipv4 ? LIMIT_IPV4 : LIMIT_IPV6;
	struct icmp_head *icmp;
	__u32 quoted, total;
	__be16 type;
	__u8 mac[6];
	__s64 sum;
	int reason;

	if (!s)
		return REASON_NO_ROOM;
	if (p->fragment == FRAGMENT_REST)
		return REASON_ERROR_SUPPRESSED;
	if (ipv4 && p->proto == IPPROTO_ICMP) {
		__u8 about;

		if (p->payload < sizeof(*icmp) || bpf_xdp_load_bytes(ctx, p->l4, &about, 1) ||
		    icmp_type_is_error(about, true))
			return REASON_ERROR_SUPPRESSED;
	}
	if (!ipv4 && !may_err_about_ipv6(ctx, p))
		return REASON_ERROR_SUPPRESSED;
	if (ipv4 ? !port_of(p)->has_ipv4 : !port_of(p)->has_ipv6)
		return REASON_NO_OWN_ADDRESS;
	quoted = p->l3_bytes < limit - head ? p->l3_bytes : limit - head;
	total = head + quoted;
	if (quote(ctx, s, head, p->l2, quoted))
		return REASON_ERROR_SUPPRESSED;
	if (ipv4) {
		const struct ipv4_head *about = (void *)(s->out + head);
		struct ipv4_head *ip = (void *)s->out;
		struct range *r = range_of(about->source);

		if (!r || r->class != CLASS_NORMAL)
			return REASON_ERROR_SUPPRESSED;
		if (!take_error_token())
			return REASON_ICMP_RATE_LIMITED;
		ip->version_ihl = 0x45;
		ip->tos = 0;
		ip->total_length = bpf_htons(total);
		ip->id = 0;
		ip->flags_offset = 0;
		ip->ttl = OWN_ERROR_HOP_LIMIT;
		ip->protocol = IPPROTO_ICMP;
		ip->checksum = 0;
		ip->source = *(const volatile __be32 *)port_of(p)->ipv4;
		ip->destination = about->source;
		ip->checksum = ~csum_ipv4_head(ip);
		icmp = (void *)(ip + 1);
	} else {
		const struct ipv6_head *about = (void *)(s->out + head);
		struct ipv6_head *ip = (void *)s->out;
		struct addr6 to = about->source;

		if (is_false_source6(&to))
			return REASON_ERROR_SUPPRESSED;
		if (!take_error_token())
			return REASON_ICMP_RATE_LIMITED;
		ip->version_class_label = bpf_htonl(6u << 28);
		ip->payload_length = bpf_htons(total - sizeof(*ip));
		ip->next_header = NEXT_ICMPV6;
		ip->hop_limit = OWN_ERROR_HOP_LIMIT;
		ip->source.q[0] = *(const volatile __u64 *)port_of(p)->ipv6;
		ip->source.q[1] = *(const volatile __u64 *)(port_of(p)->ipv6 + 8);
		ip->destination = to;
		icmp = (void *)(ip + 1);
	}
	icmp->type = p->error_type;
	icmp->code = p->error_code;
	icmp->checksum = 0;
	*(__be16 *)icmp->rest = bpf_htons(p->error_parameter >> 16);
	*(__be16 *)(icmp->rest + 2) = bpf_htons(p->error_parameter & 0xffff);
	sum = csum_message(s, head - sizeof(*icmp), total);
	if (sum < 0)
		return REASON_ERROR_SUPPRESSED;
	if (!ipv4) {
		struct ipv6_head *ip = (void *)s->out;
		struct addr6 from = ip->source, to = ip->destination;

		sum += csum_addr6(&from) + csum_addr6(&to) +
		       csum_pseudo(total - sizeof(*ip), NEXT_ICMPV6);
	}
	icmp->checksum = ~csum_fold(sum);

	__builtin_memcpy(mac, p->macs, 6);
	__builtin_memcpy(p->macs, p->macs + 6, 6);
	__builtin_memcpy(p->macs + 6, mac, 6);
	type = ipv4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	reason = replace_packet(ctx, p, s, NULL, (__u32)type << 16 | total);
	return reason ? reason : REASON_ERROR_SENT;
}

/* The end of a refused packet: dropped, or turned into an error and sent back. */
static __always_inline int verdict_refused(struct xdp_md *ctx, struct packet *p, int reason,
					   bool ipv4)
{
	int action = verdict_drop(ctx, p, reason);
	int sent;

	if (likely(!p->error_type))
		return action;
	sent = ipv4 ? build_own_error(ctx, p, true) : build_own_error(ctx, p, false);
	count_reason(p, sent);
	return sent == REASON_ERROR_SENT ? XDP_TX : action;
}

#endif
