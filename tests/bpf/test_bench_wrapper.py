"""The benchmark's wrapper: a repeated run must meet a fresh frame of the next flow each time."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

import pytest

from bpf.libbpf import Object, Verdict
from tests.bench.frames import PAYLOAD, Flows
from tests.bench.programs import FIRST, FlowMap

MACS = bytes.fromhex("020000000001020000000002")
FLOWS = {
    4: Flows(MACS, IPv4Address("198.19.0.0"), IPv4Address("198.18.0.0"), 65536),
    6: Flows(MACS, IPv6Address("2001:db8:1::"), IPv6Address("64:ff9b::198.19.0.0"), 65536),
}


@pytest.fixture
def wrapper(open_object: Callable[[str], Object]) -> Object:
    opened = open_object("wrapper")
    opened.load()
    return opened


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("first", "packets"), [(0, 1), (0, 2), (7, 1000), (65535, 3)])
def test_each_round_has_its_own_flow(
    wrapper: Object, version: int, first: int, packets: int
) -> None:
    flows = FLOWS[version]
    FlowMap(wrapper).set(flows, first)
    measured = wrapper.program("return_tx")
    wrapper.map("measured").update(FIRST, measured.fd.to_bytes(4, "little"))
    whole = flows.frame(0).packed()
    frame = bytes(len(whole) - len(PAYLOAD)) + PAYLOAD  # no header of what was put in is needed
    result = wrapper.program(f"wrapper_ipv{version}").run(frame, packets)
    assert result.retval == Verdict.TX
    assert result.data_out == flows.frame(first + packets - 1).packed()


@pytest.mark.parametrize("version", [4, 6])
def test_size_is_restored_each_round(wrapper: Object, version: int) -> None:
    """The measured program grows the frame by 20 each time: at the end it is grown once."""
    flows = FLOWS[version]
    FlowMap(wrapper).set(flows)
    measured = wrapper.program("grow_tx")
    wrapper.map("measured").update(FIRST, measured.fd.to_bytes(4, "little"))
    start = flows.frame(0).packed()
    result = wrapper.program(f"wrapper_ipv{version}").run(start, 5000)
    assert result.retval == Verdict.TX
    assert result.data_out[20:] == flows.frame(4999).packed()


def test_without_a_measured_program_the_run_is_seen_to_fail(wrapper: Object) -> None:
    FlowMap(wrapper).set(FLOWS[4])
    result = wrapper.program("wrapper_ipv4").run(FLOWS[4].frame(0).packed(), 10)
    assert result.retval == Verdict.ABORTED
