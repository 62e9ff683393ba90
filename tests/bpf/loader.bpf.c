/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What tests/bpf/test_libbpf.py loads: each program shows one ability of the loader. */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum colour { RED = 1, GREEN = 5, FAR = -3 };

struct inner {
	__be16 port;
	__u8 mac[6];
};

struct settings {
	__u32 verdict;
	__be32 prefix[4];
	struct inner inners[2];
	enum colour colour;
	__s16 offset;
	_Bool on;
	__u8 pad[1];
	union {
		__u64 wide;
		struct {
			__u32 low;
			__u32 high;
		};
	};
	char name[8];
};

const volatile struct settings settings = { .verdict = XDP_PASS, .name = "default" };
const volatile __u32 limit = 7;
const volatile __u8 table[4] = { 1, 2, 3, 4 };

struct runtime {
	__u64 generation;
	__u32 answer;
	__u32 pad;
};
struct runtime runtime SEC(".data.runtime") = { .generation = 41 };
__u64 beside SEC(".data.runtime") = 3;
__u64 seen;

struct key {
	__u32 a;
	__u32 b;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct key);
	__type(value, struct inner);
	__uint(max_entries, 16);
} table_with_a_long_name SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(key_size, 8);
	__uint(value_size, 4);
	__uint(max_entries, 64);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} trie SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 2);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct key);
	__uint(max_entries, 1000);
	__uint(map_flags, BPF_F_MMAPABLE);
} shared SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 8);
} devices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

SEC("xdp.frags")
int constant(struct xdp_md *ctx)
{
	__u32 zero = 0;
	__u32 *count = bpf_map_lookup_elem(&counters, &zero);

	if (count)
		*count += 1;
	seen += bpf_xdp_get_buff_len(ctx);
	if (runtime.answer)
		return runtime.answer;
	return settings.verdict;
}

SEC("xdp.frags")
int drop(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_DROP;
}

/* Six bytes more in front, four bytes of metadata, the length of the whole frame in the ring. */
SEC("xdp.frags")
int grow(struct xdp_md *ctx)
{
	__u32 length = bpf_xdp_get_buff_len(ctx);
	__u32 ifindex = ctx->ingress_ifindex;
	__u64 record = (__u64)ifindex << 32 | length;

	bpf_ringbuf_output(&ring, &record, sizeof(record), 0);
	if (bpf_xdp_adjust_head(ctx, -6) || bpf_xdp_adjust_meta(ctx, -4))
		return XDP_ABORTED;
	void *data = (void *)(long)ctx->data;
	__u32 *meta = (void *)(long)ctx->data_meta;
	if ((void *)(meta + 1) > data || data + 6 > (void *)(long)ctx->data_end)
		return XDP_DROP;
	*meta = limit;
	__builtin_memset(data, 0xee, 6);
	return XDP_TX;
}

/* How many bytes lie in the first buffer. */
SEC("xdp.frags")
int linear(struct xdp_md *ctx)
{
	return ctx->data_end - ctx->data;
}

SEC("xdp")
int plain(struct xdp_md *ctx __attribute__((unused)))
{
	__u32 key = 7;

	return bpf_redirect_map(&devices, key, XDP_PASS);
}

char _license[] SEC("license") = "Dual BSD/GPL";
