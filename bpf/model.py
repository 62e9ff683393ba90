"""What the datapath is asked to do, as values that are valid once they exist.

The configuration (appliance/) resolves into these; the table compiler (bpf/tables.py) and the slow
path read them. Nothing here knows about maps or packets.
"""

from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

RFC6052_LENGTHS = (32, 40, 48, 56, 64, 96)
WELL_KNOWN_PREFIX = IPv6Network("64:ff9b::/96")
EVERY_IPV4 = IPv4Network("0.0.0.0/0")


class Side(Enum):
    """On which side of the translator a host really lives."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"


@dataclass(frozen=True)
class Pref64:
    """A translation prefix (RFC 6052) and the IPv4 addresses that it carries.

    ``ipv4_ranges``: IPv4 hosts that this prefix stands for, as seen from IPv6. Among several
    prefixes the longest range that holds an address decides, the first listed prefix on a tie.
    ``ipv6_hosts``: IPv4 addresses whose hosts live on the IPv6 side, at the address that this
    prefix embeds them in; IPv4 packets to them are translated.
    ``allow_non_global``: only for the well-known prefix, which otherwise carries no address that
    is not globally reachable (RFC 6052 section 3.1).
    """

    prefix: IPv6Network
    ipv4_ranges: tuple[IPv4Network, ...] = (EVERY_IPV4,)
    ipv6_hosts: tuple[IPv4Network, ...] = ()
    allow_non_global: tuple[IPv4Network, ...] = ()

    def __post_init__(self) -> None:
        if self.prefix.prefixlen not in RFC6052_LENGTHS:
            raise ValueError(
                f"{self.prefix}: the length is one of {', '.join(map(str, RFC6052_LENGTHS))} "
                "(RFC 6052 section 2.2)"
            )
        if self.prefix.network_address.packed[8] != 0 and self.prefix.prefixlen == 96:
            raise ValueError(f"{self.prefix}: bits 64 to 71 are zero (RFC 6052 section 2.2)")


@dataclass(frozen=True)
class EamEntry:
    """An explicit address mapping (RFC 7757): ``ipv4`` and ``ipv6`` name the same hosts.

    ``host`` says where those hosts really live. ``Side.IPV6`` (the usual case): packets from
    IPv4 to ``ipv4`` are translated, packets from IPv6 to ``ipv6`` are theirs already.
    ``Side.IPV4``: packets from IPv6 to ``ipv6`` are translated.
    """

    ipv4: IPv4Network
    ipv6: IPv6Network
    host: Side = Side.IPV6

    def __post_init__(self) -> None:
        if 32 - self.ipv4.prefixlen > 128 - self.ipv6.prefixlen:
            raise ValueError(
                f"{self.ipv4} = {self.ipv6}: the IPv6 suffix is shorter than the IPv4 suffix "
                "(RFC 7757 section 3.2)"
            )


@dataclass(frozen=True)
class Translation:
    """Everything the stateless translator is configured with.

    ``lowest_ipv6_mtu``: bytes; bounds IPv6 packets made from IPv4 packets without DF.
    ``traffic_class`` and ``tos``: a fixed octet for packets 4 to 6 and 6 to 4, None to copy.
    ``rfc6791_ipv4`` / ``rfc6791_ipv6``: sources of translated ICMP errors whose real source has
    no mapping; empty and None mean the box's own address.
    ``icmp_error_rate``: own ICMP errors a second and CPU; 0 sends none.
    """

    pref64: tuple[Pref64, ...] = ()
    eam: tuple[EamEntry, ...] = ()
    rfc6791_ipv4: tuple[IPv4Network, ...] = ()
    rfc6791_ipv6: IPv6Address | None = None
    lowest_ipv6_mtu: int = 1280
    traffic_class: int | None = None
    tos: int | None = None
    flow_label_hash: bool = False
    compute_udp_checksum: bool = True
    icmp_error_rate: int = 1000


@dataclass(frozen=True)
class Port:
    """An interface that the datapath is attached to.

    ``vlan``: (parent's ifindex, VLAN id) of an 802.1Q sub-interface; the program then runs on the
    parent. ``ipv4`` and ``ipv6`` are the sources of ICMP errors sent out of this port.
    """

    name: str
    ifindex: int
    mac: bytes
    mtu: int
    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None
    vlan: tuple[int, int] | None = None
    generic: bool = False


@dataclass(frozen=True)
class BoxAddresses:
    """The appliance's own addresses, on any interface; they are nobody else's to use."""

    ipv4: frozenset[IPv4Address] = field(default_factory=frozenset)
    ipv6: frozenset[IPv6Address] = field(default_factory=frozenset)
