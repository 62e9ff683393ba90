"""Which address stands for which. Sections 1, 2 and 7 of docs/translation.md.

Addresses are numbers here: cheap to compare, to look up, and to sum for a checksum.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from appliance.slowpath.prefixes import (
    PrefixTable,
    embed,
    extract,
    map_to_ipv4,
    map_to_ipv6,
    remembered,
)
from appliance.slowpath.verdict import ErrorMessage, Reason, Refusal
from bpf.model import WELL_KNOWN_PREFIX, BoxAddresses, Pref64, Side, Translation
from bpf.special import UNTRANSLATABLE_IPV4, non_global

_NO_ROUTE = ErrorMessage(1, 0)
_PROHIBITED = ErrorMessage(1, 1)
_MULTICAST_IPV4 = IPv4Network("224.0.0.0/4")
_UNTRANSLATABLE_IPV6 = (
    IPv6Network("::/128"),
    IPv6Network("::1/128"),
    IPv6Network("fe80::/10"),
    IPv6Network("ff00::/8"),
)


@dataclass(frozen=True, slots=True)
class ToIPv4:
    """An IPv6 destination whose host lives on the IPv4 side."""

    ipv4: int


@dataclass(frozen=True, slots=True)
class ToHairpin:
    """An IPv6 destination that stands for a host that lives on the IPv6 side too."""

    ipv6: int
    prefix: "Prefix"


@dataclass(frozen=True, slots=True)
class Refused:
    reason: Reason
    message: ErrorMessage | None = None


Destination = ToIPv4 | ToHairpin | Refused | None


def _network(network: IPv4Network | IPv6Network) -> tuple[int, int]:
    return int(network.network_address), network.prefixlen


def _ipv4_set(networks: tuple[IPv4Network, ...]) -> PrefixTable[bool]:
    return PrefixTable(32, [(*_network(network), True) for network in networks])


class Prefix:
    """One pref64, ready for look-ups. Compared by identity."""

    def __init__(self, pref64: Pref64) -> None:
        self.network, self.length = _network(pref64.prefix)
        self.ranges = _ipv4_set(pref64.ipv4_ranges)
        forbidden: tuple[IPv4Network, ...] = ()
        if pref64.prefix == WELL_KNOWN_PREFIX:
            forbidden = non_global(pref64.allow_non_global)
        self._forbidden = _ipv4_set(forbidden)

    def address(self, ipv4: int) -> int:
        return embed(self.network, self.length, ipv4)

    def ipv4(self, ipv6: int) -> int:
        return extract(self.length, ipv6)

    def carries(self, ipv4: int) -> bool:
        """False: not globally reachable, and this is the well-known prefix (RFC 6052, 3.1)."""
        return not self._forbidden.longest(ipv4)


class Addresses:
    """Answers every question about addresses that a translation raises."""

    def __init__(self, translation: Translation, own: BoxAddresses) -> None:
        self.own_ipv4 = frozenset(map(int, own.ipv4))
        self.own_ipv6 = frozenset(map(int, own.ipv6))
        prefixes = [Prefix(pref64) for pref64 in translation.pref64]
        pairs = list(zip(translation.pref64, prefixes, strict=True))
        self._eam_ipv4 = PrefixTable(32, [(*_network(e.ipv4), e) for e in translation.eam])
        self._eam_ipv6 = PrefixTable(128, [(*_network(e.ipv6), e) for e in translation.eam])
        self._prefixes = PrefixTable(128, [(*_network(p.prefix), prefix) for p, prefix in pairs])
        self._outside = PrefixTable(
            32, [(*_network(r), prefix) for p, prefix in pairs for r in p.ipv4_ranges]
        )
        self._hosts = PrefixTable(
            32, [(*_network(h), prefix) for p, prefix in pairs for h in p.ipv6_hosts]
        )
        self._untranslatable_ipv4 = _ipv4_set(UNTRANSLATABLE_IPV4)
        self._multicast_ipv4 = _ipv4_set((_MULTICAST_IPV4,))
        self._untranslatable_ipv6 = PrefixTable(
            128, [(*_network(network), True) for network in _UNTRANSLATABLE_IPV6]
        )
        self._pool = [_network(network) for network in translation.rfc6791_ipv4]
        self._pool_size = sum(1 << (32 - length) for _, length in self._pool)

        self.inside = remembered(self._inside)
        self.destination_ipv6 = remembered(self._destination_ipv6)
        self._others_ipv6 = remembered(self._source_ipv6)
        self._others_ipv4 = remembered(self._source_ipv4)

    def _inside(self, ipv4: int) -> int | None:
        """The own IPv6 address of the host that ``ipv4`` stands for, if it lives on that side."""
        entry = self._eam_ipv4.longest(ipv4)
        if entry is not None:
            return map_to_ipv6(entry, ipv4) if entry.host is Side.IPV6 else None
        prefix = self._hosts.longest(ipv4)
        return None if prefix is None else prefix.address(ipv4)

    def _destination_ipv6(self, ipv6: int) -> Destination:
        """None: not the translator's."""
        entry = self._eam_ipv6.longest(ipv6)
        if entry is not None:
            return ToIPv4(map_to_ipv4(entry, ipv6)) if entry.host is Side.IPV4 else None
        prefix = self._prefixes.longest(ipv6)
        if prefix is None:
            return None
        ipv4 = prefix.ipv4(ipv6)
        own = self.inside(ipv4)
        if own == ipv6:
            return None
        if self._multicast_ipv4.longest(ipv4):
            return Refused(Reason.MULTICAST)
        if self._untranslatable_ipv4.longest(ipv4):
            return Refused(Reason.DESTINATION_NOT_TRANSLATABLE, _NO_ROUTE)
        if not prefix.carries(ipv4):
            return Refused(Reason.NON_GLOBAL_ADDRESS, _PROHIBITED)
        if own is not None:
            return ToHairpin(own, prefix)
        if not prefix.ranges.longest(ipv4):
            return Refused(Reason.DESTINATION_NOT_TRANSLATABLE, _NO_ROUTE)
        return ToIPv4(ipv4)

    def source_ipv6(self, ipv6: int, own_sources: bool) -> int | Reason:
        """The IPv4 address of an IPv6 source, or why it has none.

        ``own_sources``: the box's own addresses are not a spoof here.
        """
        if not own_sources and ipv6 in self.own_ipv6:
            return Reason.SOURCE_NOT_TRANSLATABLE
        return self._others_ipv6(ipv6)

    def source_ipv4(self, ipv4: int, own_sources: bool) -> int | Reason:
        """The IPv6 address of an IPv4 source, or why it has none."""
        if not own_sources and ipv4 in self.own_ipv4:
            return Reason.SOURCE_SPOOFED
        return self._others_ipv4(ipv4)

    def _source_ipv6(self, ipv6: int) -> int | Reason:
        if self._untranslatable_ipv6.longest(ipv6):
            return Reason.SOURCE_NOT_TRANSLATABLE
        entry = self._eam_ipv6.longest(ipv6)
        if entry is not None:
            if entry.host is Side.IPV4:
                return Reason.SOURCE_SPOOFED
            return map_to_ipv4(entry, ipv6)
        prefix = self._prefixes.longest(ipv6)
        if prefix is None:
            return Reason.SOURCE_UNMAPPED
        ipv4 = prefix.ipv4(ipv6)
        return ipv4 if self.inside(ipv4) == ipv6 else Reason.SOURCE_SPOOFED

    def _source_ipv4(self, ipv4: int) -> int | Reason:
        if self._untranslatable_ipv4.longest(ipv4):
            return Reason.SOURCE_NOT_TRANSLATABLE
        entry = self._eam_ipv4.longest(ipv4)
        if entry is not None and entry.host is Side.IPV4:
            return map_to_ipv6(entry, ipv4)
        # An inside source is a hairpin seen from IPv4: never its own address (RFC 7757, 4.2).
        prefix = self._outside.longest(ipv4)
        if prefix is None:
            return Reason.SOURCE_UNMAPPED
        return prefix.address(ipv4) if prefix.carries(ipv4) else Reason.NON_GLOBAL_ADDRESS

    def rfc6791_ipv4(self, ipv6: int) -> int | None:
        """Spread over the pool by the router's address, so that a path's hops look different."""
        if not self._pool_size:
            return None
        folded = ipv6 >> 64 ^ ipv6 & 0xFFFF_FFFF_FFFF_FFFF
        folded = folded >> 32 ^ folded & 0xFFFF_FFFF
        index = ((folded * 0x9E37_79B1 & 0xFFFF_FFFF) >> 16) % self._pool_size
        for network, length in self._pool:
            size = 1 << (32 - length)
            if index < size:
                return network + index
            index -= size
        return None


def rfc6791_source(pool: int | None, own: IPv4Address | IPv6Address | None) -> int:
    """The source of a translated error whose router has no mapping (section 7)."""
    if pool is not None:
        return pool
    if own is None:
        raise Refusal(Reason.NO_OWN_ADDRESS)
    return int(own)
