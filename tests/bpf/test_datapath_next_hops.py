"""Where translated packets go: the FIB, what is kept of it, and when that counts."""

import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from bpf.datapath import Datapath
from bpf.programs import Verdict
from tests.bpf.edge import (
    BOX4,
    BOX6,
    GATE6,
    HOST6,
    NEAR4,
    NEAR6,
    WORLD,
    WORLD6,
    Edge,
    arriving,
    at_pod,
    from_pod,
    from_world,
    ident_of,
    leaving,
)
from tests.bpf.harness import Udp, check_frame, ether, ipv4, ipv6
from tests.bpf.namespaces import fresh_namespace, ip

OTHER = bytes.fromhex("0200000000aa")


@pytest.fixture
def edge() -> Iterator[Edge]:
    with fresh_namespace():
        edge = Edge()
        yield edge
        edge.close()


def beat(edge: Edge) -> None:
    edge.loaded.heartbeat()


def test_what_was_asked_is_kept_while_the_heart_beats(edge: Edge) -> None:
    beat(edge)
    asked = [edge.run(arriving(from_world()), "net4")[1]["next-hop-refilled"] for _ in range(3)]
    assert asked == [1, 0, 0]


def test_hosts_behind_a_gateway_share_it_and_hosts_on_the_link_do_not(edge: Edge) -> None:
    beat(edge)
    for to, at, gate in ((NEAR4, NEAR6, HOST6), ("198.51.100.7", "2001:db8:7::7", GATE6)):
        for first in (True, False):
            result, counted = edge.run(arriving(from_world(to=to)), "net4")
            assert counted["next-hop-refilled"] == first
            check_frame(result.data_out, leaving(at_pod(to=at), to=gate))


def test_without_a_heartbeat_every_packet_asks(edge: Edge) -> None:
    for _ in range(2):
        result, counted = edge.run(arriving(from_world()), "net4")
        assert (counted["next-hop-uncached"], counted["next-hop-refilled"]) == (1, 0)
        check_frame(result.data_out, leaving(at_pod()))


def test_a_heartbeat_does_not_count_for_long(edge: Edge) -> None:
    beat(edge)
    edge.run(arriving(from_world()), "net4")
    edge.neighbour("2001:db8:6::fe", "net6", OTHER)
    time.sleep(0.8)
    result, counted = edge.run(arriving(from_world()), "net4")
    assert counted["next-hop-uncached"] == 1
    check_frame(result.data_out, leaving(at_pod(), to=OTHER))


def test_a_change_that_was_told_counts_at_once(edge: Edge) -> None:
    beat(edge)
    edge.run(arriving(from_world()), "net4")
    edge.neighbour("2001:db8:6::fe", "net6", OTHER)
    result, _ = edge.run(arriving(from_world()), "net4")
    check_frame(result.data_out, leaving(at_pod()))  # nobody told: what is kept still counts
    edge.loaded.invalidate_next_hops()
    result, _ = edge.run(arriving(from_world()), "net4")
    check_frame(result.data_out, leaving(at_pod(), to=OTHER))


def test_link_and_gateway_in_one_block_are_not_mixed_up(edge: Edge) -> None:
    """A block that a host on the link has split stays split, whatever else lies in it."""
    edge.loaded.set_route_bits(24, 32)
    beat(edge)
    ways = [(NEAR4, NEAR6, HOST6), ("198.51.100.7", "2001:db8:7::7", GATE6)]
    for to, at, gate in ways * 3:
        result, _ = edge.run(arriving(from_world(to=to)), "net4")
        check_frame(result.data_out, leaving(at_pod(to=at), to=gate))
    assert edge.run(arriving(from_world()), "net4")[1]["next-hop-refilled"] == 0


def test_unknown_neighbour_goes_up_translated_and_not_decremented(edge: Edge) -> None:
    ip("neigh", "del", "2001:db8:6::fe", "dev", "net6")
    result, counted = edge.run(arriving(from_world(ttl=9)), "net4")
    assert (result.retval, counted["up-neighbour-unknown"]) == (Verdict.PASS, 1)
    packet = ipv6(WORLD6, "2001:db8:7::7", Udp(4000, 53, b"question"), hop_limit=9)
    check_frame(
        result.data_out, ether(packet, source=arriving(from_world())[6:12], destination=BOX4)
    )


def test_too_big_is_told_also_while_the_neighbour_is_unknown(edge: Edge) -> None:
    ip("neigh", "del", "2001:db8:6::fe", "dev", "net6")
    result, counted = edge.run(arriving(from_world(bytes(1470))), "net4")
    assert (result.retval, counted["packet-too-big"]) == (Verdict.TX, 1)


def test_blackhole_and_no_route(edge: Edge) -> None:
    ip("-6", "route", "add", "blackhole", "2001:db8:7::/64")
    result, counted = edge.run(arriving(from_world()), "net4")
    assert (result.retval, counted["route-blackhole"]) == (Verdict.DROP, 1)
    ip("route", "del", "default")
    result, counted = edge.run(arriving(from_pod()), "net6")
    assert (result.retval, counted["up-route"]) == (Verdict.PASS, 1)
    assert result.data_out[14 + 8] == 64, "the kernel decrements"


def test_egress_that_is_not_ours_is_the_kernels(edge: Edge) -> None:
    edge.loaded.close()
    edge.loaded = edge.load(edge.ports()[:1])
    result, counted = edge.run(arriving(from_world()), "net4")
    assert (result.retval, counted["up-egress-not-ours"]) == (Verdict.PASS, 1)


def test_one_arm_sends_back_out(edge: Edge) -> None:
    ip("address", "add", "192.0.3.1/24", "dev", "net6")
    ip("route", "replace", "default", "via", "192.0.3.254", "dev", "net6")
    edge.neighbour("192.0.3.254", "net6", OTHER)
    result, _ = edge.run(arriving(from_pod()), "net6")
    assert result.retval == Verdict.TX
    packet = ipv4("198.51.100.7", WORLD, Udp(53, 4000, b"answer"), ttl=63, df=False)
    expected = bytearray(ether(packet, source=BOX6, destination=OTHER))
    expected[18:20] = ident_of(result).to_bytes(2, "big")
    assert result.data_out[30:] == bytes(expected)[30:]
    assert result.data_out[:14] == bytes(expected)[:14]


def test_mtu_of_the_route_counts(edge: Edge) -> None:
    # As for the kernel's own forwarding, a route's MTU is one only if it is locked.
    ip("-6", "route", "replace", "default", "via", "2001:db8:6::fe", "mtu", "lock", "1400")
    beat(edge)
    for _ in range(2):  # asked, then kept
        result, counted = edge.run(arriving(from_world(bytes(1370))), "net4")
        assert (result.retval, counted["packet-too-big"]) == (Verdict.TX, 1)
        assert int.from_bytes(result.data_out[40:42], "big") == 1380
        result, _ = edge.run(arriving(from_world(bytes(1352))), "net4")
        assert result.retval == Verdict.REDIRECT


def test_next_hops_in_use_are_listed(edge: Edge) -> None:
    datapath = Datapath(Path("/nowhere"), edge.loaded)
    beat(edge)
    assert datapath.next_hops_in_use() == []
    edge.run(arriving(from_world()), "net4")
    edge.run(arriving(from_world(to=NEAR4)), "net4")
    edge.run(arriving(from_pod()), "net6")
    found = {(each.ifindex, each.address) for each in datapath.next_hops_in_use()}
    assert found == {
        (edge.net6, IPv6Address("2001:db8:6::fe")),
        (edge.net6, IPv6Address(NEAR6)),
        (edge.net4, IPv4Address("192.0.2.254")),
    }


def test_what_was_kept_long_ago_is_asked_again(edge: Edge) -> None:
    """So that the control plane sees which next hops are in use."""
    beat(edge)
    edge.run(arriving(from_world()), "net4")
    layout = edge.loaded.btf.struct("next_hop")
    at = layout.offset("filled")
    for key, _ in [each for each in edge.loaded.next_hops.read_all() if any(each[1])]:
        values = edge.loaded.next_hops.lookup_per_cpu(key) or []
        aged = [
            raw[:at]
            + (int.from_bytes(raw[at : at + 8], "little") - 11 * 1000).to_bytes(8, "little")
            + raw[at + 8 :]
            if any(raw)
            else raw
            for raw in values
        ]
        edge.loaded.next_hops.update_per_cpu(key, aged)
    beat(edge)
    refilled = [edge.run(arriving(from_world()), "net4")[1]["next-hop-refilled"] for _ in range(2)]
    assert refilled == [1, 0]
