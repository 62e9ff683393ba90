"""The slow path's translator against every hand-made vector."""

from dataclasses import replace
from itertools import pairwise

import pytest

from appliance.slowpath.translate import Translator
from appliance.slowpath.verdict import (
    Context,
    Drop,
    Pass,
    SlowPath,
    Translated,
    UpTranslated,
    Verdict,
)
from tests.vectors import Expect, Vector, difference, load


def verdict(vector: Vector, allow_slow: bool) -> Verdict:
    box = vector.surroundings
    context = Context(
        mtu4=box.mtu4,
        mtu6=box.mtu6,
        ipv4=box.ipv4,
        ipv6=box.ipv6,
        egress_ipv4=box.ipv4,
        egress_ipv6=box.ipv6,
        allow_slow=allow_slow,
    )
    return Translator(vector.translation, box.own).translate(vector.packet, context)


def sent(answer: Verdict) -> tuple[bytes, ...]:
    """The packets that an answer translates to."""
    match answer:
        case Translated(packets):
            return packets
        case UpTranslated(packet):
            return (packet,)
        case _:
            return ()


def assert_outputs(vector: Vector, answer: Verdict) -> None:
    packets = sent(answer)
    assert len(packets) == len(vector.outputs), answer
    for expected, actual in zip(vector.outputs, packets, strict=True):
        assert difference(expected, actual, vector.free) is None, difference(
            expected, actual, vector.free
        )


@pytest.mark.parametrize("vector", load(), ids=str)
def test_vector(vector: Vector) -> None:
    answer = verdict(vector, allow_slow=True)
    match vector.expect:
        case Expect.PASS:
            assert answer == Pass()
        case Expect.DROP:
            assert isinstance(answer, Drop), answer
            assert answer.reason == vector.reason
            assert (answer.error is None) == (vector.error is None), answer
            if vector.error is not None and answer.error is not None:
                wrong = difference(vector.error, answer.error)
                assert wrong is None, wrong
        case Expect.TRANSLATED:
            assert isinstance(answer, Translated), answer
            assert_outputs(vector, answer)
        case Expect.UP_TRANSLATED:
            assert isinstance(answer, UpTranslated), answer
            assert_outputs(vector, answer)
        case Expect.SLOW_PATH:
            assert answer == SlowPath()
            answer = verdict(vector, allow_slow=False)
            assert isinstance(answer, Translated), answer
            assert_outputs(vector, answer)


def test_identification_is_not_a_counter() -> None:
    """Rule 2: where the identification is free, it does not tell what was sent before."""
    vector = next(v for v in load() if v.name == "udp-6to4")
    seen = [sent(verdict(vector, True))[0][4:6] for _ in range(64)]
    steps = {
        (int.from_bytes(b, "big") - int.from_bytes(a, "big")) % 65536 for a, b in pairwise(seen)
    }
    assert len(steps) > 32


def test_flow_label_follows_the_flow() -> None:
    """Rule 8: the hash says the same for every packet of a flow, something else for another."""
    vector = next(v for v in load() if v.name == "flow-label-hash")
    labels = []
    for port in (53, 53, 54, 55):
        packet = vector.packet[:20] + port.to_bytes(2, "big") + vector.packet[22:]
        output = sent(verdict(replace(vector, packet=packet), True))[0]
        labels.append(int.from_bytes(output[:4], "big") & 0xFFFFF)
    assert labels[0] == labels[1]
    assert len(set(labels)) > 1


def test_a_flipped_output_bit_is_seen() -> None:
    """The comparison above can fail: no byte of an output is outside it."""
    vector = next(v for v in load() if v.name == "tcp-syn-with-tcp-options")
    for at in range(len(vector.outputs[0])):
        output = bytearray(vector.outputs[0])
        output[at] ^= 0x80
        with pytest.raises(AssertionError):
            assert_outputs(replace(vector, outputs=(bytes(output),)), verdict(vector, True))
