/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef EDGE64_SCRATCH_BPF_H
#define EDGE64_SCRATCH_BPF_H

#include "base.bpf.h"

/* What next_hop_of is asked. block: the key masked to the routes' longest prefix. */
struct next_hop_query {
	__u64 key[2];
	__u64 block[2];
	struct addr6 source; /* IPv4 in the low half of q[1] */
};

/* What there is of a quoted packet, and what becomes of it. */
struct inner {
	__u32 available; /* octets quoted of the IP packet */
	__u32 l4;        /* where its upper layer starts in the quote */
	__u32 l4_bytes;  /* quoted of the upper layer */
	__u32 payload;   /* upper layer, by the packet's own lengths */
	__u8 proto;
	__u8 tos;
	__u8 ttl;
	__u8 fragment; /* enum fragment */
	__u8 more;
	__u8 has_fragment_header;
	__u16 offset;
	__u32 id;     /* network order, IPv6's width */
	__u32 change; /* of the sum over the addresses */
	__u64 pseudo; /* sum of the IPv6 pseudo-header, for an echo */
};

struct error_job {
	struct addr6 source6;
	struct addr6 destination6;
	__be32 source4;
	__be32 destination4;
	__u32 mtu; /* of the route out, 0: unknown */
	int up;
};

/* A hairpin: addresses before and after, and the pref64 that it goes by. */
struct hairpin {
	struct addr6 source;
	struct addr6 destination;
	struct addr6 new_source;
	struct addr6 new_destination;
	int pref64;
};

#define CSUM_CHUNK    512
#define SCRATCH_BYTES 2048

/*
 * Work space of one CPU: a message being built, octets being summed, and what the rare paths keep
 * beside the stack, which is 512 octets for all calls together.
 */
struct scratch {
	__u8 out[SCRATCH_BYTES];
	__u8 chunk[CSUM_CHUNK + 8];
	struct error_job job;
	struct inner inner;
	struct hairpin hairpin;
	struct addr6 searched;     /* what eam_search looks for */
	struct addr6 addresses[4]; /* inner source and destination, before and after */
	struct bpf_fib_lookup fib;
	struct next_hop_key used;
	struct next_hop_query query;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

static __always_inline struct scratch *get_scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}

#endif
