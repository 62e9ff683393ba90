"""What a lab consists of, as data: namespaces, wires between them, addresses and routes.

    pod1 … podN, native ── podnet ── edge ── world ── servers
                          (bridge)             └───── branch ── remote
                                          (path MTU 1400)

Addresses are the documentation ranges, which the well-known prefix carries.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

POD_NETWORK = IPv6Network("2001:db8:64::/64")
EDGE_IPV6 = POD_NETWORK[1]
NATIVE_IPV6 = POD_NETWORK[0x80]
NATIVE_IPV4 = IPv4Address("198.51.100.80")  # not mapped until the demo does it

EDGE_IPV4 = IPv4Address("192.0.2.1")
WORLD = IPv4Address("192.0.2.254")
WEB = IPv4Address("203.0.113.80")
NAME_SERVER = IPv4Address("203.0.113.53")
CLIENT = IPv4Address("203.0.113.100")
REMOTE = IPv4Address("203.0.113.180")
NARROW_MTU = 1400
SECOND_EDGE_IPV4 = IPv4Address("203.0.113.193")
SECOND_WORLD = IPv4Address("203.0.113.194")

PREF64 = IPv6Network("64:ff9b::/96")
POD_RANGE = IPv4Network("198.51.100.0/24")
EMBEDDED_RANGE = IPv4Network("198.51.100.192/26")  # pods at 64:ff9b::/96, no EAM entry needed


def embedded(address: IPv4Address) -> IPv6Address:
    """``address`` under the lab's pref64 (RFC 6052, /96)."""
    return PREF64[int(address)]


@dataclass(frozen=True)
class Pod:
    """``ipv4`` is what an EAM entry maps the primary address to; ``embedded_ipv4`` the IPv4
    address within the secondary one."""

    number: int

    @property
    def name(self) -> str:
        return f"pod{self.number}"

    @property
    def ipv6(self) -> IPv6Address:
        return POD_NETWORK[0x100 + self.number]

    @property
    def ipv4(self) -> IPv4Address:
        return POD_RANGE[100 + self.number]

    @property
    def embedded_ipv4(self) -> IPv4Address:
        return POD_RANGE[200 + self.number]

    @property
    def embedded_ipv6(self) -> IPv6Address:
        return embedded(self.embedded_ipv4)


@dataclass(frozen=True)
class Route:
    """``source``: the address that the node itself sends from."""

    to: str
    via: str | None = None
    dev: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class Node:
    """A host, router or bridge in namespaces of its own.

    ``families``: 4 and 6; a node without a family has no address of it, not even on loopback.
    ``bridge``: its ends are ports of a bridge, and it speaks neither.
    ``resolver``: what its /etc/resolv.conf names.
    """

    name: str
    families: tuple[int, ...]
    forwards: bool = False
    bridge: bool = False
    routes: tuple[Route, ...] = ()
    resolver: str | None = None


@dataclass(frozen=True)
class End:
    """One end of a wire: an interface of a node, with addresses as in 192.0.2.1/24."""

    node: str
    name: str
    addresses: tuple[str, ...] = ()
    mtu: int = 1500


@dataclass(frozen=True)
class Plan:
    """``queues`` of every interface. ``product``: edge64 runs in `edge`; without it that
    namespace has bare interfaces, for tests that put something else there. ``second_uplink``: the
    world is also behind `uplink1`, by a route that only counts when the first is gone.
    ``one_armed``: the world is on the pods' segment, and `edge` has `pods0` alone."""

    pods: tuple[Pod, ...]
    nodes: tuple[Node, ...]
    wires: tuple[tuple[End, End], ...]
    queues: int = 1
    product: bool = True
    second_uplink: bool = False
    one_armed: bool = False

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)


def standard(
    pods: int = 2,
    queues: int = 1,
    product: bool = True,
    second_uplink: bool = False,
    one_armed: bool = False,
) -> Plan:
    """The lab that `edge64 lab up` makes."""
    all_pods = tuple(Pod(number) for number in range(1, pods + 1))
    resolver = str(EDGE_IPV6)
    uplink = End("podnet", "world") if one_armed else End("edge", "uplink0")
    return Plan(
        pods=all_pods,
        nodes=(
            *(
                Node(
                    pod.name,
                    families=(6,),
                    routes=(Route("::/0", via=str(EDGE_IPV6), source=str(pod.ipv6)),),
                    resolver=resolver,
                )
                for pod in all_pods
            ),
            Node(
                "native",
                families=(6,),
                routes=(Route("::/0", via=str(EDGE_IPV6)),),
                resolver=resolver,
            ),
            Node("podnet", families=(), bridge=True),
            Node("edge", families=(4, 6)),
            Node(
                "world",
                families=(4,),
                forwards=True,
                routes=(
                    Route(str(POD_RANGE), via=str(EDGE_IPV4)),
                    Route("203.0.113.160/27", via="203.0.113.130"),
                ),
            ),
            Node("servers", families=(4,), routes=(Route("0.0.0.0/0", via="203.0.113.1"),)),
            Node(
                "branch",
                families=(4,),
                forwards=True,
                routes=(Route("0.0.0.0/0", via="203.0.113.129"),),
            ),
            Node("remote", families=(4,), routes=(Route("0.0.0.0/0", via="203.0.113.161"),)),
        ),
        wires=(
            *(
                (
                    End(pod.name, "eth0", (f"{pod.ipv6}/64", f"{pod.embedded_ipv6}/128")),
                    End("podnet", pod.name),
                )
                for pod in all_pods
            ),
            (End("native", "eth0", (f"{NATIVE_IPV6}/64",)), End("podnet", "native")),
            (End("edge", "pods0"), End("podnet", "edge")),
            (uplink, End("world", "edge", (f"{WORLD}/24",))),
            *(
                ((End("edge", "uplink1"), End("world", "edge1", (f"{SECOND_WORLD}/30",))),)
                if second_uplink
                else ()
            ),
            (
                End("world", "servers", ("203.0.113.1/25",)),
                End("servers", "eth0", (f"{WEB}/25", f"{NAME_SERVER}/25", f"{CLIENT}/25")),
            ),
            (
                End("world", "branch", ("203.0.113.129/30",), NARROW_MTU),
                End("branch", "world", ("203.0.113.130/30",), NARROW_MTU),
            ),
            (
                End("branch", "remote", ("203.0.113.161/27",)),
                End("remote", "eth0", (f"{REMOTE}/27",)),
            ),
        ),
        queues=queues,
        product=product,
        second_uplink=second_uplink,
        one_armed=one_armed,
    )
