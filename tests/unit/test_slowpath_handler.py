"""One packet after another through the slow path's process, without its device."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.slowpath.counters import Counters, CountersFile
from appliance.slowpath.handler import PacketHandler
from appliance.slowpath.limiter import RateLimiter
from appliance.slowpath.settings import Settings
from tests.unit.slowpath_packets import (
    BOX4,
    OTHER_POD4,
    OTHER_POD6,
    OWN,
    POD4,
    POD6,
    TRANSLATION,
    WORLD4,
    WORLD6,
    icmp,
    ipv4,
    ipv6,
    udp,
)
from tests.unit.slowpath_packets import ON_THE_SLOW_PATH as BOX

SETTINGS = Settings(TRANSLATION, 1500, 1500, BOX.ipv4, BOX.ipv6, OWN)
SPENT = ipv4(WORLD4, POD4, 17, udp(WORLD4, POD4), ttl=0)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Kernel:
    """Takes packets, unless it is down."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.down = False

    def take(self, packet: bytes) -> None:
        if self.down:
            raise OSError(5, "Input/output error")
        self.packets.append(packet)


def handler(kernel: Kernel, settings: Settings = SETTINGS) -> tuple[PacketHandler, Counters, Clock]:
    counters, clock = Counters(), Clock()
    return PacketHandler(settings, counters, kernel.take, clock), counters, clock


def test_each_verdict_is_counted_and_its_packets_go_back() -> None:
    kernel = Kernel()
    slow, counters, _ = handler(kernel)
    slow.handle(ipv4(WORLD4, POD4, 17, udp(WORLD4, POD4)))
    slow.handle(ipv4(WORLD4, POD4, 17, udp(WORLD4, POD4, bytes(2000)), identification=3))
    slow.handle(ipv6(OTHER_POD6, "64:ff9b::192.0.2.7", 17, udp(OTHER_POD6, "64:ff9b::192.0.2.7")))
    slow.handle(ipv4(WORLD4, WORLD4, 17, b""))
    slow.handle(b"")
    slow.handle(SPENT)
    assert kernel.packets[0] == ipv6(WORLD6, POD6, 17, udp(WORLD6, POD6), hop_limit=65)
    assert [len(packet) for packet in kernel.packets[1:3]] == [1280, 48 + 2008 - 1232]
    assert kernel.packets[4] == ipv4(BOX4, WORLD4, 1, icmp(11, 0, 0, SPENT))
    assert len(kernel.packets) == 5
    assert dict(counters.packets) == {
        "received": 6,
        "4to6": 2,
        "hairpin": 1,
        "not-for-translation": 2,
        "sent": 5,
    }
    assert dict(counters.drops) == {"hop-limit": 1}
    assert dict(counters.icmp_errors) == {"sent": 1}


def test_own_errors_are_limited_by_the_second() -> None:
    kernel = Kernel()
    limited = replace(SETTINGS, translation=replace(TRANSLATION, icmp_error_rate=3))
    slow, counters, clock = handler(kernel, limited)
    for _ in range(5):
        slow.handle(SPENT)
    assert len(kernel.packets) == 3
    clock.now += 1
    slow.handle(SPENT)
    assert len(kernel.packets) == 4
    assert dict(counters.icmp_errors) == {"sent": 4, "icmp-rate-limited": 2}
    assert counters.drops["hop-limit"] == 6


def test_no_errors_at_rate_zero() -> None:
    assert not RateLimiter(0, Clock()).allows()


def test_an_error_without_an_address_is_counted() -> None:
    kernel = Kernel()
    slow, counters, _ = handler(kernel, replace(SETTINGS, ipv4=None))
    slow.handle(SPENT)
    assert kernel.packets == []
    assert dict(counters.icmp_errors) == {"no-own-address": 1}


def test_a_kernel_that_takes_nothing_stops_nothing() -> None:
    kernel = Kernel()
    kernel.down = True
    slow, counters, _ = handler(kernel)
    slow.handle(ipv4(OTHER_POD4, POD4, 17, udp(OTHER_POD4, POD4)))
    assert counters.packets["not-taken-by-kernel"] == 1
    kernel.down = False
    slow.handle(ipv4(OTHER_POD4, POD4, 17, udp(OTHER_POD4, POD4)))
    assert counters.packets["sent"] == 1


def test_a_fault_of_ours_is_counted_told_and_survived(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = Kernel()
    slow, counters, _ = handler(kernel)

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr("appliance.slowpath.translate.Translator.translate", broken)
        for _ in range(50):
            slow.handle(SPENT)
    told = capsys.readouterr().err
    assert told.count("Traceback") == 10
    assert SPENT.hex() in told
    slow.handle(ipv4(WORLD4, POD4, 17, udp(WORLD4, POD4)))
    assert counters.packets["internal-error"] == 50
    assert len(kernel.packets) == 1


def test_counters_file_changes_only_when_something_was_counted(tmp_path: Path) -> None:
    path = tmp_path / "counters.json"
    file, counters = CountersFile(path), Counters()
    file.write(counters)
    first = path.stat().st_ino
    file.write(counters)
    assert path.stat().st_ino == first
    counters.drops["hop-limit"] += 2
    file.write(counters)
    assert json.loads(path.read_text()) == {
        "packets": {},
        "drops": {"hop-limit": 2},
        "icmp-errors": {},
    }
    assert list(tmp_path.iterdir()) == [path]
