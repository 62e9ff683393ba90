"""ICMP errors that the translator itself sends. Section 9 of docs/translation.md."""

from appliance.slowpath import checksum, headers
from appliance.slowpath.headers import (
    AUTHENTICATION,
    DESTINATION_OPTIONS,
    FRAGMENT,
    HOP_BY_HOP,
    ICMP,
    ICMPV6,
    IPV4_HEADER,
    IPV6_HEADER,
    ROUTING,
)
from appliance.slowpath.icmp import FIRST_INFORMATIONAL, IPV4_ERRORS
from appliance.slowpath.verdict import ErrorMessage

MOST_IPV4_BYTES = 576
MOST_IPV6_BYTES = 1280

_HOP_LIMIT = 64
_ICMP_HEADER = 8
_EXTENSION_HEADERS = frozenset((HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS))
_NEVER_ANSWERED_IPV4 = frozenset((0, 127)) | frozenset(range(224, 256))  # first octets


def icmp_message(kind: int, code: int, word: int, body: bytes, pseudo_header: int) -> bytes:
    """A whole ICMP message with its checksum."""
    head = bytes((kind, code))
    tail = word.to_bytes(4, "big") + body
    value = checksum.checksum(head + b"\0\0" + tail, pseudo_header)
    return head + value.to_bytes(2, "big") + tail


def may_answer_ipv4(packet: bytes) -> bool:
    """Whether an error about ``packet`` may be sent at all."""
    header = headers.read_ipv4(packet)
    if header.offset or packet[12] in _NEVER_ANSWERED_IPV4 or packet[16] >= 224:
        return False
    icmp = packet[header.length : header.total]
    return header.protocol != ICMP or (len(icmp) >= _ICMP_HEADER and icmp[0] not in IPV4_ERRORS)


def may_answer_ipv6(packet: bytes) -> bool:
    """A packet whose upper layer cannot be found might be an error itself: it has no answer."""
    header = headers.read_ipv6(packet)
    if header.source in (0, 1) or packet[8] == 0xFF or packet[24] == 0xFF:
        return False
    end = min(len(packet), header.total)
    protocol, position = header.protocol, IPV6_HEADER
    while protocol in _EXTENSION_HEADERS:
        if position + 8 > end:
            return False
        if protocol == FRAGMENT:
            if packet[position + 2] or packet[position + 3] & 0xF8:
                return False
            length = headers.FRAGMENT_HEADER
        elif protocol == AUTHENTICATION:
            length = packet[position + 1] * 4 + 8
        else:
            length = packet[position + 1] * 8 + 8
        protocol = packet[position]
        position += length
    if position > end:
        return False
    return protocol != ICMPV6 or (
        position + _ICMP_HEADER <= end and packet[position] >= FIRST_INFORMATIONAL
    )


def to_ipv4_sender(packet: bytes, message: ErrorMessage, own: int) -> bytes:
    """A whole IPv4 packet with the error, from the address ``own``."""
    quoted = packet[: MOST_IPV4_BYTES - IPV4_HEADER - _ICMP_HEADER]
    icmp = icmp_message(message.type, message.code, message.word, quoted, 0)
    header = headers.ipv4_header(
        own,
        int.from_bytes(packet[12:16], "big"),
        octet=0,
        ttl=_HOP_LIMIT,
        protocol=ICMP,
        total=IPV4_HEADER + len(icmp),
    )
    return header + icmp


def to_ipv6_sender(packet: bytes, message: ErrorMessage, own: int) -> bytes:
    sender = int.from_bytes(packet[8:24], "big")
    quoted = packet[: MOST_IPV6_BYTES - IPV6_HEADER - _ICMP_HEADER]
    pseudo_header = checksum.pseudo_header_v6(own, sender, _ICMP_HEADER + len(quoted), ICMPV6)
    icmp = icmp_message(message.type, message.code, message.word, quoted, pseudo_header)
    header = headers.ipv6_header(
        own, sender, octet=0, hop_limit=_HOP_LIMIT, protocol=ICMPV6, payload=len(icmp)
    )
    return header + icmp
