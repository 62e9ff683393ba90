"""Netlink events → what the next-hop cache must forget.

The hot part of the watcher: a datagram goes through ``Events.take`` in some microseconds a
message. Neighbours that only go from REACHABLE to STALE and back change nothing.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from socket import AF_INET, AF_INET6

from appliance.daemon import rtnl
from appliance.daemon.route_bits import FULL, read_route

GROUPS = (
    rtnl.GROUP_LINK,
    rtnl.GROUP_NEIGH,
    rtnl.GROUP_IPV4_ADDR,
    rtnl.GROUP_IPV6_ADDR,
    rtnl.GROUP_IPV4_ROUTE,
    rtnl.GROUP_IPV6_ROUTE,
    rtnl.GROUP_IPV4_RULE,
    rtnl.GROUP_IPV6_RULE,
    rtnl.GROUP_NEXTHOP,
)

_HEADER = struct.Struct("=IHHII")
_NEIGH_KINDS = frozenset((rtnl.NEWNEIGH, rtnl.DELNEIGH))
_ROUTE_KINDS = frozenset((rtnl.NEWROUTE, rtnl.DELROUTE))
_SHAPING_KINDS = frozenset((rtnl.NEWRULE, rtnl.DELRULE, rtnl.NEWNEXTHOP, rtnl.DELNEXTHOP))
_OTHER_KINDS = frozenset((rtnl.NEWLINK, rtnl.DELLINK, rtnl.NEWADDR, rtnl.DELADDR))

NeighbourKey = tuple[int, bytes]  # ifindex, address


@dataclass(frozen=True)
class Neighbour:
    """A neighbour whose MAC address may be used."""

    mac: bytes
    permanent: bool


@dataclass
class Events:
    """What has come in since ``settled`` was called.

    ``changed``: next hops that were kept may be wrong. ``bits``: block lengths of IPv4 and IPv6
    that are safe at once; ``recount`` asks for exact ones. ``synced``: every usable neighbour is
    in ``neighbours``, so one that is not there was in no cache.
    """

    ignored_index: int = 0
    bits: list[int] = field(default_factory=lambda: [FULL[AF_INET], FULL[AF_INET6]])
    neighbours: dict[NeighbourKey, Neighbour] = field(default_factory=dict)
    synced: bool = False
    changed: bool = True
    recount: bool = True
    messages: int = 0

    def settled(self) -> None:
        self.changed = False

    def lost(self) -> None:
        """Events were lost: nothing that is known can be trusted."""
        self.synced = False
        self.changed = True
        self.recount = True
        self.bits = [FULL[AF_INET], FULL[AF_INET6]]

    def take(self, buffer: bytes | memoryview) -> None:
        """One datagram of messages."""
        offset, end = 0, len(buffer)
        while offset + 16 <= end:
            length, kind, _, _, _ = _HEADER.unpack_from(buffer, offset)
            if length < 16:
                return
            self.messages += 1
            if kind in _NEIGH_KINDS:
                self._neighbour(kind, bytes(buffer[offset + 16 : offset + length]))
            elif kind in _ROUTE_KINDS:
                self._route(bytes(buffer[offset + 16 : offset + length]))
            elif kind in _SHAPING_KINDS:
                self.bits = [FULL[AF_INET], FULL[AF_INET6]]
                self.recount = True
                self.changed = True
            elif kind in _OTHER_KINDS:
                self.changed = True
            offset += (length + 3) & ~3

    def known(self, messages: Iterable[rtnl.Message]) -> None:
        """Neighbours from a dump."""
        for message in messages:
            self._neighbour(message.kind, message.data)

    def _neighbour(self, kind: int, data: bytes) -> None:
        family, index, state, flags, _ = rtnl.NEIGH.unpack_from(data)
        if family not in FULL or flags & rtnl.NTF_PROXY:
            return
        values = rtnl.attributes(data, rtnl.NEIGH.size)
        address = values.get(rtnl.NDA_DST)
        if address is None:
            return
        key = (index, address)
        before = self.neighbours.get(key)
        if kind == rtnl.NEWNEIGH and state & rtnl.NUD_VALID:
            mac = values.get(rtnl.NDA_LLADDR, b"")
            permanent = bool(state & rtnl.NUD_PERMANENT)
            if before is None or before.mac != mac or before.permanent != permanent:
                self.neighbours[key] = Neighbour(mac, permanent)
                if not self.synced or (before is not None and before.mac != mac):
                    self.changed = True
        elif before is not None:
            del self.neighbours[key]
            self.changed = True
        elif not self.synced:
            self.changed = True

    def _route(self, data: bytes) -> None:
        route = read_route(data, self.ignored_index)
        if route is None:
            return
        self.changed = True
        self.recount = True
        slot = 0 if route.family == AF_INET else 1
        exact = route.kind == rtnl.RTN_UNICAST and not route.whole and not route.by_more
        length = route.length if exact else FULL[route.family]
        self.bits[slot] = max(self.bits[slot], length)
