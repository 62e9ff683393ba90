"""The watcher: a process of its own that keeps the next-hop cache true.

It hears netlink, tells the datapath what to forget, and lets its heart beat every 100 ms, only
after every event was handled; without it the datapath asks the FIB for each packet. A process,
not a thread: nothing that the daemon does can hold it up. ``python -m appliance.daemon.watcher``.
"""

import argparse
import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from socket import AF_INET, AF_INET6

from appliance.daemon import rtnl
from appliance.daemon.desired import SLOW_DEVICE
from appliance.daemon.files import write_atomically
from appliance.daemon.managed import UNUSED_SECONDS, ManagedNeighbours
from appliance.daemon.netlink import GROUPS, Events
from appliance.daemon.paths import RuntimePaths
from appliance.daemon.route_bits import Blocks, read_route
from appliance.daemon.rtnl import Rtnl, RtnlError
from bpf.errors import BpfError
from bpf.next_hops import NextHopState

HEARTBEAT_SECONDS = 0.1
MANAGE_SECONDS = 1.0
RECOUNT_QUIET_SECONDS = 0.5
RECOUNT_LATEST_SECONDS = 3.0
_RECEIVE_BYTES = 1 << 18
_DRAIN_DATAGRAMS = 4096


class RouteCount:
    """A dump of routes and rules, one datagram at a time, so that no table is too long."""

    def __init__(self, ignored_index: int) -> None:
        self.blocks = Blocks()
        self._ignored = ignored_index
        self._socket = rtnl.open_socket()
        self._socket.setsockopt(rtnl.SOL_NETLINK, rtnl.STRICT_CHK, 1)
        self._socket.setblocking(False)
        self._asks = iter(_count_requests())
        self._interrupted = False
        self._ask()

    def _ask(self) -> bool:
        request = next(self._asks, None)
        if request is None:
            return False
        kind, data = request
        header = rtnl.header(16 + len(data), kind, rtnl.F_REQUEST | rtnl.F_DUMP, 1)
        self._socket.send(header + data)
        return True

    def step(self) -> bool:
        """Reads one datagram; True when everything was read."""
        try:
            buffer = self._socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return False
        for message in rtnl.messages(buffer):
            self._interrupted = self._interrupted or bool(message.flags & rtnl.F_DUMP_INTR)
            if message.kind == rtnl.NEWROUTE:
                route = read_route(message.data, self._ignored)
                if route is not None:
                    self.blocks.add_route(route)
            elif message.kind == rtnl.NEWRULE:
                self.blocks.add_rule(message.data)
            elif message.kind in (rtnl.NLMSG_DONE, rtnl.NLMSG_ERROR):
                return not self._ask()
        return False

    @property
    def usable(self) -> bool:
        """Whether nothing changed under the dump."""
        return not self._interrupted

    def close(self) -> None:
        self._socket.close()


def _count_requests() -> Iterator[tuple[int, bytes]]:
    for family in (AF_INET, AF_INET6):
        yield rtnl.GETROUTE, rtnl.ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
        yield rtnl.GETRULE, rtnl.RULE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)


class Watcher:
    """Events in, generations and heartbeats out. ``turn`` is one round of the loop."""

    def __init__(self, state: NextHopState, status: Path | None = None) -> None:
        self._state = state
        self._status = status
        self._told = ""
        self._socket = rtnl.open_socket(GROUPS, receive_bytes=16 << 20)
        self._socket.setblocking(False)
        self._kernel = Rtnl()
        self._managed = ManagedNeighbours()
        self._buffer = bytearray(_RECEIVE_BYTES)
        self._view = memoryview(self._buffer)
        self._count: RouteCount | None = None
        self._exact: tuple[int, int] | None = None
        self._paused = False
        self._behind = False
        self.events = Events(ignored_index=_index_of(SLOW_DEVICE))
        now = time.monotonic()
        self._next_beat = self._next_manage = now
        self._recount_since: float | None = now
        self._last_route_event = now
        self.counts = {"invalidations": 0, "resyncs": 0, "recounts": 0}
        self._settle()
        self._sync_neighbours(adopt=True)

    def run(self, stop: "StopFlag") -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while not stop.set:
            counting = self._count is not None
            wait = 0.0 if counting else max(0.0, self._next_beat - time.monotonic())
            poll.poll(wait * 1000)
            self.turn()

    def turn(self) -> None:
        """Everything that came in, then whatever is due."""
        self._drain()
        now = time.monotonic()
        if now >= self._next_beat:
            self._next_beat = now + HEARTBEAT_SECONDS
            if not self._paused and not self._behind:
                self._state.heartbeat()
        if now >= self._next_manage:
            self._next_manage = now + MANAGE_SECONDS
            self._manage(now)
        self._recount(now)

    def _drain(self) -> None:
        """Handles every event up to now; what must be forgotten is forgotten before return."""
        lost = False
        self._behind = False
        for _ in range(_DRAIN_DATAGRAMS):
            try:
                size = self._socket.recv_into(self._buffer)
            except BlockingIOError:
                break
            except OSError:  # ENOBUFS: the kernel dropped events
                self.events.lost()
                lost = True
                continue
            self.events.take(self._view[:size])
        else:
            self._behind = True
        if self.events.changed:
            self._settle()
        if lost or not self.events.synced:
            self.counts["resyncs"] += 1
            self._sync_neighbours()

    def _settle(self) -> None:
        if self.events.recount:
            self.events.recount = False
            self._exact = None
            now = time.monotonic()
            self._last_route_event = now
            if self._recount_since is None:
                self._recount_since = now
            if self._count is not None:
                self._count.close()
                self._count = None
        self._state.set_route_bits(*self.events.bits)
        self._state.invalidate()
        self.events.settled()
        self.counts["invalidations"] += 1

    def _sync_neighbours(self, adopt: bool = False) -> None:
        """All usable neighbours from the kernel, after which only known ones can matter."""
        self.events.neighbours.clear()
        with suppress(RtnlError):
            for family in (AF_INET, AF_INET6):
                found = self._kernel.dump(rtnl.GETNEIGH, rtnl.NEIGH.pack(family, 0, 0, 0, 0))
                self.events.known(found)
                if adopt:
                    self._managed.adopt(found, time.monotonic())
            self.events.synced = True
        self._state.invalidate()
        self.events.settled()

    def _recount(self, now: float) -> None:
        """Exact block lengths, once the routes have been quiet for a moment."""
        if self._count is None:
            since = self._recount_since
            if since is None:
                return
            quiet = now - self._last_route_event >= RECOUNT_QUIET_SECONDS
            if not quiet and now - since < RECOUNT_LATEST_SECONDS:
                return
            self._recount_since = None
            self.events.ignored_index = _index_of(SLOW_DEVICE)
            self._count = RouteCount(self.events.ignored_index)
        if not self._count.step():
            return
        count, self._count = self._count, None
        count.close()
        if not count.usable:
            self._recount_since = now
            return
        self.counts["recounts"] += 1
        self._exact = count.blocks.bits()
        self._paused = count.blocks.by_more
        self.events.bits = list(self._exact)
        if self._state.set_route_bits(*self._exact):
            self._state.invalidate()

    def _manage(self, now: float) -> None:
        # Somebody else (a commit) may have written other lengths: they are put right.
        if self._state.set_route_bits(*self.events.bits):
            self._state.invalidate()
        in_use = self._state.in_use(UNUSED_SECONDS)
        requests = self._managed.plan(in_use, self.events.neighbours, now)
        if requests:
            with suppress(RtnlError):
                self._managed.run(self._kernel, requests)
        self._tell()

    def _tell(self) -> None:
        if self._status is None:
            return
        text = json.dumps(
            {
                "pid": os.getpid(),
                "route-bits": {"ipv4": self.events.bits[0], "ipv6": self.events.bits[1]},
                "next-hops-kept": not self._paused,
                "managed-neighbours": len(self._managed),
                "events": self.events.messages,
                **self.counts,
            }
        )
        if text != self._told:
            with suppress(OSError):
                write_atomically(self._status, text)
            self._told = text


class StopFlag:
    """Set by SIGTERM and SIGINT."""

    def __init__(self) -> None:
        self.set = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def _stop(self, *_: object) -> None:
        self.set = True


def _index_of(device: str) -> int:
    try:
        return socket.if_nametoindex(device)
    except OSError:
        return 0


def go_first() -> None:
    """Real-time priority, or the best nice value there is; neither is an error."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:
        with suppress(OSError):
            os.nice(-20)


def die_with_parent(parent: int) -> None:
    """SIGKILL when the daemon goes: its successor starts a watcher of its own."""
    ctypes.CDLL(None, use_errno=True).prctl(1, int(signal.SIGKILL), 0, 0, 0)
    if parent and os.getppid() != parent:
        sys.exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description="Keeps the datapath's next hops true.")
    parser.add_argument("--runtime-dir", type=Path)
    parser.add_argument("--parent", type=int, default=0, help="die with this process")
    options = parser.parse_args()
    die_with_parent(options.parent)
    paths = RuntimePaths.from_environment(options.runtime_dir)
    stop = StopFlag()
    state: NextHopState | None = None
    while state is None and not stop.set:
        try:
            state = NextHopState(paths.bpffs)
        except BpfError:
            time.sleep(0.1)  # nothing was committed yet
    if state is None:
        return
    watcher = Watcher(state, paths.watcher_status)
    gc.collect()
    gc.freeze()
    gc.disable()
    go_first()
    try:
        watcher.run(stop)
    except BpfError as error:
        print(f"watcher: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
