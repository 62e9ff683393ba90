"""Packets for the slow path's tests, built field by field with nothing of the product's.

Checksums are summed word by word over the whole packet, as a receiver would.
"""

import struct
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from appliance.slowpath.translate import Translator
from appliance.slowpath.verdict import Context, HopLimit
from bpf.model import BoxAddresses, EamEntry, Pref64, Translation
from tests.vectors.checksums import internet_sum

# 192.0.2.0/24 are pods at 2001:db8:1::/120; 198.51.100.0/25 are pods at their RFC 6052 address.
TRANSLATION = Translation(
    pref64=(
        Pref64(IPv6Network("64:ff9b::/96"), ipv6_hosts=(IPv4Network("198.51.100.0/25"),)),
        Pref64(IPv6Network("2001:db8:ffff::/48"), (IPv4Network("10.0.0.0/8"),)),
    ),
    eam=(EamEntry(IPv4Network("192.0.2.0/24"), IPv6Network("2001:db8:1::/120")),),
)
BOX4, BOX6 = "203.0.113.1", "2001:db8:6::1"
OWN = BoxAddresses(frozenset({IPv4Address(BOX4)}), frozenset({IPv6Address(BOX6)}))
POD4, POD6 = "192.0.2.7", "2001:db8:1::7"
OTHER_POD4, OTHER_POD6 = "198.51.100.9", "64:ff9b::198.51.100.9"
WORLD4, WORLD6 = "203.0.113.99", "64:ff9b::203.0.113.99"

ON_THE_WIRE = Context(
    mtu4=1500,
    mtu6=1500,
    ipv4=IPv4Address(BOX4),
    ipv6=IPv6Address(BOX6),
    egress_ipv4=IPv4Address(BOX4),
    egress_ipv6=IPv6Address(BOX6),
    identification=lambda: 0x1234,
    flow_label=lambda *_: 0xABCDE,
)
ON_THE_SLOW_PATH = Context(
    mtu4=1500,
    mtu6=1500,
    ipv4=IPv4Address(BOX4),
    ipv6=IPv6Address(BOX6),
    egress_ipv4=IPv4Address(BOX4),
    egress_ipv6=IPv6Address(BOX6),
    hop_limit=HopLimit.RESTORE,
    allow_slow=False,
    own_sources=True,
    identification=lambda: 0x1234,
)


def translator(translation: Translation = TRANSLATION) -> Translator:
    return Translator(translation, OWN)


def ipv4(
    source: str,
    destination: str,
    protocol: int,
    payload: bytes,
    *,
    ttl: int = 64,
    tos: int = 0,
    identification: int = 0,
    flags: int = 0,
    offset: int = 0,
    options: bytes = b"",
    total: int | None = None,
) -> bytes:
    """``flags``: 2 is DF, 1 is MF. ``offset`` in bytes."""
    length = 20 + len(options)
    head = struct.pack(
        "!BBHHHBBH",
        0x40 | length // 4,
        tos,
        length + len(payload) if total is None else total,
        identification,
        flags << 13 | offset // 8,
        ttl,
        protocol,
        0,
    )
    head += IPv4Address(source).packed + IPv4Address(destination).packed + options
    return head[:10] + struct.pack("!H", internet_sum(head)) + head[12:] + payload


def ipv6(
    source: str,
    destination: str,
    next_header: int,
    payload: bytes,
    *,
    hop_limit: int = 64,
    traffic_class: int = 0,
    flow_label: int = 0,
    length: int | None = None,
) -> bytes:
    head = struct.pack(
        "!IHBB",
        6 << 28 | traffic_class << 20 | flow_label,
        len(payload) if length is None else length,
        next_header,
        hop_limit,
    )
    return head + IPv6Address(source).packed + IPv6Address(destination).packed + payload


def fragment(next_header: int, offset: int, more: bool, identification: int = 0) -> bytes:
    return struct.pack("!BBHI", next_header, 0, offset | more, identification)


def pseudo(source: str, destination: str, protocol: int, length: int) -> bytes:
    if ":" in source:
        addresses = IPv6Address(source).packed + IPv6Address(destination).packed
        return addresses + struct.pack("!II", length, protocol)
    addresses = IPv4Address(source).packed + IPv4Address(destination).packed
    return addresses + struct.pack("!BBH", 0, protocol, length)


def summed(source: str, destination: str, protocol: int, data: bytes, at: int) -> bytes:
    """``data`` with its checksum, two bytes at ``at``, which are zero in it."""
    value = internet_sum(pseudo(source, destination, protocol, len(data)) + data)
    if protocol in (17, 136) and not value:
        value = 0xFFFF
    return data[:at] + struct.pack("!H", value) + data[at + 2 :]


def udp(
    source: str, destination: str, data: bytes = b"data", ports: tuple[int, int] = (7, 53)
) -> bytes:
    header = struct.pack("!HHHH", *ports, 8 + len(data), 0)
    return summed(source, destination, 17, header + data, 6)


def tcp(source: str, destination: str, data: bytes = b"data") -> bytes:
    header = struct.pack("!HHIIBBHHH", 7, 80, 1, 2, 0x50, 0x18, 1000, 0, 0)
    return summed(source, destination, 6, header + data, 16)


def icmp(kind: int, code: int, word: int, data: bytes) -> bytes:
    message = struct.pack("!BBHI", kind, code, 0, word) + data
    return message[:2] + struct.pack("!H", internet_sum(message)) + message[4:]


def icmpv6(source: str, destination: str, kind: int, code: int, word: int, data: bytes) -> bytes:
    message = struct.pack("!BBHI", kind, code, 0, word) + data
    return summed(source, destination, 58, message, 2)
