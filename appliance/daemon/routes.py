"""Own routes: static ones and those to the slow path, marked by their protocol."""

import errno
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, ip_address, ip_network
from socket import AF_INET, AF_INET6

from appliance.daemon import rtnl
from appliance.daemon.desired import RouteWant
from appliance.daemon.rtnl import Request, Rtnl


def read_own_routes(kernel: Rtnl, names: Mapping[int, str]) -> set[RouteWant]:
    """edge64's routes in the main table, read with the kernel's filter."""
    found: set[RouteWant] = set()
    for family in (AF_INET, AF_INET6):
        ask = rtnl.ROUTE.pack(family, 0, 0, 0, 0, rtnl.OWN_PROTOCOL, 0, 0, 0)
        for message in kernel.dump(rtnl.GETROUTE, ask):
            header = rtnl.ROUTE.unpack_from(message.data)
            if header[5] != rtnl.OWN_PROTOCOL:
                continue
            values = rtnl.attributes(message.data, rtnl.ROUTE.size)
            zero = bytes(4 if family == AF_INET else 16)
            gateway = values.get(rtnl.RTA_GATEWAY)
            index = rtnl.as_number(values.get(rtnl.RTA_OIF))
            found.add(
                RouteWant(
                    ip_network((values.get(rtnl.RTA_DST, zero), header[1])),
                    names.get(index, str(index)),
                    ip_address(gateway) if gateway else None,
                    rtnl.as_number(values.get(rtnl.RTA_PRIORITY)),
                )
            )
    return found


def add_routes(kernel: Rtnl, wanted: Iterable[RouteWant], indexes: Mapping[str, int]) -> list[str]:
    """Sets what is missing. A route that only changed its gateway is replaced in one step."""
    held = read_own_routes(kernel, {index: name for name, index in indexes.items()})
    # Routes on the link first: a gateway may lie behind one.
    missing = sorted(set(wanted) - held, key=lambda one: (one.via is not None, str(one)))
    kernel.run([_request(rtnl.NEWROUTE, one, indexes[one.device]) for one in missing])
    return [f"{one} set" for one in missing]


def remove_routes(
    kernel: Rtnl, wanted: Iterable[RouteWant], indexes: Mapping[str, int]
) -> list[str]:
    """Removes edge64's own routes that are not ``wanted``."""
    held = read_own_routes(kernel, {index: name for name, index in indexes.items()})
    gone = sorted(held - set(wanted), key=str)
    kernel.run(
        [_request(rtnl.DELROUTE, one, indexes.get(one.device, 0)) for one in gone],
        ignore=(errno.ESRCH, errno.ENODEV),
    )
    return [f"{one} removed" for one in gone]


def _request(kind: int, route: RouteWant, index: int) -> Request:
    ipv4 = isinstance(route.to, IPv4Network)
    scope = rtnl.RT_SCOPE_LINK if ipv4 and route.via is None else rtnl.RT_SCOPE_UNIVERSE
    data = rtnl.ROUTE.pack(
        AF_INET if ipv4 else AF_INET6,
        route.to.prefixlen,
        0,
        0,
        rtnl.RT_TABLE_MAIN,
        rtnl.OWN_PROTOCOL,
        scope,
        rtnl.RTN_UNICAST,
        0,
    )
    data += rtnl.attribute(rtnl.RTA_DST, route.to.network_address.packed)
    data += rtnl.number(rtnl.RTA_OIF, index)
    data += rtnl.number(rtnl.RTA_PRIORITY, route.metric)
    if route.via is not None:
        data += rtnl.attribute(rtnl.RTA_GATEWAY, route.via.packed)
    add = kind == rtnl.NEWROUTE
    flags = rtnl.F_CREATE | rtnl.F_REPLACE if add else 0
    return Request(kind, flags, data, f"cannot {'set' if add else 'remove'} {route}")
