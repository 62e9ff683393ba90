"""The packet that an ICMP error quotes: its addresses have the opposite roles.

It was sent by this translator, or so the error claims, and may be cut anywhere behind its headers;
lengths are taken from its own header. Section 5 of docs/translation.md.
"""

from collections.abc import Mapping

from appliance.slowpath import headers, upper
from appliance.slowpath.addresses import Addresses, Prefix, ToHairpin, ToIPv4
from appliance.slowpath.headers import (
    FRAGMENT,
    ICMP,
    ICMPV6,
    IPV4_HEADER,
    IPV6_HEADER,
    Header,
)
from appliance.slowpath.icmp import FIRST_INFORMATIONAL, IPV4_ERRORS, MOST_IPV4
from appliance.slowpath.verdict import Reason, Refusal

UNFRAGMENTED_IPV4 = 1260  # longer IPv4 packets made from IPv6 say "do not fragment" (RFC 7915, 5.1)

_IPV6_ERRORS = frozenset(range(FIRST_INFORMATIONAL))


def to_ipv6(
    quoted: bytes, addresses: Addresses, own_sources: bool, traffic_class: int | None
) -> bytes:
    if len(quoted) < IPV4_HEADER or quoted[0] >> 4 != 4:
        raise Refusal(Reason.INNER_INVALID)
    header = headers.read_ipv4(quoted)
    if not IPV4_HEADER <= header.length <= min(len(quoted), header.total):
        raise Refusal(Reason.INNER_INVALID)
    source = addresses.inside(header.source)
    destination = addresses.source_ipv4(header.destination, own_sources)
    if source is None or isinstance(destination, Reason):
        raise Refusal(Reason.INNER_NOT_TRANSLATABLE)
    if header.protocol in upper.NOT_FROM_IPV4:
        raise Refusal(Reason.INNER_NOT_TRANSLATABLE)
    payload = bytearray(quoted[header.length :])
    length = header.total - header.length
    protocol = header.protocol
    if protocol == ICMP:
        protocol = ICMPV6
        _check_icmp(header, payload, upper.ECHO_TO_IPV6, IPV4_ERRORS)
        pseudo_header = source + destination + length + ICMPV6
        _turn_echo(payload, upper.ECHO_TO_IPV6[payload[0]], pseudo_header)
    else:
        change = source + destination - header.source - header.destination
        _update_transport(header, payload, change)
    fragment = b""
    next_header = protocol
    if not header.whole:
        fragment = headers.fragment_header(
            protocol, header.offset, header.more, header.identification
        )
        next_header = FRAGMENT
    fixed = headers.ipv6_header(
        source,
        destination,
        octet=header.octet if traffic_class is None else traffic_class,
        hop_limit=header.hop_limit,
        protocol=next_header,
        payload=length + len(fragment),
    )
    return fixed + fragment + payload


def to_ipv4(quoted: bytes, addresses: Addresses, own_sources: bool, tos: int | None) -> bytes:
    header = _read_ipv6(quoted)
    source = addresses.destination_ipv6(header.source)
    destination = addresses.source_ipv6(header.destination, own_sources)
    if not isinstance(source, ToIPv4) or isinstance(destination, Reason):
        raise Refusal(Reason.INNER_NOT_TRANSLATABLE)
    if header.protocol in upper.NOT_FROM_IPV6:
        raise Refusal(Reason.INNER_NOT_TRANSLATABLE)
    payload = bytearray(quoted[header.length :])
    length = header.total - header.length
    total = IPV4_HEADER + length
    if total > MOST_IPV4:
        raise Refusal(Reason.INNER_NOT_TRANSLATABLE)
    protocol = header.protocol
    if protocol == ICMPV6:
        protocol = ICMP
        _check_icmp(header, payload, upper.ECHO_TO_IPV4, _IPV6_ERRORS)
        pseudo_header = header.source + header.destination + length + ICMPV6
        _turn_echo(payload, upper.ECHO_TO_IPV4[payload[0]], -pseudo_header)
    else:
        change = source.ipv4 + destination - header.source - header.destination
        _update_transport(header, payload, change)
    fixed = headers.ipv4_header(
        source.ipv4,
        destination,
        octet=header.octet if tos is None else tos,
        ttl=header.hop_limit,
        protocol=protocol,
        total=total,
        identification=header.identification & 0xFFFF,
        dont_fragment=not header.fragment_header and total > UNFRAGMENTED_IPV4,
        offset=header.offset,
        more=header.more,
    )
    return fixed + payload


def hairpin(quoted: bytes, addresses: Addresses, own_sources: bool, prefix: Prefix) -> bytes:
    """Only addresses and the checksum over them change; every length stays."""
    header = _read_ipv6(quoted)
    source = addresses.destination_ipv6(header.source)
    destination = addresses.source_ipv6(header.destination, own_sources)
    if not isinstance(source, ToHairpin) or source.prefix is not prefix:
        raise Refusal(Reason.INNER_NOT_TRANSLATABLE)
    if isinstance(destination, Reason) or not prefix.carries(destination):
        raise Refusal(Reason.INNER_NOT_TRANSLATABLE)
    if header.protocol in upper.NOT_FROM_IPV6:
        raise Refusal(Reason.INNER_NOT_TRANSLATABLE)
    new_destination = prefix.address(destination)
    payload = bytearray(quoted[header.length :])
    change = source.ipv6 + new_destination - header.source - header.destination
    if header.protocol == ICMPV6 and not header.offset:
        _check_icmp_type(payload, upper.ECHO_TO_IPV4, _IPV6_ERRORS)
        _turn_echo(payload, payload[0], change)
    else:
        _update_transport(header, payload, change)
    new_addresses = (source.ipv6 << 128 | new_destination).to_bytes(32, "big")
    return quoted[:8] + new_addresses + quoted[IPV6_HEADER : header.length] + payload


def _read_ipv6(quoted: bytes) -> Header:
    if len(quoted) < IPV6_HEADER or quoted[0] >> 4 != 6:
        raise Refusal(Reason.INNER_INVALID)
    header = headers.read_ipv6(quoted)
    end = min(len(quoted), header.total)
    try:
        headers.skip_extension_headers(quoted, header, end, routing_must_be_done=False)
    except Refusal as refusal:
        if refusal.reason is Reason.BAD_EXTENSION_HEADER:
            raise Refusal(Reason.INNER_INVALID) from refusal
        raise Refusal(Reason.INNER_NOT_TRANSLATABLE) from refusal
    return header


def _check_icmp(
    header: Header, payload: bytearray, echo: Mapping[int, int], errors: frozenset[int]
) -> None:
    """A fragment's checksum covers a length that nobody here knows."""
    if not header.whole:
        raise Refusal(Reason.INNER_NOT_TRANSLATABLE)
    _check_icmp_type(payload, echo, errors)


def _check_icmp_type(payload: bytearray, echo: Mapping[int, int], errors: frozenset[int]) -> None:
    if payload and payload[0] in errors and payload[0] not in echo:
        raise Refusal(Reason.ICMP_ERROR_IN_ERROR)
    if not payload or payload[0] not in echo:
        raise Refusal(Reason.INNER_NOT_TRANSLATABLE)


def _turn_echo(payload: bytearray, new_type: int, pseudo_header: int) -> None:
    if len(payload) < upper.ICMP_CHECKSUM_AT + 2:
        payload[0] = new_type
    else:
        upper.turn_echo(payload, new_type, pseudo_header)


def _update_transport(header: Header, payload: bytearray, change: int) -> None:
    at = upper.CHECKSUM_AT.get(header.protocol)
    if at is None or len(payload) < at + 2 or upper.udp_without_checksum(header, payload):
        return
    upper.update_transport(header, payload, change)
