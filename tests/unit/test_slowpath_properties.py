"""What holds for every packet: nothing raises, no length lies, checksums stay as right as before.

The judge is tests/vectors/checksums.py, which reads packets as their receiver would.
"""

import struct
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from appliance.slowpath.verdict import (
    Context,
    Drop,
    SlowPath,
    Translated,
    UpTranslated,
    Verdict,
)
from tests.unit.slowpath_packets import (
    BOX4,
    BOX6,
    ON_THE_SLOW_PATH,
    ON_THE_WIRE,
    OTHER_POD4,
    OTHER_POD6,
    POD4,
    POD6,
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
from tests.vectors.checksums import faults, reassembled

TRANSLATOR = translator()
PODS = st.sampled_from([(POD4, POD6), (OTHER_POD4, OTHER_POD6)])
CONTEXTS = st.sampled_from([ON_THE_WIRE, ON_THE_SLOW_PATH, replace(ON_THE_WIRE, mtu4=600)])
data = st.binary(max_size=1300)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[str, str]:
    """A host of the IPv4 world, by its two addresses."""
    octets = draw(st.tuples(st.just(8), *[st.integers(0, 255)] * 3))
    ipv4_address = ".".join(map(str, octets))
    return ipv4_address, f"64:ff9b::{ipv4_address}"


def packets(answer: Verdict) -> tuple[bytes, ...]:
    match answer:
        case Translated(several):
            return several
        case UpTranslated(one):
            return (one,)
        case Drop(_, error) if error is not None:
            return (error,)
    return ()


def upper_layer(kind: str, source: str, destination: str, body: bytes) -> tuple[int, bytes]:
    """(protocol, payload) with the right checksum for the family of ``source``."""
    match kind:
        case "udp":
            return 17, udp(source, destination, body)
        case "tcp":
            return 6, tcp(source, destination, body)
        case "udp-lite":
            head = struct.pack("!HHHH", 7, 9, 0, 0)
            return 136, summed(source, destination, 136, head + body, 6)
        case "dccp":
            head = struct.pack("!HHBBHI", 7, 9, 3, 0, 0, 1)
            return 33, summed(source, destination, 33, head + body, 6)
        case "echo" if ":" in source:
            return 58, icmpv6(source, destination, 128, 0, 0x10001, body)
        case "echo":
            return 1, icmp(8, 0, 0x10001, body)
    return 132, body or b"x"  # an IPv6 payload of no bytes would be a jumbogram's


KINDS = st.sampled_from(["udp", "tcp", "udp-lite", "dccp", "echo", "other"])


@given(kind=KINDS, pod=PODS, world=worlds(), body=data, octet=st.integers(0, 255))
def test_6to4_is_what_the_other_family_would_have_built(
    kind: str, pod: tuple[str, str], world: tuple[str, str], body: bytes, octet: int
) -> None:
    protocol, payload = upper_layer(kind, pod[1], world[1], body)
    packet = ipv6(pod[1], world[1], protocol, payload, traffic_class=octet)
    protocol, payload = upper_layer(kind, pod[0], world[0], body)
    big = 20 + len(payload) > 1260
    expected = ipv4(
        pod[0],
        world[0],
        protocol,
        payload,
        ttl=63,
        tos=octet,
        flags=2 if big else 0,
        identification=0 if big else 0x1234,
    )
    assert packets(TRANSLATOR.translate(packet, ON_THE_WIRE)) == (expected,)


@given(kind=KINDS, pod=PODS, world=worlds(), body=data, octet=st.integers(0, 255))
def test_4to6_is_what_the_other_family_would_have_built(
    kind: str, pod: tuple[str, str], world: tuple[str, str], body: bytes, octet: int
) -> None:
    protocol, payload = upper_layer(kind, world[0], pod[0], body)
    packet = ipv4(world[0], pod[0], protocol, payload, tos=octet, flags=2)
    protocol, payload = upper_layer(kind, world[1], pod[1], body)
    expected = ipv6(world[1], pod[1], protocol, payload, traffic_class=octet, hop_limit=63)
    assert packets(TRANSLATOR.translate(packet, ON_THE_WIRE)) == (expected,)


@given(kind=KINDS, pod=PODS, world=worlds(), body=data)
def test_there_and_back_changes_only_the_hop_limit(
    kind: str, pod: tuple[str, str], world: tuple[str, str], body: bytes
) -> None:
    """The IPv4 world echoes each packet: back it comes, from there and with its payload."""
    protocol, payload = upper_layer(kind, pod[1], world[1], body)
    packet = ipv6(pod[1], world[1], protocol, payload)
    (out,) = packets(TRANSLATOR.translate(packet, ON_THE_WIRE))
    assert IPv4Address(out[12:16]) == IPv4Address(pod[0])
    swapped = out[:12] + out[16:20] + out[12:16] + out[20:]
    back = TRANSLATOR.translate(swapped, replace(ON_THE_WIRE, allow_slow=False))
    assert isinstance(back, Translated)
    home = back.packets[0] if len(back.packets) == 1 else reassembled(back.packets)
    # An echo request has come home: its sum over the two addresses is the same in either order.
    expected = ipv6(world[1], pod[1], protocol, payload, hop_limit=62)
    assert home == expected
    assert IPv6Address(home[24:40]) == IPv6Address(pod[1])


@given(
    body=st.binary(min_size=1230, max_size=6000),
    mtu=st.integers(1280, 1600),
    identification=st.integers(0, 0xFFFF),
)
def test_fragments_fit_and_come_together_again(body: bytes, mtu: int, identification: int) -> None:
    packet = ipv4(WORLD4, POD4, 17, udp(WORLD4, POD4, body), identification=identification)
    context = replace(ON_THE_SLOW_PATH, mtu6=mtu)
    answer = TRANSLATOR.translate(packet, context)
    assert isinstance(answer, Translated)
    whole = ipv6(WORLD6, POD6, 17, udp(WORLD6, POD6, body), hop_limit=65)
    assume(len(whole) > 1280)
    assert len(answer.packets) > 1
    assert all(len(piece) <= 1280 for piece in answer.packets)
    assert all(piece[44:48] == identification.to_bytes(4, "big") for piece in answer.packets)
    assert reassembled(answer.packets) == whole


@given(
    at=st.integers(0, 7000).map(lambda value: value * 8),
    units=st.integers(1, 600),
    more=st.booleans(),
)
def test_fragment_of_a_fragment_keeps_its_place(at: int, units: int, more: bool) -> None:
    body = bytes(index % 251 for index in range(units * 8))
    assume(at or more)
    flags = 1 if more else 0
    packet = ipv4(WORLD4, POD4, 132, body, offset=at, flags=flags, identification=9)
    answer = TRANSLATOR.translate(packet, ON_THE_SLOW_PATH)
    assert isinstance(answer, Translated)
    covered = b""
    for number, piece in enumerate(answer.packets):
        last = number + 1 == len(answer.packets)
        assert len(piece) <= 1280
        assert piece[40:48] == fragment(132, at + len(covered), more or not last, 9)
        covered += piece[48:]
    assert covered == body


def honest(packet: bytes) -> None:
    """Lengths are what they say, and an IPv4 header's checksum is right."""
    if packet[0] >> 4 == 4:
        assert packet[0] == 0x45
        assert int.from_bytes(packet[2:4], "big") == len(packet)
        assert [fault for part, fault in faults(packet) if part == "header"] == []
    else:
        assert packet[0] >> 4 == 6
        assert int.from_bytes(packet[4:6], "big") + 40 == len(packet)


ADDRESSES4 = st.sampled_from([POD4, OTHER_POD4, WORLD4, BOX4, "10.0.0.1", "127.0.0.1", "8.8.8.8"])
ADDRESSES6 = st.sampled_from(
    [POD6, OTHER_POD6, WORLD6, BOX6, "64:ff9b::192.0.2.7", "2001:db8:5::1", "fe80::1"]
    + ["64:ff9b::10.0.0.1", "2001:db8:ffff:a00:0:100::", "64:ff9b::240.0.0.1"]
)
PROTOCOLS = st.sampled_from([0, 1, 6, 17, 33, 43, 44, 50, 51, 58, 59, 60, 136, 255])


@st.composite
def any_ipv4(draw: st.DrawFn, depth: int = 0) -> bytes:
    protocol = draw(PROTOCOLS)
    payload = draw(st.binary(max_size=80))
    if protocol == 1 and depth < 2:
        kind = draw(st.sampled_from([0, 3, 4, 5, 8, 11, 12]))
        inner = draw(any_ipv4(depth + 1))
        word = draw(st.sampled_from([0, 32 << 16, 1400, 8 << 24, 0xFFFFFFFF]))
        payload = icmp(kind, draw(st.integers(0, 15)), word, inner)
    return ipv4(
        draw(ADDRESSES4),
        draw(ADDRESSES4),
        protocol,
        payload,
        ttl=draw(st.integers(0, 4)),
        flags=draw(st.integers(0, 7)),
        offset=draw(st.sampled_from([0, 0, 8, 65528])),
        options=draw(
            st.sampled_from([b"", b"", b"\x01" * 8, b"\x83\x03\x04\0", b"\x83\x07\x04\0"])
        ),
    )


@st.composite
def any_ipv6(draw: st.DrawFn, depth: int = 0) -> bytes:
    source, destination = draw(ADDRESSES6), draw(ADDRESSES6)
    protocol = draw(PROTOCOLS)
    payload = draw(st.binary(max_size=80))
    if protocol == 58 and depth < 2:
        kind = draw(st.sampled_from([1, 2, 3, 4, 100, 128, 129, 135]))
        inner = draw(any_ipv6(depth + 1))
        word = draw(st.sampled_from([0, 16 << 24, 1400, 6, 0xFFFFFFFF]))
        payload = icmpv6(source, destination, kind, draw(st.integers(0, 7)), word, inner)
    if draw(st.booleans()):
        at = draw(st.sampled_from([0, 0, 8, 65528]))
        payload = fragment(protocol, at, draw(st.booleans()), 77) + payload
        protocol = 44
    for _ in range(draw(st.integers(0, 10)) if draw(st.booleans()) else 0):
        payload = (
            bytes((protocol, 0, 0, draw(st.sampled_from([0, 0, 0, 0, 1])))) + bytes(4) + payload
        )
        protocol = draw(st.sampled_from([0, 43, 60]))
    return ipv6(source, destination, protocol, payload, hop_limit=draw(st.integers(0, 4)))


@given(packet=st.one_of(any_ipv4(), any_ipv6()), context=CONTEXTS)
@settings(max_examples=600)
def test_whatever_leaves_is_honest_and_its_checksums_right(packet: bytes, context: Context) -> None:
    """Lengths always; checksums wherever the receiver of the input would have found them right."""
    answer = TRANSLATOR.translate(packet, context)
    if isinstance(answer, SlowPath):
        answer = TRANSLATOR.translate(packet, replace(context, allow_slow=False))
        assert not isinstance(answer, SlowPath)
    right_before = not list(faults(packet))
    for out in packets(answer):
        honest(out)
        if isinstance(answer, Drop):
            assert [fault for part, fault in faults(out) if part != "inner"] == []
        elif right_before:
            assert list(faults(out)) == []


@given(
    packet=st.one_of(any_ipv4(), any_ipv6()),
    context=CONTEXTS,
    mangling=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 300),
)
@settings(max_examples=600)
def test_mangled_bytes_raise_nothing_and_nothing_lying_leaves(
    packet: bytes, context: Context, mangling: list[tuple[int, int]], cut: int
) -> None:
    mangled = bytearray(packet)
    for at, value in mangling:
        if at < len(mangled):
            mangled[at] = value
    for family in (None, 4, 6):
        answer = TRANSLATOR.translate(bytes(mangled[: max(1, cut)]), context, family)
        for out in packets(answer):
            honest(out)


@given(st.binary(max_size=200), st.sampled_from([None, 4, 6]))
@settings(max_examples=300)
def test_any_bytes(packet: bytes, family: int | None) -> None:
    for out in packets(TRANSLATOR.translate(packet, ON_THE_SLOW_PATH, family)):
        honest(out)


@given(
    wrong=st.integers(1, 0xFFFE),
    kind=st.sampled_from(["udp", "tcp", "udp-lite", "dccp", "echo"]),
    body=st.binary(max_size=64),
)
def test_a_wrong_checksum_stays_exactly_as_wrong(wrong: int, kind: str, body: bytes) -> None:
    at = {"tcp": 16, "echo": 2}.get(kind, 6)
    protocol, right6 = upper_layer(kind, POD6, WORLD6, body)
    value = (int.from_bytes(right6[at : at + 2], "big") + wrong) % 0xFFFF
    assume(value)
    bad6 = right6[:at] + value.to_bytes(2, "big") + right6[at + 2 :]
    (out,) = packets(TRANSLATOR.translate(ipv6(POD6, WORLD6, protocol, bad6), ON_THE_WIRE))
    right4 = upper_layer(kind, POD4, WORLD4, body)[1]
    found = int.from_bytes(out[20 + at : 22 + at], "big")
    expected = int.from_bytes(right4[at : at + 2], "big")
    assert (found - expected - wrong) % 0xFFFF == 0


def test_the_judge_can_find_fault() -> None:
    packet = bytearray(ipv6(POD6, WORLD6, 17, udp(POD6, WORLD6)))
    packet[-1] ^= 1
    assert list(faults(bytes(packet)))
    answer = TRANSLATOR.translate(bytes(packet), ON_THE_WIRE)
    assert list(faults(packets(answer)[0]))
