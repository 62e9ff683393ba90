"""The XDP program and the slow path's translator, each written apart, must agree on any packet.

What the RFCs leave free, and is therefore taken from the program's own answer: the IPv4
identification where there was no Fragment header and DF is 0, and the flow label where it is
hashed.
"""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.slowpath.translate import Translator
from appliance.slowpath.verdict import (
    Context,
    Drop,
    HopLimit,
    Pass,
    SlowPath,
    Translated,
    UpTranslated,
)
from bpf.programs import RunResult, Verdict
from tests.bpf.box import BOX_MAC, ETHERTYPE, FAR_MAC, Box, reasons
from tests.bpf.fields import difference as field_difference
from tests.bpf.harness import ether
from tests.bpf.mutations import mutated
from tests.bpf.namespaces import fresh_namespace
from tests.vectors import Vector, load

UNLIMITED = 1_000_000
OWN_IPV4 = (IPv4Address("203.0.113.1").packed, IPv4Address("203.0.113.2").packed)
VECTORS = [
    replace(each, translation=replace(each.translation, icmp_error_rate=UNLIMITED))
    for each in load()
]


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with fresh_namespace():
        box = Box()
        yield box
        box.close()


@settings(
    max_examples=4000,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(number=st.integers(0, len(VECTORS) - 1), seed=st.integers(0, 2**32 - 1))
def test_agree(box: Box, number: int, seed: int) -> None:
    vector = VECTORS[number]
    packet = mutated(vector.packet, Random(seed))
    family = vector.packet[0] >> 4
    assert disagreement(box, vector, packet, family) is None


def disagreement(box: Box, vector: Vector, packet: bytes, family: int) -> str | None:
    """How the program's answer differs from the translator's, or None."""
    program = box.program(vector)
    frame = ether(
        packet,
        source=FAR_MAC[family],
        destination=BOX_MAC[family],
        ethertype=int.from_bytes(ETHERTYPE[family], "big"),
    )
    before = reasons(program)
    result = program.program.run(frame, ingress_ifindex=box.ifindex[family])
    counted = sorted((reasons(program) - before).elements())
    answer = result.data_out[14:]
    around = vector.surroundings
    context = Context(
        mtu4=around.mtu4,
        mtu6=around.mtu6,
        ipv4=around.ipv4 if family == 4 else None,
        ipv6=around.ipv6 if family == 6 else None,
        egress_ipv4=around.ipv4,
        egress_ipv6=around.ipv6,
        identification=lambda: int.from_bytes(answer[4:6], "big"),
        flow_label=lambda *_: int.from_bytes(answer[1:4], "big") & 0xFFFFF,
        hop_limit=HopLimit.KEEP if counted == ["up-route"] else HopLimit.DECREMENT,
    )
    translator = Translator(vector.translation, around.own)
    expected = translator.translate(packet, context, family)
    wrong = _wrong(expected, result, counted, frame, answer)
    if wrong is None:
        return None
    return "\n".join(
        (
            f"{wrong}; started from {vector.name}",
            f"program: {Verdict(result.retval).name}, counted {counted}",
            f"packet   {packet.hex()}",
            f"expected {expected}",
            f"answer   {answer.hex()}",
        )
    )


def _wrong(
    expected: object, result: RunResult, counted: list[str], frame: bytes, answer: bytes
) -> str | None:
    verdict = result.retval
    match expected:
        case Pass():
            good = verdict == Verdict.PASS and not counted and result.data_out == frame
            return None if good else "should pass"
        case SlowPath():
            good = verdict == Verdict.PASS and counted == ["up-slow-path"]
            return None if good and result.data_out == frame else "should go to the slow path"
        case Drop(reason=reason, error=None, unsent=unsent):
            named = set(counted) - {"error-suppressed"}
            good = verdict == Verdict.DROP and named == {str(reason)} | (
                {"no-own-address"} if unsent else set()
            )
            return None if good else f"should be dropped as {reason}"
        case Drop(reason=reason, error=bytes(error)):
            if verdict != Verdict.TX or counted != sorted(["error-sent", str(reason)]):
                return f"should be refused as {reason}, with an error"
            return field_difference(answer, error, "ip") or None
        case Translated(packets=(one,)) if counted == ["up-route"]:
            # The kernel's own: the box's address as destination is not for XDP to send.
            if verdict != Verdict.PASS or one[16:20] not in OWN_IPV4:
                return "should be translated and sent"
            return field_difference(answer, one, "ip") or None
        case Translated(packets=(one,)):
            if verdict not in (Verdict.TX, Verdict.REDIRECT) or counted:
                return "should be translated and sent"
            return field_difference(answer, one, "ip") or None
        case UpTranslated(packet=one):
            if verdict != Verdict.PASS or counted != ["up-kernel-fragments"]:
                return "should go up translated"
            return field_difference(answer, one, "ip") or None
    return f"no packet should be {expected}"
