"""``edge64``: the commands by name, each loaded when it is called, and the one place for errors."""

import importlib
import importlib.util
import sys

import click

from appliance.console.fault import guarded

COMMANDS = {
    "apply": "appliance.console.apply:apply",
    "config": "appliance.console.config:config",
    "counters": "appliance.console.counters:counters",
    "daemon": "appliance.console.daemon:daemon",
    "lab": "appliance.console.lab:lab",
    "run": "appliance.console.run:run",
    "status": "appliance.console.status:status",
}


class LazyCommands(click.Group):
    """A group whose commands are imported when they are needed: the console starts at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(name for name, target in COMMANDS.items() if _installed(target))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = COMMANDS.get(cmd_name)
        if target is None or not _installed(target):
            return None
        module, _, name = target.partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command


def _installed(target: str) -> bool:
    """The image leaves the lab out."""
    return importlib.util.find_spec(target.partition(":")[0]) is not None


@click.group(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"]})
def edge64() -> None:
    """DNS64, NAT64 and NAT46 between IPv6-only pods and the IPv4 world."""


def main() -> None:
    """The entry point."""
    sys.exit(guarded(lambda: edge64.main(prog_name="edge64", standalone_mode=False)))


if __name__ == "__main__":
    main()
