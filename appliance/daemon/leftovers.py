"""Processes of an earlier run whose supervisor was killed: ended before a new one starts.

The datapath is no process and runs on. A leftover is known by its environment (this runtime
folder, started by a supervisor) and by living in the same network and mount namespaces.
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
    here = _namespaces("self")
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            environment = (entry / "environ").read_bytes().split(b"\0")
            if (
                wanted in environment
                and b"SUPERVISOR_ENABLED=1" in environment
                and _namespaces(entry.name) == here
            ):
                found.append(int(entry.name))
    return found


def _namespaces(process: str) -> tuple[int, ...]:
    return tuple(Path(f"/proc/{process}/ns/{kind}").stat().st_ino for kind in ("net", "mnt"))


def _alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
