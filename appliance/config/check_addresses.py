"""Checks of interfaces, addresses and routes."""

from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from appliance.config.problems import Path, Problem, did_you_mean
from appliance.config.resolve import xdp_of
from appliance.config.schema import Configuration, Xdp
from bpf.model import Side

Own = IPv4Interface | IPv6Interface


def _own_addresses(raw: Configuration) -> Iterator[tuple[str, int, Own]]:
    for name, interface in raw.interfaces.items():
        for index, own in enumerate(interface.addresses):
            yield name, index, own


def overlap(a: object, b: object) -> bool:
    """Whether two networks of any family share an address."""
    return type(a) is type(b) and a.overlaps(b)  # type: ignore[attr-defined]


def check_interface_addresses(raw: Configuration) -> Iterator[Problem]:
    seen: list[tuple[str, Own]] = []
    for name, index, own in _own_addresses(raw):
        path = ("interfaces", name, "addresses", index)
        for other_name, other in seen:
            if own.ip == other.ip:
                yield Problem(path, f"{own} again", f"each address once ({other_name} has it)")
                break
            if (
                name != other_name
                and not own.network.is_link_local
                and overlap(own.network, other.network)
            ):
                yield Problem(
                    path,
                    f"{own.network} overlaps {other.network} of {other_name}",
                    "one interface for each subnet",
                )
                break
        seen.append((name, own))


def check_mtu(raw: Configuration) -> Iterator[Problem]:
    for name, interface in raw.interfaces.items():
        speaks_ipv6 = any(isinstance(own, IPv6Interface) for own in interface.addresses)
        if speaks_ipv6 and interface.mtu < 1280:
            path = ("interfaces", name, "mtu")
            yield Problem(path, f"found {interface.mtu}", "1280 at least, where IPv6 is spoken")
        if speaks_ipv6 and xdp_of(interface) is not Xdp.OFF:
            lowest = raw.translation.lowest_ipv6_mtu
            if lowest > max(interface.mtu, 1280):
                yield Problem(
                    ("translation", "lowest-ipv6-mtu"),
                    f"found {lowest}",
                    f"{interface.mtu} at most, the MTU of {name}",
                )


def check_vlans(raw: Configuration) -> Iterator[Problem]:
    seen: dict[tuple[str, int], str] = {}
    for name, interface in raw.interfaces.items():
        vlan = interface.vlan
        if vlan is None:
            continue
        path = ("interfaces", name, "vlan")
        parent = raw.interfaces.get(vlan.parent)
        if parent is None or vlan.parent == name:
            yield Problem(
                (*path, "parent"),
                f"found {vlan.parent!r}{did_you_mean(vlan.parent, raw.interfaces)}",
                "another interface of this configuration",
            )
        elif parent.vlan is not None:
            yield Problem(
                (*path, "parent"), f"{vlan.parent} is a VLAN itself", "one level of VLANs"
            )
        elif parent.mtu < interface.mtu:
            yield Problem(
                ("interfaces", name, "mtu"),
                f"found {interface.mtu}",
                f"{parent.mtu} at most, the MTU of {vlan.parent}",
            )
        other = seen.setdefault((vlan.parent, vlan.id), name)
        if other != name:
            yield Problem(
                (*path, "id"), f"VLAN {vlan.id} of {vlan.parent} again", f"once ({other} has it)"
            )


def check_routes(raw: Configuration) -> Iterator[Problem]:
    seen: dict[tuple[object, int], int] = {}
    for index, route in enumerate(raw.routes):
        path = ("routes", index)
        first = seen.setdefault((route.to, route.metric), index)
        if first != index:
            yield Problem(
                path,
                f"a second route to {route.to}",
                "another metric ({other} has it)",
                other=("routes", first),
            )
        if route.dev is not None and route.dev not in raw.interfaces:
            yield Problem(
                (*path, "dev"),
                f"found {route.dev!r}{did_you_mean(route.dev, raw.interfaces)}",
                "an interface of this configuration",
            )
        elif route.via is None:
            if route.dev is None:
                yield Problem(path, "neither via nor dev", "a gateway, an interface, or both")
        else:
            yield from _check_gateway(raw, index)


def _check_gateway(raw: Configuration, index: int) -> Iterator[Problem]:
    route = raw.routes[index]
    via = route.via
    assert via is not None
    path = ("routes", index, "via")
    if via.version != route.to.version:
        yield Problem(path, f"found {via}", f"an IPv{route.to.version} gateway, as {route.to} is")
        return
    if via.is_link_local and isinstance(via, IPv6Address):
        if route.dev is None:
            yield Problem(
                ("routes", index), f"no dev for the link-local gateway {via}", "its interface"
            )
        return
    subnets: list[str] = []
    for name, _, own in _own_addresses(raw):
        if own.version != via.version or route.dev not in (None, name):
            continue
        subnets.append(str(own.network))
        if own.ip == via:
            yield Problem(path, f"{via} is the box's own address", "a neighbour's address")
            return
        if via in own.network:
            return
    where = f"of {route.dev}" if route.dev else "of an interface"
    known = ", ".join(subnets) if subnets else "none has this family"
    yield Problem(path, f"{via} is in no connected subnet", f"a subnet {where} ({known})")


def check_own_addresses_not_translated(raw: Configuration) -> Iterator[Problem]:
    """The box's own IPv4 address cannot be an IPv6 host's: it would be translated away."""
    translation: Path = ("translation",)
    ipv4: list[tuple[IPv4Network, Path]] = [
        (network, (*translation, "pref64", i, "ipv6-hosts", j))
        for i, prefix in enumerate(raw.translation.pref64)
        for j, network in enumerate(prefix.ipv6_hosts)
    ]
    ipv6: list[tuple[IPv6Network, Path]] = []
    for i, entry in enumerate(raw.translation.eam):
        if entry.host is Side.IPV6:
            ipv4.append((entry.ipv4, (*translation, "eam", i, "ipv4")))
        else:
            ipv6.append((entry.ipv6, (*translation, "eam", i, "ipv6")))
    for i, pool in enumerate(raw.translation.rfc6791.ipv4):
        ipv4.append((pool, (*translation, "rfc6791", "ipv4", i)))
    for name, index, own in _own_addresses(raw):
        path = ("interfaces", name, "addresses", index)
        if isinstance(own, IPv4Interface):
            taken = [where for network, where in ipv4 if own.ip in network]
        else:
            taken = [where for network, where in ipv6 if own.ip in network]
        if taken:
            yield Problem(
                path,
                f"{own.ip} is translated by {{other}}",
                "an address that is the box's alone",
                other=taken[0],
            )
