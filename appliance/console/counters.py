"""``edge64 counters``: packets by interface, CPU and job, and why packets were refused."""

import time
from collections import Counter
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from appliance.console.client import call
from appliance.console.output import output_option, show
from appliance.console.reasons import JOBS, REASONS


@click.command()
@click.option("--per-cpu", is_flag=True, help="One row for each CPU.")
@click.option("--watch", is_flag=True, help="Show it again each second, with rates.")
@output_option
def counters(per_cpu: bool, watch: bool, output: str) -> None:
    """Show what the datapath did, by interface and job, and its reasons by name."""
    found = call("GET", "/v1/counters")
    if not watch:
        show(found, output, lambda: _tables(found, per_cpu))
        return
    if output != "table":
        raise click.UsageError("--watch is for people: use it with --output table")
    _watch(found, per_cpu)


def _watch(found: list[dict[str, Any]], per_cpu: bool) -> None:
    before, then = found, time.monotonic()
    with Live(_tables(found, per_cpu), console=Console(), auto_refresh=False) as live:
        while True:
            time.sleep(1)
            now_found, now = call("GET", "/v1/counters"), time.monotonic()
            live.update(_tables(now_found, per_cpu, before, now - then), refresh=True)
            before, then = now_found, now


JobKey = tuple[str, str, str]  # interface, CPU, job


def _jobs(found: list[dict[str, Any]], per_cpu: bool) -> tuple[Counter[JobKey], Counter[JobKey]]:
    packets: Counter[JobKey] = Counter()
    octets: Counter[JobKey] = Counter()
    for row in found:
        for name, job in row["jobs"].items():
            key = (row["interface"], str(row["cpu"]) if per_cpu else "", name)
            packets[key] += job["packets"]
            octets[key] += job["bytes"]
    return packets, octets


def _reasons(found: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    total: Counter[tuple[str, str]] = Counter()
    for row in found:
        for name, count in row["reasons"].items():
            total[row["interface"], name] += count
    return total


def _tables(
    found: list[dict[str, Any]],
    per_cpu: bool,
    before: list[dict[str, Any]] | None = None,
    seconds: float = 0.0,
) -> RenderableType:
    rates = before is not None and seconds > 0
    packets, octets = _jobs(found, per_cpu)
    old_packets, _ = _jobs(before or [], per_cpu)
    jobs = Table(title="jobs", title_justify="left", title_style="bold")
    for column in ("interface", *(["CPU"] if per_cpu else []), "job"):
        jobs.add_column(column)
    for column in ("packets", "bytes", *(["packets/s"] if rates else [])):
        jobs.add_column(column, justify="right")
    jobs.add_column("meaning")
    for key in sorted(packets):
        interface, cpu, name = key
        rate = [f"{(packets[key] - old_packets[key]) / seconds:,.0f}"] if rates else []
        where = [interface, cpu] if per_cpu else [interface]
        counts = [f"{packets[key]:,}", f"{octets[key]:,}", *rate]
        jobs.add_row(*where, name, *counts, JOBS.get(name, ""))
    return Group(jobs, _reason_table(_reasons(found)))


def _reason_table(total: Counter[tuple[str, str]]) -> RenderableType:
    if not total:
        return Text("no packet was refused or left to the kernel")
    table = Table(title="reasons", title_justify="left", title_style="bold")
    for column in ("interface", "reason"):
        table.add_column(column)
    table.add_column("count", justify="right")
    table.add_column("meaning")
    for (interface, name), count in sorted(total.items(), key=lambda item: (item[0][0], -item[1])):
        table.add_row(interface, name, f"{count:,}", REASONS.get(name, ""))
    return table
