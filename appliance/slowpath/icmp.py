"""ICMP errors: which type and code becomes which. Section 5 of docs/translation.md.

Both functions take the ICMP header of an error and what it quotes, and give the other family's
type, code and second word; what has no counterpart is refused.
"""

from appliance.slowpath.headers import ICMP, ICMPV6, Header
from appliance.slowpath.verdict import Context, ErrorMessage, Reason, Refusal

IPV4_ERRORS = frozenset((3, 4, 5, 11, 12))
FIRST_INFORMATIONAL = 128  # of ICMPv6 types; those below are errors
TRANSLATED_IPV4_ERRORS = frozenset((3, 11, 12))
TRANSLATED_IPV6_ERRORS = frozenset((1, 2, 3, 4))

_UNREACHABLE_TO_IPV6 = dict.fromkeys((0, 1, 5, 6, 7, 8, 11, 12), (1, 0)) | {
    3: (1, 4),
    9: (1, 1),
    10: (1, 1),
    13: (1, 1),
    15: (1, 1),
}
_UNREACHABLE_TO_IPV4 = {0: 1, 1: 10, 2: 1, 3: 1, 4: 3}
_NEXT_HEADER_POINTER = 6

_POINTER_TO_IPV6 = (
    {0: 0, 1: 1, 2: 4, 3: 4, 8: 7, 9: 6}
    | dict.fromkeys(range(12, 16), 8)
    | dict.fromkeys(range(16, 20), 24)
)
_POINTER_TO_IPV4 = (
    {0: 0, 1: 1, 4: 2, 5: 2, 6: 9, 7: 8}
    | dict.fromkeys(range(8, 24), 12)
    | dict.fromkeys(range(24, 40), 16)
)

_PLATEAUS = (65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68)  # RFC 1191
_GROWTH = 20  # bytes between the two families' headers
_LEAST_IPV4_MTU = 68
LEAST_IPV6_MTU = 1280
MOST_IPV4 = 0xFFFF


def is_ipv4_error(header: Header, payload: bytes | bytearray) -> bool:
    return _at_start(header, payload, ICMP) and payload[0] in IPV4_ERRORS


def is_ipv6_error(header: Header, payload: bytes | bytearray) -> bool:
    return _at_start(header, payload, ICMPV6) and payload[0] < FIRST_INFORMATIONAL


def _at_start(header: Header, payload: bytes | bytearray, protocol: int) -> bool:
    return header.protocol == protocol and not header.offset and len(payload) > 0


def to_ipv6(icmp: bytes | bytearray, inner_total: int, context: Context) -> ErrorMessage:
    """``inner_total``: total length of the quoted packet, by its header."""
    kind, code = icmp[0], icmp[1]
    if kind == 3 and code == 2:
        return ErrorMessage(4, 1, _NEXT_HEADER_POINTER)
    if kind == 3 and code == 4:
        advertised = icmp[6] << 8 | icmp[7]
        if not advertised:
            advertised = next((size for size in _PLATEAUS if size < inner_total), _LEAST_IPV4_MTU)
        mtu = min(advertised + _GROWTH, context.mtu6, context.mtu4 + _GROWTH)
        return ErrorMessage(2, 0, max(LEAST_IPV6_MTU, mtu))
    if kind == 3 and code in _UNREACHABLE_TO_IPV6:
        return ErrorMessage(*_UNREACHABLE_TO_IPV6[code])
    if kind == 11 and code in (0, 1):
        return ErrorMessage(3, code)
    if kind == 12 and code in (0, 2) and icmp[4] in _POINTER_TO_IPV6:
        return ErrorMessage(4, 0, _POINTER_TO_IPV6[icmp[4]])
    raise Refusal(Reason.ICMP_NOT_TRANSLATABLE)


def to_ipv4(icmp: bytes | bytearray, context: Context) -> ErrorMessage:
    kind, code, word = icmp[0], icmp[1], int.from_bytes(icmp[4:8], "big")
    if kind == 1 and code in _UNREACHABLE_TO_IPV4:
        return ErrorMessage(3, _UNREACHABLE_TO_IPV4[code])
    if kind == 2:
        mtu = min(word - _GROWTH, context.mtu4, context.mtu6 - _GROWTH, MOST_IPV4)
        return ErrorMessage(3, 4, max(_LEAST_IPV4_MTU, mtu))
    if kind == 3 and code in (0, 1):
        return ErrorMessage(11, code)
    if kind == 4 and code == 0 and word in _POINTER_TO_IPV4:
        return ErrorMessage(12, 0, _POINTER_TO_IPV4[word] << 24)
    if kind == 4 and code == 1:
        return ErrorMessage(3, 2)
    raise Refusal(Reason.ICMP_NOT_TRANSLATABLE)
