"""The vectors themselves: every stored length and checksum is right, unless it is said not to be.

A vector with a slip in it would blame an implementation that is right.
"""

import pytest

from tests.vectors import Expect, Vector, difference, load, packet_bytes
from tests.vectors.checksums import faults, reassembled

VECTORS = load()
LIMIT = {4: 576, 6: 1280}


def test_there_are_enough() -> None:
    assert len(VECTORS) >= 50


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_packets_are_as_described(vector: Vector) -> None:
    found = {f"input-{part}": what for part, what in faults(vector.packet)}
    outputs = vector.outputs
    if len(outputs) > 1 and not int.from_bytes(outputs[0][42:44], "big") >> 3:
        last = int.from_bytes(outputs[-1][42:44], "big")
        if not last & 1:
            outputs = (*outputs, reassembled(outputs))
    for output in outputs:
        found |= {f"output-{part}": what for part, what in faults(output)}
    assert {k: v for k, v in found.items() if k not in vector.odd} == {}
    assert vector.odd <= found.keys(), "named as odd, but nothing is wrong"


@pytest.mark.parametrize("vector", [v for v in VECTORS if v.error], ids=str)
def test_errors_quote_as_much_as_fits(vector: Vector) -> None:
    error = vector.error or b""
    family = error[0] >> 4
    assert family == vector.packet[0] >> 4
    header = 28 if family == 4 else 48
    length = int.from_bytes(vector.packet[2:4], "big")
    if family == 6:
        length = 40 + int.from_bytes(vector.packet[4:6], "big")
    assert error[header:] == vector.packet[: min(length, LIMIT[family] - header)]
    assert {part for part, _ in faults(error)} <= {"inner"}


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_verdict_is_complete(vector: Vector) -> None:
    count = len(vector.outputs)
    match vector.expect:
        case Expect.TRANSLATED | Expect.UP_TRANSLATED:
            assert count == 1 and not vector.reason and not vector.error
        case Expect.SLOW_PATH:
            assert count and not vector.reason and not vector.error
        case Expect.PASS:
            assert not count and not vector.reason and not vector.error
        case Expect.DROP:
            assert vector.reason and not count
    if vector.expect == Expect.DROP or not vector.outputs or vector.outputs[0][0] >> 4 == 6:
        assert all(free.what == "flow label" for free in vector.free)


def test_hex_with_comments_and_fill() -> None:
    assert packet_bytes("45 00 # version\n0102\nfill 3 from 250\nfill 2") == bytes.fromhex(
        "45000102fa00010001"
    )


def test_difference_is_seen() -> None:
    vector = next(v for v in VECTORS if v.name == "udp-6to4")
    good = vector.outputs[0]
    assert difference(good, good, vector.free) is None
    for at in range(len(good)):
        other = bytearray(good)
        other[at] ^= 1
        assert difference(good, bytes(other), vector.free), f"byte {at}"
    assert difference(good, good + b"\0", vector.free)
    assert difference(good, good[:-1], vector.free)
