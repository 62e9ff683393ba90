"""``edge64 config``: the document, without any daemon."""

import json
from pathlib import Path

import click

from appliance.config.reference import json_schema
from appliance.config.validate import load_file
from appliance.console.client import call


@click.group()
def config() -> None:
    """Check a configuration, or show what one may say."""


@config.command()
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
def validate(files: tuple[Path, ...]) -> None:
    """Show every error in FILE at once, each with its place. Needs no daemon."""
    for file in files:
        load_file(file)
        click.echo(f"{file}: valid")


@config.command()
def schema() -> None:
    """Print the JSON Schema of the document."""
    click.echo(json.dumps(json_schema(), indent=2))


@config.command()
def show() -> None:
    """Print the running document."""
    click.echo(call("GET", "/v1/config")["text"], nl=False)
