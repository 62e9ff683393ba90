/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A map of loader.bpf.c as another version might have it: the same sizes, another meaning. */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

struct key {
	__u32 a;
	__u32 b;
};

struct inner {
	__u8 mac[6];
	__be16 port;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct key);
	__type(value, struct inner);
	__uint(max_entries, 16);
} table_with_a_long_name SEC(".maps");

SEC("xdp")
int look(struct xdp_md *ctx)
{
	struct key key = { ctx->rx_queue_index, 0 };

	return bpf_map_lookup_elem(&table_with_a_long_name, &key) ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
