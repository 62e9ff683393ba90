"""The XDP program against every hand-made vector."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from bpf.datapath import LoadedDatapath
from bpf.model import Port, Translation
from bpf.programs import RunResult, Verdict
from tests.bpf.harness import ether
from tests.bpf.namespaces import fresh_namespace, ip, veth
from tests.vectors import Expect, Surroundings, Vector, difference, load

BOX4, BOX6 = bytes.fromhex("0200000000b4"), bytes.fromhex("0200000000b6")
FAR4, FAR6 = bytes.fromhex("0200000000f4"), bytes.fromhex("0200000000f6")
BOX_MAC = {4: BOX4, 6: BOX6}
FAR_MAC = {4: FAR4, 6: FAR6}
ETHERTYPE = {4: b"\x08\x00", 6: b"\x86\xdd"}
LARGEST_MTU = 40000


class Box:
    """Two veth devices in a namespace, a gateway behind each, and the programs loaded so far."""

    def __init__(self) -> None:
        self.ifindex = {}
        self.programs: dict[tuple[Translation, Surroundings], LoadedDatapath] = {}
        self.mtus = {"net4": LARGEST_MTU, "net6": LARGEST_MTU}
        for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            Path("/proc/sys/net", name).write_text("1")
        for family, own, via in (
            (4, "203.0.113.1", "203.0.113.254"),
            (6, "2001:db8:6::1", "fe80::f"),
        ):
            name = f"net{family}"
            self.ifindex[family], _ = veth(name, f"far{family}", "mtu", str(LARGEST_MTU))
            ip("link", "set", name, "address", BOX_MAC[family].hex(":"))
            ip("address", "add", own, "dev", name, *(["nodad"] if family == 6 else []))
            ip("neigh", "add", via, "lladdr", FAR_MAC[family].hex(":"), "dev", name)
            ip(f"-{family}", "route", "add", "default", "via", via, "dev", name, "onlink")
        ip("address", "add", "203.0.113.2", "dev", "lo")
        ip("address", "add", "2001:db8:6::2", "dev", "lo", "nodad")

    def program(self, vector: Vector) -> LoadedDatapath:
        """The program with the vector's settings; the devices have its MTUs."""
        box = vector.surroundings
        for name, mtu in (("net4", box.mtu4), ("net6", box.mtu6)):
            if self.mtus[name] != mtu:
                ip("link", "set", name, "mtu", str(mtu))
                self.mtus[name] = mtu
        key = (vector.translation, box)
        if key not in self.programs:
            ports = (
                Port("net4", self.ifindex[4], BOX4, box.mtu4, ipv4=box.ipv4),
                Port("net6", self.ifindex[6], BOX6, box.mtu6, ipv6=box.ipv6),
            )
            self.programs[key] = LoadedDatapath(ports, vector.translation, box.own)
        return self.programs[key]

    def close(self) -> None:
        for each in self.programs.values():
            each.close()


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with fresh_namespace():
        box = Box()
        yield box
        box.close()


def reasons(program: LoadedDatapath) -> Counter[str]:
    """How often each reason was counted, over all ports and CPUs; the next-hop cache's aside."""
    total: Counter[str] = Counter()
    for port in program.counters():
        total.update(port.reasons)
    return Counter({name: n for name, n in total.items() if not name.startswith("next-hop-")})


def wrong_frame(result: RunResult, sent: bytes, came_from: int) -> str | None:
    """What is wrong with the verdict and the Ethernet header of a packet that was to be sent."""
    family = sent[0] >> 4
    verdict = Verdict.TX if family == came_from else Verdict.REDIRECT
    if result.retval != verdict:
        return f"expected {verdict.name}, got {Verdict(result.retval).name}"
    header = FAR_MAC[family] + BOX_MAC[family] + ETHERTYPE[family]
    if result.data_out[:14] != header:
        return f"expected header {header.hex(' ')}, got {result.data_out[:14].hex(' ')}"
    return None


@pytest.mark.parametrize("vector", load(), ids=str)
def test_vector(vector: Vector, box: Box) -> None:
    program = box.program(vector)
    family = vector.packet[0] >> 4
    frame = ether(vector.packet, source=FAR_MAC[family], destination=BOX_MAC[family])
    before = reasons(program)
    result = program.program.run(frame, ingress_ifindex=box.ifindex[family])
    counted = sorted((reasons(program) - before).elements())
    told = f"{Verdict(result.retval).name}, counted {counted}"
    match vector.expect:
        case Expect.PASS:
            assert (result.retval, counted) == (Verdict.PASS, []), told
            assert result.data_out == frame
        case Expect.SLOW_PATH:
            assert (result.retval, counted) == (Verdict.PASS, ["up-slow-path"]), told
            assert result.data_out == frame
        case Expect.DROP if vector.error is None:
            assert result.retval == Verdict.DROP, told
            assert set(counted) - {"error-suppressed", "no-own-address"} == {vector.reason}, told
        case Expect.DROP:
            assert counted == sorted(["error-sent", str(vector.reason)]), told
            assert_sent(result, vector.error or b"", family)
        case Expect.TRANSLATED:
            assert counted == [], told
            assert_sent(result, vector.outputs[0], family, vector)
        case Expect.UP_TRANSLATED:
            assert (result.retval, counted) == (Verdict.PASS, ["up-kernel-fragments"]), told
            wrong = difference(vector.outputs[0], result.data_out[14:], vector.free)
            assert wrong is None, wrong
            sent_family = vector.outputs[0][0] >> 4
            assert result.data_out[:6] == BOX_MAC[family], "the kernel would not take it"
            assert result.data_out[12:14] == ETHERTYPE[sent_family]


def assert_sent(
    result: RunResult, expected: bytes, came_from: int, vector: Vector | None = None
) -> None:
    wrong = wrong_frame(result, expected, came_from) or difference(
        expected, result.data_out[14:], vector.free if vector else ()
    )
    assert wrong is None, wrong


def test_identification_is_not_a_counter(box: Box) -> None:
    """Rule 2: where the identification is free, it does not tell what was sent before."""
    vector = next(v for v in load() if v.name == "udp-6to4")
    program = box.program(vector)
    frame = ether(vector.packet, source=FAR6, destination=BOX6)
    runs = [program.program.run(frame, ingress_ifindex=box.ifindex[6]) for _ in range(64)]
    seen = [int.from_bytes(run.data_out[18:20], "big") for run in runs]
    steps = {(b - a) % 65536 for a, b in pairwise(seen)}
    assert len(steps) > 32


def test_flow_label_follows_the_flow(box: Box) -> None:
    """Rule 8: the hash says the same for every packet of a flow, something else for another."""
    vector = next(v for v in load() if v.name == "flow-label-hash")
    program = box.program(vector)
    labels = []
    for port in (53, 53, 54, 55):
        packet = vector.packet[:20] + port.to_bytes(2, "big") + vector.packet[22:]
        frame = ether(packet, source=FAR4, destination=BOX4)
        result = program.program.run(frame, ingress_ifindex=box.ifindex[4])
        labels.append(int.from_bytes(result.data_out[14:18], "big") & 0xFFFFF)
    assert labels[0] == labels[1]
    assert len(set(labels)) > 1
