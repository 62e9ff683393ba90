"""Whole or not at all: what the service does with good, bad and failing configurations."""

import os
import re
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from appliance.config.problems import ConfigError
from appliance.config.values import Appliance
from appliance.console.reasons import JOBS, REASONS
from appliance.daemon.announce import arp_announcement, neighbour_advertisement
from appliance.daemon.children import Children
from appliance.daemon.diff import differences
from appliance.daemon.files import write_atomically
from appliance.daemon.paths import RuntimePaths
from appliance.daemon.reconcile import Outcome, Reconciler
from appliance.daemon.service import Service
from appliance.daemon.supervisor import supervisor_config
from appliance.errors import ApplianceError, SystemLacks
from bpf.model import BoxAddresses

ROOT = Path(__file__).parents[2]
FIRST = "version: 1\n# first\nhostname: one\n"
SECOND = "version: 1\nhostname: two\n"


class FakeReconciler(Reconciler):
    """Keeps what it was asked for; ``fails`` says which host names it cannot have."""

    def __init__(self) -> None:
        self.fails: set[str | None] = set()
        self.asked: list[str | None] = []

    @property
    def own(self) -> BoxAddresses:
        return BoxAddresses()

    def apply(
        self, appliance: Appliance, *, missing_allowed: bool = False, healing: bool = False
    ) -> Outcome:
        self.asked.append(appliance.hostname)
        if appliance.hostname in self.fails:
            raise SystemLacks(f"no {appliance.hostname}", "try another")
        return Outcome([f"host name = {appliance.hostname}"])


class FakeChildren(Children):
    def __init__(self) -> None:
        self.updates: list[str | None] = []

    def update(self, appliance: Appliance, own: BoxAddresses) -> list[str]:
        self.updates.append(appliance.hostname)
        return []


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(RuntimePaths(tmp_path, tmp_path / "state"), FakeReconciler(), FakeChildren())


def fake(service: Service) -> FakeReconciler:
    assert isinstance(service._reconciler, FakeReconciler)
    return service._reconciler


def saved(service: Service) -> str:
    return service.paths.running.read_text()


def test_applied_configuration_is_kept_as_it_was_written(service: Service) -> None:
    applied = service.apply(FIRST)
    assert applied.settings == ["version: added 1", "hostname: added one"]
    assert applied.changes == ["host name = one"]
    assert saved(service) == FIRST
    assert service.apply(SECOND).settings == ["hostname: one → two"]
    assert saved(service) == SECOND


def test_bad_configuration_touches_nothing(service: Service) -> None:
    service.apply(FIRST)
    with pytest.raises(ConfigError) as refused:
        service.apply("version: 1\nhostname: t_w_o\nroutes: 5\n")
    assert len(refused.value.problems) == 2
    assert fake(service).asked == ["one"]
    assert saved(service) == FIRST


def test_what_fails_half_way_is_put_back_and_said(service: Service) -> None:
    service.apply(FIRST)
    fake(service).fails = {"two"}
    with pytest.raises(SystemLacks) as failed:
        service.apply(SECOND)
    assert fake(service).asked == ["one", "two", "one"]
    assert str(failed.value) == "not applied: no two; what ran before was put back"
    assert failed.value.hint == "try another"
    assert saved(service) == FIRST
    assert service.failure == ""


def test_going_back_that_fails_too_is_said_and_stays_told(service: Service) -> None:
    service.apply(FIRST)
    fake(service).fails = {"one", "two"}
    with pytest.raises(SystemLacks, match="going back failed too: no one"):
        service.apply(SECOND)
    assert "no two" in service.failure
    assert saved(service) == FIRST


def test_first_configuration_that_fails_goes_back_to_nothing(service: Service) -> None:
    fake(service).fails = {"two"}
    with pytest.raises(SystemLacks):
        service.apply(SECOND)
    assert fake(service).asked == ["two", None]
    assert service.running is None
    assert not service.paths.running.exists()


def test_configuration_that_cannot_be_kept_is_not_applied(service: Service) -> None:
    service.apply(FIRST)
    service.paths.running.unlink()
    service.paths.running.mkdir()  # no file can take its place
    with pytest.raises(ApplianceError, match="cannot write"):
        service.apply(SECOND)
    assert fake(service).asked == ["one", "two", "one"]


def test_check_changes_nothing(service: Service) -> None:
    service.apply(FIRST)
    assert service.check(SECOND).settings == ["hostname: one → two"]
    assert fake(service).asked == ["one"]


def test_bad_configuration_at_boot_leaves_what_runs(service: Service) -> None:
    service.start("version: 7\n", "running.yaml")
    assert fake(service).asked == []
    assert "running.yaml: 1 error" in service.failure
    service.apply(FIRST)
    assert service.failure == ""


def test_failure_at_boot_is_told_and_tried_again(service: Service) -> None:
    fake(service).fails = {"one"}
    service.start(FIRST, "running.yaml")
    assert service.failure == "no one"
    fake(service).fails = set()
    service.heal()
    assert service.failure == ""
    assert fake(service).asked == ["one", "one"]


def test_file_is_whole_or_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "running.yaml"
    write_atomically(path, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["running.yaml"]


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ({}, {}, []),
        ({"a": 1}, {"a": 2}, ["a: 1 → 2"]),
        ({"a": 1}, {"a": True}, ["a: 1 → true"]),
        ({"a": [1, 2]}, {"a": [1, 3]}, ["a[1]: 2 → 3"]),
        ({"a": [1, 2, 3]}, {"a": [1, 3]}, ["a[1]: removed 2"]),
        ({"a": [{"x": 1}]}, {"a": [{"x": 1}, {"x": 2}]}, ["a[1]: added {x: 2}"]),
        ({"a": {"b": "x"}}, {"a": {"c": None}}, ["a.b: removed x", "a.c: added null"]),
        ({"a": {"b": 1}}, {"a": [1]}, ["a: {b: 1} → [1]"]),
    ],
)
def test_differences_are_told_setting_by_setting(
    before: object, after: object, lines: list[str]
) -> None:
    assert differences(before, after) == lines


def test_supervisor_config_has_no_placeholder_left_and_survives_percent() -> None:
    paths = RuntimePaths(Path("/run/a%b"), Path("/var/lib/c"))
    text = supervisor_config(paths, 3)
    assert not re.search(r"@\w+@", text)
    assert "numprocs=3" in text
    assert "/run/a%%b/dns64.json" in text
    assert 'EDGE64_STATE_DIR="/var/lib/c"' in text


# --- announcements, octet by octet (RFC 826, RFC 4861 section 4.4) --------------------------------

MAC = bytes.fromhex("020000000064")


def test_gratuitous_arp() -> None:
    assert arp_announcement(MAC, IPv4Address("192.0.2.77")) == bytes.fromhex(
        "ffffffffffff" "020000000064" "0806"
        "0001" "0800" "06" "04" "0001"
        "020000000064" "c000024d" "000000000000" "c000024d"
    )  # fmt: skip


def test_unsolicited_neighbour_advertisement() -> None:
    frame = neighbour_advertisement(MAC, IPv6Address("2001:db8:64::9"))
    address = "20010db8006400000000000000000009"
    all_nodes = "ff020000000000000000000000000001"
    assert frame[:14] == bytes.fromhex("33330000000102000000006486dd")
    assert frame[14:54] == bytes.fromhex("6000000000203aff" + address + all_nodes)
    assert frame[54:56] == bytes.fromhex("8800")
    assert frame[58:] == bytes.fromhex("a0000000" + address + "0201020000000064")
    # The checksum over pseudo header and message adds up to all ones.
    words = bytes.fromhex(address + all_nodes) + bytes.fromhex("000000200000003a") + frame[54:]
    total = sum(int.from_bytes(words[i : i + 2], "big") for i in range(0, len(words), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF


# --- names that people see ------------------------------------------------------------------------


@pytest.mark.parametrize(("prefix", "table"), [("REASON", REASONS), ("JOB", JOBS)])
def test_every_reason_and_job_of_the_datapath_has_a_meaning(
    prefix: str, table: dict[str, str]
) -> None:
    header = (ROOT / "bpf/include/reasons_shared.h").read_text()
    names = re.findall(rf"^\t{prefix}_(\w+)\s*=", header, re.MULTILINE)
    names = [name.lower().replace("_", "-") for name in names if name not in ("NONE", "COUNT")]
    assert len(names) >= 6
    assert set(table) == set(names)
    assert all(table.values())
