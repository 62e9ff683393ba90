"""Kernel parameters under /proc/sys."""

from collections.abc import Iterable
from pathlib import Path

from appliance.daemon.desired import Sysctl
from appliance.errors import SystemLacks

_ROOT = Path("/proc/sys")


def sync_sysctls(wanted: Iterable[Sysctl]) -> list[str]:
    """Sets what differs; returns what was changed."""
    changes: list[str] = []
    for one in wanted:
        path = _ROOT.joinpath(*one.path)
        try:
            before = path.read_text().strip()
            if before == one.value:
                continue
            path.write_text(one.value)
        except OSError as error:
            if one.optional:
                continue
            raise SystemLacks(f"cannot set {one}: {error.strerror}") from error
        changes.append(f"{one} (was {before})")
    return changes
