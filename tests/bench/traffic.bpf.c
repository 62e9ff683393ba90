/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Sends frames into an interface by live-frame program runs, counts what arrives, and passes frames
 * on as a NIC's driver hands them over: in pages with headroom, which a sending socket over veth
 * does not make.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "flows_shared.h"

struct flows flows SEC(".data.flows") = {};

/* The interface that frames leave by. */
const volatile __u32 out_ifindex = 0;

/* What the counter takes for the measured traffic: its size and Ethernet type, network order. */
const volatile __u32 counted_bytes = 0;
const volatile __u16 counted_type = 0;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} arrived SEC(".maps");

SEC("xdp")
int generate_ipv4(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;

	if (data + IPV4_HEADERS > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	write_ipv4_flow(data, &flows);
	return bpf_redirect(out_ifindex, 0);
}

SEC("xdp")
int generate_ipv6(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;

	if (data + IPV6_HEADERS > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	write_ipv6_flow(data, &flows);
	return bpf_redirect(out_ifindex, 0);
}

SEC("xdp")
int pass_on(struct xdp_md *ctx __attribute__((unused)))
{
	return bpf_redirect(out_ifindex, 0);
}

SEC("xdp")
int count(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	__u32 zero = 0;
	__u64 *n;

	if (data + sizeof(*eth) > end || end - data != counted_bytes ||
	    eth->h_proto != counted_type)
		return XDP_PASS;
	n = bpf_map_lookup_elem(&arrived, &zero);
	if (n)
		(*n)++;
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
