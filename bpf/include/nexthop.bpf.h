/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef EDGE64_NEXTHOP_BPF_H
#define EDGE64_NEXTHOP_BPF_H

#include "base.bpf.h"
#include "counters.bpf.h"
#include "scratch.bpf.h"

/*
 * Where a translated packet goes next. The FIB helper alone costs more than a packet may, so each
 * CPU keeps what it answered. An entry counts only while its generation is the control plane's
 * and the control plane lives (its heartbeat is fresh): what has heard of every change of route,
 * neighbour and link is true, anything else asks the FIB again.
 *
 * A destination behind a gateway is kept by its block: masked to the longest prefix of any route,
 * all addresses of a block share the route. A destination on the link is kept by itself, and its
 * block is marked split. Records belong to one CPU: no locks, no torn reads.
 */
#define NEXT_HOP_OVERFLOW NEXT_HOP_SLOTS /* the slot for an answer that is not kept */
#define NEXT_HOP_SECONDS  10

/* Not yet in the UAPI headers of the oldest build host. */
#define FIB_BLACKHOLE    BPF_FIB_LKUP_RET_BLACKHOLE
#define FIB_NO_NEIGHBOUR BPF_FIB_LKUP_RET_NO_NEIGH

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NEXT_HOP_SLOTS + 1);
	__type(key, __u32);
	__type(value, struct next_hop);
} next_hops SEC(".maps");

/* Next hops that were asked for, with the jiffies of the last time: the control plane keeps their
 * neighbours fresh, which XDP traffic does not. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct next_hop_key);
	__type(value, __u64);
} next_hops_used SEC(".maps");

/* The key of a destination: IPv4 ones stand under ffff::/16, where no IPv6 unicast is. */
#define IPV4_KEY_HIGH (~0ULL)

static __always_inline __u32 next_hop_slot(__u64 hi, __u64 lo)
{
	__u64 h = (hi ^ (lo * 0x9e3779b97f4a7c15ULL)) * 0xbf58476d1ce4e5b9ULL;

	return h >> 40;
}

static __always_inline struct next_hop *next_hop_at(__u32 slot)
{
	return bpf_map_lookup_elem(&next_hops, &slot);
}

static __always_inline bool next_hop_is(const struct next_hop *n, const __u64 key[2],
					__u32 generation)
{
	return n && n->key[0] == key[0] && n->key[1] == key[1] && n->generation == generation;
}

static __always_inline struct next_hop *next_hop_find(const __u64 key[2], __u32 generation)
{
	__u32 h = next_hop_slot(key[0], key[1]);
	struct next_hop *n = next_hop_at(h % NEXT_HOP_SLOTS);

	if (likely(next_hop_is(n, key, generation)))
		return n;
	n = next_hop_at((h >> 12) % NEXT_HOP_SLOTS);
	return next_hop_is(n, key, generation) ? n : NULL;
}

/* A slot to fill: one of the two that is not in use, else the first. */
static __always_inline struct next_hop *next_hop_place(const __u64 key[2], __u32 generation)
{
	__u32 h = next_hop_slot(key[0], key[1]);
	struct next_hop *first = next_hop_at(h % NEXT_HOP_SLOTS);
	struct next_hop *second = next_hop_at((h >> 12) % NEXT_HOP_SLOTS);

	if (!first || !second)
		return NULL;
	if (next_hop_is(first, key, generation) || first->generation != generation)
		return first;
	if (next_hop_is(second, key, generation) || second->generation != generation)
		return second;
	return first;
}

static __always_inline __u32 port_of_egress(__u32 ifindex)
{
	for (__u32 i = 0; i < MAX_PORTS; i++) {
		if (i >= settings.port_count)
			break;
		if (settings.ports[i].ifindex == ifindex)
			return i;
	}
	return NO_PORT;
}

static __always_inline void note_used(struct scratch *s, __u32 ifindex, __u32 family,
				      const void *address, __u64 now)
{
	struct next_hop_key *key = &s->used;

	__builtin_memset(key, 0, sizeof(*key));
	key->ifindex = ifindex;
	key->family = family;
	if (family == 4)
		__builtin_memcpy(key->address, address, 4);
	else
		__builtin_memcpy(key->address, address, 16);
	bpf_map_update_elem(&next_hops_used, key, &now, BPF_ANY);
}

/*
 * Asks the FIB and keeps the answer. Returns REASON_NONE with *slot set, or why XDP cannot send:
 * REASON_UP_*, REASON_ROUTE_BLACKHOLE. *mtu is the route's wherever a route is known, else 0.
 */
__noinline int next_hop_ask(struct xdp_md *ctx, struct packet *p __nonnull_arg,
			    struct next_hop_query *q __nonnull_arg, __u32 *slot __nonnull_arg,
			    __u32 *mtu __nonnull_arg)
{
	struct scratch *s = get_scratch();
	struct bpf_fib_lookup *fib;
	const volatile struct port *egress;
	__u32 generation = runtime.generation;
	__u64 now = bpf_jiffies64();
	bool keep = now - runtime.heartbeat <= settings.heartbeat_jiffies;
	bool ipv4 = q->key[0] == IPV4_KEY_HIGH;
	bool gateway;
	struct next_hop *n, *mark;
	__u32 overflow = NEXT_HOP_OVERFLOW;
	__u64 key[2];
	long answer;

	/* The generation is read before the FIB: a change between the two makes the entry old. */
	barrier();
	count_reason(p, keep ? REASON_NEXT_HOP_REFILLED : REASON_NEXT_HOP_UNCACHED);
	if (!s)
		return REASON_UP_ROUTE;
	fib = &s->fib;
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->ifindex = port_of(p)->ifindex;
	fib->l4_protocol = p->proto;
	if (ipv4) {
		fib->family = 2; /* AF_INET */
		fib->tos = p->tos;
		fib->ipv4_src = q->source.q[1];
		fib->ipv4_dst = q->key[1];
	} else {
		fib->family = 10; /* AF_INET6 */
		__builtin_memcpy(fib->ipv6_src, &q->source, 16);
		__builtin_memcpy(fib->ipv6_dst, q->key, 16);
	}
	answer = bpf_fib_lookup(ctx, fib, sizeof(*fib), 0);
	*mtu = 0;
	if (answer == FIB_BLACKHOLE)
		return REASON_ROUTE_BLACKHOLE;
	if (answer != BPF_FIB_LKUP_RET_SUCCESS && answer != FIB_NO_NEIGHBOUR)
		return REASON_UP_ROUTE;
	p->egress = port_of_egress(fib->ifindex);
	if (p->egress == NO_PORT)
		return REASON_UP_EGRESS_NOT_OURS;
	egress = &settings.ports[p->egress & (MAX_PORTS - 1)];
	if (fib->family == 2)
		note_used(s, fib->ifindex, 4, &fib->ipv4_dst, now);
	else
		note_used(s, fib->ifindex, 6, fib->ipv6_dst, now);
	if (answer == FIB_NO_NEIGHBOUR) {
		*mtu = egress->mtu;
		return REASON_UP_NEIGHBOUR_UNKNOWN;
	}
	/* The helper leaves the gateway in the destination, or the destination if it is on link. */
	if (ipv4)
		gateway = fib->family != 2 || fib->ipv4_dst != (__be32)q->key[1];
	else
		gateway = __builtin_memcmp(fib->ipv6_dst, q->key, 16) != 0;
	/* A block that hosts on the link have split stays so: its gateway goes by host too. */
	mark = next_hop_find(q->block, generation);
	if (mark && mark->split)
		gateway = false;
	key[0] = gateway ? q->block[0] : q->key[0];
	key[1] = gateway ? q->block[1] : q->key[1];
	n = keep ? next_hop_place(key, generation) : next_hop_at(overflow);
	if (!n)
		return REASON_UP_ROUTE;
	n->key[0] = key[0];
	n->key[1] = key[1];
	n->generation = keep ? generation : generation - 1;
	n->filled = now;
	n->out_ifindex = egress->out_ifindex;
	n->vlan_id = egress->vlan_id;
	n->port = p->egress;
	n->mtu = fib->mtu_result && fib->mtu_result < egress->mtu ? fib->mtu_result : egress->mtu;
	n->split = 0;
	__builtin_memcpy(n->macs, fib->dmac, 6);
	__builtin_memcpy(n->macs + 6, fib->smac, 6);
	*mtu = n->mtu;
	if (!keep) {
		*slot = NEXT_HOP_OVERFLOW;
		return REASON_NONE;
	}
	if (!gateway && (q->block[0] != q->key[0] || q->block[1] != q->key[1])) {
		mark = next_hop_place(q->block, generation);
		if (mark && mark != n) {
			mark->key[0] = q->block[0];
			mark->key[1] = q->block[1];
			mark->generation = generation;
			mark->filled = now;
			mark->split = 1;
		}
	}
	overflow = next_hop_slot(key[0], key[1]);
	*slot = next_hop_at(overflow % NEXT_HOP_SLOTS) == n ? overflow % NEXT_HOP_SLOTS
							    : (overflow >> 12) % NEXT_HOP_SLOTS;
	return REASON_NONE;
}

/* A kept next hop, or NULL. */
static __always_inline struct next_hop *next_hop_kept(const __u64 key[2], const __u64 block[2])
{
	__u64 now = bpf_jiffies64();
	__u32 generation = runtime.generation;
	struct next_hop *n;

	if (unlikely(now - runtime.heartbeat > settings.heartbeat_jiffies))
		return NULL;
	n = next_hop_find(block, generation);
	if (n && n->split)
		n = next_hop_find(key, generation);
	if (unlikely(!n || n->split || now - n->filled > NEXT_HOP_SECONDS * settings.hz))
		return NULL;
	return n;
}

/*
 * The next hop to a destination. source: for the FIB only. Returns REASON_NONE and sets *out, or a
 * reason as next_hop_ask does; *mtu is set in both cases.
 */
static __always_inline int next_hop_of(struct xdp_md *ctx, struct packet *p,
				       const struct addr6 *source, const __u64 key[2],
				       const __u64 block[2], struct next_hop **out, __u32 *mtu)
{
	struct next_hop *n = next_hop_kept(key, block);
	struct scratch *s;
	__u32 slot = 0;
	int reason;

	if (likely(n)) {
		*out = n;
		*mtu = n->mtu;
		p->egress = n->port;
		return REASON_NONE;
	}
	s = get_scratch();
	if (!s)
		return REASON_UP_ROUTE;
	s->query.key[0] = key[0];
	s->query.key[1] = key[1];
	s->query.block[0] = block[0];
	s->query.block[1] = block[1];
	s->query.source = *source;
	reason = next_hop_ask(ctx, p, &s->query, &slot, mtu);
	if (reason)
		return reason;
	*out = next_hop_at(slot);
	return *out ? REASON_NONE : REASON_UP_ROUTE;
}

static __always_inline int next_hop_ipv6(struct xdp_md *ctx, struct packet *p,
					 const struct addr6 *source,
					 const struct addr6 *destination, struct next_hop **out,
					 __u32 *mtu)
{
	__u64 key[2] = { destination->q[0], destination->q[1] };
	__u64 block[2] = { key[0] & runtime.route_mask6[0], key[1] & runtime.route_mask6[1] };

	return next_hop_of(ctx, p, source, key, block, out, mtu);
}

static __always_inline int next_hop_ipv4(struct xdp_md *ctx, struct packet *p, __be32 source,
					 __be32 destination, struct next_hop **out, __u32 *mtu)
{
	__u64 key[2] = { IPV4_KEY_HIGH, destination };
	__u64 block[2] = { IPV4_KEY_HIGH, destination & runtime.route_mask4 };
	struct addr6 from = { { 0, source } };

	return next_hop_of(ctx, p, &from, key, block, out, mtu);
}

#endif
