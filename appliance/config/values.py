"""The resolved configuration: valid once it exists, frozen, with nothing left to decide."""

from dataclasses import dataclass, field
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)

from appliance.config.kinds import Upstream
from appliance.config.schema import Role, Xdp
from bpf.model import Translation


@dataclass(frozen=True)
class VlanTag:
    """An 802.1Q sub-interface's parent and id."""

    parent: str
    id: int


@dataclass(frozen=True)
class Interface:
    """A network interface that edge64d owns."""

    name: str
    role: Role
    addresses: tuple[IPv4Interface | IPv6Interface, ...]
    mtu: int
    xdp: Xdp
    vlan: VlanTag | None = None

    @property
    def ipv4(self) -> tuple[IPv4Interface, ...]:
        return tuple(a for a in self.addresses if isinstance(a, IPv4Interface))

    @property
    def ipv6(self) -> tuple[IPv6Interface, ...]:
        return tuple(a for a in self.addresses if isinstance(a, IPv6Interface))


@dataclass(frozen=True)
class Route:
    """A static route; ``via`` None means that ``to`` is on the link."""

    to: IPv4Network | IPv6Network
    dev: str
    via: IPv4Address | IPv6Address | None
    metric: int


@dataclass(frozen=True)
class Resolver:
    """The DNS64 resolver; its prefixes are the translation's."""

    listen: tuple[IPv4Address | IPv6Address, ...]
    port: int
    upstreams: tuple[Upstream, ...]
    workers: int
    exclude: tuple[IPv6Network, ...]


@dataclass(frozen=True)
class Appliance:
    """Everything one configuration asks for."""

    hostname: str | None = None
    interfaces: tuple[Interface, ...] = ()
    routes: tuple[Route, ...] = ()
    translation: Translation = field(default_factory=Translation)
    resolver: Resolver | None = None
