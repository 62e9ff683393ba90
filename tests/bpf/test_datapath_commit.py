"""Commit, adoption, refusal, and what is told: counters, errors' rate, the trace ring."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest

from bpf.datapath import Datapath, TraceEvent
from bpf.errors import BpfError
from bpf.libbpf import Object
from bpf.links import Link, attached_xdp
from bpf.model import BoxAddresses, EamEntry, Port, Pref64
from bpf.programs import Verdict
from tests.bpf.edge import TRANSLATION, Edge, arriving, at_pod, from_world, leaving
from tests.bpf.harness import Udp, check_frame, ipv6
from tests.bpf.namespaces import fresh_namespace, ip

NOBODY = BoxAddresses()


@pytest.fixture
def edge() -> Iterator[Edge]:
    with fresh_namespace():
        edge = Edge()
        yield edge
        edge.close()


@pytest.fixture
def datapath(edge: Edge, bpffs: Path) -> Iterator[Datapath]:
    found = Datapath.open(bpffs)
    yield found
    found.close()


def packets(datapath: Datapath, job: str = "4to6") -> int:
    return sum(each.jobs[job].packets for each in datapath.counters())


def translate(datapath: Datapath, edge: Edge) -> None:
    assert datapath.current
    run = datapath.current.program.run(arriving(from_world()), ingress_ifindex=edge.net4)
    check_frame(run.data_out, leaving(at_pod()))


def test_commit_attaches_then_replaces_and_counters_go_on(datapath: Datapath, edge: Edge) -> None:
    first = datapath.commit(edge.ports(), TRANSLATION, NOBODY)
    assert (first.attached, first.replaced) == (("net4", "net6"), ())
    translate(datapath, edge)
    before = attached_xdp(edge.net4)
    second = datapath.commit(edge.ports(), replace(TRANSLATION, flow_label_hash=False), NOBODY)
    assert (second.attached, second.replaced) == ((), ("net4", "net6"))
    after = attached_xdp(edge.net4)
    assert before and after and before.program_id != after.program_id
    translate(datapath, edge)
    assert packets(datapath) == 2


def test_ports_that_are_left_out_are_detached(datapath: Datapath, edge: Edge) -> None:
    datapath.commit(edge.ports(), TRANSLATION, NOBODY)
    report = datapath.commit(edge.ports()[:1], TRANSLATION, NOBODY)
    assert report.detached == (str(edge.net6),)
    assert attached_xdp(edge.net6) is None
    assert attached_xdp(edge.net4) is not None


def test_a_new_process_adopts_what_runs(datapath: Datapath, edge: Edge, bpffs: Path) -> None:
    datapath.commit(edge.ports(), TRANSLATION, NOBODY)
    translate(datapath, edge)
    running = attached_xdp(edge.net4)
    datapath.close()  # as a kill does: descriptors go, pins stay
    assert attached_xdp(edge.net4) == running
    again = Datapath.open(bpffs)
    assert again.attached == (edge.net4, edge.net6)
    report = again.commit(edge.ports(), TRANSLATION, NOBODY)
    assert report.replaced == ("net4", "net6")
    translate(again, edge)
    assert packets(again) == 2
    again.close()


def test_a_commit_that_fails_leaves_all_as_it_was(
    datapath: Datapath, edge: Edge, open_object: Callable[[str], Object]
) -> None:
    datapath.commit(edge.ports()[:1], TRANSLATION, NOBODY)
    running = attached_xdp(edge.net4)
    foreign = open_object("loader")
    foreign.load()
    with Link.attach_xdp(foreign.program(foreign.program_names[0]), edge.net6):
        with pytest.raises(BpfError, match="already runs an XDP program"):
            datapath.commit(edge.ports(), TRANSLATION, NOBODY)
        assert attached_xdp(edge.net4) == running
    assert datapath.commit(edge.ports(), TRANSLATION, NOBODY).attached == ("net6",)


def test_generic_mode_and_back(datapath: Datapath, edge: Edge) -> None:
    generic = tuple(replace(each, generic=True) for each in edge.ports())
    datapath.commit(generic, TRANSLATION, NOBODY)
    modes = [attached_xdp(each) for each in (edge.net4, edge.net6)]
    assert all(each and each.generic for each in modes)
    datapath.commit(edge.ports(), TRANSLATION, NOBODY)
    modes = [attached_xdp(each) for each in (edge.net4, edge.net6)]
    assert all(each and not each.generic for each in modes)


def test_a_device_that_went_away_is_forgotten(datapath: Datapath, edge: Edge, bpffs: Path) -> None:
    datapath.commit(edge.ports(), TRANSLATION, NOBODY)
    ip("link", "del", "net6")
    assert datapath.commit(edge.ports()[:1], TRANSLATION, NOBODY).replaced == ("net4",)
    assert [each.name for each in bpffs.glob("link-*")] == [f"link-{edge.net4}"]


def test_detach_leaves_nothing(datapath: Datapath, edge: Edge, bpffs: Path) -> None:
    datapath.commit(edge.ports(), TRANSLATION, NOBODY)
    assert any(bpffs.iterdir())
    datapath.detach()
    left = {each.name for each in bpffs.iterdir()}
    assert left <= {"maps.debug", "progs.debug"}  # the file system's own
    assert attached_xdp(edge.net4) is None


def test_interfaces_that_cannot_be_told_apart_are_refused(edge: Edge) -> None:
    ports = (*edge.ports(), Port("far", edge.net4 + 256, bytes(6), 1500))
    with pytest.raises(BpfError, match=r"net4 and far .* cannot tell apart"):
        edge.load(ports)


def test_own_errors_have_a_rate(edge: Edge) -> None:
    edge.loaded.close()
    edge.loaded = edge.load(edge.ports(), icmp_error_rate=2)
    frame = arriving(from_world(ttl=1))
    runs = [edge.run(frame, "net4") for _ in range(4)]
    assert [run.retval for run, _ in runs] == [Verdict.TX] * 2 + [Verdict.DROP] * 2
    assert [counted["icmp-rate-limited"] for _, counted in runs] == [0, 0, 1, 1]
    time.sleep(1.1)
    assert edge.run(frame, "net4")[0].retval == Verdict.TX


def test_a_rate_of_none_sends_none(edge: Edge) -> None:
    edge.loaded.close()
    edge.loaded = edge.load(edge.ports(), icmp_error_rate=0)
    result, counted = edge.run(arriving(from_world(ttl=1)), "net4")
    assert (result.retval, counted["hop-limit"]) == (Verdict.DROP, 1)


def test_trace_tells_what_was_asked_for(datapath: Datapath, edge: Edge) -> None:
    datapath.commit(edge.ports(), TRANSLATION, NOBODY)
    assert datapath.current
    program = datapath.current.program
    good, bad = arriving(from_world()), arriving(from_world(ttl=1))
    events: list[TraceEvent] = []
    with datapath.trace(events.append) as ring:
        for drops, everything, wanted in (
            (False, False, []),
            (True, False, [("hop-limit", "drop")]),
            (True, True, [("none", "4to6"), ("hop-limit", "drop")]),
        ):
            datapath.set_trace(drops=drops, packets=everything)
            for frame in (good, bad):
                program.run(frame, ingress_ifindex=edge.net4)
            ring.consume()
            assert [(each.reason, each.job) for each in events] == wanted
            events.clear()
        program.run(bad, ingress_ifindex=edge.net4)
        ring.consume()
    (event,) = events
    assert (event.ifindex, event.frame_bytes) == (edge.net4, len(bad))
    assert event.head == bad.ljust(128, b"\0")[:128]


def test_the_largest_configuration_loads_and_translates(edge: Edge) -> None:
    """Eight prefixes, EAM entries of 113 IPv6 lengths, 32 interfaces: within the verifier's
    limits, and in seconds."""
    lengths = (96, 64, 56, 48, 40, 96, 96)
    pref64 = [
        *TRANSLATION.pref64,
        *(
            Pref64(IPv6Network(((0x2A00 + n) << 112, length)), (IPv4Network((20 + n << 24, 8)),))
            for n, length in enumerate(lengths)
        ),
    ]
    eam = [*TRANSLATION.eam]
    for length in range(16, 128):
        suffix = min(128 - length, 4)
        for n in range(30):
            address = (0x3 << 124 | length << 112 | n << (128 - length)) >> (128 - length)
            ipv4 = IPv4Network(((100 << 24) + ((length * 30 + n) << suffix), 32 - suffix))
            eam.append(EamEntry(ipv4, IPv6Network((address << (128 - length), length))))
    ports = edge.ports() + tuple(
        Port(f"vlan{n}", 1000 + n, bytes(6), 1500, vlan=(edge.net4, n)) for n in range(1, 31)
    )
    edge.loaded.close()
    begin = time.monotonic()
    edge.loaded = edge.load(
        ports, pref64=tuple(pref64), eam=tuple({e.ipv6: e for e in eam}.values())
    )
    assert time.monotonic() - begin < 20
    result, _ = edge.run(arriving(from_world()), "net4")
    check_frame(result.data_out, leaving(at_pod()))
    entry = next(each for each in eam if each.ipv6.prefixlen == 120)
    result, _ = edge.run(arriving(from_world(to=str(entry.ipv4[3]))), "net4")
    shifted = int(entry.ipv6.network_address) + (3 << (128 - 120 - 4))
    at = ipv6(
        "64:ff9b::203.0.113.9",
        str(IPv6Network((shifted, 128)).network_address),
        Udp(4000, 53, b"question"),
        hop_limit=63,
    )
    check_frame(result.data_out, leaving(at))


def test_more_than_the_limits_is_refused_in_words(edge: Edge) -> None:
    ports = tuple(Port(f"p{n}", 500 + n, bytes(6), 1500) for n in range(33))
    with pytest.raises(BpfError, match="33 interfaces; the datapath serves at most 32"):
        edge.load(ports)
