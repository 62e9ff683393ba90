"""``--output table|json|yaml``, for every command that shows something."""

import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
from rich.console import Console, RenderableType
from ruamel.yaml import YAML

F = TypeVar("F", bound=Callable[..., Any])


def output_option(command: F) -> F:
    """Adds ``--output``; the command gets ``output``."""
    return click.option(
        "--output",
        "-o",
        type=click.Choice(["table", "json", "yaml"]),
        default="table",
        show_default=True,
        help="How to show it.",
    )(command)


def show(data: Any, output: str, table: Callable[[], RenderableType]) -> None:
    """Data as it is, or ``table`` for people."""
    match output:
        case "json":
            click.echo(json.dumps(data, indent=2))
        case "yaml":
            yaml = YAML(typ="safe", pure=True)
            yaml.default_flow_style = False
            yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
            yaml.dump(data, sys.stdout)
        case _:
            Console().print(table())
