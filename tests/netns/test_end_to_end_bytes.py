"""Single packets to neighbours that edge64 has never spoken to: each arrives, every byte right."""

import itertools
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address

import pytest

from appliance.lab.client import Lab
from appliance.lab.plan import EDGE_IPV4, EDGE_IPV6, WEB, Pod, embedded
from tests.bpf.fields import ICMP, ICMPV6, TCP, UDP, difference
from tests.netns import wire

POD1 = Pod(1)
FRESH = itertools.count(1)
"""Every test case takes hosts that no other one had: nobody knows them as neighbours."""


@contextmanager
def new_uplink_host(lab: Lab) -> Iterator[IPv4Address]:
    """An IPv4 host on edge64's uplink that never said a word."""
    address = IPv4Address(int(IPv4Address("192.0.2.10")) + next(FRESH))
    with _address(lab, "world", "edge", f"{address}/32"):
        yield address


@contextmanager
def new_pod_address(lab: Lab) -> Iterator[tuple[IPv4Address, IPv6Address]]:
    """A further embedded address of pod1, as IPv4 and as IPv6."""
    ipv4 = IPv4Address(int(IPv4Address("198.51.100.210")) + next(FRESH))
    with _address(lab, "pod1", "eth0", f"{embedded(ipv4)}/128"):
        yield ipv4, embedded(ipv4)


@contextmanager
def _address(lab: Lab, node: str, interface: str, address: str) -> Iterator[None]:
    lab.run(node, "ip", "address", "add", address, "dev", interface, check=True)
    try:
        yield
    finally:
        lab.run(node, "ip", "address", "del", address, "dev", interface, check=True)


def unknown(lab: Lab, address: object) -> bool:
    return lab.run("edge", "ip", "neigh", "show", "to", str(address)).stdout == ""


def echo(kind: int, payload: bytes) -> tuple[int, int, bytes]:
    return kind, 0, struct.pack(">HH", 0x6464, 7) + payload


def tcp(source: wire.Address, destination: wire.Address, payload: bytes) -> bytes:
    segment = struct.pack(">HHIIBBHHH", 40000, 80, 1, 2, 0x50, 0x18, 1000, 0, 0) + payload
    return wire.with_checksum(source, destination, TCP, segment, 16)


def segment(
    protocol: int, source: wire.Address, destination: wire.Address, payload: bytes
) -> tuple[int, bytes]:
    """Protocol number and bytes of the same upper layer in the addresses' family."""
    if protocol == ICMP:
        if isinstance(source, IPv4Address):
            return ICMP, wire.icmp(source, destination, *echo(8, payload))
        return ICMPV6, wire.icmp(source, destination, *echo(128, payload))
    if protocol == TCP:
        return TCP, tcp(source, destination, payload)
    if protocol == UDP:
        return UDP, wire.udp(source, destination, 40000, 53, payload)
    return protocol, payload


PAYLOADS = [b"1", b"odd", os.urandom(512), os.urandom(1200), os.urandom(1400)]
UNKNOWN_PROTOCOL = 253
PROTOCOLS = [UDP, TCP, ICMP, UNKNOWN_PROTOCOL]


@pytest.mark.parametrize("payload", PAYLOADS, ids=len)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_cold_ipv4_neighbour(lab: Lab, protocol: int, payload: bytes) -> None:
    source, source4 = POD1.ipv6, POD1.ipv4
    with new_uplink_host(lab) as host:
        target = embedded(host)
        protocol6, before = segment(protocol, source, target, payload)
        protocol4, after = segment(protocol, source4, host, payload)
        assert unknown(lab, host)
        with (
            wire.capture(lab, "world", "edge") as arriving,
            wire.Sender(lab, "pod1") as sender,
        ):
            sender.send(
                wire.ipv6(source, target, protocol6, before, hop_limit=33, traffic_class=0xB9)
            )
            packet = arriving.packet(lambda ip: ip[16:20] == host.packed)
        small = 20 + len(after) <= 1260
        expected = wire.ipv4(
            source4,
            host,
            protocol4,
            after,
            ttl=32,
            tos=0xB9,
            ident=int.from_bytes(packet[4:6], "big") if small else 0,
            flags_offset=0 if small else 0x4000,
        )
        assert not (report := difference(packet, expected, "ip")), report


@pytest.mark.parametrize("payload", PAYLOADS, ids=len)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_cold_ipv6_neighbour(lab: Lab, protocol: int, payload: bytes) -> None:
    source6 = embedded(WEB)
    with new_pod_address(lab) as (host4, host):
        protocol4, before = segment(protocol, WEB, host4, payload)
        protocol6, after = segment(protocol, source6, host, payload)
        assert unknown(lab, host)
        with (
            wire.capture(lab, "pod1", "eth0") as arriving,
            wire.Sender(lab, "servers") as sender,
        ):
            sender.send(
                wire.ipv4(WEB, host4, protocol4, before, ttl=33, tos=0xB9, flags_offset=0x4000)
            )
            packet = arriving.packet(
                lambda ip: ip[8:24] == source6.packed and ip[24:40] == host.packed
            )
        # One hop is the world's router, one edge64.
        expected = wire.ipv6(source6, host, protocol6, after, hop_limit=31, traffic_class=0xB9)
        assert not (report := difference(packet, expected, "ip")), report


def test_cold_neighbour_of_a_packet_from_the_boxs_own_address(lab: Lab) -> None:
    """An error by an IPv6 router without a mapping leaves from edge64's own IPv4 address."""
    router = IPv6Address("2001:db8:64::aaaa")
    with new_uplink_host(lab) as host, _address(lab, "pod1", "eth0", f"{router}/128"):
        quoted = wire.ipv6(
            embedded(host), POD1.ipv6, UDP, wire.udp(embedded(host), POD1.ipv6, 53, 40000, b"lost")
        )
        error = wire.icmp(router, embedded(host), 1, 4, b"\0\0\0\0" + quoted)
        assert unknown(lab, host)
        with (
            wire.capture(lab, "world", "edge") as arriving,
            wire.Sender(lab, "pod1") as sender,
        ):
            sender.send(wire.ipv6(router, embedded(host), ICMPV6, error, hop_limit=33))
            packet = arriving.packet(lambda ip: ip[16:20] == host.packed)
        inner = wire.ipv4(host, POD1.ipv4, UDP, wire.udp(host, POD1.ipv4, 53, 40000, b"lost"))
        translated = wire.icmp(EDGE_IPV4, host, 3, 3, b"\0\0\0\0" + inner)
        ident = int.from_bytes(packet[4:6], "big")
        expected = wire.ipv4(EDGE_IPV4, host, ICMP, translated, ttl=32, ident=ident)
        assert not (report := difference(packet, expected, "ip")), report


def test_a_hop_limit_that_ends_here_is_answered(lab: Lab) -> None:
    target = embedded(WEB)
    sent = wire.ipv6(
        POD1.ipv6, target, UDP, wire.udp(POD1.ipv6, target, 40000, 53, b"short"), hop_limit=1
    )
    with wire.capture(lab, "pod1", "eth0") as arriving, wire.Sender(lab, "pod1") as sender:
        sender.send(sent)
        packet = arriving.packet(lambda ip: ip[6] == ICMPV6 and ip[40] == 3)
    error = wire.icmp(EDGE_IPV6, POD1.ipv6, 3, 0, b"\0\0\0\0" + sent)
    expected = wire.ipv6(EDGE_IPV6, POD1.ipv6, ICMPV6, error, hop_limit=64)
    assert not (report := difference(packet, expected, "ip")), report
