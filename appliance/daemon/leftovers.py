"""Processes of an earlier run whose supervisor was killed: ended before a new one starts.

The datapath is no process and runs on. A leftover is known by its environment (started by a
supervisor for a runtime folder of this name), and by that folder being this very one as the
process sees it: labs have folders of the same name, each in a mount namespace of its own.
"""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from appliance.daemon.paths import RuntimePaths

_SECONDS = 5.0


def end_leftovers(paths: RuntimePaths) -> list[int]:
    """SIGTERM, then SIGKILL; returns the processes that were ended."""
    found = _leftovers(paths)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + _SECONDS
        while any(map(_alive, found)) and time.monotonic() < deadline:
            time.sleep(0.02)
    return found


def _leftovers(paths: RuntimePaths) -> list[int]:
    wanted = f"EDGE64_RUNTIME_DIR={paths.runtime}".encode()
    here = _folder("self", paths)
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            environment = (entry / "environ").read_bytes().split(b"\0")
            if (
                wanted in environment
                and b"SUPERVISOR_ENABLED=1" in environment
                and _folder(entry.name, paths) == here
            ):
                found.append(int(entry.name))
    return found


def _folder(process: str, paths: RuntimePaths) -> tuple[int, int]:
    """Which folder a process finds at the runtime path."""
    found = Path(f"/proc/{process}/root{paths.runtime}").stat()
    return found.st_dev, found.st_ino


def _alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
