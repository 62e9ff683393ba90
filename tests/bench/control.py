"""The datapath in a namespace as edge64d runs it: committed, and kept true by the real watcher."""

import json
import os
import sys
import time
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from appliance.daemon.paths import RuntimePaths
from bpf.datapath import Datapath
from bpf.model import BoxAddresses, Port, Translation
from tests.bench.namespaces import Namespace, end, mac

WAIT_S = 15


def port(space: Namespace, name: str, ipv4: str | None, ipv6: str) -> Port:
    return Port(
        name,
        space.index(name),
        mac(space, name),
        1500,
        IPv4Address(ipv4) if ipv4 else None,
        IPv6Address(ipv6),
    )


class ControlPlane:
    """A datapath and its watcher, which beats the heart and hears of changes, on ``cpu``."""

    def __init__(
        self,
        space: Namespace,
        folder: Path,
        ports: Sequence[Port],
        translation: Translation,
        cpu: int,
    ) -> None:
        paths = RuntimePaths.from_environment(folder / f"run-{space.title}")
        own = BoxAddresses(
            frozenset(each.ipv4 for each in ports if each.ipv4),
            frozenset(each.ipv6 for each in ports if each.ipv6),
        )
        with space.inside():
            self.datapath = Datapath.open(paths.bpffs)
            self.datapath.commit(ports, translation, own)
        command = [sys.executable, "-m", "appliance.daemon.watcher"]
        command += ["--runtime-dir", str(paths.runtime), "--parent", str(os.getpid())]
        self.watcher = space.start(command, cpu)
        self.wait(paths.watcher_status)

    def wait(self, status: Path) -> None:
        """Until the watcher has counted the routes: the cache's blocks are as they will stay."""
        deadline = time.monotonic() + WAIT_S
        while not status.exists() or not json.loads(status.read_text())["recounts"]:
            if self.watcher.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the watcher did not start")
            time.sleep(0.05)

    def packets(self, job: str) -> int:
        """How many packets had that job, on all ports and CPUs."""
        return sum(each.jobs[job].packets for each in self.datapath.counters())

    def refilled(self) -> int:
        """How often the FIB was asked for a next hop."""
        return sum(
            each.reasons["next-hop-refilled"] + each.reasons["next-hop-uncached"]
            for each in self.datapath.counters()
        )

    def close(self) -> None:
        end(self.watcher)
        self.datapath.detach()
