"""What XDP leaves to the slow path: IPv4 without DF that must leave in several IPv6 fragments."""

import os
import select
import socket

import pytest

from appliance.lab.client import Lab
from appliance.lab.plan import CLIENT, Pod, embedded
from tests.netns import wire

POD1 = Pod(1)
IP_MTU_DISCOVER, IP_PMTUDISC_DONT, IP_PMTUDISC_DO = 10, 0, 2
ICMP_ECHO = 8


@pytest.mark.parametrize("size", [1, 1212, 1213, 1400, 1452, 1472, 1473, 3000, 9000, 20000, 60000])
@pytest.mark.parametrize("address", [POD1.ipv4, POD1.embedded_ipv4], ids=["eam", "embedded"])
def test_a_datagram_that_may_be_fragmented_arrives_whole(
    lab: Lab, size: int, address: object
) -> None:
    payload = os.urandom(size)
    with lab.network("pod1"):
        receiving = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with lab.network("servers"):
        sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiving, sending:
        receiving.bind(("::", 0))
        sending.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
        sending.bind((str(CLIENT), 0))
        sending.sendto(payload, (str(address), receiving.getsockname()[1]))
        assert select.select([receiving], [], [], wire.SECONDS)[0], "nothing arrived"
        data, peer = receiving.recvfrom(65535)
        assert data == payload
        assert peer[:2] == (str(embedded(CLIENT)), sending.getsockname()[1])


@pytest.mark.parametrize("size", [1400, 1432, 1433, 3000, 9000, 60000])
def test_a_pods_fragments_arrive_whole(lab: Lab, size: int) -> None:
    payload = os.urandom(size)
    with lab.network("servers"):
        receiving = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with lab.network("pod1"):
        sending = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with receiving, sending:
        receiving.bind((str(CLIENT), 0))
        sending.bind((str(POD1.ipv6), 0))
        sending.sendto(payload, (str(embedded(CLIENT)), receiving.getsockname()[1]))
        assert select.select([receiving], [], [], wire.SECONDS)[0], "nothing arrived"
        data, peer = receiving.recvfrom(65535)
        assert data == payload
        assert peer == (str(POD1.ipv4), sending.getsockname()[1])


def test_fragments_stay_within_the_lowest_mtu(lab: Lab) -> None:
    with (
        lab.network("servers"),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending,
        wire.capture(lab, "pod1", "eth0") as arriving,
    ):
        sending.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
        sending.sendto(os.urandom(4000), (str(POD1.ipv4), 4662))
        lengths: list[int] = []
        for _, frame in arriving.frames():
            packet = frame[wire.ETHER_BYTES :]
            if packet[6] == 44 and packet[24:40] == POD1.ipv6.packed:
                lengths.append(40 + int.from_bytes(packet[4:6], "big"))
                if sum(lengths) >= 8 + 4000 + 48 * len(lengths):
                    break
    assert sum(lengths) == 8 + 4000 + 48 * len(lengths), "all of it, once"
    assert max(lengths) <= 1280


def test_a_fragmented_ping_is_refused_and_counted(lab: Lab) -> None:
    """An echo's IPv6 checksum covers a length that no single fragment knows."""
    said = lab.run("servers", "ping", "-c", "1", "-W", "1", "-s", "3000", str(POD1.ipv4))
    assert ", 100% packet loss" in said.stdout
    assert "fragmented-icmp" in lab.run("edge", "edge64", "counters", check=True).stdout
