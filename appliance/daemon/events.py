"""What the datapath wants logged: packets that it had to drop and whose end nobody else can see."""

import asyncio
import logging
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address

from bpf.datapath import Datapath, TraceEvent
from bpf.errors import BpfError
from bpf.ringbuf import RingBuffer

log = logging.getLogger("edge64d")

READ_SECONDS = 0.5
MOST_LINES_A_SECOND = 10

_ETHERNET, _VLAN_TAG, _IPV4_HEADER = 14, 4, 20
_TYPE_VLAN, _TYPE_IPV4 = b"\x81\x00", b"\x08\x00"


def describe(event: TraceEvent) -> str:
    """One line: why, and the addresses and ports of the packet where it is UDP over IPv4."""
    ip = event.head[_ETHERNET:]
    kind = event.head[12:14]
    if kind == _TYPE_VLAN:
        kind, ip = event.head[16:18], ip[_VLAN_TAG:]
    line = f"dropped on interface {event.ifindex}: {event.reason}"
    if kind != _TYPE_IPV4 or len(ip) < _IPV4_HEADER:
        return line
    source, destination = IPv4Address(ip[12:16]), IPv4Address(ip[16:20])
    sport, dport = struct.unpack_from("!HH", ip, (ip[0] & 15) * 4)
    return f"{line}, UDP {source} port {sport} to {destination} port {dport}"


class EventLog:
    """Writes events to the log, at most ``MOST_LINES_A_SECOND``; the rest is counted."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._write = write
        self._clock = clock
        self._second = 0.0
        self._lines = 0
        self._left_out = 0

    def add(self, event: TraceEvent) -> None:
        """An event arrived."""
        now = self._clock()
        if now - self._second >= 1:
            self.flush()
            self._second, self._lines = now, 0
        if self._lines >= MOST_LINES_A_SECOND:
            self._left_out += 1
            return
        self._lines += 1
        self._write(describe(event))

    def flush(self) -> None:
        """Say how many were left out, if any were."""
        if self._left_out:
            self._write(f"{self._left_out} more dropped packets were not logged")
            self._left_out = 0


async def log_events(datapath: Datapath) -> None:
    """Runs as long as the daemon does."""
    ring: RingBuffer | None = None
    events = EventLog(log.warning, time.monotonic)
    try:
        while True:
            await asyncio.sleep(READ_SECONDS)
            if ring is None:
                with suppress(BpfError):  # nothing is committed yet
                    ring = datapath.events(events.add)
                continue
            ring.consume()
    finally:
        events.flush()
        if ring is not None:
            ring.close()
