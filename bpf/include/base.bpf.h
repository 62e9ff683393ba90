/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef EDGE64_BASE_BPF_H
#define EDGE64_BASE_BPF_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "layout_shared.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Keeps clang from folding a bound away that the verifier has to see. */
#define opaque(x) asm volatile("" : "+r"(x))
/*
 * What is rare is in global functions: the verifier goes through each once, not once a call. Their
 * pointers must be said not to be NULL.
 */
#define __nonnull_arg __attribute__((btf_decl_tag("arg:nonnull")))

#define barrier() asm volatile("" ::: "memory")

const volatile struct settings settings = {};

volatile struct runtime runtime SEC(".data.runtime") = {};

struct addr6 {
	__u64 q[2]; /* network order, as loaded from memory */
};

/*
 * Heads as they lie in the packet. Their alignment there is two octets; the machines this runs on
 * load and store words at any address, so they are not declared packed, which would cost octet
 * accesses.
 */
struct eth_head {
	__u8 macs[12];
	__be16 type;
};

struct ipv4_head {
	__u8 version_ihl;
	__u8 tos;
	__be16 total_length;
	__be16 id;
	__be16 flags_offset;
	__u8 ttl;
	__u8 protocol;
	__be16 checksum;
	__be32 source;
	__be32 destination;
};

struct ipv6_head {
	__be32 version_class_label;
	__be16 payload_length;
	__u8 next_header;
	__u8 hop_limit;
	struct addr6 source;
	struct addr6 destination;
};

struct frag_head {
	__u8 next_header;
	__u8 reserved;
	__be16 offset_flags;
	__be32 id;
};

struct icmp_head {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__u8 rest[4];
};

#define IPV4_DF     0x4000
#define IPV4_MF     0x2000
#define IPV4_OFFSET 0x1fff
#define IPV6_MF     0x0001
#define IPV6_OFFSET 0xfff8

#define NEXT_HOP_BY_HOP  0
#define NEXT_ROUTING     43
#define NEXT_FRAGMENT    44
#define NEXT_AUTH        51
#define NEXT_ICMPV6      58
#define NEXT_NONE        59
#define NEXT_DESTINATION 60
#define PROTO_DCCP       33
#define PROTO_UDPLITE    136

enum fragment {
	FRAGMENT_WHOLE = 0, /* no fragment, or an atomic one */
	FRAGMENT_FIRST = 1,
	FRAGMENT_REST = 2,
};

/* What there is to do in the upper layer. */
enum upper {
	UPPER_UNTOUCHED = 0,
	UPPER_CHECKSUM = 1, /* update a checksum by the change of the addresses */
	UPPER_UDP = 2,      /* the same, and a result of 0 is written 0xffff */
	UPPER_UDP_COMPUTE = 3,
	UPPER_ECHO = 4,
	UPPER_ICMP_ERROR = 5,
};

#define NO_PORT 0xff

/* A packet as far as it has been read, and what has been decided of it. */
struct packet {
	__u32 port_index;  /* in settings.ports */
	__u32 frame_bytes; /* in all buffers */
	__u32 l2;          /* octets before the IP header: 14 or 18 */
	__u32 l4;          /* octets before the upper layer */
	__u32 l3_bytes;    /* the IP packet by its own header */
	__u32 payload;     /* octets of upper layer in this packet */
	__u16 vlan_tci;    /* host order, 0: untagged */
	__be16 id16;       /* IPv4 id, or low half of the IPv6 one */
	__u16 offset;      /* fragment offset in octets */
	__u8 proto;
	__u8 tos;
	__u8 ttl;
	__u8 fragment;            /* enum fragment */
	__u8 more;                /* M or MF */
	__u8 has_fragment_header; /* IPv6, atomic ones too */
	__u8 df;
	__u8 upper;      /* enum upper */
	__u8 csum_at;    /* where UPPER_CHECKSUM's field is in the upper layer */
	__u8 icmp_type;  /* of an echo, on the other side */
	__u8 walked;     /* the upper layer was found */
	__u8 egress;     /* port index of the way out, or NO_PORT */
	__u8 error_type; /* our own ICMP error to send, with code and parameter */
	__u8 error_code;
	__u32 error_parameter;
	__u8 macs[12] __attribute__((aligned(4))); /* of the frame as it came */
};

/*
 * The context's pointers are 32-bit fields that the verifier widens at the load. Loading them in
 * assembly keeps clang from truncating what it takes for a number.
 */
static __always_inline void *packet_start(struct xdp_md *ctx)
{
	void *data;

	asm volatile("%0 = *(u32 *)(%1 + %2)"
		     : "=r"(data)
		     : "r"(ctx), "i"(offsetof(struct xdp_md, data)));
	return data;
}

static __always_inline void *packet_end(struct xdp_md *ctx)
{
	void *data_end;

	asm volatile("%0 = *(u32 *)(%1 + %2)"
		     : "=r"(data_end)
		     : "r"(ctx), "i"(offsetof(struct xdp_md, data_end)));
	return data_end;
}

/*
 * A place in the linear part of the frame. Opaque, so that the pointer that is checked is the one
 * that is used, as the verifier wants it.
 */
static __always_inline void *packet_at(struct xdp_md *ctx, __u32 offset)
{
	void *at = packet_start(ctx) + offset;

	opaque(at);
	return at;
}

/* Where the packet came in. Not kept as a pointer, which global functions could not follow. */
static __always_inline const volatile struct port *port_of(const struct packet *p)
{
	return &settings.ports[p->port_index & (MAX_PORTS - 1)];
}

/* Asks for an own ICMP error beside a refusal (docs/translation.md 9); type 0: for none. */
static __always_inline int refuse(struct packet *p, int reason, __u8 type, __u8 code,
				  __u32 parameter)
{
	p->error_type = type;
	p->error_code = code;
	p->error_parameter = parameter;
	return reason;
}

#endif
