"""Which translated addresses lie on a link, so that the box must answer for them there.

IPv4: addresses of IPv6 hosts (EAM, ``ipv6-hosts``) and RFC 6791 ranges, in the IPv4 subnet of an
interface. IPv6: EAM addresses of IPv4 hosts, and the RFC 6791 address, in an IPv6 subnet.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

from appliance.config import schema
from appliance.config.problems import Path
from bpf.model import Side, Translation

MAX_ANSWERED = 65536

Network = IPv4Network | IPv6Network
Own = IPv4Interface | IPv6Interface


def claimed(translation: Translation) -> Iterator[Network]:
    """Networks whose addresses stand for hosts on the other side of the box."""
    for prefix in translation.pref64:
        yield from prefix.ipv6_hosts
    for entry in translation.eam:
        yield entry.ipv4 if entry.host is Side.IPV6 else entry.ipv6
    yield from translation.rfc6791_ipv4
    if translation.rfc6791_ipv6 is not None:
        yield IPv6Network(translation.rfc6791_ipv6)


def shared_part(network: Network, subnet: Network) -> Network | None:
    """What two networks have in common: the smaller of them, or nothing."""
    if isinstance(network, IPv4Network) and isinstance(subnet, IPv4Network):
        if network.subnet_of(subnet):
            return network
        return subnet if subnet.subnet_of(network) else None
    if isinstance(network, IPv6Network) and isinstance(subnet, IPv6Network):
        if network.subnet_of(subnet):
            return network
        return subnet if subnet.subnet_of(network) else None
    return None


def answered_on(subnets: Iterable[Network], networks: Iterable[Network]) -> Iterator[Network]:
    """The parts of ``networks`` that lie in an interface's ``subnets``."""
    own = list(subnets)
    for network in networks:
        for subnet in own:
            part = shared_part(network, subnet)
            if part is not None:
                yield part


def _claimed_with_paths(raw: schema.Translation) -> Iterator[tuple[Path, Network]]:
    for i, prefix in enumerate(raw.pref64):
        for j, network in enumerate(prefix.ipv6_hosts):
            yield ("translation", "pref64", i, "ipv6-hosts", j), network
    for i, entry in enumerate(raw.eam):
        if entry.host is Side.IPV6:
            yield ("translation", "eam", i, "ipv4"), entry.ipv4
        else:
            yield ("translation", "eam", i, "ipv6"), entry.ipv6
    for i, pool in enumerate(raw.rfc6791.ipv4):
        yield ("translation", "rfc6791", "ipv4", i), pool


def answered_count(raw: schema.Configuration) -> Iterator[tuple[Path, Network, str, int]]:
    """For each claimed network with addresses on a link: path, network, interface, how many."""
    subnets = [(name, own.network) for name, one in raw.interfaces.items() for own in one.addresses]
    for path, network in _claimed_with_paths(raw.translation):
        for name, subnet in subnets:
            part = shared_part(network, subnet)
            if part is not None:
                yield path, network, name, part.num_addresses
