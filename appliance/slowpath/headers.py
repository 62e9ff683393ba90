"""IPv4 and IPv6 headers, read with the checks of section 3 of docs/translation.md, and written."""

import struct
from dataclasses import dataclass

from appliance.slowpath import checksum
from appliance.slowpath.verdict import ErrorMessage, Reason, Refusal

IPV4_HEADER = 20
IPV6_HEADER = 40
FRAGMENT_HEADER = 8

HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS = 0, 43, 44, 51, 60
ICMP, TCP, UDP, DCCP, ICMPV6, NO_NEXT_HEADER, UDP_LITE = 1, 6, 17, 33, 58, 59, 136

_SKIPPED = frozenset((HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS))
_NEVER_AFTER_FRAGMENT = frozenset(
    (HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS)
)
_MOST_EXTENSION_HEADERS = 8

_IPV4 = struct.Struct("!BBHHHBBHII")
_IPV6 = struct.Struct("!IHBBQQQQ")
_FRAGMENT = struct.Struct("!BBHI")

_LOW_64 = 0xFFFF_FFFF_FFFF_FFFF
_END_OF_OPTIONS, _NO_OPERATION, _LSRR, _SSRR = 0, 1, 131, 137
_SOURCE_ROUTE_FAILED = ErrorMessage(3, 5)


@dataclass(slots=True)
class Header:
    """What both families say about a packet.

    ``length``: bytes of the IP header with extension headers, where the payload begins.
    ``total``: bytes of the packet by its own account. ``offset``: of the fragment, in bytes.
    ``fragment_header``: an IPv6 Fragment header was there, of an atomic fragment too.
    """

    source: int
    destination: int
    octet: int
    hop_limit: int
    protocol: int
    length: int
    total: int
    offset: int = 0
    more: bool = False
    identification: int = 0
    dont_fragment: bool = False
    fragment_header: bool = False
    flow_label: int = 0

    @property
    def whole(self) -> bool:
        return not (self.offset or self.more)


def read_ipv4(packet: bytes) -> Header:
    """At least 20 bytes are there. Raises nothing: lengths are the caller's to judge."""
    first, octet, total, identification, fragment, ttl, protocol, _, source, destination = (
        _IPV4.unpack_from(packet)
    )
    return Header(
        source,
        destination,
        octet,
        ttl,
        protocol,
        (first & 15) * 4,
        total,
        (fragment & 0x1FFF) * 8,
        bool(fragment & 0x2000),
        identification,
        bool(fragment & 0x4000),
    )


def checked_ipv4(packet: bytes) -> Header:
    header = read_ipv4(packet)
    if packet[0] >> 4 != 4 or not IPV4_HEADER <= header.length <= len(packet):
        raise Refusal(Reason.BAD_HEADER)
    if not header.length <= header.total <= len(packet):
        raise Refusal(Reason.BAD_HEADER)
    if not checksum.is_correct(packet[: header.length]):
        raise Refusal(Reason.BAD_CHECKSUM)
    return header


def check_options(options: bytes) -> None:
    """An unexpired source route is refused; every other option simply vanishes."""
    position = 0
    while position < len(options):
        kind = options[position]
        if kind == _END_OF_OPTIONS:
            return
        if kind == _NO_OPERATION:
            position += 1
            continue
        if position + 2 > len(options):
            raise Refusal(Reason.BAD_HEADER)
        length = options[position + 1]
        if length < 2 or position + length > len(options):
            raise Refusal(Reason.BAD_HEADER)
        if kind in (_LSRR, _SSRR):
            if length < 3:
                raise Refusal(Reason.BAD_HEADER)
            if options[position + 2] <= length:
                raise Refusal(Reason.SOURCE_ROUTE, _SOURCE_ROUTE_FAILED)
        position += length


def read_ipv6(packet: bytes) -> Header:
    """The fixed header alone; at least 40 bytes are there."""
    first, payload, protocol, hop_limit, source, source_low, destination, destination_low = (
        _IPV6.unpack_from(packet)
    )
    return Header(
        source << 64 | source_low,
        destination << 64 | destination_low,
        first >> 20 & 0xFF,
        hop_limit,
        protocol,
        IPV6_HEADER,
        IPV6_HEADER + payload,
        flow_label=first & 0xFFFFF,
    )


def checked_ipv6(packet: bytes) -> Header:
    header = read_ipv6(packet)
    if packet[0] >> 4 != 6 or header.total > len(packet):
        raise Refusal(Reason.BAD_HEADER)
    if header.total == IPV6_HEADER and header.protocol != NO_NEXT_HEADER:
        raise Refusal(Reason.BAD_HEADER)
    return header


def skip_extension_headers(
    packet: bytes, header: Header, end: int, *, routing_must_be_done: bool = True
) -> None:
    """Moves ``header`` on to the upper layer. ``end``: where the bytes that are there end."""
    skipped = 0
    while header.protocol in _SKIPPED:
        start = header.length
        if skipped == _MOST_EXTENSION_HEADERS or start + 2 > end:
            raise Refusal(Reason.BAD_EXTENSION_HEADER)
        length = packet[start + 1] * 8 + 8
        if start + length > end:
            raise Refusal(Reason.BAD_EXTENSION_HEADER)
        if header.protocol == ROUTING and packet[start + 3] and routing_must_be_done:
            raise Refusal(Reason.SOURCE_ROUTE, ErrorMessage(4, 0, start + 3))
        header.protocol = packet[start]
        header.length = start + length
        skipped += 1
    if header.protocol == FRAGMENT:
        start = header.length
        if start + FRAGMENT_HEADER > end:
            raise Refusal(Reason.BAD_EXTENSION_HEADER)
        header.protocol, _, offset, header.identification = _FRAGMENT.unpack_from(packet, start)
        header.offset = offset & 0xFFF8
        header.more = bool(offset & 1)
        header.fragment_header = True
        header.length = start + FRAGMENT_HEADER
        if header.protocol in _NEVER_AFTER_FRAGMENT:
            raise Refusal(Reason.HEADER_AFTER_FRAGMENT, ErrorMessage(1, 1))


def check_fragment(header: Header) -> None:
    payload = header.total - header.length
    if header.offset + payload > 0xFFFF or (header.more and (not payload or payload & 7)):
        raise Refusal(Reason.BAD_FRAGMENT)


def ipv4_header(
    source: int,
    destination: int,
    *,
    octet: int,
    ttl: int,
    protocol: int,
    total: int,
    identification: int = 0,
    dont_fragment: bool = False,
    offset: int = 0,
    more: bool = False,
) -> bytes:
    """20 bytes with a correct checksum."""
    fragment = offset >> 3 | more << 13 | dont_fragment << 14
    fields = (0x45, octet, total, identification, fragment, ttl, protocol)
    # The sum without packing twice: every field at its weight of a 16-bit word.
    total_sum = (0x4500 | octet) + total + identification + fragment + (ttl << 8 | protocol)
    check = -(total_sum + source + destination) % 0xFFFF
    return _IPV4.pack(*fields, check, source, destination)


def ipv6_header(
    source: int,
    destination: int,
    *,
    octet: int,
    hop_limit: int,
    protocol: int,
    payload: int,
    flow_label: int = 0,
) -> bytes:
    return _IPV6.pack(
        6 << 28 | octet << 20 | flow_label,
        payload,
        protocol,
        hop_limit,
        source >> 64,
        source & _LOW_64,
        destination >> 64,
        destination & _LOW_64,
    )


def fragment_header(protocol: int, offset: int, more: bool, identification: int) -> bytes:
    """``offset`` in bytes, a multiple of 8."""
    return _FRAGMENT.pack(protocol, 0, offset | more, identification)
