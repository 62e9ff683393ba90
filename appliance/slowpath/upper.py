"""The upper layer of a packet that is no ICMP error. Section 4 of docs/translation.md."""

from appliance.slowpath import checksum
from appliance.slowpath.headers import (
    DCCP,
    DESTINATION_OPTIONS,
    FRAGMENT,
    HOP_BY_HOP,
    ICMP,
    ICMPV6,
    ROUTING,
    TCP,
    UDP,
    UDP_LITE,
    Header,
)
from appliance.slowpath.verdict import Reason, Refusal

CHECKSUM_AT = {TCP: 16, UDP: 6, UDP_LITE: 6, DCCP: 6}
ZERO_IS_WRITTEN_AS_ONES = frozenset((UDP, UDP_LITE))  # RFC 768, RFC 3828
ICMP_HEADER = 8
ICMP_CHECKSUM_AT = 2

ECHO_TO_IPV6 = {8: 128, 0: 129}
ECHO_TO_IPV4 = {128: 8, 129: 0}

NOT_FROM_IPV4 = frozenset((HOP_BY_HOP, ROUTING, FRAGMENT, ICMPV6, DESTINATION_OPTIONS))
NOT_FROM_IPV6 = frozenset((ICMP,))

_SHORTEST = {TCP: 20, UDP: 8, UDP_LITE: 8, DCCP: 12}


def check(header: Header, payload: bytearray) -> None:
    """Refuses a transport header that is cut or lies about its length. Not for ICMP."""
    protocol = header.protocol
    if header.offset or protocol not in _SHORTEST:
        return
    if len(payload) < _SHORTEST[protocol]:
        raise Refusal(Reason.L4_TRUNCATED)
    if protocol == UDP:
        length = udp_length(payload)
        if length < 8 or (length > len(payload) and not header.more):
            raise Refusal(Reason.BAD_LENGTH)


def check_icmp(header: Header, payload: bytearray) -> None:
    """A fragment's checksum covers a length that nobody here knows."""
    if not header.offset and len(payload) < ICMP_HEADER:
        raise Refusal(Reason.L4_TRUNCATED)
    if not header.whole:
        raise Refusal(Reason.FRAGMENTED_ICMP)


def udp_length(payload: bytearray) -> int:
    return payload[4] << 8 | payload[5]


def udp_without_checksum(header: Header, payload: bytearray) -> bool:
    return header.protocol == UDP and not header.offset and not (payload[6] or payload[7])


def update_transport(header: Header, payload: bytearray, change: int) -> None:
    """``change``: by how much the addresses' sum grew. Other protocols stay as they are."""
    at = CHECKSUM_AT.get(header.protocol)
    if at is None or header.offset:
        return
    update(payload, at, change, ones_for_zero=header.protocol in ZERO_IS_WRITTEN_AS_ONES)


def update(payload: bytearray, at: int, change: int, *, ones_for_zero: bool = False) -> None:
    value = checksum.updated(payload[at] << 8 | payload[at + 1], change)
    if not value and ones_for_zero:
        value = 0xFFFF
    payload[at] = value >> 8
    payload[at + 1] = value & 0xFF


def compute_udp(payload: bytearray, source: int, destination: int) -> None:
    """Fills in the checksum that IPv4 may leave out and IPv6 must not."""
    length = udp_length(payload)
    pseudo_header = checksum.pseudo_header_v6(source, destination, length, UDP)
    value = checksum.checksum(memoryview(payload)[:length], pseudo_header) or 0xFFFF
    payload[6:8] = value.to_bytes(2, "big")


def turn_echo(payload: bytearray, new_type: int, pseudo_header: int) -> None:
    """``pseudo_header``: what the checksum covers more than before."""
    change = ((new_type - payload[0]) << 8) + pseudo_header
    payload[0] = new_type
    update(payload, ICMP_CHECKSUM_AT, change)
