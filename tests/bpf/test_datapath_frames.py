"""What is around the packet: 802.1Q tags, Ethernet's padding, frames in several buffers."""

from collections.abc import Iterator

import pytest

from bpf.model import Port
from bpf.programs import Verdict
from tests.bpf.edge import (
    BOX4,
    BOX6,
    GATE4,
    GATE6,
    OWN4,
    OWN6,
    POD6,
    WORLD,
    WORLD6,
    Edge,
    arriving,
    at_pod,
    from_pod,
    from_world,
    ident_of,
    leaving,
    to_world,
)
from tests.bpf.harness import Icmp, Icmpv6, Udp, check_frame, ether, ipv4, ipv6
from tests.bpf.namespaces import fresh_namespace, ip, veth

PRIORITY = 5 << 13


@pytest.fixture
def edge() -> Iterator[Edge]:
    with fresh_namespace():
        edge = Edge()
        yield edge
        edge.close()


@pytest.fixture
def jumbo() -> Iterator[Edge]:
    with fresh_namespace():
        edge = Edge(mtu=9000)
        yield edge
        edge.close()


class Trunk:
    """net4 is VLAN 40 and net6 VLAN 60 of one trunk; the FIB knows them by their own devices."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.trunk, _ = veth("trunk", "far-trunk")
        ip("link", "set", "trunk", "address", BOX4.hex(":"))
        ip("link", "set", "net6", "address", BOX4.hex(":"))
        edge.neighbour("2001:db8:6::fe", "net6", GATE6)
        edge.loaded.close()
        edge.loaded = edge.load(
            (
                Port("trunk", self.trunk, BOX4, 1500),
                Port("net4", edge.net4, BOX4, 1500, ipv4=OWN4, vlan=(self.trunk, 40)),
                Port("net6", edge.net6, BOX4, 1500, ipv6=OWN6, vlan=(self.trunk, 60)),
            )
        )


@pytest.fixture
def trunk(edge: Edge) -> Trunk:
    return Trunk(edge)


def test_tag_is_rewritten_for_the_next_hop_and_keeps_its_priority(trunk: Trunk) -> None:
    frame = ether(from_world(), source=GATE4, destination=BOX4, vlans=(PRIORITY | 40,))
    result, _ = trunk.edge.run(frame, "trunk")
    assert result.retval == Verdict.TX
    expected = ether(at_pod(), source=BOX4, destination=GATE6, vlans=(PRIORITY | 60,))
    check_frame(result.data_out, expected)


def test_tag_is_rewritten_the_other_way(trunk: Trunk) -> None:
    frame = ether(from_pod(), source=GATE6, destination=BOX4, vlans=(60,))
    result, _ = trunk.edge.run(frame, "trunk")
    assert result.retval == Verdict.TX
    packet = to_world(ident_of(result, 18))
    check_frame(result.data_out, ether(packet, source=BOX4, destination=GATE4, vlans=(40,)))


@pytest.mark.parametrize("tagged", ["in", "out"])
def test_tag_comes_and_goes(edge: Edge, tagged: str) -> None:
    """One side is a VLAN of a trunk, the other a plain device."""
    trunk, _ = veth("trunk", "far-trunk")
    ip("link", "set", "trunk", "address", BOX4.hex(":"))
    edge.loaded.close()
    plain, vlan = ("net6", "net4") if tagged == "in" else ("net4", "net6")
    ports = {
        "net4": Port("net4", edge.net4, BOX4, 1500, ipv4=OWN4),
        "net6": Port("net6", edge.net6, BOX6, 1500, ipv6=OWN6),
    }
    ports[vlan] = Port(
        vlan, ports[vlan].ifindex, BOX4, 1500, ports[vlan].ipv4, ports[vlan].ipv6, (trunk, 77)
    )
    edge.loaded = edge.load((Port("trunk", trunk, BOX4, 1500), *ports.values()))
    assert ports[plain].vlan is None
    if tagged == "in":
        frame = ether(from_world(), source=GATE4, destination=BOX4, vlans=(77,))
        result, _ = edge.run(frame, "trunk")
        check_frame(result.data_out, leaving(at_pod()))
    else:
        result, _ = edge.run(arriving(from_world()), "net4")
        check_frame(result.data_out, leaving(at_pod(), vlans=(77,)))
    assert result.retval == Verdict.REDIRECT


def test_error_of_our_own_goes_back_with_the_tag(trunk: Trunk) -> None:
    packet = from_world(ttl=1)
    frame = ether(packet, source=GATE4, destination=BOX4, vlans=(PRIORITY | 40,))
    result, counted = trunk.edge.run(frame, "trunk")
    assert (result.retval, counted["hop-limit"], counted["error-sent"]) == (Verdict.TX, 1, 1)
    error = ipv4(OWN4, WORLD, Icmp(11, 0, data=packet), df=False)
    expected = ether(error, source=BOX4, destination=GATE4, vlans=(PRIORITY | 40,))
    check_frame(result.data_out, expected)


@pytest.mark.parametrize("vlans", [(41,), (40, 60), (0x3FF, 40)])
def test_other_vlans_pass_untouched(trunk: Trunk, vlans: tuple[int, ...]) -> None:
    frame = ether(from_world(), source=GATE4, destination=BOX4, vlans=vlans)
    result, counted = trunk.edge.run(frame, "trunk")
    assert (result.retval, result.data_out, +counted) == (Verdict.PASS, frame, {})


def test_priority_tag_is_the_device_itself(edge: Edge) -> None:
    result, _ = edge.run(arriving(from_world(), vlans=(PRIORITY,)), "net4")
    assert result.retval == Verdict.REDIRECT
    check_frame(result.data_out, leaving(at_pod()))


@pytest.mark.parametrize("length", [0, 1, 17])
def test_padding_of_a_short_frame_is_cut(edge: Edge, length: int) -> None:
    frame = arriving(from_world(bytes(length)), pad_to=60)
    result, _ = edge.run(frame, "net4")
    check_frame(result.data_out, leaving(at_pod(bytes(length))))
    result, _ = edge.run(arriving(from_pod(bytes(length))) + b"tail", "net6")
    check_frame(result.data_out, leaving(to_world(ident_of(result), bytes(length))))


def test_frames_of_others_pass(edge: Edge) -> None:
    for destination in (GATE6, b"\xff" * 6, b"\x33\x33" + bytes(4)):
        frame = ether(from_world(), source=GATE4, destination=destination)
        result, counted = edge.run(frame, "net4")
        assert (result.retval, result.data_out, +counted) == (Verdict.PASS, frame, {})


@pytest.mark.parametrize("linear", [None, 128, 1000, 4000])
@pytest.mark.parametrize("size", [200, 3900, 8900])
def test_several_buffers(jumbo: Edge, size: int, linear: int | None) -> None:
    data = bytes(n * 7 & 0xFF for n in range(size))
    options = {} if linear is None or linear >= size else {"linear_bytes": linear}
    result, _ = jumbo.run(arriving(from_world(data)), "net4", **options)
    assert result.retval == Verdict.REDIRECT
    check_frame(result.data_out, leaving(at_pod(data)))
    result, _ = jumbo.run(arriving(from_pod(data)), "net6", **options)
    assert result.retval == Verdict.REDIRECT
    check_frame(result.data_out, leaving(to_world(ident_of(result), data)))


@pytest.mark.parametrize("size", [1, 511, 512, 513, 3999, 8901])
def test_udp_checksum_is_computed_over_all_buffers(jumbo: Edge, size: int) -> None:
    data = bytes(n * 11 & 0xFF for n in range(size))
    packet = ipv4(WORLD, "198.51.100.7", Udp(4000, 53, data, checksum=0))
    options = {"linear_bytes": 256} if size > 300 else {}
    result, _ = jumbo.run(arriving(packet), "net4", **options)
    assert result.retval == Verdict.REDIRECT
    check_frame(result.data_out, leaving(at_pod(data)))


def test_trailing_bytes_in_the_last_buffer_are_cut(jumbo: Edge) -> None:
    data = bytes(5000)
    frame = arriving(from_world(data)) + b"trailer"
    result, _ = jumbo.run(frame, "net4", linear_bytes=1000)
    check_frame(result.data_out, leaving(at_pod(data)))


def test_an_error_in_several_buffers_is_judged_whole_and_cut(jumbo: Edge) -> None:
    quoted = ipv6(WORLD6, POD6, Udp(4000, 53, bytes(1200)), hop_limit=9)
    error = ipv6("2001:db8:7::7", WORLD6, Icmpv6(1, 4, data=quoted))
    result, _ = jumbo.run(arriving(error), "net6", linear_bytes=200)
    assert result.retval == Verdict.REDIRECT
    inside = ipv4(WORLD, "198.51.100.7", Udp(4000, 53, bytes(1200)), ttl=9, df=False)
    expected = ipv4(
        "198.51.100.7",
        WORLD,
        Icmp(3, 3, data=inside[: 576 - 28]),
        ttl=63,
        df=False,
        ident=ident_of(result),
    )
    check_frame(result.data_out, leaving(expected))
    broken = bytearray(arriving(error))
    broken[-1] ^= 1  # in the last buffer
    result, counted = jumbo.run(bytes(broken), "net6", linear_bytes=200)
    assert (result.retval, counted["bad-checksum"]) == (Verdict.DROP, 1)


def test_error_about_a_jumbo_packet_quotes_its_start(jumbo: Edge) -> None:
    packet = ipv6(POD6, WORLD6, Udp(53, 4000, bytes(8000)), hop_limit=1)
    result, counted = jumbo.run(arriving(packet), "net6", linear_bytes=500)
    assert (result.retval, counted["error-sent"]) == (Verdict.TX, 1)
    error = ipv6(OWN6, POD6, Icmpv6(3, 0, data=packet[: 1280 - 48]))
    check_frame(result.data_out, leaving(error))


@pytest.mark.parametrize(
    ("length", "plateau"),
    [(8167, 8166), (8166, 4352), (4353, 4352), (4352, 2002), (2003, 2002), (2002, 1492)]
    + [(1493, 1492), (1492, 1260), (68, 1260)],
)
def test_a_router_that_tells_no_mtu(jumbo: Edge, length: int, plateau: int) -> None:
    """RFC 1191 section 7: the largest plateau below the quoted length; never below 1280 (6)."""
    quoted = ipv4("198.51.100.7", WORLD, Udp(53, 4000, bytes(8)), total_length=length)
    error = ipv4(WORLD, "198.51.100.7", Icmp(3, 4, data=quoted))
    result, _ = jumbo.run(arriving(error), "net4")
    assert result.retval == Verdict.REDIRECT
    assert result.data_out[54] == 2, "Packet Too Big"
    assert int.from_bytes(result.data_out[58:62], "big") == plateau + 20
