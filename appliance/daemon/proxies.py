"""Addresses that are answered for in ARP and ND: the kernel's proxy neighbour entries."""

import errno
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, ip_address
from socket import AF_INET, AF_INET6

from appliance.daemon import rtnl
from appliance.daemon.desired import ProxyWant
from appliance.daemon.rtnl import Request, Rtnl


def read_own_proxies(kernel: Rtnl, names: Mapping[int, str]) -> set[ProxyWant]:
    """edge64's own proxy entries."""
    found: set[ProxyWant] = set()
    for family in (AF_INET, AF_INET6):
        ask = rtnl.NEIGH.pack(family, 0, 0, rtnl.NTF_PROXY, 0)
        for message in kernel.dump(rtnl.GETNEIGH, ask):
            _, index, _, flags, _ = rtnl.NEIGH.unpack_from(message.data)
            values = rtnl.attributes(message.data, rtnl.NEIGH.size)
            own = values.get(rtnl.NDA_PROTOCOL) == bytes([rtnl.OWN_PROTOCOL])
            if own and flags & rtnl.NTF_PROXY and rtnl.NDA_DST in values:
                name = names.get(index, str(index))
                found.add(ProxyWant(name, ip_address(values[rtnl.NDA_DST])))
    return found


def add_proxies(
    kernel: Rtnl, wanted: frozenset[ProxyWant], indexes: Mapping[str, int]
) -> set[ProxyWant]:
    """Sets what is missing; returns what is new."""
    held = read_own_proxies(kernel, {index: name for name, index in indexes.items()})
    missing = wanted - held
    kernel.run([_request(rtnl.NEWNEIGH, one, indexes[one.device]) for one in missing])
    return set(missing)


def remove_proxies(
    kernel: Rtnl, wanted: frozenset[ProxyWant], indexes: Mapping[str, int]
) -> set[ProxyWant]:
    """Removes edge64's own entries that are not ``wanted``; returns what went."""
    held = read_own_proxies(kernel, {index: name for name, index in indexes.items()})
    gone = {one for one in held - wanted if one.device in indexes}
    kernel.run(
        [_request(rtnl.DELNEIGH, one, indexes[one.device]) for one in gone],
        ignore=(errno.ENOENT, errno.ENODEV),
    )
    return gone


def _request(kind: int, proxy: ProxyWant, index: int) -> Request:
    family = AF_INET if isinstance(proxy.address, IPv4Address) else AF_INET6
    data = rtnl.NEIGH.pack(family, index, rtnl.NUD_PERMANENT, rtnl.NTF_PROXY, 0)
    data += rtnl.attribute(rtnl.NDA_DST, proxy.address.packed)
    data += rtnl.attribute(rtnl.NDA_PROTOCOL, bytes([rtnl.OWN_PROTOCOL]))
    flags = rtnl.F_CREATE | rtnl.F_REPLACE if kind == rtnl.NEWNEIGH else 0
    return Request(kind, flags, data, f"cannot {proxy}")


def summary(proxies: Iterable[ProxyWant], verb: str) -> list[str]:
    """Few are named each, many are counted by interface."""
    ordered = sorted(proxies, key=lambda one: (one.device, one.address.version, one.address))
    if len(ordered) <= 8:
        return [f"{one} {verb}" for one in ordered]
    counts: dict[str, int] = {}
    for one in ordered:
        counts[one.device] = counts.get(one.device, 0) + 1
    return [f"answer for {n} addresses on {device} {verb}" for device, n in counts.items()]
