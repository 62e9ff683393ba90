"""ICMP extensions (RFC 4884): where they are found, and where they end up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.slowpath.extensions import Quote, join, split
from appliance.slowpath.verdict import Direction, SlowPath, Translated
from tests.unit.slowpath_packets import (
    ON_THE_SLOW_PATH,
    ON_THE_WIRE,
    POD4,
    POD6,
    WORLD4,
    WORLD6,
    icmp,
    icmpv6,
    ipv4,
    ipv6,
    translator,
    udp,
)

# Version 2, its checksum, one object: MPLS label stack (RFC 4950).
EXTENSION = bytes.fromhex("2000 ddb5 0008 0101 0001 0140")


@pytest.mark.parametrize(
    ("name", "quoted", "length", "expected"),
    [
        ("in its place", 140, 128, (128, 12)),
        ("below the least", 140, 124, (140, 0)),
        ("none", 140, 0, (140, 0)),
        ("longer than the message", 140, 144, (140, 0)),
        ("nothing behind", 140, 140, (140, 0)),
    ],
)
def test_split(name: str, quoted: int, length: int, expected: tuple[int, int]) -> None:
    quote = split(bytes(range(quoted)), length)
    assert (len(quote.datagram), len(quote.extension)) == expected
    assert quote.datagram + quote.extension == bytes(range(quoted))


@given(
    datagram=st.integers(0, 1500),
    extension=st.integers(0, 1500),
    family=st.sampled_from([(548, 4), (1232, 8)]),
)
def test_join_fits_and_says_where_the_extension_is(
    datagram: int, extension: int, family: tuple[int, int]
) -> None:
    room, unit = family
    quote = Quote(b"\xaa" * datagram, b"\xee" * extension)
    body, length = join(quote, room, unit)
    assert len(body) <= room
    if length:
        assert length * unit >= 128
        assert length < 256
        assert body[length * unit :] == quote.extension
        padded = body[: length * unit]
        assert padded == (padded.rstrip(b"\0")).ljust(len(padded), b"\0")
        # Cut only where it must be, padded only as far as it must be.
        kept = len(padded.rstrip(b"\0"))
        assert kept == min(datagram, (room - extension) // unit * unit)
        assert len(padded) < max(129, kept + unit)
    else:
        assert body == quote.datagram[:room]
        assert not extension or (room - extension) // unit * unit < 128


def test_short_datagram_is_padded_to_the_least_6to4() -> None:
    inner6 = ipv6(WORLD6, POD6, 17, udp(WORLD6, POD6, b"x" * 80))
    assert len(inner6) == 128
    message = icmpv6(POD6, WORLD6, 3, 0, 16 << 24, inner6 + EXTENSION)
    packet = ipv6(POD6, WORLD6, 58, message)
    assert translator().translate(packet, ON_THE_WIRE) == SlowPath()
    inner4 = ipv4(WORLD4, POD4, 17, udp(WORLD4, POD4, b"x" * 80))
    body = inner4 + bytes(20) + EXTENSION
    expected = ipv4(POD4, WORLD4, 1, icmp(11, 0, 32 << 16, body), ttl=65, identification=0x1234)
    answer = translator().translate(packet, ON_THE_SLOW_PATH)
    assert answer == Translated((expected,), Direction.IPV6_TO_IPV4)


def test_datagram_is_padded_to_eight_bytes_4to6() -> None:
    inner4 = ipv4(POD4, WORLD4, 17, udp(POD4, WORLD4, b"x" * 104))
    assert len(inner4) == 132
    packet = ipv4(WORLD4, POD4, 1, icmp(3, 3, 33 << 16, inner4 + EXTENSION))
    inner6 = ipv6(POD6, WORLD6, 17, udp(POD6, WORLD6, b"x" * 104))
    body = inner6 + EXTENSION
    assert len(inner6) == 152
    message = icmpv6(WORLD6, POD6, 1, 4, 19 << 24, body)
    expected = ipv6(WORLD6, POD6, 58, message, hop_limit=65)
    answer = translator().translate(packet, ON_THE_SLOW_PATH)
    assert answer == Translated((expected,), Direction.IPV4_TO_IPV6)


def test_extension_checksum() -> None:
    """The one above is right, so that a receiver would take it."""
    total = sum(int.from_bytes(EXTENSION[at : at + 2], "big") for at in range(0, 12, 2))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF
