"""edge64 with one interface: pods and the IPv4 world are on the same segment."""

import re
from collections.abc import Iterator

import pytest

from appliance.lab import client
from appliance.lab.client import Lab
from appliance.lab.plan import EDGE_IPV6, WEB, WORLD, Pod, embedded
from tests.netns import wire
from tests.netns.conftest import unique

POD1, POD2 = Pod(1), Pod(2)
UNDER = "64:ff9b::"
ICMP_REDIRECT, ICMPV6_REDIRECT = 5, 137


@pytest.fixture(scope="module")
def one_armed() -> Iterator[Lab]:
    lab = client.start(unique("one-armed"), one_armed=True)
    yield lab
    lab.down()


def test_it_has_one_interface(one_armed: Lab) -> None:
    said = one_armed.run("edge", "ip", "-o", "link", check=True).stdout
    names = {line.split()[1].partition("@")[0].strip(":") for line in said.splitlines()}
    assert names == {"lo", "pods0", "e64slow"}


def test_page_by_name(one_armed: Lab) -> None:
    said = one_armed.run("pod1", "curl", "-sS", "http://v4only.example/", check=True).stdout
    assert said == f"I am {WEB} and have no IPv6\n"


def test_download_is_whole(one_armed: Lab) -> None:
    fetch = "curl -sS --fail http://v4only.example/100MB.bin | sha256sum"
    said = one_armed.run("pod1", "sh", "-c", fetch, seconds=60, check=True).stdout
    assert said.split()[0] == one_armed.facts["sha256"]


def test_an_ipv4_client_opens_a_pods_page(one_armed: Lab) -> None:
    said = one_armed.run("servers", "curl", "-sS", "--max-time", "5", f"http://{POD2.ipv4}/")
    assert said.stdout == f"I am {POD2.name}, {POD2.ipv6}, without IPv4\n"


def test_ping_both_ways(one_armed: Lab) -> None:
    ping = ("ping", "-c", "5", "-i", "0.02")
    said = one_armed.run("pod1", *ping, f"{UNDER}{WEB}", check=True).stdout
    assert said.count("ttl=62") == 5
    said = one_armed.run("servers", *ping, str(POD1.embedded_ipv4), check=True).stdout
    assert said.count("ttl=62") == 5


def test_traceroute_shows_every_hop(one_armed: Lab) -> None:
    command = ("traceroute", "-6", "-n", "-q", "1", "-w", "3", f"{UNDER}{WEB}")
    said = one_armed.run("pod1", *command, seconds=60, check=True).stdout
    path = [EDGE_IPV6, embedded(WORLD), embedded(WEB)]
    assert re.findall(r"^\s*\d+\s+(\S+)", said, re.MULTILINE) == [str(hop) for hop in path]


def test_nobody_is_told_to_go_elsewhere(one_armed: Lab) -> None:
    """What the kernel forwards back out of the same interface must draw no redirect."""
    fresh = "198.51.100.250"
    address = f"{UNDER}{fresh}/128"
    one_armed.run("pod1", "ip", "address", "add", address, "dev", "eth0", check=True)
    with (
        wire.capture(one_armed, "world", "edge") as to_world,
        wire.capture(one_armed, "pod1", "eth0") as to_pod,
    ):
        one_armed.run("servers", "ping", "-c", "3", "-i", "0.02", fresh, check=True)
        big = ("ping", "-c", "3", "-i", "0.02", "-s", "1400", str(POD1.ipv4))
        one_armed.run("servers", *big, check=True)
        packets4 = [frame[14:] for frame in to_world.waiting() if frame[12:14] == b"\x08\0"]
        packets6 = [frame[14:] for frame in to_pod.waiting() if frame[12:14] == b"\x86\xdd"]
    assert len(packets4) >= 6
    assert len(packets6) >= 6
    assert not [p for p in packets4 if p[9] == 1 and p[20] == ICMP_REDIRECT]
    assert not [p for p in packets6 if p[6] == 58 and p[40] == ICMPV6_REDIRECT]
