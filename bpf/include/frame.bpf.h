/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef EDGE64_FRAME_BPF_H
#define EDGE64_FRAME_BPF_H

#include "base.bpf.h"
#include "nexthop.bpf.h"

/*
 * What only XDP does: reading the frame's outside, growing and shrinking it, sending it. The rest
 * of the datapath sees a packet through struct packet, so that a tc hook can take its place.
 */

#define VLAN_ID_MASK       0x0fff
#define VLAN_PRIORITY_MASK 0xf000

/* Twelve octets by words; __builtin_memcpy goes by octets where it knows of no alignment. */
static __always_inline void copy_macs(void *to, const void *from)
{
	__u32 *t = to;
	const __u32 *f = from;

	t[0] = f[0];
	t[1] = f[1];
	t[2] = f[2];
}

static __always_inline int port_of_vlan(__u32 parent, __u16 vlan_id)
{
	for (__u32 i = 0; i < MAX_PORTS; i++) {
		if (i >= settings.port_count)
			break;
		if (settings.ports[i].out_ifindex == parent && settings.ports[i].vlan_id == vlan_id)
			return i;
	}
	return -1;
}

/*
 * Reads Ethernet and one 802.1Q tag. Returns the ethertype of what follows, in network order, or
 * 0 for a frame that is none of ours: another station's, another VLAN's, a port not configured.
 */
static __always_inline __be16 parse_frame(struct xdp_md *ctx, struct packet *p)
{
	__u8 *data = packet_start(ctx);
	void *end = packet_end(ctx);
	const struct eth_head *eth = (void *)data;
	__u32 ifindex = ctx->ingress_ifindex;
	__be16 type;
	__u32 index;

	if ((void *)(eth + 1) > end)
		return 0;
	index = settings.port_slot[ifindex & 0xff] & (MAX_PORTS - 1);
	p->port_index = index;
	p->l2 = sizeof(*eth);
	p->vlan_tci = 0;
	p->frame_bytes = end - (void *)data;
	if (port_of(p)->ifindex != ifindex)
		return 0;
	type = eth->type;
	if (unlikely(type == bpf_htons(ETH_P_8021Q))) {
		const __be16 *tag = (void *)(eth + 1);
		int vlan;

		if ((void *)(tag + 2) > end)
			return 0;
		p->vlan_tci = bpf_ntohs(tag[0]);
		if (p->vlan_tci & VLAN_ID_MASK) {
			vlan = port_of_vlan(ifindex, p->vlan_tci & VLAN_ID_MASK);
			if (vlan < 0)
				return 0;
			p->port_index = vlan & (MAX_PORTS - 1);
		}
		type = tag[1];
		p->l2 += 4;
	}
	if (unlikely(*(const __u32 *)eth->macs != *(const volatile __u32 *)port_of(p)->mac ||
		     *(const __u16 *)(eth->macs + 4) !=
			     *(const volatile __u16 *)(port_of(p)->mac + 4)))
		return 0;
	copy_macs(p->macs, eth->macs);
	return type;
}

/* The frame's length in all its buffers, where the linear part cannot be all of it. */
static __always_inline __u32 whole_frame(struct xdp_md *ctx)
{
	return bpf_xdp_get_buff_len(ctx);
}

/* Cuts what follows the IP packet: Ethernet's padding, or a tail that no length speaks of. */
static __always_inline int trim(struct xdp_md *ctx, struct packet *p)
{
	__u32 wanted = p->l2 + p->l3_bytes;

	if (likely(p->frame_bytes == wanted))
		return 0;
	if (bpf_xdp_adjust_tail(ctx, (int)wanted - (int)p->frame_bytes))
		return REASON_NO_ROOM;
	p->frame_bytes = wanted;
	return 0;
}

static __always_inline __u32 l2_out(const struct packet *p, const struct next_hop *n)
{
	if (!n)
		return p->l2 & 0x1f;
	return n->vlan_id ? 18 : 14;
}

/*
 * Makes room for new_l3 octets of IP headers where old_l3 stood, and writes the Ethernet header:
 * for the next hop, or as it came with another type where n is NULL. The IP header then starts
 * l2_out(p, n) octets into the frame.
 */
static __always_inline int reframe(struct xdp_md *ctx, const struct packet *p,
				   const struct next_hop *n, __be16 type, __u32 old_l3,
				   __u32 new_l3)
{
	__u32 out = l2_out(p, n);
	int grow = (int)(out + new_l3) - (int)(p->l2 + old_l3);
	struct eth_head *eth;
	__be16 *tag;

	if (grow && bpf_xdp_adjust_head(ctx, -grow))
		return REASON_NO_ROOM;
	eth = packet_start(ctx);
	if ((void *)(eth + 1) > packet_end(ctx))
		return REASON_NO_ROOM;
	if (n)
		copy_macs(eth->macs, n->macs);
	else
		copy_macs(eth->macs, p->macs);
	if (likely(out == sizeof(*eth))) {
		eth->type = type;
		return 0;
	}
	tag = (void *)(eth + 1);
	if ((void *)(tag + 2) > packet_end(ctx))
		return REASON_NO_ROOM;
	eth->type = bpf_htons(ETH_P_8021Q);
	tag[0] = n ? bpf_htons(n->vlan_id | (p->vlan_tci & VLAN_PRIORITY_MASK))
		   : bpf_htons(p->vlan_tci);
	tag[1] = type;
	return 0;
}

static __always_inline int send(struct xdp_md *ctx, const struct next_hop *n)
{
	if (n->out_ifindex == ctx->ingress_ifindex)
		return XDP_TX;
	return bpf_redirect(n->out_ifindex, 0);
}

#endif
