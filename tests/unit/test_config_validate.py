"""A configuration is refused with every error, its place, what was found and what is allowed."""

import json
import re
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.config import check_translation
from appliance.config.problems import ConfigError, Problem, path_text
from appliance.config.reference import PAGE, json_schema, page
from appliance.config.schema import Configuration
from appliance.config.validate import load, load_file
from bpf.model import Side

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "docs/examples").glob("*.yaml"))

GOOD: dict[str, Any] = {
    "version": 1,
    "interfaces": {
        "pods0": {"role": "pods", "addresses": ["2001:db8:64::1/64"]},
        "uplink0": {"role": "uplink", "addresses": ["192.0.2.1/24"]},
    },
    "routes": [{"to": "0.0.0.0/0", "via": "192.0.2.254"}],
    "translation": {
        "pref64": [{"prefix": "64:ff9b::/96", "ipv6-hosts": ["198.51.100.0/25"]}],
        "eam": [{"ipv4": "198.51.100.200", "ipv6": "2001:db8:64::c8"}],
        "rfc6791": {"ipv4": ["192.0.2.128/28"]},
    },
    "dns64": {"upstreams": ["192.0.2.53"]},
}
REMOVE = object()


def changed(*changes: tuple[str, object]) -> str:
    """GOOD as JSON, which is YAML, with values set at paths such as ``routes.0.via``."""
    data = json.loads(json.dumps(GOOD))
    for path, value in changes:
        at: Any = data
        *steps, last = [int(one) if one.isdigit() else one for one in path.split("/")]
        for step in steps:
            at = at[step]
        if value is REMOVE:
            del at[last]
        elif isinstance(at, list) and last == len(at):
            at.append(value)
        else:
            at[last] = value
    return json.dumps(data, indent=1)


def problems_of(text: str) -> list[Problem]:
    with pytest.raises(ConfigError) as refused:
        load(text)
    return list(refused.value.problems)


def test_good_document_resolves() -> None:
    appliance = load(changed()).appliance
    assert [one.name for one in appliance.interfaces] == ["pods0", "uplink0"]
    assert appliance.routes[0].dev == "uplink0"
    assert appliance.translation.eam[0].host is Side.IPV6
    assert appliance.resolver is not None
    assert [str(one) for one in appliance.resolver.listen] == ["2001:db8:64::1"]
    assert appliance.resolver.workers >= 1


# One change each, and the one error that it makes: path, found (part), allowed (part).
ROWS: dict[str, tuple[tuple[tuple[str, object], ...], str, str, str]] = {
    "version missing": ((("version", REMOVE),), "version", "missing", "1"),
    "version unknown": ((("version", 2),), "version", "found 2", "1"),
    "version of another type": ((("version", True),), "version", "found true", "1"),
    "unknown setting": (
        (("hostnam", "x"),), "hostnam", "did you mean 'hostname'", "interfaces, routes",
    ),
    "unknown nested setting": (
        (("translation/pref64/0/ipv4-range", []),),
        "translation.pref64[0].ipv4-range", "did you mean 'ipv4-ranges'", "ipv6-hosts",
    ),
    "underscore": (
        (("translation/lowest_ipv6_mtu", 1280),),
        "translation.lowest_ipv6_mtu", "did you mean 'lowest-ipv6-mtu'", "flow-label",
    ),
    "not a mapping": ((("translation", [1]),), "translation", "a list", "a mapping"),
    "not a list": ((("routes", {}),), "routes", "a mapping", "a list"),
    "text for a list": ((("dns64/upstreams", "192.0.2.53"),), "dns64.upstreams", "192", "a list"),
    "null section": ((("interfaces/pods0", None),), "interfaces.pods0", "null", "a mapping"),
    "host name": ((("hostname", "a_b"),), "hostname", "'a_b'", "labels of letters"),
    "interface name": (
        (("interfaces/way-too-long-a-name", {"role": "uplink"}),),
        "interfaces.way-too-long-a-name", "'way-too-long-a-name'", "1 to 15",
    ),
    "interface called all": (
        (("interfaces/all", {"role": "uplink"}),), "interfaces.all", "'all'", "not 'all'",
    ),
    "role missing": (
        (("interfaces/x0", {}),), "interfaces.x0.role", "missing", "'pods' or 'uplink'",
    ),
    "role": ((("interfaces/pods0/role", "pod"),), "interfaces.pods0.role", "'pod'", "'pods'"),
    "xdp": ((("interfaces/pods0/xdp", "fast"),), "interfaces.pods0.xdp", "'fast'", "'generic'"),
    "mtu below IPv4's": (
        (("interfaces/uplink0/mtu", 67),), "interfaces.uplink0.mtu", "67", "68 to 65535",
    ),
    "mtu as text": (
        (("interfaces/uplink0/mtu", "1500"),), "interfaces.uplink0.mtu", "'1500'", "whole number",
    ),
    "mtu below IPv6's": (
        (("interfaces/pods0/mtu", 1279),), "interfaces.pods0.mtu", "1279", "1280 at least",
    ),
    "address without length": (
        (("interfaces/pods0/addresses/0", "2001:db8:64::1"),),
        "interfaces.pods0.addresses[0]", "2001:db8:64::1", "with its subnet's length",
    ),
    "network address": (
        (("interfaces/uplink0/addresses/1", "198.18.0.0/24"),),
        "interfaces.uplink0.addresses[1]", "198.18.0.0/24", "neither the network's own",
    ),
    "broadcast address": (
        (("interfaces/uplink0/addresses/1", "198.18.0.255/24"),),
        "interfaces.uplink0.addresses[1]", "198.18.0.255/24", "broadcast",
    ),
    "anycast address": (
        (("interfaces/pods0/addresses/1", "2001:db8:65::/64"),),
        "interfaces.pods0.addresses[1]", "2001:db8:65::/64", "anycast",
    ),
    "multicast address": (
        (("interfaces/pods0/addresses/1", "ff02::1/64"),),
        "interfaces.pods0.addresses[1]", "ff02::1/64", "unicast",
    ),
    "address twice": (
        (("interfaces/x0", {"role": "uplink", "addresses": ["192.0.2.1/32"]}),),
        "interfaces.x0.addresses[0]", "192.0.2.1/32 again", "uplink0 has it",
    ),
    "overlapping subnets": (
        (("interfaces/x0", {"role": "uplink", "addresses": ["192.0.2.7/25"]}),),
        "interfaces.x0.addresses[0]", "overlaps 192.0.2.0/24 of uplink0", "one interface",
    ),
    "VLAN without parent": (
        (("interfaces/v0", {"role": "uplink", "vlan": {"parent": "uplink1", "id": 5}}),),
        "interfaces.v0.vlan.parent", "did you mean 'uplink0'", "another interface",
    ),
    "VLAN of itself": (
        (("interfaces/v0", {"role": "uplink", "vlan": {"parent": "v0", "id": 5}}),),
        "interfaces.v0.vlan.parent", "'v0'", "another interface",
    ),
    "VLAN id": (
        (("interfaces/v0", {"role": "uplink", "vlan": {"parent": "uplink0", "id": 4095}}),),
        "interfaces.v0.vlan.id", "4095", "1 to 4094",
    ),
    "VLAN larger than its parent": (
        (("interfaces/v0",
          {"role": "uplink", "mtu": 9000, "vlan": {"parent": "uplink0", "id": 5}}),),
        "interfaces.v0.mtu", "9000", "1500 at most",
    ),
    "VLAN twice": (
        (("interfaces/v0", {"role": "uplink", "vlan": {"parent": "uplink0", "id": 5}}),
         ("interfaces/v1", {"role": "uplink", "vlan": {"parent": "uplink0", "id": 5}})),
        "interfaces.v1.vlan.id", "VLAN 5 of uplink0 again", "v0 has it",
    ),
    "route with host bits": (
        (("routes/0/to", "198.18.0.1/24"),), "routes[0].to", "198.18.0.1/24", "198.18.0.0/24",
    ),
    "route without anything": (
        (("routes/0/via", REMOVE),), "routes[0]", "neither via nor dev", "a gateway",
    ),
    "route by an unknown interface": (
        (("routes/0/dev", "uplink"),), "routes[0].dev", "did you mean 'uplink0'", "an interface",
    ),
    "gateway not connected": (
        (("routes/0/via", "198.18.0.1"),), "routes[0].via", "no connected subnet", "192.0.2.0/24",
    ),
    "gateway on another interface": (
        (("routes/0/dev", "pods0"),), "routes[0].via", "in no connected subnet", "of pods0",
    ),
    "gateway of the other family": (
        (("routes/0/via", "2001:db8:64::9"),), "routes[0].via", "2001:db8:64::9", "IPv4 gateway",
    ),
    "gateway is the box": (
        (("routes/0/via", "192.0.2.1"),), "routes[0].via", "own address", "neighbour",
    ),
    "gateway with a zone": (
        (("routes/0", {"to": "::/0", "via": "fe80::1%pods0"}),),
        "routes[0].via", "fe80::1%pods0", "without a zone",
    ),
    "link-local gateway without interface": (
        (("routes/0", {"to": "::/0", "via": "fe80::1"}),),
        "routes[0]", "no dev for the link-local gateway", "its interface",
    ),
    "route twice": (
        (("routes/1", {"to": "0.0.0.0/0", "via": "192.0.2.253"}),),
        "routes[1]", "a second route to 0.0.0.0/0", "routes[0] has it",
    ),
    "pref64 length": (
        (("translation/pref64/0/prefix", "2001:db8:1::/60"),),
        "translation.pref64[0].prefix", "2001:db8:1::/60", "32, 40, 48, 56, 64 or 96",
    ),
    "pref64 with the u octet": (
        (("translation/pref64/0/prefix", "2001:db8:1:0:100::/96"),),
        "translation.pref64[0].prefix", "2001:db8:1:0:100::/96", "bits 64 to 71",
    ),
    "pref64 twice": (
        (("translation/pref64/1", {"prefix": "64:ff9b::/96"}),),
        "translation.pref64[1].prefix", "again", "translation.pref64[0] has them",
    ),
    "pref64 overlaps": (
        (("translation/pref64/1", {"prefix": "64:ff9b::/64"}),),
        "translation.pref64[1].prefix", "overlaps 64:ff9b::/96", "translation.pref64[0]",
    ),
    "pref64 on the link": (
        (("translation/pref64/1", {"prefix": "2001:db8:64::/96"}),),
        "translation.pref64[1].prefix", "inside 2001:db8:64::/64", "not on their link",
    ),
    "no ranges": (
        (("translation/pref64/0/ipv4-ranges", []),),
        "translation.pref64[0].ipv4-ranges", "empty list", "at least one",
    ),
    "IPv6 among IPv4 ranges": (
        (("translation/pref64/0/ipv4-ranges", ["::/0"]),),
        "translation.pref64[0].ipv4-ranges[0]", "'::/0'", "an IPv4 network",
    ),
    "private hosts under the well-known prefix": (
        (("translation/pref64/0/ipv6-hosts/1", "10.1.0.0/16"),),
        "translation.pref64[0].ipv6-hosts[1]", "10.0.0.0/8", "allow-non-global",
    ),
    "private range under the well-known prefix": (
        (("translation/pref64/0/ipv4-ranges", ["0.0.0.0/0", "192.168.0.0/16"]),),
        "translation.pref64[0].ipv4-ranges[1]", "192.168.0.0/16", "allow-non-global",
    ),
    "allow-non-global elsewhere": (
        (("translation/pref64/1",
          {"prefix": "2001:db8:1::/96", "allow-non-global": ["10.0.0.0/8"]}),),
        "translation.pref64[1].allow-non-global", "2001:db8:1::/96", "only with 64:ff9b::/96",
    ),
    "host under two prefixes": (
        (("translation/pref64/1",
          {"prefix": "2001:db8:1::/96", "ipv6-hosts": ["198.51.100.0/25"]}),),
        "translation.pref64[1].ipv6-hosts[0]", "again", "translation.pref64[0].ipv6-hosts[0]",
    ),
    "multicast host": (
        (("translation/pref64/0/ipv6-hosts/0", "224.1.0.0/16"),),
        "translation.pref64[0].ipv6-hosts[0]", "224.0.0.0/4", "unicast",
    ),
    "mapping's IPv4 twice": (
        (("translation/eam/1", {"ipv4": "198.51.100.200/32", "ipv6": "2001:db8:64::c9"}),),
        "translation.eam[1].ipv4", "198.51.100.200/32 again", "translation.eam[0] has it",
    ),
    "mapping's IPv6 twice": (
        (("translation/eam/1", {"ipv4": "198.51.100.201", "ipv6": "2001:db8:64::c8/128"}),),
        "translation.eam[1].ipv6", "2001:db8:64::c8/128 again", "translation.eam[0] has it",
    ),
    "mapping's suffix": (
        (("translation/eam/0", {"ipv4": "198.51.100.0/24", "ipv6": "2001:db8:65::/121"}),),
        "translation.eam[0].ipv6", "7 bits", "8 bits at least",
    ),
    "mapping with a multicast address": (
        (("translation/eam/0/ipv4", "239.1.1.1"),),
        "translation.eam[0].ipv4", "239.1.1.1", "unicast",
    ),
    "own IPv4 address mapped": (
        (("translation/eam/0/ipv4", "192.0.2.0/24"), ("translation/eam/0/ipv6", "2001:db8:1::/64")),
        "interfaces.uplink0.addresses[0]", "translated by translation.eam[0].ipv4", "box's alone",
    ),
    "own IPv6 address mapped": (
        (("translation/eam/0",
          {"ipv4": "198.51.100.7", "ipv6": "2001:db8:64::1", "host": "ipv4"}),),
        "interfaces.pods0.addresses[0]", "translated by translation.eam[0].ipv6", "box's alone",
    ),
    "too many addresses to answer for": (
        (("interfaces/uplink0/addresses/1", "10.0.0.1/8"),
         ("translation/pref64/1",
          {"prefix": "2001:db8:1::/96", "ipv6-hosts": ["10.128.0.0/15"]})),
        "translation.pref64[1].ipv6-hosts[0]", "131072 addresses", "65536 at most",
    ),
    "traffic class": (
        (("translation/traffic-class", 256),), "translation.traffic-class", "256", "'copy' or",
    ),
    "lowest MTU": (
        (("translation/lowest-ipv6-mtu", 1279),), "translation.lowest-ipv6-mtu", "1279", "1280",
    ),
    "lowest MTU above the link's": (
        (("translation/lowest-ipv6-mtu", 1501),), "translation.lowest-ipv6-mtu", "1501", "1500",
    ),
    "no upstreams": ((("dns64/upstreams", []),), "dns64.upstreams", "empty list", "at least one"),
    "upstreams missing": (
        (("dns64/upstreams", REMOVE),), "dns64.upstreams", "missing", "a list of: a name server",
    ),
    "upstream port": (
        (("dns64/upstreams/0", "192.0.2.53@0"),), "dns64.upstreams[0]", "@0", "@PORT",
    ),
    "upstream twice": (
        (("dns64/upstreams/1", "192.0.2.53@53"),), "dns64.upstreams[1]", "again", "once",
    ),
    "upstream is the box": (
        (("dns64/upstreams/0", "192.0.2.1"),), "dns64.upstreams[0]", "own resolver", "another",
    ),
    "listening elsewhere": (
        (("dns64/listen", ["2001:db8:64::2"]),), "dns64.listen[0]", "no address of the box", "::1",
    ),
    "resolver without prefix": (
        (("translation/pref64", []),), "dns64", "without any translation.pref64", "a prefix",
    ),
    "resolver without pods": (
        (("interfaces/pods0/role", "uplink"),), "dns64", "no pods interface", "dns64.listen",
    ),
    "too many prefixes": (
        (("translation/pref64", [{"prefix": f"2001:db8:{n:x}::/96"} for n in range(1, 10)]),),
        "translation.pref64", "9 prefixes", "8 at most",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_refused_with_its_one_error(name: str) -> None:
    changes, path, found, allowed = ROWS[name]
    (problem,) = problems_of(changed(*changes))
    assert path_text(problem.path) == path
    assert found in problem.found
    assert allowed in problem.allowed
    assert problem.line is not None or path == "version"


def test_every_error_at_once_each_in_its_line() -> None:
    text = string.Template("""\
version: 1
hostname: edge_64
interfaces:
  pods0: {role: pod, addresses: ["2001:db8:64::1/64"]}
  uplink0: {role: uplink, addresses: ["192.0.2.1/24"], mtu: big}
  uplink0: {role: uplink}
routes:
  - {to: 0.0.0.0/0, via: 198.18.0.1}
translation:
  pref64:
    - prefix: 2001:db8::/97
    - prefix: 64:ff9b::/96
      ipv6-hosts: [10.0.0.0/8]
  eam:
    - {ipv4: nonsense, ipv6: "2001:db8::1"}
    - {ipv4: 198.51.100.1, ipv6: "2001:db8::2"}
    - {ipv4: 198.51.100.1, ipv6: "2001:db8::3"}
dns64: {upstreams: []}
""").substitute()
    told = {(path_text(one.path), one.line) for one in problems_of(text)}
    assert told == {
        ("hostname", 2),
        ("interfaces.pods0.role", 4),
        ("interfaces.uplink0.mtu", 5),
        ("interfaces.uplink0", 6),
        # Not the gateway: interfaces are not whole, so nobody can say what is connected.
        ("translation.pref64[0].prefix", 11),
        ("translation.pref64[1].ipv6-hosts[0]", 13),
        ("translation.eam[0].ipv4", 15),
        ("translation.eam[2].ipv4", 17),
        ("dns64.upstreams", 18),
    }


def test_an_error_elsewhere_is_named_as_the_document_has_it() -> None:
    """What was cut out for the checks must not shift the indices that people read."""
    problems = problems_of(
        changed(
            ("translation/eam", [
                {"ipv4": "bad", "ipv6": "2001:db8::1"},
                {"ipv4": "198.51.100.1", "ipv6": "2001:db8::2"},
                {"ipv4": "bad", "ipv6": "2001:db8::3"},
                {"ipv4": "198.51.100.1", "ipv6": "2001:db8::4"},
            ])
        )
    )  # fmt: skip
    assert [path_text(one.path) for one in problems] == [
        "translation.eam[0].ipv4",
        "translation.eam[2].ipv4",
        "translation.eam[3].ipv4",
    ]
    assert "translation.eam[1] has it" in problems[2].allowed


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example_of_the_documentation_is_valid(example: Path) -> None:
    load_file(example)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


def test_reference_page_is_current() -> None:
    assert PAGE.read_text() == page(), "python -m appliance.config.reference writes it anew"


def test_reference_page_has_every_setting() -> None:
    names = set(re.findall(r"^\| `([a-z0-9-]+)` \|", page(), re.MULTILINE))
    wanted = {"version", "interfaces", "allow-non-global", "udp-zero-checksum", "upstreams", "vlan"}
    assert wanted <= names


def test_every_setting_of_the_schema_says_what_it_is() -> None:
    schema = json_schema()
    sections = [schema, *schema["$defs"].values()]
    for section in sections:
        for name, setting in section.get("properties", {}).items():
            assert setting.get("description") or "$ref" in setting, name
            assert re.fullmatch(r"[a-z0-9-]+", name)


def test_every_example_in_the_schema_is_accepted_by_its_setting() -> None:
    from appliance.config.fields import field_kind, inner_model

    seen = 0
    models: list[Any] = [Configuration]
    for model in models:
        for name, info in model.model_fields.items():
            inner = inner_model(info.annotation)
            if inner:
                models.append(inner)
                continue
            kind = field_kind(info)
            assert kind is not None, name
            for example in info.examples or []:
                for one in example if isinstance(example, list) else [example]:
                    kind.value(one)
                    seen += 1
    assert seen > 25


def test_sizes_are_those_of_the_datapaths_tables() -> None:
    header = (ROOT / "bpf/include/layout_shared.h").read_text()
    sizes = dict(re.findall(r"#define (MAX_\w+)\s+(\d+)", header))
    for name in ("MAX_PORTS", "MAX_PREF64", "MAX_OWN_IPV6", "MAX_RFC6791"):
        assert getattr(check_translation, name) == int(sizes[name]), name


def test_thousands_of_mappings_take_seconds_at_most() -> None:
    eam = [
        {"ipv4": f"198.18.{n >> 8}.{n & 255}", "ipv6": f"2001:db8:1::{n:x}"} for n in range(5000)
    ]
    assert len(load(changed(("translation/eam", eam))).appliance.translation.eam) == 5000


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
    | st.sampled_from(["64:ff9b::/96", "192.0.2.1/24", "::/0", "pods", "copy", "10.0.0.0/8"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
PATHS = ["version", "hostname", "interfaces", "interfaces/pods0", "interfaces/pods0/addresses",
         "interfaces/pods0/vlan", "routes", "routes/0", "routes/0/via", "translation",
         "translation/pref64", "translation/pref64/0", "translation/pref64/0/ipv6-hosts",
         "translation/eam", "translation/eam/0", "translation/rfc6791", "translation/tos",
         "dns64", "dns64/listen", "dns64/upstreams", "unknown"]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PATHS), VALUES), min_size=1, max_size=3))
def test_any_value_anywhere_is_accepted_or_refused_with_problems(
    changes: list[tuple[str, object]],
) -> None:
    try:
        text = changed(*changes)
    except (TypeError, KeyError, IndexError):
        return  # an earlier change took the place of a later one away
    try:
        load(text)
    except ConfigError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.found
            assert problem.allowed
