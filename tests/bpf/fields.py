"""Frames as named fields, for people and for checks: a dissector that trusts no length.

``fields`` names every byte of a frame, also inside ICMP errors; ``wrong_checksums`` verifies every
checksum that the frame holds whole; ``difference`` says in which fields two frames differ.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

ETHERTYPE_IPV4, ETHERTYPE_ARP, ETHERTYPE_IPV6 = 0x0800, 0x0806, 0x86DD
ETHERTYPES_VLAN = (0x8100, 0x88A8)
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60
EXTENSIONS = {HOP_BY_HOP: "hopopts", ROUTING: "routing", DESTINATION: "dstopts"}
ICMP_ERRORS = (3, 4, 5, 11, 12)


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of ``data``, whose own checksum field is zero."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data[: len(data) // 2 * 2]))
    if len(data) % 2:
        total += data[-1] << 8
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def pseudo_header(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    """What a transport checksum covers besides the segment, by the addresses' family."""
    if len(source) == 4:
        return source + destination + struct.pack(">BBH", 0, protocol, length)
    return source + destination + struct.pack(">IHBB", length, 0, 0, protocol)


@dataclass(frozen=True)
class Field:
    """Bytes ``start`` to ``start + size`` of the frame; ``text`` is their value for people.

    ``wrong``: set on a checksum that does not hold: what it should be.
    """

    name: str
    start: int
    size: int
    text: str
    wrong: str = ""

    def __str__(self) -> str:
        return f"{self.name}={self.text}" + (f" (wrong: {self.wrong})" if self.wrong else "")


def fields(frame: bytes, first: str = "ether") -> list[Field]:
    """Every field of a frame, in order. ``first``: ``ether``, or ``ip`` for a bare packet."""
    reader = _Reader(frame)
    if first == "ether":
        _ether(reader)
    else:
        _ip(reader, "")
    reader.rest("payload")
    return reader.found


def wrong_checksums(frame: bytes, first: str = "ether") -> list[str]:
    """Each checksum that does not hold. One that a fragment or a quotation cuts is not judged."""
    return [str(each) for each in fields(frame, first) if each.wrong]


def difference(actual: bytes, expected: bytes, first: str = "ether") -> str:
    """ "" if equal, else a line for each field that differs and both frames in hex."""
    if actual == expected:
        return ""
    got = {each.name: each for each in fields(actual, first)}
    wanted = {each.name: each for each in fields(expected, first)}
    lines = []
    for name in [*wanted, *(each for each in got if each not in wanted)]:
        mine, theirs = got.get(name), wanted.get(name)
        if mine is None or theirs is None or mine.text != theirs.text:
            left = "absent" if theirs is None else theirs.text
            right = "absent" if mine is None else str(mine).partition("=")[2]
            lines.append(f"  {name}: expected {left}, got {right}")
    return "\n".join(
        [
            f"frames differ ({len(expected)} bytes expected, {len(actual)} found):",
            *lines,
            "expected:",
            *_hex(expected, actual),
            "got:",
            *_hex(actual, expected),
        ]
    )


def _hex(data: bytes, other: bytes) -> Iterator[str]:
    """Rows of 16 bytes; those that differ are marked."""
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        mark = " " if row == other[start : start + 16] else "*"
        yield f" {mark} {start:04x}  {row.hex(' ')}"


class _Reader:
    """Walks over the frame, taking fields."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.found: list[Field] = []

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, name: str, size: int, show: Callable[[bytes], str] | None = None) -> bytes:
        raw = self.data[self.at : self.at + size]
        if raw:
            text = show(raw) if show is not None and len(raw) == size else raw.hex()
            self.found.append(Field(name, self.at, len(raw), text))
        self.at += len(raw)
        return raw

    def number(self, name: str, size: int, base: int = 10) -> int:
        form = str if base == 10 else lambda n: f"{n:#0{size * 2 + 2}x}"
        raw = self.take(name, size, lambda each: form(int.from_bytes(each, "big")))
        return int.from_bytes(raw, "big")

    def judge(self, name: str, right: int | None, found: int) -> None:
        """Mark the checksum field ``name`` if ``right`` is known and differs."""
        if right is None or right == found:
            return
        for index in range(len(self.found) - 1, -1, -1):
            each = self.found[index]
            if each.name == name:
                self.found[index] = Field(
                    name, each.start, each.size, each.text, f"should be {right:#06x}"
                )
                return

    def rest(self, name: str, size: int | None = None) -> None:
        if self.left > 0:
            self.take(name, self.left if size is None else min(size, self.left))


def _mac(raw: bytes) -> str:
    return raw.hex(":")


def _ether(reader: _Reader) -> None:
    reader.take("ether.dst", 6, _mac)
    reader.take("ether.src", 6, _mac)
    kind = reader.number("ether.type", 2, 16)
    tags = 0
    while kind in ETHERTYPES_VLAN and reader.left >= 4:
        tags += 1
        reader.number(f"vlan{tags}.tci", 2, 16)
        kind = reader.number(f"vlan{tags}.type", 2, 16)
    if kind in (ETHERTYPE_IPV4, ETHERTYPE_IPV6):
        _ip(reader, "")


def _ip(reader: _Reader, prefix: str) -> None:
    if not reader.left:
        return
    version = reader.data[reader.at] >> 4
    if version == 4:
        _ipv4(reader, prefix)
    elif version == 6:
        _ipv6(reader, prefix)


def _ipv4(reader: _Reader, prefix: str) -> None:
    start, name = reader.at, f"{prefix}ipv4"
    header_bytes = (reader.data[start] & 15) * 4
    reader.number(f"{name}.version_ihl", 1, 16)
    reader.number(f"{name}.tos", 1, 16)
    total = reader.number(f"{name}.total_length", 2)
    reader.number(f"{name}.ident", 2, 16)
    flags = reader.number(f"{name}.flags_offset", 2, 16)
    reader.number(f"{name}.ttl", 1)
    protocol = reader.number(f"{name}.protocol", 1)
    written = reader.number(f"{name}.checksum", 2, 16)
    source = reader.take(f"{name}.src", 4, lambda raw: str(IPv4Address(raw)))
    destination = reader.take(f"{name}.dst", 4, lambda raw: str(IPv4Address(raw)))
    reader.rest(f"{name}.options", max(0, header_bytes - 20))
    header = reader.data[start : reader.at]
    if len(header) == header_bytes and header_bytes >= 20:
        reader.judge(f"{name}.checksum", checksum(header[:10] + b"\0\0" + header[12:]), written)
    end = start + total
    whole = end <= len(reader.data) and not flags & 0x3FFF
    if not flags & 0x1FFF:
        _upper(reader, prefix, protocol, source, destination, end, whole)


def _ipv6(reader: _Reader, prefix: str) -> None:
    start, name = reader.at, f"{prefix}ipv6"
    reader.number(f"{name}.version_class_label", 4, 16)
    length = reader.number(f"{name}.payload_length", 2)
    protocol = reader.number(f"{name}.next_header", 1)
    reader.number(f"{name}.hop_limit", 1)
    source = reader.take(f"{name}.src", 16, lambda raw: str(IPv6Address(raw)))
    destination = reader.take(f"{name}.dst", 16, lambda raw: str(IPv6Address(raw)))
    end = start + 40 + length
    whole = end <= len(reader.data)
    count = 0
    while (protocol in EXTENSIONS or protocol == FRAGMENT) and reader.left >= 8:
        count += 1
        if protocol == FRAGMENT:
            part = f"{name}.fragment{count}"
            protocol = reader.number(f"{part}.next_header", 1)
            reader.number(f"{part}.reserved", 1)
            offset = reader.number(f"{part}.offset_more", 2, 16)
            reader.number(f"{part}.ident", 4, 16)
            whole = whole and not offset & ~6
            if offset & ~7:
                return
        else:
            part = f"{name}.{EXTENSIONS[protocol]}{count}"
            protocol = reader.number(f"{part}.next_header", 1)
            size = reader.number(f"{part}.length", 1) * 8 + 6
            routing = part.startswith(f"{name}.routing")
            whole = whole and not (routing and reader.data[reader.at + 1])  # segments left
            reader.rest(f"{part}.data", size)
    _upper(reader, prefix, protocol, source, destination, end, whole)


def _upper(
    reader: _Reader,
    prefix: str,
    protocol: int,
    source: bytes,
    destination: bytes,
    end: int,
    whole: bool,
) -> None:
    segment = reader.data[reader.at : end]
    fresh = len(source) == len(destination) and len(source) in (4, 16)

    def right(at: int, pseudo: bool = True) -> int | None:
        """What the checksum at ``at`` of the segment should be, if that can be known."""
        if not whole or not fresh or len(segment) < at + 2:
            return None
        cleared = segment[:at] + b"\0\0" + segment[at + 2 :]
        above = pseudo_header(source, destination, protocol, len(segment)) if pseudo else b""
        return checksum(above + cleared)

    if protocol == TCP:
        name = f"{prefix}tcp"
        reader.number(f"{name}.sport", 2)
        reader.number(f"{name}.dport", 2)
        reader.number(f"{name}.seq", 4)
        reader.number(f"{name}.ack", 4)
        flags = reader.number(f"{name}.offset_flags", 2, 16)
        reader.number(f"{name}.window", 2)
        written = reader.number(f"{name}.checksum", 2, 16)
        reader.judge(f"{name}.checksum", right(16), written)
        reader.number(f"{name}.urgent", 2)
        reader.rest(f"{name}.options", max(0, (flags >> 12) * 4 - 20))
    elif protocol == UDP:
        name = f"{prefix}udp"
        reader.number(f"{name}.sport", 2)
        reader.number(f"{name}.dport", 2)
        length = reader.number(f"{name}.length", 2)
        if 8 <= length <= len(segment):
            segment = segment[:length]
        written = reader.number(f"{name}.checksum", 2, 16)
        if written or len(source) == 16:
            expected = right(6)
            reader.judge(f"{name}.checksum", 0xFFFF if expected == 0 else expected, written)
    elif protocol in (ICMP, ICMPV6):
        name = f"{prefix}{'icmp' if protocol == ICMP else 'icmpv6'}"
        kind = reader.number(f"{name}.type", 1)
        reader.number(f"{name}.code", 1)
        written = reader.number(f"{name}.checksum", 2, 16)
        reader.judge(f"{name}.checksum", right(2, protocol == ICMPV6), written)
        reader.take(f"{name}.rest", 4)
        is_error = kind in ICMP_ERRORS if protocol == ICMP else 0 < kind < 128
        if is_error and not prefix:
            _quoted(reader, end)
    reader.rest(f"{prefix}data", max(0, end - reader.at))


def _quoted(reader: _Reader, end: int) -> None:
    """The packet in an ICMP error. It may be cut; its transport checksum counts only if whole."""
    inner = _Reader(reader.data[reader.at : end])
    _ip(inner, "inner.")
    reader.found.extend(
        Field(each.name, each.start + reader.at, each.size, each.text, each.wrong)
        for each in inner.found
    )
    reader.at += inner.at
