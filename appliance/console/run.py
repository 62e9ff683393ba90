"""``edge64 run``: the whole appliance under supervisor, in the foreground."""

import os
import sys
from pathlib import Path

import click

from appliance.config.validate import load_file
from appliance.daemon.files import write_atomically
from appliance.daemon.leftovers import end_leftovers
from appliance.daemon.paths import FACTORY_CONFIG, RuntimePaths
from appliance.daemon.supervisor import write_supervisor_config
from appliance.errors import ApplianceError, SystemLacks


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Make this the running configuration. Default: what was applied last.",
)
@click.option("--runtime-dir", type=click.Path(path_type=Path), help="Default: /run/edge64.")
@click.option("--state-dir", type=click.Path(path_type=Path), help="Default: the runtime folder.")
def run(config: Path | None, runtime_dir: Path | None, state_dir: Path | None) -> None:
    """Run edge64d, the resolver and the slow path under supervisor, until SIGTERM.

    What is configured stays when this ends: the datapath runs on.
    """
    if os.geteuid() != 0:
        raise SystemLacks("edge64 run needs root", "start it as root")
    paths = RuntimePaths.from_environment(runtime_dir, state_dir)
    loaded = load_file(config) if config else None
    try:
        for folder in (paths.runtime, paths.logs, paths.stats, paths.state):
            folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        end_leftovers(paths)
        if loaded is not None:
            write_atomically(paths.running, loaded.text, 0o600)
        write_supervisor_config(paths, _workers(paths))
    except OSError as error:
        raise ApplianceError(f"cannot write to {error.filename}: {error.strerror}") from error
    command = [sys.executable, "-m", "supervisor.supervisord", "-n"]
    os.execv(sys.executable, [*command, "-c", str(paths.supervisor_config)])


def _workers(paths: RuntimePaths) -> int:
    """As the running configuration says; edge64d corrects it when that changes."""
    for path in (paths.running, FACTORY_CONFIG):
        if path.exists():
            try:
                resolver = load_file(path).appliance.resolver
            except ApplianceError:
                return 1
            return resolver.workers if resolver else 1
    return 1
