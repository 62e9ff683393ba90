"""Cutting an IPv6 packet to fragments. Section 6 of docs/translation.md."""

from collections.abc import Iterator

from appliance.slowpath.headers import FRAGMENT_HEADER, IPV6_HEADER


def cut(
    payload: bytes | bytearray, limit: int, *, offset: int, more: bool
) -> Iterator[tuple[int, bool, bytes]]:
    """(offset in bytes, M flag, data) of each fragment of at most ``limit`` bytes in all.

    ``offset`` and ``more`` are the packet's own, which may be a fragment already.
    """
    step = (limit - IPV6_HEADER - FRAGMENT_HEADER) & ~7
    for start in range(0, len(payload), step):
        data = bytes(payload[start : start + step])
        yield offset + start, more or start + step < len(payload), data
