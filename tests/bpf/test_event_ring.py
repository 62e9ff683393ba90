"""RFC 7915 section 4.5: a dropped first fragment of UDP without checksum is logged."""

from collections.abc import Iterator

import pytest

from bpf.ringbuf import RingBuffer
from tests.bpf.box import BOX4, FAR4, Box
from tests.bpf.harness import Udp, ether, ipv4
from tests.bpf.namespaces import fresh_namespace
from tests.vectors import load

VECTOR = next(each for each in load() if each.reason == "udp-zero-checksum")


@pytest.fixture
def box() -> Iterator[Box]:
    with fresh_namespace():
        box = Box()
        yield box
        box.close()


def events_of(box: Box, checksum: int | None) -> list[dict[str, object]]:
    loaded = box.program(VECTOR)
    inside = ".".join(map(str, VECTOR.packet[16:20]))
    upper = Udp(4000, 53, bytes(16), checksum=checksum)
    packet = ipv4("203.0.113.9", inside, upper, df=False, more=True)
    frame = ether(packet, source=FAR4, destination=BOX4)
    records: list[bytes] = []
    with RingBuffer(loaded.kept["event_ring"], records.append) as ring:
        loaded.program.run(frame, ingress_ifindex=box.ifindex[4])
        ring.consume()
    layout = loaded.btf.struct("trace_event")
    found = [layout.unpack(each) for each in records]
    for each in found:
        each["matches"] = each["head"][: len(frame)] == frame
    return found


def test_zero_checksum_in_a_first_fragment_is_logged_with_its_head(box: Box) -> None:
    (event,) = events_of(box, checksum=0)
    reasons = box.program(VECTOR).btf.enum("reason")
    assert event["reason"] == reasons["REASON_UDP_ZERO_CHECKSUM"]
    assert (event["ifindex"], event["matches"]) == (box.ifindex[4], True)


def test_a_fragment_with_a_checksum_is_not(box: Box) -> None:
    assert events_of(box, checksum=None) == []
