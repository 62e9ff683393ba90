/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef EDGE64_ADDRESSES_BPF_H
#define EDGE64_ADDRESSES_BPF_H

#include "base.bpf.h"
#include "scratch.bpf.h"

/*
 * What an address is, and what it becomes on the other side: RFC 6052 by arithmetic, RFC 7757 by
 * table. docs/translation.md 1 and 2.
 *
 * IPv4: a 16-8-8 trie, three dependent loads at most, two for what is no longer than /24. Leaves
 * are numbers of ranges, so that what most addresses share is one cache line.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* the table compiler says how many */
	__type(key, __u32);
	__type(value, struct trie_line);
} ipv4_trie SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct range);
} ranges SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct eam_bucket);
} eam_buckets SEC(".maps");

static __always_inline __u32 trie_entry(__u32 index)
{
	__u32 line_index = index / TRIE_LINE;
	struct trie_line *line = bpf_map_lookup_elem(&ipv4_trie, &line_index);

	return line ? line->entry[index % TRIE_LINE] : 0;
}

static __always_inline struct range *range_at(__u32 index)
{
	return bpf_map_lookup_elem(&ranges, &index);
}

/* What an IPv4 address is; NULL never happens once the tables are there. */
static __always_inline struct range *range_of(__be32 address)
{
	__u32 a = bpf_ntohl(address);
	__u32 entry = trie_entry(a >> 16);

	if (entry & TRIE_CHUNK_FLAG) {
		entry = trie_entry((entry & ~TRIE_CHUNK_FLAG) + ((a >> 8) & 0xff));
		if (entry & TRIE_CHUNK_FLAG)
			entry = trie_entry((entry & ~TRIE_CHUNK_FLAG) + (a & 0xff));
	}
	return range_at(entry);
}

static __always_inline bool is_inside(const struct range *r)
{
	return r->kind == RANGE_HOST6 || r->kind == RANGE_EAM6;
}

/* RFC 6052 section 2.2: the IPv4 address goes around bits 64 to 71. */
static __always_inline void pref64_embed(__u32 index, __be32 v4, struct addr6 *out)
{
	const volatile struct pref64 *p = &settings.pref64[index & (MAX_PREF64 - 1)];
	__u64 a = bpf_ntohl(v4);
	__u64 hi = 0, lo = 0;

	out->q[0] = *(const volatile __u64 *)p->prefix;
	out->q[1] = *(const volatile __u64 *)(p->prefix + 8);
	switch (p->length) {
	case 96:
		lo = a;
		break;
	case 64:
		lo = a << 24;
		break;
	case 56:
		hi = a >> 24;
		lo = (a & 0xffffff) << 32;
		break;
	case 48:
		hi = a >> 16;
		lo = (a & 0xffff) << 40;
		break;
	case 40:
		hi = a >> 8;
		lo = (a & 0xff) << 48;
		break;
	default:
		hi = a;
	}
	out->q[0] |= bpf_cpu_to_be64(hi);
	out->q[1] |= bpf_cpu_to_be64(lo);
}

static __always_inline __be32 pref64_extract(__u32 index, const struct addr6 *a)
{
	const volatile struct pref64 *p = &settings.pref64[index & (MAX_PREF64 - 1)];
	__u64 hi, lo;

	if (likely(p->length == 96))
		return a->q[1] >> 32;
	hi = bpf_be64_to_cpu(a->q[0]);
	lo = bpf_be64_to_cpu(a->q[1]);
	switch (p->length) {
	case 64:
		return bpf_htonl((__u32)(lo >> 24));
	case 56:
		return bpf_htonl((__u32)(hi << 24) | ((lo >> 32) & 0xffffff));
	case 48:
		return bpf_htonl((__u32)(hi << 16) | ((lo >> 40) & 0xffff));
	case 40:
		return bpf_htonl((__u32)(hi << 8) | ((lo >> 48) & 0xff));
	default:
		return bpf_htonl((__u32)hi);
	}
}

/* The index of the pref64 that holds an address, the longest first; -1 if none. */
static __always_inline int pref64_of(const struct addr6 *a)
{
	for (__u32 i = 0; i < MAX_PREF64; i++) {
		const volatile struct pref64 *p = &settings.pref64[i];

		if (i >= settings.pref64_count)
			break;
		if ((a->q[0] & *(const volatile __u64 *)p->mask) ==
			    *(const volatile __u64 *)p->prefix &&
		    (a->q[1] & *(const volatile __u64 *)(p->mask + 8)) ==
			    *(const volatile __u64 *)(p->prefix + 8))
			return i;
	}
	return -1;
}

static __always_inline __u64 eam_hash(__u64 hi, __u64 lo, __u32 length)
{
	__u64 h = (hi ^ length) * 0x9e3779b97f4a7c15ULL;

	/* A product's low bits know nothing of a factor's high ones, where prefixes differ. */
	h ^= (h >> 32) ^ lo ^ (lo >> 32);
	h *= 0xbf58476d1ce4e5b9ULL;
	return h ^ (h >> 32);
}

/* The number of the range of an EAM entry with that IPv6 prefix, or NO_RANGE. */
#define NO_RANGE (~0u)

static __always_inline __u32 eam_probe(__u64 hi, __u64 lo, __u32 length)
{
	struct eam_bucket *bucket;
	__u32 index, tag;
	__u64 h;

	if (length < 64) {
		lo = 0;
		hi = length ? hi & (~0ULL << (64 - length)) : 0;
	} else if (length < 128) {
		lo = length > 64 ? lo & (~0ULL << (128 - length)) : 0;
	}
	h = eam_hash(hi, lo, length);
	index = (__u32)h & settings.eam_bucket_mask;
	tag = (__u32)(h >> 32) | 1;
	bucket = bpf_map_lookup_elem(&eam_buckets, &index);
	if (!bucket)
		return NO_RANGE;
#pragma unroll
	for (int slot = 0; slot < EAM_BUCKET_SLOTS; slot++) {
		struct range *r;

		if (bucket->tag[slot] != tag)
			continue;
		r = range_at(bucket->range[slot]);
		if (r && r->ipv6_length == length && *(__u64 *)r->ipv6 == bpf_cpu_to_be64(hi) &&
		    *(__u64 *)(r->ipv6 + 8) == bpf_cpu_to_be64(lo))
			return bucket->range[slot];
	}
	return NO_RANGE;
}

/* Few lengths are looked through in place; for many, a global function bounds the verifier. */
#define EAM_LENGTHS_IN_PLACE 4

__noinline __u32 eam_search(const struct addr6 *a __nonnull_arg)
{
	__u64 hi = bpf_be64_to_cpu(a->q[0]);
	__u64 lo = bpf_be64_to_cpu(a->q[1]);

	for (__u32 i = 0; i < MAX_EAM_LENGTHS; i++) {
		__u32 found;

		if (i >= settings.eam_length_count)
			break;
		found = eam_probe(hi, lo, settings.eam_length[i]);
		if (found != NO_RANGE)
			return found;
	}
	return NO_RANGE;
}

/* The EAM entry with the longest IPv6 prefix that holds an address, or NULL (RFC 7757 section 3).
 */
static __always_inline struct range *eam_of(const struct addr6 *a)
{
	__u64 hi = bpf_be64_to_cpu(a->q[0]);
	__u64 lo = bpf_be64_to_cpu(a->q[1]);

	if (settings.eam_length_count > EAM_LENGTHS_IN_PLACE) {
		struct scratch *s = get_scratch();

		if (!s)
			return NULL;
		s->searched = *a;
		return range_at(eam_search(&s->searched));
	}
	for (__u32 i = 0; i < EAM_LENGTHS_IN_PLACE; i++) {
		__u32 found;

		if (i >= settings.eam_length_count)
			break;
		found = eam_probe(hi, lo, settings.eam_length[i]);
		if (found != NO_RANGE)
			return range_at(found);
	}
	return NULL;
}

/* RFC 7757 section 3.3.2: the IPv4 suffix follows the IPv6 prefix, zeros follow it. */
static __always_inline void eam_embed(const struct range *r, __be32 v4, struct addr6 *out)
{
	__u64 suffix = bpf_ntohl(v4) & r->suffix_mask;
	__u32 shift = r->shift & 127;

	out->q[0] = *(const __u64 *)r->ipv6;
	out->q[1] = *(const __u64 *)(r->ipv6 + 8);
	if (shift >= 64) {
		out->q[0] |= bpf_cpu_to_be64(suffix << (shift - 64));
	} else {
		out->q[1] |= bpf_cpu_to_be64(suffix << shift);
		if (shift > 32)
			out->q[0] |= bpf_cpu_to_be64(suffix >> (64 - shift));
	}
}

static __always_inline __be32 eam_extract(const struct range *r, const struct addr6 *a)
{
	__u64 hi = bpf_be64_to_cpu(a->q[0]);
	__u64 lo = bpf_be64_to_cpu(a->q[1]);
	__u32 shift = r->shift & 127;
	__u64 suffix;

	if (shift >= 64)
		suffix = hi >> (shift - 64);
	else if (shift > 32)
		suffix = (lo >> shift) | (hi << (64 - shift));
	else
		suffix = lo >> shift;
	return bpf_htonl(r->ipv4 | ((__u32)suffix & r->suffix_mask));
}

/* An inside host's own IPv6 address. */
static __always_inline void host6_address(const struct range *r, __be32 v4, struct addr6 *out)
{
	if (r->kind == RANGE_EAM6)
		eam_embed(r, v4, out);
	else
		pref64_embed(r->host_pref64, v4, out);
}

static __always_inline bool addr6_equal(const struct addr6 *a, const struct addr6 *b)
{
	return a->q[0] == b->q[0] && a->q[1] == b->q[1];
}

/* Is a, from which v4 was taken by pref64, the inside host's own address? */
static __always_inline bool is_host6_address(const struct range *r, __be32 v4, int pref64,
					     const struct addr6 *a)
{
	struct addr6 own;

	/* A /96 leaves no bit open. */
	if (likely(r->kind == RANGE_HOST6 && r->host_pref64 == pref64 &&
		   settings.pref64[pref64 & (MAX_PREF64 - 1)].length == 96))
		return true;
	host6_address(r, v4, &own);
	return addr6_equal(&own, a);
}

static __always_inline bool well_known_refuses(const struct range *r, __u32 pref64)
{
	return r->non_global && settings.pref64[pref64 & (MAX_PREF64 - 1)].well_known;
}

static __always_inline bool is_own_ipv6(const struct addr6 *a)
{
	for (__u32 i = 0; i < MAX_OWN_IPV6; i++) {
		if (i >= settings.own_ipv6_count)
			break;
		if (a->q[0] == *(const volatile __u64 *)settings.own_ipv6[i] &&
		    a->q[1] == *(const volatile __u64 *)(settings.own_ipv6[i] + 8))
			return true;
	}
	return false;
}

/* Link-local, multicast, unspecified and loopback: nobody's source beyond a link. */
static __always_inline bool is_unusable_source6(const struct addr6 *a)
{
	__u16 top = bpf_ntohs((__be16)a->q[0]);

	if (unlikely((top & 0xffc0) == 0xfe80 || (top & 0xff00) == 0xff00))
		return true;
	return a->q[0] == 0 && (bpf_be64_to_cpu(a->q[1]) <= 1);
}

/* How an IPv6 destination is to be treated. */
enum destination6 {
	DESTINATION_NATIVE = 0,
	DESTINATION_IPV4 = 1,
	DESTINATION_HAIRPIN = 2,
	DESTINATION_REFUSED = 3,
};

struct destination {
	__be32 v4;
	struct range *range;
	int pref64;      /* -1: by EAM */
	int reason;      /* of a refusal */
	__u8 error_code; /* of the Destination Unreachable that goes with it */
	bool error;
};

static __always_inline int refuse_destination(struct destination *d, int reason, bool error,
					      __u8 code)
{
	d->reason = reason;
	d->error = error;
	d->error_code = code;
	return DESTINATION_REFUSED;
}

/* docs/translation.md 1. */
static __always_inline int destination_of(const struct addr6 *a, struct destination *d)
{
	d->pref64 = pref64_of(a);
	if (settings.special_mapped && (d->pref64 >= 0 || settings.eam_host4) && is_own_ipv6(a))
		return DESTINATION_NATIVE;
	if (settings.eam_in_pref64 || (d->pref64 < 0 && settings.eam_host4)) {
		d->range = eam_of(a);
		if (d->range) {
			if (d->range->kind != RANGE_EAM4)
				return DESTINATION_NATIVE;
			d->pref64 = -1;
			d->v4 = eam_extract(d->range, a);
			return DESTINATION_IPV4;
		}
	}
	if (d->pref64 < 0)
		return DESTINATION_NATIVE;
	d->v4 = pref64_extract(d->pref64, a);
	d->range = range_of(d->v4);
	if (!d->range)
		return DESTINATION_NATIVE;
	if (is_inside(d->range) && is_host6_address(d->range, d->v4, d->pref64, a))
		return DESTINATION_NATIVE;
	if (unlikely(d->range->class == CLASS_MULTICAST))
		return refuse_destination(d, REASON_MULTICAST, false, 0);
	if (unlikely(d->range->class == CLASS_INVALID))
		return refuse_destination(d, REASON_DESTINATION_NOT_TRANSLATABLE, true, 0);
	if (unlikely(well_known_refuses(d->range, d->pref64)))
		return refuse_destination(d, REASON_NON_GLOBAL_ADDRESS, true, 1);
	if (is_inside(d->range))
		return DESTINATION_HAIRPIN;
	if (unlikely(!(d->range->covers & (1 << (d->pref64 & 7)))))
		return refuse_destination(d, REASON_DESTINATION_NOT_TRANSLATABLE, true, 0);
	return DESTINATION_IPV4;
}

/*
 * The IPv4 address of an IPv6 source (docs/translation.md 2). Returns REASON_NONE, or the reason
 * against it; REASON_SOURCE_UNMAPPED and REASON_NON_GLOBAL_ADDRESS leave RFC 6791 to the caller.
 */
static __always_inline int source_to_ipv4(const struct addr6 *a, __be32 *v4)
{
	struct range *r = NULL;
	int index;

	if (settings.special_mapped && unlikely(is_unusable_source6(a) || is_own_ipv6(a)))
		return REASON_SOURCE_NOT_TRANSLATABLE;
	if (settings.eam_length_count)
		r = eam_of(a);
	if (r) {
		*v4 = eam_extract(r, a);
		return r->kind == RANGE_EAM4 ? REASON_SOURCE_SPOOFED : REASON_NONE;
	}
	index = pref64_of(a);
	if (index < 0)
		return is_unusable_source6(a) || is_own_ipv6(a) ? REASON_SOURCE_NOT_TRANSLATABLE
								: REASON_SOURCE_UNMAPPED;
	*v4 = pref64_extract(index, a);
	r = range_of(*v4);
	if (!r || !is_inside(r) || !is_host6_address(r, *v4, index, a))
		return REASON_SOURCE_SPOOFED;
	return REASON_NONE;
}

/* The IPv6 address of an IPv4 source (docs/translation.md 2); returns as above. */
static __always_inline int source_to_ipv6(const struct range *r, __be32 v4, struct addr6 *out)
{
	if (unlikely(r->class != CLASS_NORMAL))
		return REASON_SOURCE_NOT_TRANSLATABLE;
	if (unlikely(r->own_ipv4))
		return REASON_SOURCE_SPOOFED;
	if (r->kind == RANGE_EAM4) {
		eam_embed(r, v4, out);
		return REASON_NONE;
	}
	if (unlikely(r->source_pref64 == NO_PREF64))
		return REASON_SOURCE_UNMAPPED;
	if (unlikely(well_known_refuses(r, r->source_pref64)))
		return REASON_NON_GLOBAL_ADDRESS;
	pref64_embed(r->source_pref64, v4, out);
	return REASON_NONE;
}

/* RFC 6791: the IPv4 source of an error from a router without a mapping; 0 if no pool is set. */
static __always_inline __be32 rfc6791_ipv4(const struct addr6 *a)
{
	__u64 x = a->q[0] ^ a->q[1];
	__u32 n = bpf_ntohl((__u32)x) ^ bpf_ntohl((__u32)(x >> 32));

	if (!settings.rfc6791_total)
		return 0;
	n = ((n * 0x9e3779b1u) >> 16) % settings.rfc6791_total;
	for (__u32 i = 0; i < MAX_RFC6791; i++) {
		if (i >= settings.rfc6791_count)
			break;
		if (n < settings.rfc6791[i].count)
			return bpf_htonl(settings.rfc6791[i].first + n);
		n -= settings.rfc6791[i].count;
	}
	return 0;
}

#endif
