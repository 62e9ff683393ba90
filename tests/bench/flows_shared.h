/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef EDGE64_BENCH_FLOWS_SHARED_H
#define EDGE64_BENCH_FLOWS_SHARED_H

#include <linux/types.h>

/*
 * The frames of the benchmarks: UDP, both addresses and both ports different in every flow. They
 * are computed from the flow's number: a table of them would charge its cache misses to the
 * program that is measured. tests/bench/frames.py says the same in Python.
 */
#define IPV4_HEADERS     (14 + 20 + 8)
#define IPV6_HEADERS     (14 + 40 + 8)
#define IPV4_DESTINATION (14 + 16)
#define IPV6_DESTINATION (14 + 24)

/* Neighbouring packets are of flows far apart (an odd number: every flow has its turn). */
#define FLOW_STRIDE  40503
#define SOURCE_TWIST 0x5a5a
#define SPORT_TWIST  0x8001
#define DPORT_TWIST  0x1357

struct flows {
	__u64 next;   /* number of the next packet */
	__u32 mask;   /* flows less 1; a power of two */
	__u32 ip_sum; /* of the IPv4 header, where what a flow changes is 0 */
	__u32 l4_sum; /* of pseudo-header, UDP header and payload, likewise */
	__u16 pad[3];
	__u8 head[62]; /* Ethernet, IP and UDP headers, likewise; the IP header is aligned */
};

#define AT(type, base, offset) (*(type *)((void *)(base) + (offset)))
#define COPY(type, offset)     (AT(type, data, offset) = AT(type, flows->head, offset))

static __always_inline __u16 fold_complement(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* What a flow changes, in network order. */
struct flow {
	__u16 source, destination; /* low halves of the addresses */
	__u32 ports;
	__u16 checksum;
};

static __always_inline struct flow next_flow(struct flows *flows)
{
	__u16 n = (__u16)(flows->next++ * FLOW_STRIDE) & flows->mask;
	__u16 sport = bpf_htons(n ^ SPORT_TWIST), dport = bpf_htons(n ^ DPORT_TWIST);
	struct flow f = { .source = bpf_htons(n ^ SOURCE_TWIST), .destination = bpf_htons(n) };

	f.ports = sport | (__u32)dport << 16;
	f.checksum = fold_complement(flows->l4_sum + f.source + f.destination + sport + dport);
	if (!f.checksum)
		f.checksum = 0xffff;
	return f;
}

/*
 * One store for each field or address: what reads a field right after finds it in one store, as
 * it would find it whole in memory that a NIC wrote.
 */
static __always_inline void write_ipv4_flow(void *data, struct flows *flows)
{
	struct flow f = next_flow(flows);
	__u32 ip_checksum = fold_complement(flows->ip_sum + f.source + f.destination);

	COPY(__u64, 0);
	COPY(__u32, 8);
	COPY(__u16, 12);
	COPY(__u32, 14);
	COPY(__u32, 18);
	AT(__u32, data, 22) = AT(__u32, flows->head, 22) | ip_checksum << 16;
	AT(__u32, data, 26) = AT(__u32, flows->head, 26) | (__u32)f.source << 16;
	AT(__u32, data, 30) = AT(__u32, flows->head, 30) | (__u32)f.destination << 16;
	AT(__u32, data, 34) = f.ports;
	AT(__u32, data, 38) = AT(__u32, flows->head, 38) | (__u32)f.checksum << 16;
}

static __always_inline void write_ipv6_flow(void *data, struct flows *flows)
{
	struct flow f = next_flow(flows);

	COPY(__u64, 0);
	COPY(__u32, 8);
	COPY(__u16, 12);
	COPY(__u64, 14);
	COPY(__u64, 22);
	AT(__u64, data, 30) = AT(__u64, flows->head, 30) | (__u64)f.source << 48;
	COPY(__u64, 38);
	AT(__u64, data, 46) = AT(__u64, flows->head, 46) | (__u64)f.destination << 48;
	AT(__u32, data, 54) = f.ports;
	AT(__u32, data, 58) = AT(__u32, flows->head, 58) | (__u32)f.checksum << 16;
}

#endif
