"""Settings: read, written, and refused with everything that is wrong."""

import json
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import pytest

from bpf.model import Pref64
from bpf.special import NON_GLOBAL_IPV4, non_global
from dns64.errors import Dns64Error
from dns64.policy import Rules, embed, extract
from dns64.settings import (
    Limits,
    Listen,
    Policy,
    Settings,
    SettingsError,
    Upstream,
    parse_settings,
    read_settings,
    write_settings,
)

SMALLEST: dict[str, Any] = {
    "listen": [{"address": "::1"}],
    "upstreams": [{"address": "192.0.2.53"}],
}


def test_written_settings_are_read_back(tmp_path: Path) -> None:
    settings = Settings(
        (Listen(IPv6Address("2001:db8::1")), Listen(IPv4Address("192.0.2.1"), 5353)),
        (Upstream(IPv6Address("::1"), 5335, trusted=True), Upstream(IPv4Address("192.0.2.53"))),
        (
            Policy(
                (IPv6Network("2001:db8:1::/48"), IPv4Network("192.0.2.0/24")),
                (
                    Pref64(
                        IPv6Network("64:ff9b::/96"),
                        (IPv4Network("10.0.0.0/8"),),
                        allow_non_global=(IPv4Network("10.1.0.0/16"),),
                    ),
                ),
                ipv4_only=("example.com",),
                translate_all=True,
            ),
        ),
        user="nobody",
        stats_dir="/run/edge64/dns64",
        limits=Limits(tcp_idle_s=2.5),
    )
    path = tmp_path / "dns64.json"
    write_settings(path, settings)
    assert read_settings(path) == settings
    assert path.stat().st_mode & 0o777 == 0o644
    assert [file.name for file in tmp_path.iterdir()] == ["dns64.json"]


def test_defaults() -> None:
    settings = parse_settings(SMALLEST)
    assert settings.listen == (Listen(IPv6Address("::1"), 53),)
    assert settings.policies == (Policy(),)
    assert IPv6Network("::ffff:0:0/96") in settings.policies[0].exclude_aaaa
    assert Rules().carriers[0].pref64.prefix == IPv6Network("64:ff9b::/96")


@pytest.mark.parametrize("bad", ["::/0", "::/129", "64:ff9b::/95", "64:ff9b::/24"])
def test_prefixes_of_a_wrong_length(bad: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings({**SMALLEST, "policies": [{"prefixes": [{"prefix": bad}]}]})
    assert len(caught.value.errors) == 1
    assert caught.value.errors[0].startswith("policies[0].prefixes[0]")


def test_there_is_no_suffix() -> None:
    """RFC 6052 has it zero; a setting for it could only be wrong."""
    prefix = {"prefix": "2001:db8::/56", "suffix": "::1"}
    with pytest.raises(SettingsError, match=r"policies\[0\]\.prefixes\[0\]\.suffix: unknown"):
        parse_settings({**SMALLEST, "policies": [{"prefixes": [prefix]}]})


def test_all_errors_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(
            {
                "listen": [{"address": "::1", "port": 70000}, {"address": "nonsense"}],
                "upstreams": [{"address": "192.0.2.1", "trusted": True}, {"port": 53}, 7],
                "policies": [
                    {"prefixes": [{"prefix": "64:ff9b::1/96"}], "exclude_aaaa": ["10.0.0.0/8"]},
                    {"translate_all": 1, "ipv4_only": ["x" * 64], "client": []},
                ],
                "user": 5,
                "limits": {"outstanding": True, "udp_size": "big"},
                "extra": None,
            }
        )
    paths = [error.split(":")[0] for error in caught.value.errors]
    assert sorted(paths) == sorted(
        [
            "listen[0]",
            "listen[1].address",
            "upstreams[0]",
            "upstreams[1].address",
            "upstreams[2]",
            "policies[0].prefixes[0].prefix",
            "policies[0].exclude_aaaa[0]",
            "policies[1].translate_all",
            "policies[1].client",
            "user",
            "limits.outstanding",
            "limits.udp_size",
            "extra",
        ]
    )


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no-listen": ({"listen": []}, "listen: at least one"),
    "no-upstream": ({"upstreams": []}, "upstreams: at least one"),
    "twice": ({"listen": [{"address": "::1"}, {"address": "::1", "port": 53}]}, "twice"),
    "user": ({"user": "no-such-user-here"}, "there is no 'no-such-user-here'"),
    "label": ({"policies": [{"ipv4_only": ["x" * 64]}]}, "is no domain name"),
    "empty-label": ({"policies": [{"never_synthesise": ["a..b"]}]}, "is no domain name"),
    "size": ({"limits": {"udp_size": 100}}, "not within 512 to 4096"),
    "multicast": ({"upstreams": [{"address": "ff02::1"}]}, "cannot be asked"),
    "trusted-far": ({"upstreams": [{"address": "192.0.2.1", "trusted": True}]}, "loopback"),
    "u-octet": (
        {"policies": [{"prefixes": [{"prefix": "2001:db8:0:0:100::/96"}]}]},
        "bits 64 to 71",
    ),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings({**SMALLEST, **change})
    assert message in str(caught.value)


def test_files_that_are_no_settings(tmp_path: Path) -> None:
    path = tmp_path / "dns64.json"
    with pytest.raises(Dns64Error, match="No such file"):
        read_settings(path)
    for text in ("", "{", "[]", "null", '"x"', json.dumps(7)):
        path.write_text(text)
        with pytest.raises(SettingsError):
            read_settings(path)


# RFC 6052 section 2.4.
EMBEDDED = {
    "2001:db8::/32": "2001:db8:c000:221::",
    "2001:db8:100::/40": "2001:db8:1c0:2:21::",
    "2001:db8:122::/48": "2001:db8:122:c000:2:2100::",
    "2001:db8:122:300::/56": "2001:db8:122:3c0:0:221::",
    "2001:db8:122:344::/64": "2001:db8:122:344:c0:2:2100::",
    "2001:db8:122:344::/96": "2001:db8:122:344::192.0.2.33",
    "64:ff9b::/96": "64:ff9b::192.0.2.33",
}


@pytest.mark.parametrize(("prefix", "address"), EMBEDDED.items())
def test_embedding(prefix: str, address: str) -> None:
    packed = IPv4Address("192.0.2.33").packed
    network = IPv6Network(prefix)
    assert IPv6Address(embed(network, packed)) == IPv6Address(address)
    assert extract(network, IPv6Address(address).packed) == packed


@pytest.mark.parametrize("network", NON_GLOBAL_IPV4, ids=str)
def test_well_known_prefix_carries_no_address_that_is_not_global(network: IPv4Network) -> None:
    for address in (network[0], network[-1]):
        assert Rules().synthetic(address.packed) is None
        own = Rules([Pref64(IPv6Network("2001:db8::/96"))]).synthetic(address.packed)
        never = address.is_loopback or address.is_link_local or address in IPv4Network("0.0.0.0/8")
        assert (own is None) == (never or address >= IPv4Address("224.0.0.0"))


@pytest.mark.parametrize(
    "address", ["192.0.2.1", "198.51.100.1", "203.0.113.1", "192.0.0.9", "192.0.0.170", "8.8.8.8"]
)
def test_well_known_prefix_carries_the_others(address: str) -> None:
    assert Rules().synthetic(IPv4Address(address).packed) is not None


def test_allowed_addresses_that_are_not_global() -> None:
    allowed = (IPv4Network("10.1.0.0/16"),)
    rules = Rules([Pref64(IPv6Network("64:ff9b::/96"), allow_non_global=allowed)])
    assert rules.synthetic(bytes((10, 1, 2, 3))) is not None
    assert rules.synthetic(bytes((10, 2, 2, 3))) is None
    left = non_global(allowed)
    assert not any(net.overlaps(allowed[0]) for net in left)
    assert sum(net.num_addresses for net in left) == (
        sum(net.num_addresses for net in NON_GLOBAL_IPV4) - 65536
    )


def test_longest_range_decides_which_prefix_carries_an_address() -> None:
    rules = Rules(
        [
            Pref64(IPv6Network("2001:db8:1::/96")),
            Pref64(IPv6Network("2001:db8:2::/96"), (IPv4Network("198.51.0.0/16"),)),
            Pref64(IPv6Network("2001:db8:3::/96")),
            Pref64(IPv6Network("2001:db8:4::/96"), (IPv4Network("198.51.100.0/24"),)),
        ]
    )
    chosen = {
        text: (rules.synthetic(IPv4Address(text).packed) or b"")[5]
        for text in ("192.0.2.1", "198.51.1.1", "198.51.100.1")
    }
    assert chosen == {"192.0.2.1": 1, "198.51.1.1": 2, "198.51.100.1": 4}
