"""``edge64 status``: how things are."""

from datetime import datetime
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from appliance.console.client import call
from appliance.console.output import output_option, show

_COLOURS = {"running": "green", "up": "green", "failed": "red", "fatal": "red", "missing": "red"}


@click.command()
@output_option
def status(output: str) -> int:
    """Show the daemon, interfaces, processes and next hops. Exit status 1 when something failed."""
    found = call("GET", "/v1/status")
    show(found, output, lambda: _table(found))
    return 1 if found["state"] == "failed" else 0


def _coloured(word: str) -> Text:
    return Text(word, style=_COLOURS.get(word, "yellow"))


def _table(found: dict[str, Any]) -> RenderableType:
    return Group(_summary(found), _interfaces(found["interfaces"]), _processes(found))


def _summary(found: dict[str, Any]) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_row("state", _coloured(found["state"]))
    if found["failure"]:
        grid.add_row("failure", Text(found["failure"], style="red"))
    configuration = found["configuration"]
    if configuration["applied"]:
        when = datetime.fromtimestamp(configuration["applied"]).isoformat(" ", "seconds")
        grid.add_row("applied", when)
    grid.add_row("prefixes", ", ".join(configuration["pref64"]) or "none")
    grid.add_row("mappings", str(configuration["eam"]))
    hops = found["next-hops"]
    if hops:
        bits = hops["route-bits"]
        kept = "kept" if hops["next-hops-kept"] else "asked of the FIB for each packet"
        text = f"{kept}; blocks /{bits['ipv4']} and /{bits['ipv6']}"
        grid.add_row("next hops", f"{text}; {hops['managed-neighbours']} neighbours kept fresh")
    else:
        grid.add_row("next hops", _coloured("asked of the FIB for each packet: no watcher"))
    return grid


def _interfaces(rows: list[dict[str, Any]]) -> RenderableType:
    table = Table(title="interfaces", title_justify="left", title_style="bold")
    for column in ("name", "role", "state", "XDP", "MTU", "MAC", "addresses"):
        table.add_column(column)
    for one in rows:
        xdp = one["xdp"]["running"]
        if xdp != one["xdp"]["wanted"]:
            xdp = f"{xdp} (wanted: {one['xdp']['wanted']})"
        table.add_row(
            one["name"],
            one["role"],
            _coloured(one["state"]),
            xdp,
            str(one.get("mtu", "")),
            one.get("mac", ""),
            "\n".join(_address(address) for address in one["addresses"]),
        )
    return table


def _address(one: dict[str, Any]) -> str:
    marks = [] if one["usable"] else ["tentative"]
    if not one["own"]:
        marks.append("not from the configuration")
    return str(one["address"]) + (f" ({', '.join(marks)})" if marks else "")


def _processes(found: dict[str, Any]) -> RenderableType:
    if not found["processes"]:
        return Text("no supervisor: edge64d runs alone")
    table = Table(title="processes", title_justify="left", title_style="bold")
    for column in ("name", "state", "process"):
        table.add_column(column)
    for one in found["processes"]:
        table.add_row(one["name"], _coloured(one["state"]), str(one["pid"] or ""))
    return table
