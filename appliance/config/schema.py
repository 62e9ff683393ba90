"""The schema: every setting said once, with its kind, default, help, unit and example.

These are the raw models, as the document has them; ``resolve.py`` makes the values that the
appliance works with. JSON Schema and docs/configuration.md come from here.
"""

from enum import Enum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from appliance.config import kinds
from appliance.config.kinds import Upstream
from bpf.model import EVERY_IPV4, Side


class Role(Enum):
    PODS = "pods"
    UPLINK = "uplink"
    MANAGEMENT = "management"


class Xdp(Enum):
    NATIVE = "native"
    GENERIC = "generic"
    OFF = "off"


class FlowLabel(Enum):
    ZERO = "zero"
    HASH = "hash"


class UdpZeroChecksum(Enum):
    COMPUTE = "compute"
    DROP = "drop"


def _unit(unit: str) -> dict[str, Any]:
    return {"unit": unit}


class Section(BaseModel):
    """A mapping of the document. Keys are written with '-' where the field has '_'."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=lambda name: name.replace("_", "-")
    )


class Vlan(Section):
    """An 802.1Q sub-interface, which edge64d makes when it is not there."""

    parent: Annotated[str, kinds.INTERFACE_NAME] = Field(
        description="The interface that carries the tagged frames.", examples=["uplink0"]
    )
    id: Annotated[int, kinds.integer(1, 4094, "a VLAN id")] = Field(
        description="The 802.1Q VLAN id.", examples=[64]
    )


class Interface(Section):
    """A network interface that edge64d owns: its addresses, MTU and datapath."""

    role: Annotated[Role, kinds.choice(Role)] = Field(
        description=(
            "`pods`: IPv6-only hosts are behind it, and the resolver listens on its addresses. "
            "`uplink`: the way to the IPv4 world. `management`: neither; no packet is translated "
            "there unless `xdp` says so."
        ),
        examples=["pods"],
    )
    addresses: tuple[Annotated[IPv4Interface | IPv6Interface, kinds.INTERFACE_ADDRESS], ...] = (
        Field(
            (),
            description=(
                "The box's addresses on this interface, each with the length of its subnet. "
                "The first of each family is the source of ICMP errors."
            ),
            examples=[["2001:db8:64::1/64", "192.0.2.1/24"]],
        )
    )
    mtu: Annotated[int, kinds.integer(68, 65535)] = Field(
        1500,
        description="The largest IP packet; at least 1280 where IPv6 is spoken.",
        examples=[9000],
        json_schema_extra=_unit("bytes"),
    )
    xdp: Annotated[Xdp | None, kinds.choice(Xdp).or_null()] = Field(
        None,
        description=(
            "Where the datapath runs: in the driver (`native`), behind it (`generic`: slower, for "
            "drivers without XDP), or not at all (`off`). null: `off` on management interfaces, "
            "`native` on others."
        ),
        examples=["native"],
    )
    vlan: Vlan | None = Field(None, description="Set for an 802.1Q sub-interface.")


class Route(Section):
    """A static route."""

    to: Annotated[IPv4Network | IPv6Network, kinds.NETWORK] = Field(
        description="The destination.", examples=["0.0.0.0/0"]
    )
    via: Annotated[IPv4Address | IPv6Address | None, kinds.ADDRESS.or_null()] = Field(
        None,
        description=(
            "The gateway, of the destination's family and inside a connected subnet. Without it "
            "the destination is on the link of `dev`."
        ),
        examples=["192.0.2.254"],
    )
    dev: Annotated[str | None, kinds.INTERFACE_NAME.or_null()] = Field(
        None,
        description=(
            "The interface. null: the one whose subnet holds the gateway; needed without a gateway "
            "and with a link-local one."
        ),
        examples=["uplink0"],
    )
    metric: Annotated[int, kinds.integer(1, 2**32 - 2)] = Field(
        100, description="Among routes to the same destination the lowest wins.", examples=[100]
    )


class Pref64(Section):
    """A translation prefix (RFC 6052)."""

    prefix: Annotated[IPv6Network, kinds.PREF64] = Field(
        description="The prefix that embeds IPv4 addresses.", examples=["64:ff9b::/96"]
    )
    ipv4_ranges: tuple[Annotated[IPv4Network, kinds.IPV4_NETWORK], ...] = Field(
        (EVERY_IPV4,),
        min_length=1,
        description=(
            "IPv4 hosts that this prefix stands for. Among several prefixes the longest range that "
            "holds an address decides, the first listed prefix on a tie."
        ),
        examples=[["0.0.0.0/0"]],
    )
    ipv6_hosts: tuple[Annotated[IPv4Network, kinds.IPV4_NETWORK], ...] = Field(
        (),
        description=(
            "IPv4 addresses whose hosts are really IPv6 hosts, at the address that this prefix "
            "embeds them in; IPv4 packets to them are translated."
        ),
        examples=[["198.51.100.0/24"]],
    )
    allow_non_global: tuple[Annotated[IPv4Network, kinds.IPV4_NETWORK], ...] = Field(
        (),
        description=(
            "IPv4 ranges that the well-known prefix carries although they are not globally "
            "reachable (RFC 6052 section 3.1). Resolver and datapath both obey it. Other prefixes "
            "carry every address."
        ),
        examples=[["10.0.0.0/8"]],
    )


class Eam(Section):
    """An explicit address mapping (RFC 7757): two networks that name the same hosts."""

    ipv4: Annotated[IPv4Network, kinds.IPV4_NETWORK] = Field(
        description="The hosts as IPv4 sees them.", examples=["198.51.100.200"]
    )
    ipv6: Annotated[IPv6Network, kinds.IPV6_NETWORK] = Field(
        description="The hosts as IPv6 sees them; the suffix at least as long as in `ipv4`.",
        examples=["2001:db8:64::c8"],
    )
    host: Annotated[Side, kinds.choice(Side)] = Field(
        Side.IPV6, description="The side on which the hosts really are.", examples=["ipv6"]
    )


class Rfc6791(Section):
    """Sources of translated ICMP errors whose real source has no mapping (RFC 6791)."""

    ipv4: tuple[Annotated[IPv4Network, kinds.IPV4_NETWORK], ...] = Field(
        (),
        description="Picked from by a hash of the IPv6 source. Empty: the box's own address.",
        examples=[["192.0.2.128/28"]],
    )
    ipv6: Annotated[IPv6Address | None, kinds.IPV6_ADDRESS.or_null()] = Field(
        None,
        description="null: the box's own address.",
        examples=["2001:db8:64::6791"],
    )


class Translation(Section):
    """What is translated, and how."""

    pref64: tuple[Pref64, ...] = Field((), description="Translation prefixes (RFC 6052).")
    eam: tuple[Eam, ...] = Field((), description="Explicit address mappings (RFC 7757).")
    rfc6791: Rfc6791 = Field(Rfc6791(), description="Sources of translated ICMP errors.")
    lowest_ipv6_mtu: Annotated[int, kinds.integer(1280, 65535)] = Field(
        1280,
        description="Bounds IPv6 packets made from IPv4 packets that may be fragmented (DF=0).",
        examples=[1280],
        json_schema_extra=_unit("bytes"),
    )
    traffic_class: Annotated[int | None, kinds.word_or_integer("copy", 0, 255)] = Field(
        None,
        description="The traffic class of packets 4 to 6: the TOS octet, or a fixed octet.",
        examples=["copy"],
        json_schema_extra={"default": "copy"},
    )
    tos: Annotated[int | None, kinds.word_or_integer("copy", 0, 255)] = Field(
        None,
        description="The TOS octet of packets 6 to 4: the traffic class, or a fixed octet.",
        examples=["copy"],
        json_schema_extra={"default": "copy"},
    )
    flow_label: Annotated[FlowLabel, kinds.choice(FlowLabel)] = Field(
        FlowLabel.ZERO,
        description="The flow label of packets 4 to 6: 0, or a hash of the flow.",
        examples=["zero"],
    )
    udp_zero_checksum: Annotated[UdpZeroChecksum, kinds.choice(UdpZeroChecksum)] = Field(
        UdpZeroChecksum.COMPUTE,
        description="IPv4 UDP packets without a checksum: compute one, or drop and count.",
        examples=["compute"],
    )
    icmp_error_rate: Annotated[int, kinds.integer(0, 1_000_000)] = Field(
        1000,
        description="Own ICMP errors at most; 0 sends none.",
        examples=[1000],
        json_schema_extra=_unit("per second and CPU"),
    )


class Dns64(Section):
    """The resolver (RFC 6147). Without this section there is none."""

    upstreams: tuple[Annotated[Upstream, kinds.UPSTREAM], ...] = Field(
        min_length=1,
        description="Name servers that are asked, in this order.",
        examples=[["192.0.2.53", "2001:db8::53@5353"]],
    )
    listen: tuple[Annotated[IPv4Address | IPv6Address, kinds.ADDRESS], ...] | None = Field(
        None,
        min_length=1,
        description="Own addresses that are listened on. null: all of `pods` interfaces.",
        examples=[["2001:db8:64::1"]],
    )
    port: Annotated[int, kinds.integer(1, 65535, "a port")] = Field(
        53, description="UDP and TCP port that is listened on.", examples=[53]
    )
    workers: Annotated[int | None, kinds.word_or_integer("auto", 1, 256)] = Field(
        None,
        description="Processes that answer; `auto`: one a CPU.",
        examples=["auto"],
        json_schema_extra={"default": "auto"},
    )
    exclude: tuple[Annotated[IPv6Network, kinds.IPV6_NETWORK], ...] = Field(
        (IPv6Network("::ffff:0:0/96"),),
        description="AAAA records in these networks are treated as absent (RFC 6147 5.1.4).",
        examples=[["::ffff:0:0/96"]],
    )


class Configuration(Section):
    """The whole document."""

    version: Annotated[int, kinds.integer(1, 1, "the number of this format:")] = Field(
        description="The version of the document's format.", examples=[1]
    )
    hostname: Annotated[str | None, kinds.HOST_NAME.or_null()] = Field(
        None, description="The box's host name; null leaves it alone.", examples=["edge64"]
    )
    interfaces: dict[Annotated[str, kinds.INTERFACE_NAME], Interface] = Field(
        {}, description="Network interfaces by name."
    )
    routes: tuple[Route, ...] = Field((), description="Static routes.")
    translation: Translation = Field(Translation(), description="What is translated, and how.")
    dns64: Dns64 | None = Field(None, description="The resolver.")
