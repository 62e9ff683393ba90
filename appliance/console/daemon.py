"""``edge64 daemon``: edge64d alone, in the foreground."""

from pathlib import Path

import click


@click.command()
@click.option(
    "--config", type=click.Path(path_type=Path), help="Apply this file, not the running one."
)
@click.option("--runtime-dir", type=click.Path(path_type=Path), help="Default: /run/edge64.")
@click.option("--state-dir", type=click.Path(path_type=Path), help="Default: the runtime folder.")
def daemon(config: Path | None, runtime_dir: Path | None, state_dir: Path | None) -> None:
    """Run edge64d alone; `edge64 run` runs the resolver and the slow path, too."""
    from appliance.config.validate import load_file
    from appliance.daemon.main import run
    from appliance.daemon.paths import RuntimePaths

    if config is not None:
        load_file(config)  # every error now, before anything starts
    run(RuntimePaths.from_environment(runtime_dir, state_dir), config)
