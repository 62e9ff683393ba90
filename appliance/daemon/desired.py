"""Configuration → the kernel state that it asks for (pure)."""

from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    collapse_addresses,
)

from appliance.config.answers import answered_on, claimed
from appliance.config.values import Appliance, Interface, VlanTag

SLOW_DEVICE = "e64slow"
SLOW_MTU = 65535
SLOW_METRIC = 2048
"""Behind connected routes (0 and 256) and static ones, so that a real route to the same network
wins."""


@dataclass(frozen=True)
class LinkWant:
    name: str
    mtu: int
    vlan: VlanTag | None


@dataclass(frozen=True)
class AddressWant:
    device: str
    address: IPv4Interface | IPv6Interface

    def __str__(self) -> str:
        return f"address {self.address} on {self.device}"


@dataclass(frozen=True)
class RouteWant:
    to: IPv4Network | IPv6Network
    device: str
    via: IPv4Address | IPv6Address | None
    metric: int

    def __str__(self) -> str:
        via = f" via {self.via}" if self.via else ""
        return f"route {self.to}{via} dev {self.device} metric {self.metric}"


@dataclass(frozen=True)
class ProxyWant:
    """An address that is answered for in ARP or ND on ``device``."""

    device: str
    address: IPv4Address | IPv6Address

    def __str__(self) -> str:
        return f"answer for {self.address} on {self.device}"


@dataclass(frozen=True)
class Sysctl:
    """``optional``: left alone where the kernel (or the namespace) has no such file."""

    path: tuple[str, ...]
    value: str
    optional: bool = False

    def __str__(self) -> str:
        return f"{'.'.join(self.path)} = {self.value}"


@dataclass(frozen=True)
class KernelWant:
    """What the kernel shall look like."""

    hostname: str | None
    links: tuple[LinkWant, ...]
    sysctls: tuple[Sysctl, ...]
    addresses: frozenset[AddressWant]
    routes: frozenset[RouteWant]
    proxies: frozenset[ProxyWant]


def desired(appliance: Appliance, present: frozenset[str]) -> KernelWant:
    """The kernel state for the interfaces that are ``present``; others are left out until then."""
    interfaces = [one for one in appliance.interfaces if one.name in present]
    names = {one.name for one in interfaces}
    static = {
        RouteWant(route.to, route.dev, route.via, route.metric)
        for route in appliance.routes
        if route.dev in names
    }
    return KernelWant(
        hostname=appliance.hostname,
        links=tuple(LinkWant(one.name, one.mtu, one.vlan) for one in appliance.interfaces),
        sysctls=(*_global_sysctls(), *(s for one in interfaces for s in _sysctls(one.name))),
        addresses=frozenset(
            AddressWant(one.name, address) for one in interfaces for address in one.addresses
        ),
        routes=frozenset(static | _slow_routes(appliance)),
        proxies=frozenset(_proxies(appliance, interfaces)),
    )


def _slow_routes(appliance: Appliance) -> set[RouteWant]:
    """Everything that is translated leads to the slow path's device."""
    networks: list[IPv4Network | IPv6Network] = [p.prefix for p in appliance.translation.pref64]
    networks += claimed(appliance.translation)
    ipv4 = [one for one in networks if isinstance(one, IPv4Network)]
    ipv6 = [one for one in networks if isinstance(one, IPv6Network)]
    return {
        RouteWant(one, SLOW_DEVICE, None, SLOW_METRIC)
        for collapsed in (collapse_addresses(ipv4), collapse_addresses(ipv6))
        for one in collapsed
    }


def _proxies(appliance: Appliance, interfaces: list[Interface]) -> set[ProxyWant]:
    networks = list(claimed(appliance.translation))
    wanted: set[ProxyWant] = set()
    for interface in interfaces:
        subnets = {own.network for own in interface.addresses}
        edges = {
            edge
            for subnet in subnets
            if isinstance(subnet, IPv4Network) and subnet.prefixlen <= 30
            for edge in (subnet.network_address, subnet.broadcast_address)
        }
        for part in answered_on(subnets, networks):
            wanted.update(
                ProxyWant(interface.name, address) for address in part if address not in edges
            )
    return wanted


def _global_sysctls() -> tuple[Sysctl, ...]:
    ipv4, ipv6 = ("net", "ipv4"), ("net", "ipv6")
    return (
        Sysctl((*ipv4, "ip_forward"), "1"),
        Sysctl((*ipv4, "conf", "all", "rp_filter"), "0"),
        Sysctl((*ipv4, "conf", "all", "send_redirects"), "0"),
        Sysctl((*ipv6, "conf", "all", "forwarding"), "1"),
        # Many hosts on a link; only the first network namespace has these.
        *(
            Sysctl((*family, "neigh", "default", f"gc_thresh{n}"), size, optional=True)
            for family in (ipv4, ipv6)
            for n, size in ((3, "131072"), (2, "65536"), (1, "8192"))
        ),
    )


def _sysctls(device: str) -> tuple[Sysctl, ...]:
    ipv4 = ("net", "ipv4", "conf", device)
    ipv6 = ("net", "ipv6", "conf", device)
    return (
        Sysctl((*ipv4, "forwarding"), "1"),
        # A translated packet may come up with a source that is not routed back there, or that
        # is the box's own (docs/translation.md, 7 and 9).
        Sysctl((*ipv4, "rp_filter"), "0"),
        Sysctl((*ipv4, "accept_local"), "1"),
        Sysctl((*ipv4, "send_redirects"), "0"),
        Sysctl((*ipv4, "promote_secondaries"), "1"),
        Sysctl((*ipv4, "arp_notify"), "1"),
        Sysctl(("net", "ipv4", "neigh", device, "proxy_delay"), "0"),
        Sysctl((*ipv6, "disable_ipv6"), "0"),
        Sysctl((*ipv6, "forwarding"), "1"),
        Sysctl((*ipv6, "accept_ra"), "0"),
        Sysctl((*ipv6, "keep_addr_on_down"), "1"),
        Sysctl((*ipv6, "ndisc_notify"), "1"),
        Sysctl((*ipv6, "proxy_ndp"), "1"),
        Sysctl(("net", "ipv6", "neigh", device, "proxy_delay"), "0"),
    )


def slow_device_sysctls() -> tuple[Sysctl, ...]:
    """For the slow path's device, before it goes up."""
    ipv4 = ("net", "ipv4", "conf", SLOW_DEVICE)
    ipv6 = ("net", "ipv6", "conf", SLOW_DEVICE)
    return (
        Sysctl((*ipv4, "forwarding"), "1"),
        Sysctl((*ipv4, "rp_filter"), "0"),
        Sysctl((*ipv4, "accept_local"), "1"),
        Sysctl((*ipv4, "send_redirects"), "0"),
        Sysctl((*ipv6, "disable_ipv6"), "0"),
        Sysctl((*ipv6, "forwarding"), "1"),
        Sysctl((*ipv6, "accept_ra"), "0"),
        Sysctl((*ipv6, "addr_gen_mode"), "1"),  # no link-local address, no chatter
    )
