"""Packets for tests: plain builders whose lengths and checksums are right unless told otherwise.

    frame = ether(ipv4("198.51.100.1", "192.0.2.33", Udp(1000, 53, b"query")))
    check_frame(result.data_out, ether(ipv6(...)))

Every builder returns bytes; a transport (``Udp``, ``Tcp``, ``Icmp``, ``Icmpv6``) is a value that
becomes bytes inside its IP packet, for its checksum covers the addresses. A keyword that is None
means "the right value". Nothing here knows of the datapath or of ``appliance/slowpath``.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from tests.bpf.fields import (
    DESTINATION,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    FRAGMENT,
    HOP_BY_HOP,
    ICMP,
    ICMPV6,
    ROUTING,
    TCP,
    UDP,
    checksum,
    difference,
    pseudo_header,
    wrong_checksums,
)

MAC_A = bytes.fromhex("020000000a0a")
MAC_B = bytes.fromhex("020000000b0b")
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

Address = str | IPv4Address | IPv6Address


class Upper(Protocol):
    """What an IP packet carries. ``sum_of`` below fills its checksum in."""

    @property
    def protocol(self) -> int: ...

    def build(self, source: bytes, destination: bytes) -> bytes: ...


@dataclass(frozen=True)
class Udp:
    sport: int
    dport: int
    data: bytes = b""
    length: int | None = None
    checksum: int | None = None

    protocol = UDP

    def build(self, source: bytes, destination: bytes) -> bytes:
        length = 8 + len(self.data) if self.length is None else self.length
        plain = struct.pack(">HHHH", self.sport, self.dport, length, 0) + self.data
        if self.checksum is None:
            covered = plain[:length] if 8 <= length else plain
            pseudo = pseudo_header(source, destination, UDP, len(covered))
            return _with_checksum(plain, 6, checksum(pseudo + covered) or 0xFFFF)
        return _with_checksum(plain, 6, self.checksum)


@dataclass(frozen=True)
class Tcp:
    """``options``: a multiple of four bytes, counted in the header's length."""

    sport: int
    dport: int
    data: bytes = b""
    seq: int = 1
    ack: int = 0
    flags: int = SYN
    window: int = 65535
    urgent: int = 0
    options: bytes = b""
    header_words: int | None = None
    checksum: int | None = None

    protocol = TCP

    def build(self, source: bytes, destination: bytes) -> bytes:
        words = 5 + len(self.options) // 4 if self.header_words is None else self.header_words
        head = struct.pack(
            ">HHIIHHHH",
            self.sport,
            self.dport,
            self.seq,
            self.ack,
            words << 12 | self.flags,
            self.window,
            0,
            self.urgent,
        )
        plain = head + self.options + self.data
        if self.checksum is None:
            pseudo = pseudo_header(source, destination, TCP, len(plain))
            return _with_checksum(plain, 16, checksum(pseudo + plain))
        return _with_checksum(plain, 16, self.checksum)


@dataclass(frozen=True)
class Icmp:
    """ICMPv4. ``rest``: bytes 4 to 8 of the header. ``data``: for errors, the quoted packet."""

    type: int
    code: int = 0
    rest: bytes = bytes(4)
    data: bytes = b""
    checksum: int | None = None

    protocol = ICMP

    def build(self, source: bytes, destination: bytes) -> bytes:
        plain = struct.pack(">BBH", self.type, self.code, 0) + self.rest + self.data
        right = checksum(plain) if self.checksum is None else self.checksum
        return _with_checksum(plain, 2, right)


@dataclass(frozen=True)
class Icmpv6:
    """ICMPv6. ``rest``: bytes 4 to 8 of the header. ``data``: for errors, the quoted packet."""

    type: int
    code: int = 0
    rest: bytes = bytes(4)
    data: bytes = b""
    checksum: int | None = None

    protocol = ICMPV6

    def build(self, source: bytes, destination: bytes) -> bytes:
        plain = struct.pack(">BBH", self.type, self.code, 0) + self.rest + self.data
        if self.checksum is None:
            pseudo = pseudo_header(source, destination, ICMPV6, len(plain))
            return _with_checksum(plain, 2, checksum(pseudo + plain))
        return _with_checksum(plain, 2, self.checksum)


@dataclass(frozen=True)
class Raw:
    """Any other protocol, or bytes that are to stand as they are (a part of a segment)."""

    protocol: int
    data: bytes = b""

    def build(self, source: bytes, destination: bytes) -> bytes:
        return self.data


def echo(ident: int, seq: int, data: bytes = b"") -> Icmp:
    """An ICMPv4 echo request."""
    return Icmp(8, 0, struct.pack(">HH", ident, seq), data)


def echo_reply(ident: int, seq: int, data: bytes = b"") -> Icmp:
    return Icmp(0, 0, struct.pack(">HH", ident, seq), data)


def echo6(ident: int, seq: int, data: bytes = b"") -> Icmpv6:
    """An ICMPv6 echo request."""
    return Icmpv6(128, 0, struct.pack(">HH", ident, seq), data)


def echo6_reply(ident: int, seq: int, data: bytes = b"") -> Icmpv6:
    return Icmpv6(129, 0, struct.pack(">HH", ident, seq), data)


@dataclass(frozen=True)
class Extension:
    """An IPv6 extension header; ``data`` follows its first two bytes, padded here to 8 n."""

    kind: int
    data: bytes = bytes(6)
    length: int | None = None

    def build(self, following: int) -> bytes:
        padded = self.data + bytes(-(len(self.data) + 2) % 8)
        length = (len(padded) + 2) // 8 - 1 if self.length is None else self.length
        return bytes((following, length)) + padded


@dataclass(frozen=True)
class Fragment:
    """An IPv6 fragment header. ``offset`` in bytes, a multiple of 8."""

    offset: int = 0
    more: bool = False
    ident: int = 0
    reserved: int = 0

    kind = FRAGMENT

    def build(self, following: int) -> bytes:
        place = self.offset | self.more
        return struct.pack(">BBHI", following, self.reserved, place, self.ident)


def hop_by_hop(options: bytes = b"\x01\x04\0\0\0\0") -> Extension:
    """A Hop-by-Hop Options header; by default one PadN."""
    return Extension(HOP_BY_HOP, options)


def destination_options(options: bytes = b"\x01\x04\0\0\0\0") -> Extension:
    return Extension(DESTINATION, options)


def routing(kind: int = 0, segments_left: int = 0, data: bytes = bytes(4)) -> Extension:
    return Extension(ROUTING, bytes((kind, segments_left)) + data)


def ipv4(
    source: Address,
    destination: Address,
    upper: Upper,
    *,
    ttl: int = 64,
    tos: int = 0,
    ident: int = 0,
    df: bool = True,
    more: bool = False,
    offset: int = 0,
    evil: bool = False,
    options: bytes = b"",
    version: int = 4,
    header_words: int | None = None,
    total_length: int | None = None,
    protocol: int | None = None,
    header_checksum: int | None = None,
) -> bytes:
    """``offset`` in bytes, a multiple of 8; ``evil``: the reserved flag; ``options``: 4 n bytes."""
    from_, to = IPv4Address(source).packed, IPv4Address(destination).packed
    payload = upper.build(from_, to)
    words = 5 + len(options) // 4 if header_words is None else header_words
    length = 20 + len(options) + len(payload) if total_length is None else total_length
    plain = (
        struct.pack(
            ">BBHHHBBH",
            version << 4 | words,
            tos,
            length,
            ident,
            evil << 15 | df << 14 | more << 13 | offset // 8,
            ttl,
            upper.protocol if protocol is None else protocol,
            0,
        )
        + from_
        + to
        + options
    )
    right = checksum(plain) if header_checksum is None else header_checksum
    return _with_checksum(plain, 10, right) + payload


def ipv6(
    source: Address,
    destination: Address,
    upper: Upper,
    *,
    extensions: Sequence[Extension | Fragment] = (),
    hop_limit: int = 64,
    traffic_class: int = 0,
    flow_label: int = 0,
    version: int = 6,
    payload_length: int | None = None,
    next_header: int | None = None,
) -> bytes:
    """``next_header``: of the fixed header; the extensions' own chain stays right."""
    from_, to = IPv6Address(source).packed, IPv6Address(destination).packed
    payload = upper.build(from_, to)
    following = upper.protocol
    for extension in reversed(extensions):
        payload = extension.build(following) + payload
        following = extension.kind
    return (
        struct.pack(
            ">IHBB",
            version << 28 | traffic_class << 20 | flow_label,
            len(payload) if payload_length is None else payload_length,
            following if next_header is None else next_header,
            hop_limit,
        )
        + from_
        + to
        + payload
    )


def ether(
    packet: bytes,
    *,
    source: bytes = MAC_A,
    destination: bytes = MAC_B,
    vlans: Sequence[int] = (),
    ethertype: int | None = None,
    pad_to: int = 0,
) -> bytes:
    """A frame. ``vlans``: tag control fields, outermost first (802.1ad outside of 802.1Q).

    ``pad_to``: as a wire pads a short frame (60), with bytes that are no part of the packet.
    """
    if ethertype is None:
        ethertype = ETHERTYPE_IPV6 if packet and packet[0] >> 4 == 6 else ETHERTYPE_IPV4
    tags = b""
    for index, control in enumerate(vlans):
        outer = len(vlans) > 1 and index == 0
        tags += struct.pack(">HH", 0x88A8 if outer else 0x8100, control)
    frame = destination + source + tags + struct.pack(">H", ethertype) + packet
    return frame.ljust(pad_to, b"\0")


def segment(upper: Upper, source: Address, destination: Address) -> bytes:
    """A transport segment alone, its checksum right for these addresses: to be cut in fragments."""
    if isinstance(source, str):
        source = IPv6Address(source) if ":" in source else IPv4Address(source)
    kind = type(source)
    return upper.build(source.packed, kind(destination).packed)


def check_frame(actual: bytes, expected: bytes, first: str = "ether") -> None:
    """Fail with the fields and bytes that differ. ``first``: ``ip`` for bare packets."""
    report = difference(actual, expected, first)
    if report:
        raise AssertionError(report)


def check_checksums(frame: bytes, first: str = "ether") -> None:
    """Fail if a checksum in the frame does not hold."""
    wrong = wrong_checksums(frame, first)
    if wrong:
        raise AssertionError("; ".join(wrong))


def _with_checksum(plain: bytes, at: int, value: int) -> bytes:
    return plain[:at] + struct.pack(">H", value) + plain[at + 2 :]
