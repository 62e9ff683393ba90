"""The XDP program against every hand-made vector."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from bpf.programs import RunResult, Verdict
from tests.bpf.box import BOX4, BOX6, BOX_MAC, ETHERTYPE, FAR4, FAR6, FAR_MAC, Box, reasons
from tests.bpf.harness import ether
from tests.bpf.namespaces import fresh_namespace
from tests.vectors import Expect, Vector, difference, load


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with fresh_namespace():
        box = Box()
        yield box
        box.close()


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
