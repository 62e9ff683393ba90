"""What of the datapath's events reaches the log."""

from appliance.daemon.events import MOST_LINES_A_SECOND, EventLog, describe
from bpf.datapath import TraceEvent
from tests.bpf.harness import Udp, ether, ipv4

PACKET = ipv4("203.0.113.9", "198.51.100.7", Udp(4000, 53, b"query", checksum=0), more=True)


def event(head: bytes) -> TraceEvent:
    return TraceEvent(1, 3, 0, "udp-zero-checksum", "drop", len(head), head.ljust(128, b"\0"))


def test_addresses_and_ports_are_told() -> None:
    told = "dropped on interface 3: udp-zero-checksum, UDP 203.0.113.9 port 4000 to "
    told += "198.51.100.7 port 53"
    assert describe(event(ether(PACKET))) == told
    assert describe(event(ether(PACKET, vlans=(7,)))) == told


def test_options_do_not_hide_the_ports() -> None:
    packet = ipv4("203.0.113.9", "198.51.100.7", Udp(4000, 53), options=b"\1\1\1\0")
    assert describe(event(ether(packet))).endswith("port 4000 to 198.51.100.7 port 53")


def test_what_is_no_ipv4_is_named_all_the_same() -> None:
    told = "dropped on interface 3: udp-zero-checksum"
    assert describe(event(b"\0" * 12 + b"\x86\xdd")) == told


def test_a_flood_is_counted_and_not_written() -> None:
    lines: list[str] = []
    now = 100.0
    events = EventLog(lines.append, lambda: now)
    for _ in range(MOST_LINES_A_SECOND + 5):
        events.add(event(ether(PACKET)))
    assert len(lines) == MOST_LINES_A_SECOND
    now = 101.0
    events.add(event(ether(PACKET)))
    assert lines[MOST_LINES_A_SECOND] == "5 more dropped packets were not logged"
    assert len(lines) == MOST_LINES_A_SECOND + 2
