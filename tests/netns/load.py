"""Numbered datagrams at a steady pace, and a record of where each of them went and when."""

import socket
import struct
import threading
import time
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Self

from appliance.lab.client import Lab
from tests.netns.wire import ETH_P_ALL, PACKET_IGNORE_OUTGOING, SOL_PACKET

MARK = b"edge64-load:"
PAYLOAD = struct.Struct(">12sQd")
PORT = 4661
INTERVAL_SECONDS = 0.0005
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35


class Stream:
    """Sends until the end of its ``with``. ``sent``: the second at which each number went out."""

    def __init__(
        self,
        lab: Lab,
        node: str,
        destination: IPv4Address | IPv6Address,
        source: IPv4Address | IPv6Address | None = None,
    ) -> None:
        family = socket.AF_INET if destination.version == 4 else socket.AF_INET6
        with lab.network(node):
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
        if source is not None:
            self._socket.bind((str(source), 0))
        self._socket.connect((str(destination), PORT))
        self.sent: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        next_at = time.monotonic()
        while not self._stop.is_set():
            now = time.time()
            try:
                self._socket.send(PAYLOAD.pack(MARK, len(self.sent), now))
            except ConnectionRefusedError:
                continue  # an error that came back for an earlier one; this one was not sent
            self.sent.append(now)
            next_at += INTERVAL_SECONDS
            if (left := next_at - time.monotonic()) > 0:
                time.sleep(left)
            else:
                next_at = time.monotonic()  # never a burst after a stall

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()


@dataclass(frozen=True)
class Arrival:
    """One numbered datagram in a frame: when, to whose MAC address, from whose."""

    at: float
    number: int
    to: bytes
    by: bytes


class Record:
    """Every datagram of a ``Stream`` that comes in on an interface, until its ``with`` ends."""

    def __init__(self, lab: Lab, node: str, interface: str) -> None:
        with lab.network(node):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
            self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self._socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            self._socket.bind((interface, ETH_P_ALL))
        self._socket.settimeout(0.1)
        self.arrivals: list[Arrival] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while True:
            try:
                frame, ancillary, _, _ = self._socket.recvmsg(2048, 64)
            except TimeoutError:
                if self._stop.is_set():
                    return
                continue
            at = frame.find(MARK)
            if at < 0 or len(frame) < at + PAYLOAD.size:
                continue
            seconds, nanoseconds = struct.unpack("=qq", ancillary[0][2])
            _, number, _ = PAYLOAD.unpack_from(frame, at)
            when = seconds + nanoseconds / 1e9
            self.arrivals.append(Arrival(when, number, frame[:6], frame[6:12]))

    @property
    def numbers(self) -> set[int]:
        return {arrival.number for arrival in self.arrivals}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()


def lost(
    stream: Stream, record: Record, since: float = 0, until: float = float("inf")
) -> list[int]:
    """Numbers sent within a time that did not arrive; to be asked after both have ended."""
    there = record.numbers
    return [n for n, at in enumerate(stream.sent) if since <= at <= until and n not in there]
