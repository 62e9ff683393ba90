"""IPv6 to IPv6 between two inside hosts (docs/translation.md, 8; RFC 7757 section 4)."""

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

import pytest

from appliance.slowpath.verdict import Direction, Drop, Reason, Translated
from bpf.model import EamEntry
from tests.unit.slowpath_packets import (
    BOX6,
    ON_THE_SLOW_PATH,
    ON_THE_WIRE,
    OTHER_POD6,
    POD6,
    TRANSLATION,
    WORLD6,
    fragment,
    icmpv6,
    ipv6,
    tcp,
    translator,
    udp,
)

# A pod of the explicit mapping speaks to the other pod's IPv4 address, and each sees the other so.
POD_AS_SEEN = "64:ff9b::192.0.2.7"
OTHER_AS_SEEN = OTHER_POD6
STRANGER = "2001:db8:5::1"
OTHER_PREFIX = "2001:db8:ffff:c000:2:700::"  # the pod of POD_AS_SEEN, under the other prefix
PRIVATE_POD6 = "2001:db8:9::1"
WITH_PRIVATE = replace(
    TRANSLATION,
    eam=(
        *TRANSLATION.eam,
        EamEntry(IPv4Network("10.9.0.0/24"), IPv6Network("2001:db8:9::/120")),
    ),
)


def turned(packet: bytes, *expected: bytes) -> None:
    answer = translator().translate(packet, ON_THE_WIRE)
    assert answer == Translated(expected, Direction.HAIRPIN)


def test_both_octets_and_the_label_stay() -> None:
    settings = replace(TRANSLATION, traffic_class=0, flow_label_hash=True)
    packet = ipv6(
        OTHER_POD6,
        POD_AS_SEEN,
        17,
        udp(OTHER_POD6, POD_AS_SEEN),
        traffic_class=0xA5,
        flow_label=0x54321,
    )
    expected = ipv6(
        OTHER_AS_SEEN,
        POD6,
        17,
        udp(OTHER_AS_SEEN, POD6),
        traffic_class=0xA5,
        flow_label=0x54321,
        hop_limit=63,
    )
    answer = translator(settings).translate(packet, ON_THE_WIRE)
    assert answer == Translated((expected,), Direction.HAIRPIN)
    slow = translator(settings).translate(packet, ON_THE_SLOW_PATH)
    assert isinstance(slow, Translated)
    assert slow.packets[0] == expected[:7] + b"\x41" + expected[8:]


def test_source_of_a_mapped_pod() -> None:
    """From an EAM pod to another EAM pod: its RFC 6052 address, not its own."""
    other = "64:ff9b::192.0.2.8"
    packet = ipv6(POD6, other, 6, tcp(POD6, other))
    target = "2001:db8:1::8"
    turned(packet, ipv6(POD_AS_SEEN, target, 6, tcp(POD_AS_SEEN, target), hop_limit=63))


@pytest.mark.parametrize(
    ("kind", "code", "word"),
    [(1, 6, 0), (2, 0, 1300), (3, 1, 0), (4, 2, 40), (3, 0, 16 << 24)],
)
def test_error_is_turned_with_every_code_and_word(kind: int, code: int, word: int) -> None:
    quoted = ipv6(POD_AS_SEEN, OTHER_POD6, 17, udp(POD_AS_SEEN, OTHER_POD6))
    extension = bytes(40) + b"\x20\0\0\0" if word == 16 << 24 else b""
    packet = ipv6(
        OTHER_POD6,
        POD_AS_SEEN,
        58,
        icmpv6(OTHER_POD6, POD_AS_SEEN, kind, code, word, quoted + extension),
    )
    inner = ipv6(POD6, OTHER_AS_SEEN, 17, udp(POD6, OTHER_AS_SEEN))
    message = icmpv6(OTHER_AS_SEEN, POD6, kind, code, word, inner + extension)
    turned(packet, ipv6(OTHER_AS_SEEN, POD6, 58, message, hop_limit=63))


def test_unmapped_routers_error_keeps_its_source() -> None:
    quoted = ipv6(POD_AS_SEEN, OTHER_POD6, 6, tcp(POD_AS_SEEN, OTHER_POD6))
    message = icmpv6(STRANGER, POD_AS_SEEN, 3, 0, 0, quoted)
    inner = ipv6(POD6, OTHER_AS_SEEN, 6, tcp(POD6, OTHER_AS_SEEN))
    expected = icmpv6(STRANGER, POD6, 3, 0, 0, inner)
    turned(
        ipv6(STRANGER, POD_AS_SEEN, 58, message), ipv6(STRANGER, POD6, 58, expected, hop_limit=63)
    )


def test_inner_echo_and_its_fragments() -> None:
    for more, rest in ((False, b""), (True, b"8 bytes.")):
        echo = icmpv6(POD_AS_SEEN, OTHER_POD6, 128, 0, 5, b"ping" * 4)
        header = fragment(58, 0, more) if more else b""
        quoted = ipv6(POD_AS_SEEN, OTHER_POD6, 44 if more else 58, header + echo + rest)
        message = icmpv6(OTHER_POD6, POD_AS_SEEN, 1, 4, 0, quoted)
        echo = icmpv6(POD6, OTHER_AS_SEEN, 128, 0, 5, b"ping" * 4)
        inner = ipv6(POD6, OTHER_AS_SEEN, 44 if more else 58, header + echo + rest)
        expected = icmpv6(OTHER_AS_SEEN, POD6, 1, 4, 0, inner)
        turned(
            ipv6(OTHER_POD6, POD_AS_SEEN, 58, message),
            ipv6(OTHER_AS_SEEN, POD6, 58, expected, hop_limit=63),
        )


@pytest.mark.parametrize(
    ("name", "quoted", "reason"),
    [
        (
            "an error",
            ipv6(POD_AS_SEEN, OTHER_POD6, 58, icmpv6(POD_AS_SEEN, OTHER_POD6, 1, 0, 0, b"")),
            Reason.ICMP_ERROR_IN_ERROR,
        ),
        (
            "neighbour solicitation",
            ipv6(POD_AS_SEEN, OTHER_POD6, 58, icmpv6(POD_AS_SEEN, OTHER_POD6, 135, 0, 0, b"")),
            Reason.INNER_NOT_TRANSLATABLE,
        ),
        (
            "sent to IPv4",
            ipv6(WORLD6, OTHER_POD6, 17, udp(WORLD6, OTHER_POD6)),
            Reason.INNER_NOT_TRANSLATABLE,
        ),
        (
            "by an unmapped host",
            ipv6(POD_AS_SEEN, STRANGER, 17, udp(POD_AS_SEEN, STRANGER)),
            Reason.INNER_NOT_TRANSLATABLE,
        ),
        (
            "sent to the other prefix",
            ipv6(OTHER_PREFIX, OTHER_POD6, 17, udp(OTHER_PREFIX, OTHER_POD6)),
            Reason.INNER_NOT_TRANSLATABLE,
        ),
        (
            "received by a private pod",
            ipv6(POD_AS_SEEN, PRIVATE_POD6, 17, udp(POD_AS_SEEN, PRIVATE_POD6)),
            Reason.INNER_NOT_TRANSLATABLE,
        ),
        ("cut header", ipv6(POD_AS_SEEN, OTHER_POD6, 17, b"")[:39], Reason.INNER_INVALID),
    ],
)
def test_what_an_error_may_not_quote(name: str, quoted: bytes, reason: Reason) -> None:
    message = icmpv6(OTHER_POD6, POD_AS_SEEN, 1, 4, 0, quoted)
    packet = ipv6(OTHER_POD6, POD_AS_SEEN, 58, message)
    assert translator(WITH_PRIVATE).translate(packet, ON_THE_WIRE) == Drop(reason)


@pytest.mark.parametrize(
    ("name", "next_header", "payload", "reason"),
    [
        ("UDP without checksum", 17, b"\0\x07\0\x35\0\x08\0\0", Reason.UDP_ZERO_CHECKSUM),
        ("IPv4's ICMP", 1, bytes(8), Reason.PROTOCOL_NOT_TRANSLATABLE),
        ("cut ICMP", 58, b"\x80\0\0\0", Reason.L4_TRUNCATED),
        ("other ICMP", 58, b"\x85\0" + bytes(6), Reason.ICMP_NOT_TRANSLATABLE),
        (
            "fragmented error",
            44,
            fragment(58, 0, True) + b"\x01\0" + bytes(6),
            Reason.FRAGMENTED_ICMP,
        ),
        ("error with a wrong checksum", 58, b"\x01\0\x12\x34" + bytes(44), Reason.BAD_CHECKSUM),
    ],
)
def test_refused(name: str, next_header: int, payload: bytes, reason: Reason) -> None:
    packet = ipv6(OTHER_POD6, POD_AS_SEEN, next_header, payload)
    assert translator().translate(packet, ON_THE_WIRE) == Drop(reason)


def test_well_known_prefix_carries_no_private_hairpin() -> None:
    target = "64:ff9b::10.9.0.1"
    packet = ipv6(POD6, target, 17, udp(POD6, target))
    error = ipv6(BOX6, POD6, 58, icmpv6(BOX6, POD6, 1, 1, 0, packet))
    answer = translator(WITH_PRIVATE).translate(packet, ON_THE_WIRE)
    assert answer == Drop(Reason.NON_GLOBAL_ADDRESS, error)
    packet = ipv6(PRIVATE_POD6, POD_AS_SEEN, 17, udp(PRIVATE_POD6, POD_AS_SEEN))
    answer = translator(WITH_PRIVATE).translate(packet, ON_THE_WIRE)
    assert answer == Drop(Reason.NON_GLOBAL_ADDRESS)
    # Under a prefix of one's own, the same hosts speak to each other.
    own = "2001:db8:ffff:a09:0:100::"
    packet = ipv6(POD6, own, 17, udp(POD6, own))
    seen = OTHER_PREFIX
    expected = ipv6(seen, PRIVATE_POD6, 17, udp(seen, PRIVATE_POD6), hop_limit=63)
    answer = translator(WITH_PRIVATE).translate(packet, ON_THE_WIRE)
    assert answer == Translated((expected,), Direction.HAIRPIN)


def test_too_long_names_the_routes_own_mtu() -> None:
    packet = ipv6(OTHER_POD6, POD_AS_SEEN, 17, udp(OTHER_POD6, POD_AS_SEEN, bytes(1400)))
    answer = translator().translate(packet, replace(ON_THE_WIRE, mtu6=1400))
    error = ipv6(BOX6, OTHER_POD6, 58, icmpv6(BOX6, OTHER_POD6, 2, 0, 1400, packet[:1232]))
    assert answer == Drop(Reason.PACKET_TOO_BIG, error)
