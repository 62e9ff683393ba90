"""IPv4 addresses that are not like others: the one table that resolver and datapath share.

Source: the IANA IPv4 Special-Purpose Address Registry (RFC 6890, RFC 8190), its blocks with
"Globally Reachable: False", less what the registry itself marks reachable within them, less the
documentation ranges (tests and manuals live on them) and less the two addresses of ipv4only.arpa
(RFC 7050), which prefix discovery needs under every prefix.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network, collapse_addresses

_NOT_REACHABLE = (
    "0.0.0.0/8",  # this network
    "10.0.0.0/8",  # private use
    "100.64.0.0/10",  # shared address space
    "127.0.0.0/8",  # loopback
    "169.254.0.0/16",  # link local
    "172.16.0.0/12",  # private use
    "192.0.0.0/24",  # IETF protocol assignments
    "192.88.99.2/32",  # 6a44 relay anycast
    "192.168.0.0/16",  # private use
    "198.18.0.0/15",  # benchmarking
    "240.0.0.0/4",  # reserved, limited broadcast
)
_REACHABLE_WITHIN = (
    "192.0.0.9/32",  # port control protocol anycast
    "192.0.0.10/32",  # TURN anycast
    "192.0.0.170/31",  # ipv4only.arpa
)


def _without(
    ranges: Iterable[IPv4Network], holes: Iterable[IPv4Network]
) -> tuple[IPv4Network, ...]:
    left = list(ranges)
    for hole in holes:
        cut: list[IPv4Network] = []
        for network in left:
            if network.subnet_of(hole):
                continue
            cut.extend(network.address_exclude(hole) if hole.subnet_of(network) else [network])
        left = cut
    return tuple(collapse_addresses(left))


NON_GLOBAL_IPV4: tuple[IPv4Network, ...] = _without(
    map(IPv4Network, _NOT_REACHABLE), map(IPv4Network, _REACHABLE_WITHIN)
)
"""Disjoint and in order: what the well-known prefix does not carry (RFC 6052 section 3.1)."""

UNTRANSLATABLE_IPV4: tuple[IPv4Network, ...] = (
    IPv4Network("0.0.0.0/8"),
    IPv4Network("127.0.0.0/8"),
    IPv4Network("169.254.0.0/16"),
    IPv4Network("224.0.0.0/4"),
    IPv4Network("240.0.0.0/4"),
)
"""What no prefix carries to: no packet to these is ever translated (docs/translation.md, 1)."""


def non_global(allow: Iterable[IPv4Network] = ()) -> tuple[IPv4Network, ...]:
    """The non-global ranges that are left when ``allow`` is taken out; disjoint and in order."""
    return _without(NON_GLOBAL_IPV4, allow)
