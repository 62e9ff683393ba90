"""The benchmark's frames against packets taken apart by hand."""

from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise

import pytest

from tests.bench.frames import Flows, Frame, checksum, differences

MACS = bytes.fromhex("020000000001020000000002")


def test_checksum_of_rfc1071_example() -> None:
    # RFC 1071 section 3: 0001 f203 f4f5 f6f7 sum to ddf2.
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == bytes.fromhex("220d")


def test_ipv4_frame_octet_by_octet() -> None:
    frame = Frame(MACS, IPv4Address("198.19.0.1"), IPv4Address("198.18.0.2"), 53, 1024)
    expected = (
        MACS.hex() + "0800" + "4500002e" + "00000000" + "4011" + "ee96" + "c6130001" + "c6120002"
    )
    assert frame.packed()[:34].hex() == expected
    assert frame.packed()[34:40].hex() == "00350400001a"
    assert len(frame.packed()) == 60


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        (IPv4Address("198.19.1.2"), IPv4Address("198.18.3.4")),
        (IPv6Address("64:ff9b::198.19.1.2"), IPv6Address("2001:db8::5:6")),
    ],
)
def test_udp_checksum_adds_up(source: IPv4Address, destination: IPv4Address) -> None:
    frame = Frame(MACS, source, destination, 40000, 9)
    assert checksum(frame.pseudo_header(), frame.udp_header(), frame.payload) == b"\0\0"


def test_udp_checksum_of_zero_is_written_ffff() -> None:
    found = {
        Frame(MACS, IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"), port, 9).udp_header()[6:]
        for port in range(65536)
    }
    assert b"\xff\xff" in found
    assert b"\0\0" not in found


def test_flows_all_differ_in_addresses_and_ports() -> None:
    flows = Flows(MACS, IPv4Address("198.19.0.0"), IPv4Address("198.18.0.0"), 65536)
    frames = [flows.frame(n) for n in range(65536)]
    for part in ("source", "destination", "sport", "dport"):
        assert len({getattr(frame, part) for frame in frames}) == 65536
    assert len({int(frame.destination) >> 8 for frame in frames}) == 256
    # Neighbours in time have different next hops.
    assert all(
        int(a.destination) >> 8 != int(b.destination) >> 8 for a, b in pairwise(frames[:1000])
    )


def test_one_flow_stays_one() -> None:
    flows = Flows(MACS, IPv4Address("198.19.0.0"), IPv4Address("198.18.0.0"))
    assert flows.frame(0) == flows.frame(65535)


@pytest.mark.parametrize("version", [4, 6])
def test_blank_sums_give_the_checksums(version: int) -> None:
    base = {4: ("198.19.0.0", "198.18.0.0"), 6: ("64:ff9b::c613:0", "64:ff9b::c612:0")}[version]
    address = IPv4Address if version == 4 else IPv6Address
    flows = Flows(MACS, address(base[0]), address(base[1]), 65536)
    head, _, l4_sum = flows.blank()
    assert len(head) == 14 + (20 if version == 4 else 40) + 8
    frame = flows.frame(12345)
    flow = flows.number(12345)
    changed = [flow, flow ^ 0x5A5A, flow ^ 0x8001, flow ^ 0x1357]
    total = l4_sum + sum(int.from_bytes(n.to_bytes(2, "big"), "little") for n in changed)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert (total ^ 0xFFFF).to_bytes(2, "little") == frame.udp_header()[6:]


@pytest.mark.parametrize(("count", "low"), [(3, 0), (131072, 0), (16, 1)])
def test_flows_that_cannot_be(count: int, low: int) -> None:
    with pytest.raises(ValueError, match=r"power of two|low 16 bits"):
        Flows(MACS, IPv4Address("198.19.0.0") + low, IPv4Address("198.18.0.0"), count)


def test_differences() -> None:
    assert list(differences(b"abc", b"abc")) == []
    assert list(differences(b"abc", b"abd")) == ["octet 2 is 64, not 63"]
    assert list(differences(b"abc", b"ab")) == ["2 octets, not 3"]
