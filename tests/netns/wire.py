"""Raw packets into a lab and frames out of it, for tests that look at every byte."""

import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Self

from appliance.lab.client import Lab
from tests.bpf.fields import ICMP, ICMPV6, UDP, checksum, pseudo_header

ETH_P_ALL = 3
ETHER_BYTES = 14
SECONDS = 10
PACKET_IGNORE_OUTGOING = 23
SOL_PACKET = 263

Address = IPv4Address | IPv6Address


def ipv4(
    source: IPv4Address,
    destination: IPv4Address,
    protocol: int,
    payload: bytes,
    *,
    ttl: int = 64,
    tos: int = 0,
    ident: int = 0,
    flags_offset: int = 0,
) -> bytes:
    """A packet without options; ``flags_offset``: 0x4000 is DF."""
    header = struct.pack(
        ">BBHHHBBH", 0x45, tos, 20 + len(payload), ident, flags_offset, ttl, protocol, 0
    )
    header += source.packed + destination.packed
    return header[:10] + checksum(header).to_bytes(2, "big") + header[12:] + payload


def ipv6(
    source: IPv6Address,
    destination: IPv6Address,
    protocol: int,
    payload: bytes,
    *,
    hop_limit: int = 64,
    traffic_class: int = 0,
) -> bytes:
    first = 6 << 28 | traffic_class << 20
    header = struct.pack(">IHBB", first, len(payload), protocol, hop_limit)
    return header + source.packed + destination.packed + payload


def with_checksum(
    source: Address, destination: Address, protocol: int, segment: bytes, at: int
) -> bytes:
    """``segment`` with its checksum, whose field at ``at`` is zero; UDP's 0 is written 0xFFFF."""
    covered = segment
    if protocol != ICMP:
        covered = pseudo_header(source.packed, destination.packed, protocol, len(segment)) + segment
    value = checksum(covered + b"\0" * (len(covered) % 2))
    if protocol == UDP and value == 0:
        value = 0xFFFF
    return segment[:at] + value.to_bytes(2, "big") + segment[at + 2 :]


def udp(
    source: Address, destination: Address, source_port: int, port: int, payload: bytes
) -> bytes:
    segment = struct.pack(">HHHH", source_port, port, 8 + len(payload), 0) + payload
    return with_checksum(source, destination, UDP, segment, 6)


def icmp(source: Address, destination: Address, kind: int, code: int, rest: bytes) -> bytes:
    """ICMP or ICMPv6, by the addresses' family; ``rest``: what follows the checksum."""
    protocol = ICMP if isinstance(source, IPv4Address) else ICMPV6
    return with_checksum(source, destination, protocol, bytes([kind, code, 0, 0]) + rest, 2)


@dataclass
class Capture:
    """Frames that came in on an interface of a node."""

    sock: socket.socket

    def frames(self, seconds: float = SECONDS) -> Iterator[tuple[float, bytes]]:
        """Frames with the monotonic second at which each was read, until ``seconds`` are over."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.sock], [], [], left)[0]:
                frame = self.sock.recv(65535)
                yield time.monotonic(), frame

    def packet(self, wanted: Callable[[bytes], bool], seconds: float = SECONDS) -> bytes:
        """The first IP packet, without its link header, that is ``wanted``."""
        for _, frame in self.frames(seconds):
            if wanted(frame[ETHER_BYTES:]):
                return _cut(frame[ETHER_BYTES:])
        raise AssertionError(f"no such packet within {seconds:.0f} s")

    def waiting(self) -> list[bytes]:
        """What has arrived up to now."""
        found = []
        while select.select([self.sock], [], [], 0)[0]:
            found.append(self.sock.recv(65535))
        return found


def _cut(packet: bytes) -> bytes:
    """Without the padding of a short frame."""
    if packet[0] >> 4 == 4:
        return packet[: int.from_bytes(packet[2:4], "big")]
    return packet[: 40 + int.from_bytes(packet[4:6], "big")]


@contextmanager
def capture(lab: Lab, node: str, interface: str) -> Iterator[Capture]:
    with lab.network(node):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        sock.bind((interface, ETH_P_ALL))
    with sock:
        yield Capture(sock)


class Sender:
    """Sends whole IP packets from a node; the node's kernel finds the way and the neighbour."""

    def __init__(self, lab: Lab, node: str) -> None:
        with lab.network(node):
            self._v4 = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
            self._v6 = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def send(self, packet: bytes) -> None:
        if packet[0] >> 4 == 4:
            self._v4.sendto(packet, (str(IPv4Address(packet[16:20])), 0))
        else:
            self._v6.sendto(packet, (str(IPv6Address(packet[24:40])), 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._v4.close()
        self._v6.close()
