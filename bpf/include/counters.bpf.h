/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef EDGE64_COUNTERS_BPF_H
#define EDGE64_COUNTERS_BPF_H

#include "base.bpf.h"

/* Counters by port (the key, as in settings.ports) and CPU. Pinned: they outlive programs. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_PORTS);
	__type(key, __u32);
	__type(value, struct port_counters);
} counters SEC(".maps");

static __always_inline void count_job(const struct packet *p, __u32 job)
{
	__u32 key = p->port_index;
	struct port_counters *c = bpf_map_lookup_elem(&counters, &key);

	if (!c)
		return;
	c->jobs[job].packets++;
	c->jobs[job].bytes += p->frame_bytes;
}

static __always_inline void count_reason(const struct packet *p, __u32 reason)
{
	__u32 key = p->port_index;
	struct port_counters *c = bpf_map_lookup_elem(&counters, &key);

	opaque(reason);
	if (c && reason < REASON_COUNT)
		c->reasons[reason]++;
}

/* What a trace flag asked for; one reader at a time. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} trace_ring SEC(".maps");

/* What an RFC wants logged, always; edge64d reads it. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} event_ring SEC(".maps");

static __always_inline void fill_event(struct xdp_md *ctx, struct trace_event *e, __u32 ifindex,
				       __u32 frame_bytes, __u32 reason_job, __u32 flag)
{
	__u32 n = frame_bytes;

	__builtin_memset(e, 0, sizeof(*e));
	e->time_ns = bpf_ktime_get_ns();
	e->ifindex = ifindex;
	e->reason = reason_job >> 8;
	e->job = reason_job & 0xff;
	e->flag = flag;
	e->frame_bytes = frame_bytes;
	e->cpu = bpf_get_smp_processor_id();
	if (n > sizeof(e->head))
		n = sizeof(e->head);
	opaque(n);
	if (n > 0 && n <= sizeof(e->head))
		bpf_xdp_load_bytes(ctx, 0, e->head, n);
}

__noinline int trace_write(struct xdp_md *ctx, __u32 ifindex, __u32 frame_bytes, __u32 reason_job,
			   __u32 flag)
{
	struct trace_event *e;

	e = flag == TRACE_LOG ? bpf_ringbuf_reserve(&event_ring, sizeof(*e), 0)
			      : bpf_ringbuf_reserve(&trace_ring, sizeof(*e), 0);
	if (!e)
		return 0;
	fill_event(ctx, e, ifindex, frame_bytes, reason_job, flag);
	bpf_ringbuf_submit(e, 0);
	return 0;
}

static __always_inline void trace(struct xdp_md *ctx, const struct packet *p, __u32 reason,
				  __u32 job)
{
	__u32 wanted = runtime.trace_flags;

	if (likely(!wanted))
		return;
	if (job == JOB_DROP && (wanted & TRACE_DROPS))
		trace_write(ctx, port_of(p)->ifindex, p->frame_bytes, reason << 8 | job,
			    TRACE_DROPS);
	else if (wanted & TRACE_PACKETS)
		trace_write(ctx, port_of(p)->ifindex, p->frame_bytes, reason << 8 | job,
			    TRACE_PACKETS);
}

#endif
