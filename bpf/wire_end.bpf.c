// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* For the far end of a veth: what XDP_TX sent there is only picked up by an end with a program. */

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp.frags")
int wire_end(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
