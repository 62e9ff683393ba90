"""Mapped addresses inside a connected subnet: answered for in ARP and ND, and announced."""

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address

from appliance.lab import box
from appliance.lab.client import Lab
from appliance.lab.plan import NATIVE_IPV6, REMOTE
from tests.netns import control, wire
from tests.netns.test_end_to_end_changes import mac

ON_UPLINK = IPv4Address("192.0.2.80")
ON_POD_NETWORK = IPv6Address("2001:db8:64::eeee")
ETHERTYPE_ARP = b"\x08\x06"
NEIGHBOUR_ADVERTISEMENT = 136


@contextmanager
def with_eam(lab: Lab, entry: str) -> Iterator[None]:
    document = box.document(lab.plan)
    control.apply(lab, document.replace("  eam:\n", f"  eam:\n    - {entry}\n"))
    try:
        yield
    finally:
        control.apply(lab, document)


def test_ipv4_address_on_the_uplink(lab: Lab) -> None:
    own = mac(lab, "edge", "uplink0")
    with (
        wire.capture(lab, "world", "edge") as arriving,
        with_eam(lab, f"{{ipv4: {ON_UPLINK}, ipv6: '{NATIVE_IPV6}'}}"),
    ):
        page = lab.run("world", "curl", "-sS", "--max-time", "5", f"http://{ON_UPLINK}/")
        assert page.stdout == f"I am {NATIVE_IPV6} and have no IPv4\n"
        neighbour = lab.run("world", "ip", "neigh", "show", "to", str(ON_UPLINK)).stdout
        assert own.hex(":") in neighbour
        announced = [
            frame
            for frame in arriving.waiting()
            if frame[12:14] == ETHERTYPE_ARP
            and frame[28:32] == frame[38:42] == ON_UPLINK.packed  # sender and target
        ]
    assert announced
    assert {frame[22:28] for frame in announced} == {own}


def test_ipv6_address_on_the_pods_network(lab: Lab) -> None:
    own = mac(lab, "edge", "pods0")
    entry = f"{{ipv4: {REMOTE}, ipv6: '{ON_POD_NETWORK}', host: ipv4}}"
    with wire.capture(lab, "pod1", "eth0") as arriving, with_eam(lab, entry):
        page = lab.run("pod1", "curl", "-sS", "--max-time", "5", f"http://[{ON_POD_NETWORK}]/")
        assert page.stdout == f"I am {REMOTE}, behind a narrow path\n"
        neighbour = lab.run("pod1", "ip", "neigh", "show", "to", str(ON_POD_NETWORK)).stdout
        assert own.hex(":") in neighbour
        packets = [frame[wire.ETHER_BYTES :] for frame in arriving.waiting()]
    advertised = [
        packet
        for packet in packets
        if packet[6:7] == b"\x3a"
        and packet[40] == NEIGHBOUR_ADVERTISEMENT
        and packet[48:64] == ON_POD_NETWORK.packed
    ]
    unasked = [packet for packet in advertised if not packet[44] & 0x40]
    assert unasked, "announced without being asked"
    assert {packet[66:72] for packet in advertised} == {own}


def test_an_address_that_is_not_mapped_any_more_is_nobodys(lab: Lab) -> None:
    with with_eam(lab, f"{{ipv4: {ON_UPLINK}, ipv6: '{NATIVE_IPV6}'}}"):
        pass
    lab.run("world", "ip", "neigh", "flush", "to", str(ON_UPLINK))
    said = lab.run("world", "ping", "-c", "1", "-W", "2", str(ON_UPLINK)).stdout
    assert ", 100% packet loss" in said
