/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef EDGE64_LAYOUT_SHARED_H
#define EDGE64_LAYOUT_SHARED_H

#include <linux/types.h>

#include "reasons_shared.h"

/*
 * Layouts that Python fills or reads; it takes offsets and sizes from this object's BTF. Addresses
 * are octets in network order, numbers are the machine's.
 */

#define MAX_PORTS        32
#define MAX_PREF64       8
#define MAX_EAM_LENGTHS  128
#define MAX_OWN_IPV6     64
#define MAX_RFC6791      16
#define NEXT_HOP_SLOTS   4096
#define TRIE_LINE        16
#define TRIE_CHUNK_FLAG  0x80000000u
#define NO_PREF64        0xff
#define COPY_OCTET       0xffff
#define EAM_BUCKET_SLOTS 8

struct port {
	__u8 mac[6];
	__u16 vlan_id;     /* 0: untagged */
	__u32 ifindex;     /* what the FIB calls it */
	__u32 out_ifindex; /* where frames leave: the parent of a VLAN interface */
	__u16 mtu;
	__u8 has_ipv4;
	__u8 has_ipv6;
	__u8 ipv4[4];
	__u8 ipv6[16];
	__u8 pad[8];
};

struct pref64 {
	__u8 prefix[16];
	__u8 mask[16];
	__u8 length; /* bits, RFC 6052 section 2.2 */
	__u8 well_known;
	__u8 pad[6];
};

struct address_range {
	__u32 first; /* IPv4, as a number */
	__u32 count;
};

/* The load-time constants of one commit. What is off here costs nothing in the program. */
struct settings {
	__u32 pref64_count;
	__u32 port_count;
	__u32 eam_length_count;
	__u32 eam_bucket_mask;
	__u8 eam_length[MAX_EAM_LENGTHS]; /* distinct IPv6 prefix lengths, longest first */
	__u8 eam_host4;                   /* some EAM entry has its hosts on the IPv4 side */
	__u8 eam_in_pref64;               /* some EAM entry's IPv6 prefix overlaps a pref64 */
	__u8 flow_label_hash;
	__u8 compute_udp_checksum;
	__u16 traffic_class; /* COPY_OCTET or a fixed octet */
	__u16 tos;
	__u32 lowest_ipv6_mtu;
	__u32 icmp_error_rate;   /* a second and CPU */
	__u32 hz;                /* jiffies a second */
	__u32 heartbeat_jiffies; /* how old a heartbeat may be */
	__u32 id_key[2];         /* secret of the IPv4 identifications */
	__u32 own_ipv6_count;
	__u32 rfc6791_count; /* ranges */
	__u32 rfc6791_total; /* addresses */
	__u8 rfc6791_ipv6[16];
	__u8 has_rfc6791_ipv6;
	__u8 special_mapped; /* an own or unusable IPv6 address lies under what is mapped */
	__u8 pad[2];
	struct address_range rfc6791[MAX_RFC6791];
	__u8 own_ipv6[MAX_OWN_IPV6][16];
	struct pref64 pref64[MAX_PREF64];
	struct port ports[MAX_PORTS];
	__u8 port_slot[256]; /* index into ports by the low octet of the ifindex */
};

enum range_kind {
	RANGE_UNMAPPED = 0,
	RANGE_OUTSIDE = 1, /* some pref64 stands for it */
	RANGE_HOST6 = 2,   /* inside, under host_pref64 */
	RANGE_EAM6 = 3,    /* inside, by EAM */
	RANGE_EAM4 = 4,    /* outside, by EAM */
};

enum range_class {
	CLASS_NORMAL = 0,
	CLASS_INVALID = 1, /* 0/8, 127/8, 169.254/16, 240/4 */
	CLASS_MULTICAST = 2,
};

/* What a set of IPv4 addresses is. An EAM entry is one such set. */
struct range {
	__u8 ipv6[16];      /* EAM: the IPv6 prefix */
	__u32 ipv4;         /* EAM: the IPv4 prefix, as a number */
	__u32 suffix_mask;  /* EAM: the bits of the IPv4 suffix */
	__u8 shift;         /* EAM: how far left of the end the suffix stands in the IPv6 address */
	__u8 kind;          /* enum range_kind */
	__u8 class;         /* enum range_class */
	__u8 covers;        /* bit i: the ipv4_ranges of pref64 i hold it */
	__u8 source_pref64; /* the one that stands for it as a source, or NO_PREF64 */
	__u8 host_pref64;
	__u8 non_global; /* the well-known prefix does not carry it */
	__u8 own_ipv4;   /* an IPv4 address of the box */
	__u8 ipv6_length;
	__u8 pad[31];
};

/* Sixteen leaves or chunk numbers of the IPv4 trie: one cache line. */
struct trie_line {
	__u32 entry[TRIE_LINE];
};

/* EAM by IPv6 prefix: a tag that tells most misses, and the range to compare with. */
struct eam_bucket {
	__u32 tag[EAM_BUCKET_SLOTS]; /* 0: empty */
	__u32 range[EAM_BUCKET_SLOTS];
};

/* What the control plane changes between commits. */
struct runtime {
	__u64 heartbeat; /* jiffies */
	__u32 generation;
	__u32 trace_flags;
	__u64 route_mask6[2]; /* network order, as loaded from memory */
	__u32 route_mask4;
	__u32 pad;
};

struct next_hop {
	__u64 key[2];
	__u32 generation;
	__u32 out_ifindex;
	__u64 filled;  /* jiffies */
	__u8 macs[12]; /* destination, source: as they stand in the frame */
	__u16 mtu;
	__u16 vlan_id;
	__u8 split; /* hosts of this block have next hops of their own */
	__u8 port;  /* index of the egress in settings.ports */
	__u8 pad[14];
};

struct next_hop_key {
	__u32 ifindex;
	__u32 family;     /* 4 or 6 */
	__u8 address[16]; /* IPv4 in the first four octets */
};

struct job_counter {
	__u64 packets;
	__u64 bytes;
};

struct port_counters {
	struct job_counter jobs[JOB_COUNT];
	__u64 reasons[REASON_COUNT];
};

enum trace_flag {
	TRACE_DROPS = 1,
	TRACE_PACKETS = 2,
	TRACE_LOG = 4, /* set in events that are always written */
};

struct trace_event {
	__u64 time_ns;
	__u32 ifindex;
	__u16 reason;
	__u8 job;
	__u8 flag; /* the trace_flag that wanted it */
	__u32 frame_bytes;
	__u32 cpu;
	__u8 head[128]; /* of the frame, zero-filled */
};

#endif
