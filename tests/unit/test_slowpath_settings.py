"""The settings file: written and read alike, and refused with the path of what is wrong."""

import json
import stat
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import pytest

from appliance.slowpath.settings import Settings, SlowPathError, read_settings, write_settings
from bpf.model import BoxAddresses, EamEntry, Pref64, Side, Translation

FULL = Settings(
    device="e64test",
    translation=Translation(
        pref64=(
            Pref64(
                IPv6Network("64:ff9b::/96"),
                ipv6_hosts=(IPv4Network("198.51.100.0/25"),),
                allow_non_global=(IPv4Network("10.0.0.0/8"),),
            ),
            Pref64(IPv6Network("2001:db8:ffff::/48"), (IPv4Network("10.0.0.0/8"),)),
        ),
        eam=(
            EamEntry(IPv4Network("192.0.2.0/24"), IPv6Network("2001:db8:1::/120")),
            EamEntry(IPv4Network("192.0.2.9/32"), IPv6Network("2001:db8:2::9/128"), Side.IPV4),
        ),
        rfc6791_ipv4=(IPv4Network("203.0.113.8/29"),),
        rfc6791_ipv6=IPv6Address("2001:db8:6::91"),
        lowest_ipv6_mtu=1400,
        traffic_class=0,
        tos=255,
        flow_label_hash=True,
        compute_udp_checksum=False,
        icmp_error_rate=7,
    ),
    own=BoxAddresses(
        frozenset({IPv4Address("203.0.113.1"), IPv4Address("203.0.113.2")}),
        frozenset({IPv6Address("2001:db8:6::1")}),
    ),
    mtu4=1480,
    mtu6=9000,
    ipv4=IPv4Address("203.0.113.1"),
    ipv6=IPv6Address("2001:db8:6::1"),
)


@pytest.mark.parametrize(
    "settings", [FULL, Settings(Translation(), 68, 1280)], ids=["full", "bare"]
)
def test_read_is_what_was_written(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "slowpath.json"
    path.write_text("an older file")
    write_settings(path, settings)
    assert read_settings(path) == settings
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "slowpath.json"
    path.mkdir()
    with pytest.raises(OSError):
        write_settings(path, FULL)
    assert list(tmp_path.iterdir()) == [path]


def changed(document: dict[str, Any], where: list[str | int], value: object) -> None:
    place: Any = document
    for step in where[:-1]:
        place = place[step]
    if value is ...:
        del place[where[-1]]
    else:
        place[where[-1]] = value


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (["mtu4"], ..., "mtu4: missing"),
        (["mtu4"], "1500", "mtu4: '1500' is no integer from 68 to 65536"),
        (["mtu4"], True, "mtu4: True is no integer"),
        (["mtu6"], 1279, "mtu6: 1279 is no integer from 1280"),
        (["mtu6 "], 1500, "mtu6 : unknown"),
        (["ipv4"], "::1", "ipv4: "),
        (["device"], "a/b", "not the name of an interface"),
        (["device"], "sixteen-octets-x", "not the name of an interface"),
        (["own"], [], "own: not an object"),
        (["own", "ipv6", 0], 7, "own.ipv6[0]: 7 is no text"),
        (["translation", "eam"], {}, "translation.eam: not a list"),
        (["translation", "eam", 1, "host"], "ipv5", "translation.eam[1].host: "),
        (["translation", "eam", 0, "ipv4"], "192.0.2.1/24", "eam[0].ipv4: "),
        (["translation", "eam", 0, "ipv6"], "2001:db8::/121", "suffix is shorter"),
        (["translation", "pref64", 1, "prefix"], "2001:db8::/47", "the length is one of"),
        (["translation", "pref64", 1, "colour"], "red", "translation.pref64[1].colour: unknown"),
        (["translation", "tos"], 256, "translation.tos: 256"),
        (["translation", "flow_label_hash"], 1, "translation.flow_label_hash: 1 is neither"),
    ],
)
def test_refused_with_its_path(
    where: list[str | int], value: object, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "slowpath.json"
    write_settings(path, FULL)
    document = json.loads(path.read_text())
    changed(document, where, value)
    path.write_text(json.dumps(document))
    with pytest.raises(SlowPathError) as refused:
        read_settings(path)
    assert message in str(refused.value)
    assert str(refused.value).startswith(f"{path}: ")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"device": "\xff"}'])
def test_what_is_no_settings_file(text: str, tmp_path: Path) -> None:
    path = tmp_path / "slowpath.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SlowPathError):
        read_settings(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SlowPathError, match="No such file"):
        read_settings(tmp_path / "none")
