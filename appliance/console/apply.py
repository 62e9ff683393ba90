"""``edge64 apply``: hand a configuration to edge64d."""

from pathlib import Path

import click

from appliance.config.validate import load_file
from appliance.console.client import Refused, call, show_problems


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Say what would differ; change nothing.")
def apply(file: Path, check: bool) -> int:
    """Apply FILE: all of it, or nothing of it. Prints what changed."""
    text = load_file(file).text  # refused here already, with the file's name
    try:
        reply = call("PUT", "/v1/config", content=text.encode(), params={"dry_run": check})
    except Refused as error:
        if not error.problems:
            raise
        click.echo(f"edge64: {error}", err=True)
        show_problems(error.problems)
        return error.exit_code
    for line in reply["settings"]:
        click.echo(line)
    if check:
        click.echo("valid; nothing was changed")
        return 0
    for line in reply["changes"]:
        click.echo(f"  {line}")
    for line in reply["warnings"]:
        click.echo(f"warning: {line}", err=True)
    click.echo("applied" if reply["settings"] or reply["changes"] else "nothing to change")
    return 0
