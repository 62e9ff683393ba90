"""What netlink events make the next-hop cache forget, and how large its blocks may be."""

import time
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from socket import AF_INET, AF_INET6

import pytest

from appliance.daemon import rtnl
from appliance.daemon.managed import UNUSED_SECONDS, ManagedNeighbours
from appliance.daemon.netlink import Events, Neighbour
from appliance.daemon.route_bits import blocks_of, read_route
from appliance.daemon.rtnl import attribute, number

REACHABLE, STALE, DELAY, PROBE, FAILED, INCOMPLETE = 0x02, 0x04, 0x08, 0x10, 0x20, 0x01
PERMANENT = 0x80
MAC, OTHER_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
HOST = "2001:db8:64::c8"


def message(kind: int, data: bytes) -> bytes:
    return rtnl.header(16 + len(data), kind, 0, 1) + data


def neighbour(
    state: int, mac: bytes | None = MAC, host: str = HOST, *, gone: bool = False, flags: int = 0
) -> bytes:
    address = ip_address(host)
    family = AF_INET if address.version == 4 else AF_INET6
    data = rtnl.NEIGH.pack(family, 3, state, flags, 1) + attribute(rtnl.NDA_DST, address.packed)
    if mac:
        data += attribute(rtnl.NDA_LLADDR, mac)
    return message(rtnl.DELNEIGH if gone else rtnl.NEWNEIGH, data)


def route(
    to: str,
    *,
    via: str | None = None,
    kind: int = rtnl.RTN_UNICAST,
    device: int = 3,
    tos: int = 0,
    source: int = 0,
    table: int = rtnl.RT_TABLE_MAIN,
    more: bytes = b"",
) -> bytes:
    network = ip_network(to)
    family = AF_INET if network.version == 4 else AF_INET6
    data = rtnl.ROUTE.pack(family, network.prefixlen, source, tos, table, 4, 0, kind, 0)
    data += attribute(rtnl.RTA_DST, network.network_address.packed)
    data += number(rtnl.RTA_OIF, device)
    if via:
        data += attribute(rtnl.RTA_GATEWAY, ip_address(via).packed)
    return data + more


def rule(
    family: int = AF_INET, table: int = 254, *, source: int = 0, more: bytes = b"", action: int = 1
) -> bytes:
    return rtnl.RULE.pack(family, 0, source, 0, table, 0, 0, action, 0) + more


DEFAULT_RULES = [rule(f, t) for f in (AF_INET, AF_INET6) for t in (255, 254, 253)]


def settled(**known: bytes) -> Events:
    events = Events(ignored_index=99)
    for one in known.values():
        events.take(one)
    events.synced = True
    events.recount = False
    events.bits = [24, 64]
    events.settled()
    return events


# --- neighbours ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [REACHABLE, STALE, DELAY, PROBE])
def test_state_of_a_usable_neighbour_changes_nothing(state: int) -> None:
    events = settled(host=neighbour(REACHABLE))
    events.take(neighbour(state))
    assert not events.changed


@pytest.mark.parametrize(
    "event",
    [
        neighbour(REACHABLE, OTHER_MAC),
        neighbour(FAILED, None),
        neighbour(INCOMPLETE, None),
        neighbour(STALE, gone=True),
    ],
    ids=["another MAC", "failed", "incomplete", "deleted"],
)
def test_neighbour_that_is_no_longer_where_it_was(event: bytes) -> None:
    events = settled(host=neighbour(REACHABLE))
    events.take(event)
    assert events.changed


def test_neighbour_that_was_unknown_was_in_no_cache() -> None:
    events = settled()
    events.take(neighbour(REACHABLE))
    events.take(neighbour(FAILED, None, "2001:db8:64::dead"))
    events.take(neighbour(FAILED, None, "2001:db8:64::dead", gone=True))
    assert not events.changed


def test_neighbour_that_comes_back_elsewhere_was_forgotten_before() -> None:
    events = settled(host=neighbour(REACHABLE))
    events.take(neighbour(FAILED, None))
    assert events.changed
    events.settled()
    events.take(neighbour(REACHABLE, OTHER_MAC))
    assert not events.changed
    events.take(neighbour(REACHABLE, MAC))
    assert events.changed


def test_while_neighbours_are_not_known_every_event_counts() -> None:
    events = settled()
    events.synced = False
    events.take(neighbour(REACHABLE))
    assert events.changed


def test_proxy_entries_are_no_neighbours() -> None:
    events = settled(host=neighbour(REACHABLE))
    events.take(neighbour(PERMANENT, None, flags=rtnl.NTF_PROXY))
    assert not events.changed


def test_bulk_of_flips_is_quick_and_changes_nothing() -> None:
    hosts = [f"2001:db8:64::{n:x}" for n in range(1, 2001)]
    events = settled()
    events.take(b"".join(neighbour(REACHABLE, host=host) for host in hosts))
    flips = b"".join(neighbour(STALE, host=host) for host in hosts)
    begin = time.thread_time()
    events.take(flips)
    assert not events.changed
    assert len(events.neighbours) == 2000
    assert (time.thread_time() - begin) / len(hosts) < 0.000_2  # seconds an event


# --- routes, rules, links ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [rtnl.NEWROUTE, rtnl.DELROUTE])
def test_route_change_counts_at_once_and_blocks_only_shrink(kind: int) -> None:
    events = settled()
    events.take(message(kind, route("203.0.113.0/26", via="192.0.2.254")))
    assert events.changed
    assert events.recount
    assert events.bits == [26, 64]


@pytest.mark.parametrize(
    ("change", "bits"),
    [
        (route("2001:db8:9::/72", via="fe80::1"), [24, 72]),
        (route("0.0.0.0/0", via="192.0.2.254"), [24, 64]),
        (route("192.0.2.9/32", kind=rtnl.RTN_LOCAL, table=255), [32, 64]),
        (route("203.0.113.0/24", more=attribute(rtnl.RTA_MULTIPATH, b"")), [32, 64]),
        (route("203.0.113.0/24", via="192.0.2.254", tos=16), [32, 64]),
    ],
)
def test_blocks_after_one_event_are_small_enough(change: bytes, bits: list[int]) -> None:
    events = settled()
    events.take(message(rtnl.NEWROUTE, change))
    assert events.bits == bits


def test_routes_to_the_slow_path_do_not_count() -> None:
    events = settled()
    events.take(message(rtnl.NEWROUTE, route("198.51.100.7/32", device=99)))
    assert not events.changed
    assert events.bits == [24, 64]


@pytest.mark.parametrize(
    "kind", [rtnl.NEWLINK, rtnl.DELLINK, rtnl.NEWADDR, rtnl.DELADDR, rtnl.NEWRULE, rtnl.DELRULE,
             rtnl.NEWNEXTHOP, rtnl.DELNEXTHOP]
)  # fmt: skip
def test_links_addresses_rules_and_next_hop_objects_count(kind: int) -> None:
    events = settled()
    events.take(message(kind, bytes(32)))
    assert events.changed


def test_lost_events_make_everything_unknown() -> None:
    events = settled(host=neighbour(REACHABLE))
    events.lost()
    assert events.changed
    assert events.recount
    assert not events.synced
    assert events.bits == [32, 128]


def test_several_messages_in_one_datagram_all_count() -> None:
    events = settled()
    events.take(neighbour(REACHABLE) + message(rtnl.NEWROUTE, route("203.0.113.0/25")))
    assert (HOST in {str(IPv6Address(key[1])) for key in events.neighbours}) is True
    assert events.bits == [25, 64]
    assert events.messages == 2


def test_cut_message_does_not_loop() -> None:
    events = settled()
    events.take(rtnl.header(0, rtnl.NEWROUTE, 0, 1) + bytes(40))
    assert not events.changed


# --- exact block lengths -------------------------------------------------------------------------

CONNECTED = ["192.0.2.0/24", "2001:db8:64::/64"]


def bits_of(*routes: bytes, rules: list[bytes] | None = None) -> tuple[int, int]:
    facts = [fact for one in routes if (fact := read_route(one, 99))]
    return blocks_of(facts, DEFAULT_RULES if rules is None else rules).bits()


@pytest.mark.parametrize(
    ("routes", "bits"),
    [
        ([], (0, 0)),
        ([route("0.0.0.0/0", via="192.0.2.254"), route("::/0", via="fe80::1")], (0, 0)),
        ([route(one) for one in CONNECTED], (24, 64)),
        ([route("192.0.2.0/24"), route("192.0.2.64/26", via="192.0.2.9")], (26, 0)),
        ([route("10.0.0.0/8", via="192.0.2.9"), route("10.1.0.0/16", via="192.0.2.8")], (16, 0)),
        ([route("192.0.2.0/24"), route("192.0.2.1/32", kind=rtnl.RTN_LOCAL)], (24, 0)),
        ([route("192.0.2.1/32", kind=rtnl.RTN_LOCAL), route("192.0.2.0/24")], (24, 0)),
        ([route("192.0.2.0/24"), route("192.0.2.255/32", kind=rtnl.RTN_BROADCAST)], (24, 0)),
        ([route("2001:db8:64::/64"), route("2001:db8:64::1/128", kind=rtnl.RTN_LOCAL)], (0, 64)),
        ([route("2001:db8:64::/64"), route("2001:db8:64::/128", kind=rtnl.RTN_ANYCAST)], (0, 64)),
        ([route("192.0.2.0/24"), route("203.0.113.9/32", kind=rtnl.RTN_LOCAL)], (32, 0)),
        ([route("203.0.113.0/28", kind=6)], (28, 0)),
        ([route("127.0.0.0/8", kind=rtnl.RTN_LOCAL), route("::1/128", kind=2)], (0, 0)),
        ([route("ff00::/8", kind=rtnl.RTN_MULTICAST)], (0, 0)),
        ([route("198.51.100.7/32", device=99)], (0, 0)),
        ([route("0.0.0.0/0", more=attribute(rtnl.RTA_MULTIPATH, bytes(8)))], (32, 0)),
        ([route("203.0.113.0/25", via="192.0.2.9", table=100)], (25, 0)),
    ],
    ids=["nothing", "default routes", "connected", "gateway within a subnet", "nested",
         "own address on a link", "own address told first", "broadcast address",
         "own IPv6 address on a link", "anycast address", "own address elsewhere", "blackhole",
         "loopback", "multicast", "slow path", "several next hops", "another table"],
)  # fmt: skip
def test_block_lengths(routes: list[bytes], bits: tuple[int, int]) -> None:
    assert bits_of(*routes) == bits


@pytest.mark.parametrize(
    ("extra", "bits", "by_more"),
    [
        (rule(AF_INET, 100, more=attribute(1, bytes(4))), (32, 64), False),
        (rule(AF_INET6, 100, source=64, more=attribute(2, bytes(16))), (24, 128), True),
        (rule(AF_INET, 254, more=number(10, 7)), (32, 64), True),
        (rule(AF_INET, 0, more=number(15, 1000)), (32, 64), False),
        (rule(AF_INET, 254, action=6), (32, 64), True),
    ],
    ids=["to", "from", "fwmark", "another table", "blackhole"],
)
def test_rules_beyond_the_default_ones(extra: bytes, bits: tuple[int, int], by_more: bool) -> None:
    facts = [fact for one in CONNECTED if (fact := read_route(route(one), 0))]
    blocks = blocks_of(facts, [*DEFAULT_RULES, extra])
    assert blocks.bits() == bits
    assert blocks.by_more is by_more


def test_routes_by_tos_or_source_are_told() -> None:
    for one in (route("10.0.0.0/8", tos=8), route("2001:db8::/32", source=64)):
        fact = read_route(one, 0)
        assert fact is not None
        assert blocks_of([fact]).by_more


# --- managed neighbours --------------------------------------------------------------------------

GATEWAY = (4, IPv4Address("192.0.2.254"))
KNOWN = {(4, GATEWAY[1].packed): Neighbour(MAC, permanent=False)}


def ext_flags(data: bytes) -> int:
    return rtnl.as_number(rtnl.attributes(data, rtnl.NEIGH.size).get(rtnl.NDA_FLAGS_EXT))


def test_next_hop_is_marked_once_and_released_after_a_minute() -> None:
    managed = ManagedNeighbours()
    (mark,) = managed.plan([GATEWAY], KNOWN, 0.0)
    assert ext_flags(mark.data) == rtnl.NTF_EXT_MANAGED
    assert managed.plan([GATEWAY], KNOWN, 1.0) == []
    assert managed.plan([], KNOWN, UNUSED_SECONDS) == []
    (release,) = managed.plan([], KNOWN, UNUSED_SECONDS + 1.5)
    assert ext_flags(release.data) == 0
    assert not release.flags & rtnl.F_CREATE
    assert len(managed) == 0


def test_forgotten_neighbour_is_marked_again() -> None:
    managed = ManagedNeighbours()
    managed.plan([GATEWAY], KNOWN, 0.0)
    assert len(managed.plan([GATEWAY], {}, 1.0)) == 1


def test_permanent_neighbour_is_left_alone() -> None:
    permanent = {(4, GATEWAY[1].packed): Neighbour(MAC, permanent=True)}
    assert ManagedNeighbours().plan([GATEWAY], permanent, 0.0) == []


def test_marks_of_an_earlier_run_are_adopted_others_are_not() -> None:
    def entry(own: bool, flags: int) -> rtnl.Message:
        data = rtnl.NEIGH.pack(AF_INET, 4, REACHABLE, 0, 1)
        data += attribute(rtnl.NDA_DST, GATEWAY[1].packed)
        data += number(rtnl.NDA_FLAGS_EXT, flags)
        data += attribute(rtnl.NDA_PROTOCOL, bytes([rtnl.OWN_PROTOCOL if own else 4]))
        return rtnl.Message(rtnl.NEWNEIGH, 0, 1, data)

    managed = ManagedNeighbours()
    managed.adopt([entry(False, 1), entry(True, 0)], 0.0)
    assert len(managed) == 0
    managed.adopt([entry(True, 1)], 0.0)
    assert len(managed.plan([], KNOWN, UNUSED_SECONDS + 1)) == 1
