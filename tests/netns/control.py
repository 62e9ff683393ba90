"""Doing to a lab's edge64 what happens in operation: new settings, crashes, restarts."""

import os
import signal
import subprocess
from pathlib import Path

from appliance.lab import box, build
from appliance.lab.client import Lab
from appliance.lab.plan import EDGE_IPV6
from appliance.lab.waiting import answers_dns, until

AAAA = 28
SECONDS = 30


def apply(lab: Lab, document: str) -> str:
    """Puts a configuration in force; what `edge64 apply` said."""
    lab.path(box.CONFIGURATION).write_text(document)
    return lab.run("edge", "edge64", "apply", str(box.CONFIGURATION), check=True).stdout


def processes(lab: Lab) -> list[int]:
    """Every process in the appliance's network namespace, as numbered on this machine."""
    net = os.fstat(lab.door("edge").net).st_ino
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "ns" / "net").stat().st_ino == net:
                found.append(int(process.name))
        except OSError:
            continue
    return found


def kill_everything(lab: Lab) -> None:
    """SIGKILL to all of edge64's processes; returns when none is left."""

    def none_left() -> bool:
        left = processes(lab)
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return not left

    assert processes(lab), "edge64 was not running"
    assert until(none_left, SECONDS)


def start(lab: Lab) -> None:
    """Starts edge64 as the lab did, with the configuration it had last, and waits for it."""
    with open(lab.path(build.ROOT / "log" / "edge64-again.log"), "ab") as log:
        lab.popen("edge", box.COMMAND, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    with lab.network("pod1"):
        assert until(lambda: answers_dns(str(EDGE_IPV6), "v4only.example", AAAA), SECONDS)
