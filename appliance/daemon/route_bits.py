"""How far a destination must be looked at to know its route: the block of the next-hop cache.

All addresses of a block share one next hop, so a block may not be larger than the smallest
network that any table tells apart: every route counts, connected subnets too. Left out is what
no translated packet is sent by (multicast, loopback, the slow path's device) and what lies within
a connected subnet anyway, whose hosts have next hops of their own: the box's own addresses there.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_network
from socket import AF_INET, AF_INET6

from appliance.daemon import rtnl

FULL: dict[int, int] = {AF_INET: 32, AF_INET6: 128}

_OWN_TYPES = frozenset((rtnl.RTN_LOCAL, rtnl.RTN_BROADCAST, rtnl.RTN_ANYCAST))
_LOOPBACK = {AF_INET: ip_network("127.0.0.0/8"), AF_INET6: ip_network("::1/128")}
_DEFAULT_TABLES = frozenset((0, 253, rtnl.RT_TABLE_MAIN, rtnl.RT_TABLE_LOCAL))
_FRA_DST, _FRA_PRIORITY, _FRA_PROTOCOL, _FRA_TABLE, _FRA_SUPPRESS = 1, 6, 21, 15, 14
_HARMLESS = frozenset((_FRA_DST, _FRA_PRIORITY, _FRA_PROTOCOL, _FRA_TABLE, _FRA_SUPPRESS))
_FRA_ACTION_TO_TABLE = 1


@dataclass(frozen=True)
class RouteFact:
    """What of a route matters here. ``whole``: every address needs a block of its own (several
    next hops). ``by_more``: the destination alone does not decide (TOS, source)."""

    family: int
    destination: bytes
    length: int
    kind: int
    connected: bool
    whole: bool
    by_more: bool


def read_route(data: bytes, ignored_index: int) -> RouteFact | None:
    """The fact of one RTM_NEWROUTE or RTM_DELROUTE; None when it does not matter."""
    family, length, source_length, tos, _, _, _, kind, flags = rtnl.ROUTE.unpack_from(data)
    if family not in FULL or flags & rtnl.RTM_F_CLONED or kind == rtnl.RTN_MULTICAST:
        return None
    values = rtnl.attributes(data, rtnl.ROUTE.size)
    if ignored_index and rtnl.as_number(values.get(rtnl.RTA_OIF)) == ignored_index:
        return None
    destination = values.get(rtnl.RTA_DST, bytes(FULL[family] // 8))
    if family == AF_INET and destination[0] == 127:
        return None
    if family == AF_INET6 and destination == bytes(15) + b"\1":
        return None
    several = rtnl.RTA_MULTIPATH in values or rtnl.RTA_NH_ID in values
    gateway = rtnl.RTA_GATEWAY in values or rtnl.RTA_VIA in values
    return RouteFact(
        family=family,
        destination=destination,
        length=length,
        kind=kind,
        connected=kind == rtnl.RTN_UNICAST and not gateway and not several,
        whole=several,
        by_more=bool(tos or source_length),
    )


@dataclass
class Blocks:
    """Block lengths from all routes and rules. ``add_route`` and ``add_rule``, then ``bits``."""

    longest: dict[int, int] = field(default_factory=lambda: {AF_INET: 0, AF_INET6: 0})
    by_more: bool = False
    _connected: dict[int, dict[int, set[int]]] = field(
        default_factory=lambda: {AF_INET: {}, AF_INET6: {}}
    )
    _own: list[RouteFact] = field(default_factory=list)

    def add_route(self, route: RouteFact) -> None:
        self.by_more = self.by_more or route.by_more
        if route.kind in _OWN_TYPES:
            self._own.append(route)
            return
        length = FULL[route.family] if route.whole else route.length
        self.longest[route.family] = max(self.longest[route.family], length)
        if route.connected:
            network = int.from_bytes(route.destination) >> (FULL[route.family] - route.length)
            self._connected[route.family].setdefault(route.length, set()).add(network)

    def add_rule(self, data: bytes) -> None:
        """A rule beyond the default ones makes every address a block of its own; one that looks
        at more than the destination makes the cache useless."""
        family, _, source_length, tos, table, _, _, action, _ = rtnl.RULE.unpack_from(data)
        if family not in FULL:
            return
        values = rtnl.attributes(data, rtnl.RULE.size)
        table = rtnl.as_number(values.get(_FRA_TABLE), table)
        plain = action == _FRA_ACTION_TO_TABLE and not source_length and not tos
        if (
            plain
            and _FRA_DST not in values
            and table in _DEFAULT_TABLES
            and not (set(values) - _HARMLESS)
        ):
            return
        self.longest[family] = FULL[family]
        if not plain or set(values) - _HARMLESS:
            self.by_more = True

    def bits(self) -> tuple[int, int]:
        """Block lengths of IPv4 and IPv6."""
        longest = dict(self.longest)
        for own in self._own:
            if not self._within_connected(own):
                longest[own.family] = max(longest[own.family], own.length)
        return longest[AF_INET], longest[AF_INET6]

    def _within_connected(self, own: RouteFact) -> bool:
        address = int.from_bytes(own.destination)
        width = FULL[own.family]
        return any(
            length <= own.length and address >> (width - length) in networks
            for length, networks in self._connected[own.family].items()
        )


def blocks_of(routes: Iterable[RouteFact], rules: Iterable[bytes] = ()) -> Blocks:
    blocks = Blocks()
    for route in routes:
        blocks.add_route(route)
    for rule in rules:
        blocks.add_rule(rule)
    return blocks
