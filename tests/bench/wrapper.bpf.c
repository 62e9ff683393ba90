/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * BPF_PROG_TEST_RUN with repeat hands a program its own output. These programs put the frame back
 * as it was, step it to the next flow and tail-call the program that is measured. Beside them the
 * programs that say what the putting back costs.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "flows_shared.h"

#define PAYLOAD    18
#define IPV4_FRAME (IPV4_HEADERS + PAYLOAD)
#define IPV6_FRAME (IPV6_HEADERS + PAYLOAD)

#define AF_INET  2
#define AF_INET6 10

/* What Python sets before a run: the frame of flow 0, and how many flows there are. */
struct flows flows SEC(".data.flows") = {};

/* The program that is measured, always in slot 0. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} measured SEC(".maps");

static __always_inline bool restore_size(struct xdp_md *ctx, int want)
{
	int have = (int)(ctx->data_end - ctx->data);

	return have == want || bpf_xdp_adjust_head(ctx, have - want) == 0;
}

SEC("xdp.frags")
int wrapper_ipv4(struct xdp_md *ctx)
{
	void *data;

	if (!restore_size(ctx, IPV4_FRAME))
		return XDP_ABORTED;
	data = (void *)(long)ctx->data;
	if (data + IPV4_FRAME > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	write_ipv4_flow(data, &flows);
	bpf_tail_call(ctx, &measured, 0);
	return XDP_ABORTED;
}

SEC("xdp.frags")
int wrapper_ipv6(struct xdp_md *ctx)
{
	void *data;

	if (!restore_size(ctx, IPV6_FRAME))
		return XDP_ABORTED;
	data = (void *)(long)ctx->data;
	if (data + IPV6_FRAME > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	write_ipv6_flow(data, &flows);
	bpf_tail_call(ctx, &measured, 0);
	return XDP_ABORTED;
}

SEC("xdp.frags")
int return_tx(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_TX;
}

SEC("xdp.frags")
int grow_tx(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_head(ctx, -20) ? XDP_ABORTED : XDP_TX;
}

/* The next-hop look-up that a translator without a cache does: here by the FIB helper alone. */
static __always_inline int look_up(struct xdp_md *ctx, struct bpf_fib_lookup *fib)
{
	fib->ifindex = ctx->ingress_ifindex;
	if (bpf_fib_lookup(ctx, fib, sizeof(*fib), 0) != BPF_FIB_LKUP_RET_SUCCESS)
		return XDP_ABORTED;
	return XDP_TX;
}

/* Of the IPv6 destination that an IPv4 destination is translated to. */
SEC("xdp.frags")
int fib_lookup_6(struct xdp_md *ctx)
{
	struct bpf_fib_lookup fib = { .family = AF_INET6 };
	void *data = (void *)(long)ctx->data;

	if (data + IPV4_FRAME > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	fib.ipv6_dst[0] = bpf_htonl(0x0064ff9b);
	fib.ipv6_dst[3] = *(__u32 *)(data + IPV4_DESTINATION);
	return look_up(ctx, &fib);
}

/* Of the IPv4 destination that an IPv6 destination embeds. */
SEC("xdp.frags")
int fib_lookup_4(struct xdp_md *ctx)
{
	struct bpf_fib_lookup fib = { .family = AF_INET };
	void *data = (void *)(long)ctx->data;

	if (data + IPV6_FRAME > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	fib.ipv4_dst = *(__u32 *)(data + IPV6_DESTINATION + 12);
	return look_up(ctx, &fib);
}

char _license[] SEC("license") = "Dual BSD/GPL";
