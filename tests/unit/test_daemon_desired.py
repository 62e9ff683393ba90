"""Configuration → kernel state: what is routed, answered for and set."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

from appliance.config.validate import load
from appliance.config.values import Appliance
from appliance.daemon.children import resolver_settings, slow_path_settings
from appliance.daemon.desired import (
    SLOW_DEVICE,
    SLOW_METRIC,
    KernelWant,
    RouteWant,
    desired,
)
from appliance.daemon.links import Link
from appliance.daemon.reconcile import ports_of
from bpf.model import BoxAddresses

EVERYTHING = frozenset(("pods0", "uplink0"))


def appliance(translation: str, more: str = "") -> Appliance:
    return load(f"""\
version: 1
interfaces:
  pods0: {{role: pods, addresses: ["2001:db8:64::1/64"]}}
  uplink0: {{role: uplink, addresses: ["192.0.2.1/24"], mtu: 1400, xdp: generic}}
routes:
  - {{to: 0.0.0.0/0, via: 192.0.2.254}}
translation: {translation}
{more}""").appliance


def slow_routes(want: KernelWant) -> set[str]:
    return {str(route.to) for route in want.routes if route.device == SLOW_DEVICE}


def answered(want: KernelWant, device: str) -> set[str]:
    return {str(one.address) for one in want.proxies if one.device == device}


def test_everything_translated_leads_to_the_slow_path() -> None:
    want = desired(
        appliance(
            "{pref64: [{prefix: '64:ff9b::/96', ipv6-hosts: [198.51.100.0/25]}],"
            " eam: [{ipv4: 198.51.100.128/25, ipv6: '2001:db8:7::/120'},"
            " {ipv4: 203.0.113.9, ipv6: '2001:db8:64::9', host: ipv4}],"
            " rfc6791: {ipv4: [203.0.113.128/28], ipv6: '2001:db8:64::6791'}}"
        ),
        EVERYTHING,
    )
    # The two halves of 198.51.100.0/24 are one route; IPv4 hosts' own addresses are none.
    assert slow_routes(want) == {
        "64:ff9b::/96",
        "198.51.100.0/24",
        "2001:db8:64::9/128",
        "203.0.113.128/28",
        "2001:db8:64::6791/128",
    }
    assert {route.metric for route in want.routes if route.device == SLOW_DEVICE} == {SLOW_METRIC}
    static = RouteWant(ip_network("0.0.0.0/0"), "uplink0", ip_address("192.0.2.254"), 100)
    assert static in want.routes


def test_answers_only_where_an_address_is_on_the_link() -> None:
    want = desired(
        appliance(
            "{eam: [{ipv4: 192.0.2.77, ipv6: '2001:db8:64::77'},"
            " {ipv4: 198.51.100.1, ipv6: '2001:db8:64::78'},"
            " {ipv4: 203.0.113.9, ipv6: '2001:db8:64::9', host: ipv4},"
            " {ipv4: 203.0.113.10, ipv6: '2001:db8:99::9', host: ipv4}],"
            " rfc6791: {ipv4: [192.0.2.128/30], ipv6: '2001:db8:64::6791'}}"
        ),
        EVERYTHING,
    )
    assert answered(want, "uplink0") == {"192.0.2.77", *(f"192.0.2.{n}" for n in range(128, 132))}
    assert answered(want, "pods0") == {"2001:db8:64::9", "2001:db8:64::6791"}


def test_never_answers_for_a_subnets_own_or_broadcast_address() -> None:
    want = desired(appliance("{rfc6791: {ipv4: [192.0.2.128/25]}}"), EVERYTHING)
    assert answered(want, "uplink0") == {f"192.0.2.{n}" for n in range(128, 255)}


def test_interface_that_is_not_there_is_left_out() -> None:
    want = desired(
        appliance("{eam: [{ipv4: 192.0.2.77, ipv6: '2001:db8:64::77'}]}"), frozenset(("pods0",))
    )
    assert {one.device for one in want.addresses} == {"pods0"}
    assert want.proxies == frozenset()
    assert {route.device for route in want.routes} == {SLOW_DEVICE}
    assert not [one for one in want.sysctls if "uplink0" in one.path]


def test_ports_are_what_the_kernel_has_of_the_interfaces() -> None:
    mac = bytes.fromhex("020000000001")
    links = {
        "pods0": Link("pods0", 7, mac, 1500, up=True, running=True),
        "uplink0": Link("uplink0", 9, mac, 1300, up=True, running=False),
    }
    box = appliance("{}")
    pods, uplink = ports_of(box, links)
    assert (pods.ifindex, pods.mac, pods.mtu, pods.generic) == (7, mac, 1500, False)
    assert (pods.ipv4, pods.ipv6) == (None, IPv6Address("2001:db8:64::1"))
    assert (uplink.ipv4, uplink.ipv6, uplink.generic) == (IPv4Address("192.0.2.1"), None, True)
    assert uplink.mtu == 1300  # what a hand set smaller is obeyed
    assert [one.name for one in ports_of(box, {"uplink0": links["uplink0"]})] == ["uplink0"]


def test_port_of_a_vlan_names_its_parent() -> None:
    box = load("""\
version: 1
interfaces:
  eth0: {role: management}
  pods: {role: pods, vlan: {parent: eth0, id: 64}, addresses: ["2001:db8:64::1/64"]}
""").appliance
    mac = bytes(6)
    links = {
        "eth0": Link("eth0", 2, mac, 1500, up=True, running=True),
        "pods": Link("pods", 3, mac, 1500, up=True, running=True, parent=2, vlan_id=64),
    }
    (port,) = ports_of(box, links)
    assert (port.name, port.ifindex, port.vlan) == ("pods", 3, (2, 64))


def test_settings_of_the_other_processes_follow() -> None:
    box = appliance(
        "{pref64: [{prefix: '64:ff9b::/96', allow-non-global: [10.0.0.0/8]}]}",
        "dns64: {upstreams: ['192.0.2.53@5353'], exclude: ['2001:db8:bad::/48']}",
    )
    resolver = resolver_settings(box, Path("/stats"))
    assert resolver is not None
    assert [(str(one.address), one.port) for one in resolver.listen] == [("2001:db8:64::1", 53)]
    assert [(str(one.address), one.port) for one in resolver.upstreams] == [("192.0.2.53", 5353)]
    # One setting for resolver and datapath: the very same values.
    assert resolver.policies[0].prefixes == box.translation.pref64
    assert [str(one) for one in resolver.policies[0].exclude_aaaa] == ["2001:db8:bad::/48"]
    slow = slow_path_settings(box, BoxAddresses())
    assert slow is not None
    assert slow.translation == box.translation
    assert (slow.mtu4, slow.mtu6) == (1400, 1500)
    assert (str(slow.ipv4), str(slow.ipv6)) == ("192.0.2.1", "2001:db8:64::1")
    assert slow_path_settings(appliance("{}"), BoxAddresses()) is None
    assert resolver_settings(appliance("{}"), None) is None
