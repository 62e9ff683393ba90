"""ICMP extensions (RFC 4884): found, set aside while the quoted datagram changes, put back.

The length octet counts the quoted datagram in units of 4 bytes (IPv4) or 8 (IPv6).
"""

from dataclasses import dataclass

IPV4_LENGTH_AT = 5
IPV6_LENGTH_AT = 4
IPV4_UNIT = 4
IPV6_UNIT = 8
IPV4_CARRIERS = frozenset((3, 11, 12))
IPV6_CARRIERS = frozenset((1, 3))

_LEAST_DATAGRAM = 128


@dataclass(frozen=True, slots=True)
class Quote:
    """What follows the ICMP header. ``extension``: empty if there is none to keep."""

    datagram: bytes
    extension: bytes = b""


def split(quoted: bytes, length: int) -> Quote:
    """``length``: of the datagram, in bytes, by the length octet; may be more than is there."""
    if length < _LEAST_DATAGRAM:
        return Quote(quoted)
    return Quote(quoted[:length], quoted[length:])


def join(quote: Quote, room: int, unit: int) -> tuple[bytes, int]:
    """(what follows the ICMP header, the length octet), ``room`` bytes at most.

    An extension that does not fit beside the least datagram is left out whole.
    """
    room_beside = (room - len(quote.extension)) // unit * unit
    if not quote.extension or room_beside < _LEAST_DATAGRAM:
        return quote.datagram[:room], 0
    datagram = quote.datagram[:room_beside]
    padded = max(_LEAST_DATAGRAM, -(-len(datagram) // unit) * unit)
    return datagram.ljust(padded, b"\0") + quote.extension, padded // unit
