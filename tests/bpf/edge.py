"""A small edge for program runs: two devices, a gateway behind each, two mapped pods.

Unlike ``box.py`` it has addresses in subnets, so that hosts on the link exist beside gateways.
"""

import socket
from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

from bpf.datapath import LoadedDatapath
from bpf.model import BoxAddresses, EamEntry, Port, Pref64, Translation
from bpf.programs import RunResult
from tests.bpf.box import reasons
from tests.bpf.harness import Udp, ether, ipv4, ipv6
from tests.bpf.namespaces import ip, veth

BOX4, BOX6 = bytes.fromhex("0200000000b4"), bytes.fromhex("0200000000b6")
GATE4, GATE6 = bytes.fromhex("0200000000f4"), bytes.fromhex("0200000000f6")
HOST6 = bytes.fromhex("020000000088")
OWN4, OWN6 = IPv4Address("192.0.2.1"), IPv6Address("2001:db8:6::1")
WORLD = "203.0.113.9"
WORLD6 = "64:ff9b::203.0.113.9"
POD4, POD6 = "198.51.100.7", "2001:db8:7::7"  # behind the gateway
NEAR4, NEAR6 = "198.51.100.8", "2001:db8:6::8"  # on the link
TRANSLATION = Translation(
    (Pref64(IPv6Network("64:ff9b::/96")),),
    (
        EamEntry(IPv4Network(POD4), IPv6Network(POD6)),
        EamEntry(IPv4Network(NEAR4), IPv6Network(NEAR6)),
    ),
    icmp_error_rate=1_000_000,
)


class Edge:
    """Lives in the caller's network namespace."""

    def __init__(self, translation: Translation = TRANSLATION, mtu: int = 1500) -> None:
        for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            Path("/proc/sys/net", name).write_text("1")
        self.net4, _ = veth("net4", "far4", "mtu", str(mtu))
        self.net6, _ = veth("net6", "far6", "mtu", str(mtu))
        ip("link", "set", "net4", "address", BOX4.hex(":"))
        ip("link", "set", "net6", "address", BOX6.hex(":"))
        ip("address", "add", f"{OWN4}/24", "dev", "net4")
        ip("address", "add", f"{OWN6}/64", "dev", "net6", "nodad")
        ip("route", "add", "default", "via", "192.0.2.254")
        ip("-6", "route", "add", "default", "via", "2001:db8:6::fe")
        self.neighbour("192.0.2.254", "net4", GATE4)
        self.neighbour("2001:db8:6::fe", "net6", GATE6)
        self.neighbour(NEAR6, "net6", HOST6)
        self.mtu = mtu
        self.translation = translation
        self.loaded = self.load(self.ports())

    def ports(self) -> tuple[Port, ...]:
        return (
            Port("net4", self.net4, BOX4, self.mtu, ipv4=OWN4),
            Port("net6", self.net6, BOX6, self.mtu, ipv6=OWN6),
        )

    def load(self, ports: tuple[Port, ...], **changes: Any) -> LoadedDatapath:
        """A program of its own; ``changes`` to the translation."""
        own = BoxAddresses(frozenset((OWN4,)), frozenset((OWN6,)))
        loaded = LoadedDatapath(ports, replace(self.translation, **changes), own)
        loaded.set_route_bits(24, 64)
        return loaded

    @staticmethod
    def neighbour(address: str, device: str, mac: bytes) -> None:
        ip("neigh", "replace", address, "lladdr", mac.hex(":"), "dev", device)

    def run(self, frame: bytes, device: str, **options: Any) -> tuple[RunResult, Counter[str]]:
        """One run of the program; what it counted as reasons, the next-hop cache's too."""
        before = self.counted()
        result = self.loaded.program.run(
            frame, ingress_ifindex=socket.if_nametoindex(device), **options
        )
        return result, self.counted() - before

    def counted(self) -> Counter[str]:
        total = reasons(self.loaded)
        for port in self.loaded.counters():
            for name in ("next-hop-refilled", "next-hop-uncached"):
                total[name] += port.reasons[name]
        return total

    def close(self) -> None:
        self.loaded.close()


def from_world(data: bytes = b"question", to: str = POD4, **header: Any) -> bytes:
    """An IPv4 packet of UDP from the world to a pod."""
    return ipv4(WORLD, to, Udp(4000, 53, data), **header)


def at_pod(data: bytes = b"question", to: str = POD6, hop_limit: int = 63) -> bytes:
    """What it is at the pod."""
    return ipv6(WORLD6, to, Udp(4000, 53, data), hop_limit=hop_limit)


def from_pod(data: bytes = b"answer", source: str = POD6) -> bytes:
    return ipv6(source, WORLD6, Udp(53, 4000, data))


def to_world(ident: int, data: bytes = b"answer", source: str = POD4) -> bytes:
    df = len(data) + 28 > 1260
    return ipv4(source, WORLD, Udp(53, 4000, data), ttl=63, ident=ident, df=df)


def arriving(packet: bytes, **frame: Any) -> bytes:
    """The frame in which a gateway hands a packet to the box."""
    family = packet[0] >> 4
    source, destination = (GATE4, BOX4) if family == 4 else (GATE6, BOX6)
    return ether(packet, source=source, destination=destination, **frame)


def leaving(packet: bytes, to: bytes | None = None, **frame: Any) -> bytes:
    """The frame in which the box sends it on."""
    family = packet[0] >> 4
    source, gate = (BOX4, GATE4) if family == 4 else (BOX6, GATE6)
    return ether(packet, source=source, destination=to or gate, **frame)


def ident_of(result: RunResult, l2: int = 14) -> int:
    """The IPv4 identification that the program chose, which RFC 7915 leaves free."""
    return int.from_bytes(result.data_out[l2 + 4 : l2 + 6], "big")
