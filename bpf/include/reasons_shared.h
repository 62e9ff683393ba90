/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef EDGE64_REASONS_SHARED_H
#define EDGE64_REASONS_SHARED_H

/*
 * What became of a packet, by name. Python reads the names from here through BTF: REASON_FOO_BAR
 * is shown as foo-bar. Numbers are never used again; new ones go to the end.
 */
enum reason {
	REASON_NONE = 0,
	/* refused */
	REASON_BAD_HEADER = 1,
	REASON_BAD_CHECKSUM = 2,
	REASON_BAD_LENGTH = 3,
	REASON_BAD_FRAGMENT = 4,
	REASON_BAD_EXTENSION_HEADER = 5,
	REASON_HEADER_AFTER_FRAGMENT = 6,
	REASON_SOURCE_ROUTE = 7,
	REASON_MULTICAST = 8,
	REASON_DESTINATION_NOT_TRANSLATABLE = 9,
	REASON_NON_GLOBAL_ADDRESS = 10,
	REASON_SOURCE_NOT_TRANSLATABLE = 11,
	REASON_SOURCE_SPOOFED = 12,
	REASON_SOURCE_UNMAPPED = 13,
	REASON_PROTOCOL_NOT_TRANSLATABLE = 14,
	REASON_HOP_LIMIT = 15,
	REASON_L4_TRUNCATED = 16,
	REASON_UDP_ZERO_CHECKSUM = 17,
	REASON_FRAGMENTED_ICMP = 18,
	REASON_ICMP_NOT_TRANSLATABLE = 19,
	REASON_INNER_INVALID = 20,
	REASON_INNER_NOT_TRANSLATABLE = 21,
	REASON_ICMP_ERROR_IN_ERROR = 22,
	REASON_PACKET_TOO_BIG = 23,
	REASON_ROUTE_BLACKHOLE = 24,
	REASON_NO_ROOM = 25, /* no headroom, or a helper refused to move the frame */
	/* left to the kernel */
	REASON_UP_NEIGHBOUR_UNKNOWN = 26,
	REASON_UP_ROUTE = 27, /* local, no route, prohibited, or forwarding is off */
	REASON_UP_EGRESS_NOT_OURS = 28,
	REASON_UP_SLOW_PATH = 29,
	REASON_UP_KERNEL_FRAGMENTS = 30,
	REASON_UP_NOT_LINEAR = 31, /* headers beyond the first buffer */
	/* about our own errors */
	REASON_ERROR_SENT = 32,
	REASON_ERROR_SUPPRESSED = 33,
	REASON_ICMP_RATE_LIMITED = 34,
	REASON_NO_OWN_ADDRESS = 35,
	/* about the next-hop cache */
	REASON_NEXT_HOP_REFILLED = 36,
	REASON_NEXT_HOP_UNCACHED = 37, /* the control plane's heartbeat is not fresh */
	REASON_COUNT,
};

/* What a packet was for; each has its own packet and byte counters. */
enum job {
	JOB_PASS = 0, /* not ours: untouched, to the kernel */
	JOB_4TO6 = 1,
	JOB_6TO4 = 2,
	JOB_HAIRPIN = 3,
	JOB_DROP = 4,
	JOB_UP = 5, /* ours, left to the kernel; the reason says why */
	JOB_COUNT,
};

#endif
