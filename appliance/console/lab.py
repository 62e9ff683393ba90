"""`edge64 lab`: the whole appliance in network namespaces on this machine."""

import os
import time
from datetime import timedelta
from typing import Any

import click
from rich.console import Console, RenderableType
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from appliance.console.output import output_option, show
from appliance.lab import client

name_option = click.option(
    "--name",
    default="lab",
    show_default=True,
    metavar="NAME",
    help="Which lab; labs of different names run side by side.",
)
pods_option = click.option(
    "--pods", type=click.IntRange(1, 50), default=2, show_default=True, help="How many pods."
)


@click.group()
def lab() -> None:
    """The whole appliance in network namespaces: pods, edge64, and an IPv4-only world.

    A lab is one process and what hangs on it: `lab down`, a crash or Ctrl-C leave nothing behind.
    """


def start_with_progress(console: Console, name: str, pods: int, product: bool = True) -> client.Lab:
    """Makes a lab and says what is being made."""
    if not console.is_terminal:
        return client.start(name, pods=pods, product=product)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("processes")

        def tell(step: str) -> None:
            progress.update(task, description=f"setting up the lab: {step}")

        return client.start(name, tell, pods=pods, product=product)


@lab.command()
@name_option
@pods_option
@click.option("--bare", is_flag=True, help="Without edge64: its interfaces are yours to set up.")
def up(name: str, pods: int, bare: bool) -> None:
    """Sets a lab up and leaves it running."""
    console = Console()
    started = time.monotonic()
    made = start_with_progress(console, name, pods, product=not bare)
    made.keep()
    took = time.monotonic() - started
    click.echo(f"lab {name} is up after {took:.1f} s: {' '.join(made.nodes)}")
    click.echo(f"enter it with: edge64 lab shell --name {name} pod1")


@lab.command()
@name_option
@click.option("--keep", is_flag=True, help="Leave the lab up afterwards.")
@click.pass_context
def demo(context: click.Context, name: str, keep: bool) -> None:
    """Shows the main job step by step in a lab of its own, with real commands."""
    from appliance.lab.demo import show as show_demo

    console = Console(highlight=False)
    made = start_with_progress(console, name, pods=2)
    passed = False
    try:
        passed = show_demo(made, console)
    finally:
        if keep:
            made.keep()
            click.echo(f"the lab is still up: edge64 lab shell --name {name} pod1")
        else:
            made.down()
    context.exit(0 if passed else 1)


@lab.command(context_settings={"allow_interspersed_args": False})
@name_option
@click.argument("node", default="pod1")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def shell(name: str, node: str, command: tuple[str, ...]) -> None:
    """Enters a node of a lab, or runs COMMAND there.

    NODE is pod1 …, native, edge, world, servers, branch, remote or podnet.
    """
    client.Lab(name).become(node, list(command) or [os.environ.get("SHELL", "/bin/bash")])


@lab.command()
@name_option
@click.option("--all", "everything", is_flag=True, help="Every lab that is up.")
def down(name: str, everything: bool) -> None:
    """Takes a lab down."""
    for one in client.labs() if everything else [client.Lab(name)]:
        one.down()
        click.echo(f"lab {one.name} is down")


@lab.command(name="list")
@output_option
def list_labs(output: str) -> None:
    """Shows the labs that are up."""
    found = [
        {
            "name": one.name,
            "seconds": round(time.time() - one.facts["started_at"]),
            "process": one.pid,
            "nodes": one.nodes,
            "running": one.facts["running"],
            "ended": one.facts["ended"],
        }
        for one in client.labs()
    ]
    show(found, output, lambda: _table(found))


def _table(found: list[dict[str, Any]]) -> RenderableType:
    if not found:
        return "no lab is up"
    table = Table()
    table.add_column("name", no_wrap=True)
    for column in ("up for", "process", "nodes", "running", "ended"):
        table.add_column(column)
    for one in found:
        ended = " ".join(f"{name} ({status})" for name, status in one["ended"].items())
        up_for = str(timedelta(seconds=one["seconds"]))
        lists = (" ".join(one["nodes"]), " ".join(one["running"]))
        table.add_row(one["name"], up_for, str(one["process"]), *lists, ended)
    return table
