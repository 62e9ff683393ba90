"""Rows, by section of docs/translation.md: what the shared vectors (tests/vectors) do not ask.

Input and expected bytes are both built by slowpath_packets.py, for the two families apart.
"""

from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from appliance.slowpath.verdict import (
    Context,
    Direction,
    Drop,
    HopLimit,
    Pass,
    Reason,
    SlowPath,
    Translated,
    UpTranslated,
)
from bpf.model import Translation
from tests.unit.slowpath_packets import (
    BOX4,
    BOX6,
    ON_THE_SLOW_PATH,
    ON_THE_WIRE,
    OTHER_POD6,
    POD4,
    POD6,
    TRANSLATION,
    WORLD4,
    WORLD6,
    fragment,
    icmp,
    icmpv6,
    ipv4,
    ipv6,
    summed,
    tcp,
    translator,
    udp,
)

FOUR, SIX = Direction.IPV4_TO_IPV6, Direction.IPV6_TO_IPV4


def only(
    packet: bytes, context: Context = ON_THE_WIRE, settings: Translation = TRANSLATION
) -> bytes:
    answer = translator(settings).translate(packet, context)
    assert isinstance(answer, Translated), answer
    assert len(answer.packets) == 1
    return answer.packets[0]


def dropped(packet: bytes, context: Context = ON_THE_WIRE) -> Drop:
    answer = translator().translate(packet, context)
    assert isinstance(answer, Drop), answer
    return answer


# 1 and 2: which packets, and sources


@pytest.mark.parametrize(
    ("name", "packet"),
    [
        ("nothing", b""),
        ("neither family", b"\x50" + bytes(60)),
        ("IPv4, 19 bytes", ipv4(WORLD4, POD4, 17, b"")[:19]),
        ("IPv6, 39 bytes", ipv6(POD6, WORLD6, 17, b"")[:39]),
        ("the box itself, IPv4", ipv4(WORLD4, BOX4, 17, udp(WORLD4, BOX4))),
        ("the box itself, IPv6", ipv6(POD6, BOX6, 17, udp(POD6, BOX6))),
    ],
)
def test_passes_untouched(name: str, packet: bytes) -> None:
    assert translator().translate(packet, ON_THE_WIRE) == Pass()


def test_the_frame_says_the_family_and_the_packet_another() -> None:
    packet = bytearray(ipv4(WORLD4, POD4, 17, udp(WORLD4, POD4)))
    packet[0] = 0x65
    answer = translator().translate(bytes(packet), ON_THE_WIRE, family=4)
    assert answer == Drop(Reason.BAD_HEADER)
    packet = bytearray(ipv6(POD6, WORLD6, 17, udp(POD6, WORLD6)))
    packet[0] = 0x45
    answer = translator().translate(bytes(packet), ON_THE_WIRE, family=6)
    assert answer == Drop(Reason.BAD_HEADER)


def test_own_source_is_a_spoof_on_the_wire_and_real_on_the_slow_path() -> None:
    box6 = "64:ff9b::203.0.113.1"
    packet = ipv4(BOX4, POD4, 17, udp(BOX4, POD4))
    assert dropped(packet) == Drop(Reason.SOURCE_SPOOFED)
    assert only(packet, ON_THE_SLOW_PATH) == ipv6(box6, POD6, 17, udp(box6, POD6), hop_limit=65)


def test_own_error_from_an_unmapped_address_reaches_ipv4_from_the_slow_path() -> None:
    """The kernel's unreachable, 1/3, about a packet that came from IPv4."""
    inner6 = ipv6(WORLD6, POD6, 17, udp(WORLD6, POD6))
    packet = ipv6(BOX6, WORLD6, 58, icmpv6(BOX6, WORLD6, 1, 3, 0, inner6))
    assert dropped(packet) == Drop(Reason.SOURCE_NOT_TRANSLATABLE)
    inner4 = ipv4(WORLD4, POD4, 17, udp(WORLD4, POD4))
    expected = ipv4(BOX4, WORLD4, 1, icmp(3, 1, 0, inner4), ttl=65, identification=0x1234)
    assert only(packet, ON_THE_SLOW_PATH) == expected


def test_unmapped_source_waits_for_the_extension_headers() -> None:
    stranger = "2001:db8:5::1"
    cut = ipv6(stranger, WORLD6, 60, bytes((17, 5)) + bytes(6))
    assert dropped(cut) == Drop(Reason.BAD_EXTENSION_HEADER)
    whole = ipv6(stranger, WORLD6, 60, bytes((17, 0)) + bytes(6) + udp(stranger, WORLD6))
    assert dropped(whole).reason is Reason.SOURCE_UNMAPPED


# 3: validity


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("LSRR without a pointer", bytes((131, 2, 1, 0)), Reason.BAD_HEADER),
        ("SSRR without a pointer", bytes((1, 1, 137, 2)), Reason.BAD_HEADER),
        ("length octet beyond the header", bytes((1, 1, 1, 7)), Reason.BAD_HEADER),
        ("source route before a broken option", bytes((131, 3, 3, 7)), Reason.SOURCE_ROUTE),
    ],
)
def test_options(name: str, options: bytes, reason: Reason) -> None:
    packet = ipv4(WORLD4, POD4, 17, udp(WORLD4, POD4), options=options)
    assert dropped(packet).reason is reason


# 4: upper layers


@pytest.mark.parametrize("protocol", [17, 136])
def test_result_zero_is_written_as_ones(protocol: int) -> None:
    """Data chosen so that the sum over the IPv6 pseudo-header comes to nothing."""
    head = b"\0\x07\0\x35" + (b"\0\x0a" if protocol == 17 else b"\0\0") + b"\0\0"
    with_zero = summed(WORLD6, POD6, protocol, head + b"\0\0", 6)
    data = with_zero[6:8]
    expected = summed(WORLD6, POD6, protocol, head + data, 6)
    assert expected[6:8] == b"\xff\xff"
    packet = ipv4(WORLD4, POD4, protocol, summed(WORLD4, POD4, protocol, head + data, 6))
    assert only(packet) == ipv6(WORLD6, POD6, protocol, expected, hop_limit=63)


def test_udp_lite_without_checksum_is_wrong_and_stays_wrong() -> None:
    head = b"\0\x07\0\x35\0\x08\0\0data"
    right4 = summed(WORLD4, POD4, 136, head, 6)
    right6 = summed(WORLD6, POD6, 136, head, 6)
    out = only(ipv4(WORLD4, POD4, 136, head))
    off4 = (int.from_bytes(right4[6:8], "big") - 0) % 0xFFFF
    off6 = (int.from_bytes(right6[6:8], "big") - int.from_bytes(out[46:48], "big")) % 0xFFFF
    assert off4 == off6 != 0


# 5: ICMP errors


def test_fixed_octets_hold_inside_an_error_too() -> None:
    settings = replace(TRANSLATION, traffic_class=0x28, flow_label_hash=True)
    inner = ipv4(POD4, WORLD4, 17, udp(POD4, WORLD4), tos=0xFF)
    packet = ipv4(WORLD4, POD4, 1, icmp(3, 3, 0, inner), tos=0xC0)
    inner6 = ipv6(POD6, WORLD6, 17, udp(POD6, WORLD6), traffic_class=0x28)
    expected = ipv6(
        WORLD6,
        POD6,
        58,
        icmpv6(WORLD6, POD6, 1, 4, 0, inner6),
        traffic_class=0x28,
        flow_label=0xABCDE,
        hop_limit=63,
    )
    assert only(packet, settings=settings) == expected


def test_quoted_bytes_beyond_the_inner_length_stay() -> None:
    inner = ipv4(POD4, WORLD4, 17, udp(POD4, WORLD4))
    packet = ipv4(WORLD4, POD4, 1, icmp(3, 3, 0, inner + b"trailer"))
    inner6 = ipv6(POD6, WORLD6, 17, udp(POD6, WORLD6)) + b"trailer"
    expected = ipv6(WORLD6, POD6, 58, icmpv6(WORLD6, POD6, 1, 4, 0, inner6), hop_limit=63)
    assert only(packet) == expected


@pytest.mark.parametrize(
    ("name", "inner", "reason"),
    [
        (
            "no type quoted",
            ipv4(POD4, WORLD4, 1, b"", total=28),
            Reason.INNER_NOT_TRANSLATABLE,
        ),
        (
            "fragment of an error",
            ipv4(POD4, WORLD4, 1, icmp(3, 1, 0, b""), flags=1),
            Reason.INNER_NOT_TRANSLATABLE,
        ),
        ("error", ipv4(POD4, WORLD4, 1, icmp(3, 1, 0, b"")), Reason.ICMP_ERROR_IN_ERROR),
        ("box's own", ipv4(POD4, BOX4, 17, udp(POD4, BOX4)), Reason.INNER_NOT_TRANSLATABLE),
    ],
)
def test_inner_packet_refused_4to6(name: str, inner: bytes, reason: Reason) -> None:
    packet = ipv4(WORLD4, POD4, 1, icmp(11, 0, 0, inner))
    assert dropped(packet) == Drop(reason)


@pytest.mark.parametrize(
    ("name", "inner", "reason"),
    [
        (
            "header after Fragment",
            ipv6(WORLD6, POD6, 44, fragment(60, 0, False) + bytes(16)),
            Reason.INNER_NOT_TRANSLATABLE,
        ),
        (
            "longer than IPv4 can say",
            ipv6(WORLD6, POD6, 17, udp(WORLD6, POD6), length=65516),
            Reason.INNER_NOT_TRANSLATABLE,
        ),
        (
            "a hairpin's, but the error goes to IPv4",
            ipv6("64:ff9b::192.0.2.7", OTHER_POD6, 17, udp(WORLD6, POD6)),
            Reason.INNER_NOT_TRANSLATABLE,
        ),
    ],
)
def test_inner_packet_refused_6to4(name: str, inner: bytes, reason: Reason) -> None:
    packet = ipv6(POD6, WORLD6, 58, icmpv6(POD6, WORLD6, 1, 4, 0, inner))
    assert dropped(packet) == Drop(reason)


def test_inner_routing_header_with_segments_left_vanishes() -> None:
    routing = bytes((17, 0, 0, 1)) + bytes(4)
    inner = ipv6(WORLD6, POD6, 43, routing + udp(WORLD6, POD6))
    packet = ipv6(POD6, WORLD6, 58, icmpv6(POD6, WORLD6, 1, 4, 0, inner))
    inner4 = ipv4(WORLD4, POD4, 17, udp(WORLD4, POD4))
    expected = ipv4(POD4, WORLD4, 1, icmp(3, 3, 0, inner4), ttl=63, identification=0x1234)
    assert only(packet) == expected


@pytest.mark.parametrize(
    ("advertised", "mtu4", "mtu6", "expected"),
    [(1500, 1500, 1520, 1480), (1500, 1400, 1520, 1400), (65600, 65536, 65600, 65535)],
)
def test_packet_too_big_mtu(advertised: int, mtu4: int, mtu6: int, expected: int) -> None:
    inner = ipv6(WORLD6, POD6, 17, udp(WORLD6, POD6))
    packet = ipv6(POD6, WORLD6, 58, icmpv6(POD6, WORLD6, 2, 0, advertised, inner))
    out = only(packet, replace(ON_THE_WIRE, mtu4=mtu4, mtu6=mtu6))
    assert out[20:22] == b"\x03\x04"
    assert out[24:28] == expected.to_bytes(4, "big")


def test_slow_path_is_chosen_before_the_inner_packet_is_read() -> None:
    packet = ipv4(WORLD4, POD4, 1, icmp(11, 0, 32 << 16, b"\xff" * 140))
    assert translator().translate(packet, ON_THE_WIRE) == SlowPath()
    assert dropped(packet, ON_THE_SLOW_PATH) == Drop(Reason.INNER_INVALID)
    bad_code = ipv4(WORLD4, POD4, 1, icmp(11, 9, 32 << 16, b"\xff" * 140))
    assert dropped(bad_code) == Drop(Reason.ICMP_NOT_TRANSLATABLE)


# 6: size, fragments, hop limit


@pytest.mark.parametrize(
    ("handling", "came", "leaves"),
    [
        (HopLimit.DECREMENT, 2, 1),
        (HopLimit.DECREMENT, 255, 254),
        (HopLimit.KEEP, 2, 2),
        (HopLimit.RESTORE, 1, 2),
        (HopLimit.RESTORE, 255, 255),
    ],
)
def test_hop_limit(handling: HopLimit, came: int, leaves: int) -> None:
    context = replace(ON_THE_WIRE, hop_limit=handling)
    out = only(ipv4(WORLD4, POD4, 6, tcp(WORLD4, POD4), ttl=came), context)
    assert out == ipv6(WORLD6, POD6, 6, tcp(WORLD6, POD6), hop_limit=leaves)
    out = only(ipv6(POD6, WORLD6, 6, tcp(POD6, WORLD6), hop_limit=came), context)
    assert out[8] == leaves


@pytest.mark.parametrize(
    ("handling", "came"),
    [(HopLimit.DECREMENT, 1), (HopLimit.KEEP, 1), (HopLimit.RESTORE, 0)],
)
def test_hop_limit_used_up(handling: HopLimit, came: int) -> None:
    context = replace(ON_THE_WIRE, hop_limit=handling)
    packet = ipv6(POD6, WORLD6, 6, tcp(POD6, WORLD6), hop_limit=came)
    error = ipv6(BOX6, POD6, 58, icmpv6(BOX6, POD6, 3, 0, 0, packet))
    assert dropped(packet, context) == Drop(Reason.HOP_LIMIT, error)


def test_route_narrower_than_the_lowest_mtu_bounds_fragments() -> None:
    settings = replace(TRANSLATION, lowest_ipv6_mtu=1500)
    payload = udp(WORLD4, POD4, bytes(range(256)) * 5)
    packet = ipv4(WORLD4, POD4, 17, payload, identification=0xBEEF)
    context = replace(ON_THE_WIRE, mtu6=1300)
    assert translator(settings).translate(packet, context) == SlowPath()
    answer = translator(settings).translate(packet, replace(context, allow_slow=False))
    whole = udp(WORLD6, POD6, bytes(range(256)) * 5)
    pieces = [(0, True, whole[:1248]), (1248, False, whole[1248:])]
    expected = tuple(
        ipv6(WORLD6, POD6, 44, fragment(17, at, more, 0xBEEF) + data, hop_limit=63)
        for at, more, data in pieces
    )
    assert answer == Translated(expected, FOUR)


def test_all_fragments_have_one_flow_label() -> None:
    settings = replace(TRANSLATION, flow_label_hash=True)
    seen: list[bytes] = []

    def label(_source: int, _destination: int, _protocol: int, ports: bytes) -> int:
        seen.append(ports)
        return 0x12345

    context = replace(ON_THE_SLOW_PATH, flow_label=label)
    packet = ipv4(WORLD4, POD4, 17, udp(WORLD4, POD4, bytes(3000)))
    answer = translator(settings).translate(packet, context)
    assert isinstance(answer, Translated)
    assert [piece[:4] for piece in answer.packets] == [b"\x60\x01\x23\x45"] * 3
    only(ipv4(WORLD4, POD4, 17, bytes(16), flags=1, offset=800), context, settings)
    assert seen == [b"\0\x07\0\x35", b""]


def test_what_the_kernel_must_fragment_goes_up_undecremented() -> None:
    payload = udp(POD6, WORLD6, bytes(1000))
    packet = ipv6(POD6, WORLD6, 17, payload, hop_limit=9)
    narrow = replace(ON_THE_WIRE, mtu4=576)
    payload4 = udp(POD4, WORLD4, bytes(1000))
    expected = ipv4(POD4, WORLD4, 17, payload4, ttl=9, identification=0x1234)
    assert translator().translate(packet, narrow) == UpTranslated(expected, SIX)
    slow = replace(ON_THE_SLOW_PATH, mtu4=576)
    expected = ipv4(POD4, WORLD4, 17, payload4, ttl=10, identification=0x1234)
    assert translator().translate(packet, slow) == UpTranslated(expected, SIX)


def test_error_longer_than_a_narrow_route_goes_up() -> None:
    """Its IPv6 packet was over 1280 bytes, but there is no error about an error."""
    inner = ipv6(WORLD6, POD6, 17, udp(WORLD6, POD6, bytes(1352)))
    packet = ipv6(POD6, WORLD6, 58, icmpv6(POD6, WORLD6, 1, 4, 0, inner))
    inner4 = ipv4(WORLD4, POD4, 17, udp(WORLD4, POD4, bytes(1352)), flags=2)
    expected = ipv4(POD4, WORLD4, 1, icmp(3, 3, 0, inner4[:548]), ttl=64, identification=0x1234)
    narrow = replace(ON_THE_WIRE, mtu4=500)
    assert translator().translate(packet, narrow) == UpTranslated(expected, SIX)


# 7: RFC 6791


def test_fixed_ipv6_source_of_an_unmapped_routers_error() -> None:
    settings = replace(TRANSLATION, rfc6791_ipv6=IPv6Address("2001:db8:6::91"))
    inner = ipv4(POD4, WORLD4, 17, udp(POD4, WORLD4))
    packet = ipv4("192.168.1.1", POD4, 1, icmp(11, 0, 0, inner))
    inner6 = ipv6(POD6, WORLD6, 17, udp(POD6, WORLD6))
    source = "2001:db8:6::91"
    expected = ipv6(source, POD6, 58, icmpv6(source, POD6, 3, 0, 0, inner6), hop_limit=63)
    assert only(packet, settings=settings) == expected


def test_nothing_to_send_an_unmapped_routers_error_from() -> None:
    inner = ipv4(POD4, WORLD4, 17, udp(POD4, WORLD4))
    packet = ipv4("192.168.1.1", POD4, 1, icmp(11, 0, 0, inner))
    context = replace(ON_THE_WIRE, egress_ipv6=None)
    assert dropped(packet, context) == Drop(Reason.NO_OWN_ADDRESS)


# 9: own errors


def test_error_due_but_no_address_to_send_it_from() -> None:
    packet = ipv6(POD6, "64:ff9b::127.0.0.1", 17, udp(POD6, "64:ff9b::127.0.0.1"))
    answer = dropped(packet, replace(ON_THE_WIRE, ipv6=None))
    assert answer == Drop(Reason.DESTINATION_NOT_TRANSLATABLE, unsent=True)
    packet = ipv4(WORLD4, POD4, 17, udp(WORLD4, POD4), ttl=1)
    answer = dropped(packet, replace(ON_THE_WIRE, ipv4=None))
    assert answer == Drop(Reason.HOP_LIMIT, unsent=True)


@pytest.mark.parametrize(
    ("name", "next_header", "chain", "answered"),
    [
        ("UDP", 17, b"", True),
        ("echo", 58, b"", True),
        ("echo behind destination options", 60, bytes((58, 0)) + bytes(6), True),
        ("echo behind AH", 51, bytes((58, 4)) + bytes(22), True),
        ("chain cut", 60, bytes((58, 9)) + bytes(6), False),
        ("chain cut before what names UDP", 60, bytes((17, 9)) + bytes(6), False),
        ("first fragment", 44, fragment(17, 0, True), True),
        ("later fragment", 44, fragment(17, 8, True), False),
    ],
)
def test_which_packets_are_answered(
    name: str, next_header: int, chain: bytes, answered: bool
) -> None:
    upper = b"\x80\0" + bytes(14)
    packet = ipv6(POD6, "64:ff9b::240.0.0.1", next_header, chain + upper)
    answer = dropped(packet)
    assert answer.reason is Reason.DESTINATION_NOT_TRANSLATABLE
    expected = ipv6(BOX6, POD6, 58, icmpv6(BOX6, POD6, 1, 0, 0, packet))
    assert answer.error == (expected if answered else None)


@pytest.mark.parametrize(
    "upper", [icmpv6(POD6, WORLD6, 1, 0, 0, b""), icmpv6(POD6, WORLD6, 127, 0, 0, b""), b"\x80\0"]
)
def test_no_error_about_an_error_behind_an_unfinished_routing_header(upper: bytes) -> None:
    routing = bytes((58, 0, 0, 1)) + bytes(4)
    packet = ipv6(POD6, WORLD6, 43, routing + upper)
    assert dropped(packet) == Drop(Reason.SOURCE_ROUTE)


@pytest.mark.parametrize("source", ["::", "::1", "ff02::1"])
def test_no_error_to_such_a_source(source: str) -> None:
    packet = ipv6(source, "64:ff9b::240.0.0.1", 17, udp(source, "64:ff9b::240.0.0.1"))
    assert dropped(packet) == Drop(Reason.DESTINATION_NOT_TRANSLATABLE)


def test_error_quotes_no_padding_of_the_frame() -> None:
    packet = ipv4(WORLD4, POD4, 17, udp(WORLD4, POD4), ttl=1)
    error = ipv4(BOX4, WORLD4, 1, icmp(11, 0, 0, packet))
    assert dropped(packet + bytes(14)) == Drop(Reason.HOP_LIMIT, error)
