/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef EDGE64_ICMP_HEADS_BPF_H
#define EDGE64_ICMP_HEADS_BPF_H

#include "base.bpf.h"
#include "upper.bpf.h"

/*
 * Types, codes, pointers and MTUs of ICMP errors between the families: RFC 7915 sections 4.2 and
 * 5.2, docs/translation.md 5.
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

#endif
