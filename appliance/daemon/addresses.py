"""Own addresses: marked with IFA_PROTO, so that only these are ever removed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_interface
from socket import AF_INET, AF_INET6

from appliance.daemon import rtnl
from appliance.daemon.desired import AddressWant
from appliance.daemon.rtnl import Request, Rtnl


@dataclass(frozen=True)
class Held:
    """An address as the kernel has it; ``own`` when edge64 set it."""

    index: int
    address: IPv4Interface | IPv6Interface
    own: bool
    flags: int

    @property
    def tentative(self) -> bool:
        return bool(self.flags & rtnl.IFA_F_TENTATIVE)

    @property
    def duplicate(self) -> bool:
        return bool(self.flags & rtnl.IFA_F_DADFAILED)


def read_addresses(kernel: Rtnl) -> list[Held]:
    """Every address of every interface."""
    found: list[Held] = []
    for family in (AF_INET, AF_INET6):
        for message in kernel.dump(rtnl.GETADDR, rtnl.ADDR.pack(family, 0, 0, 0, 0)):
            _, length, flags, _, index = rtnl.ADDR.unpack_from(message.data)
            values = rtnl.attributes(message.data, rtnl.ADDR.size)
            raw = values.get(rtnl.IFA_LOCAL) or values[rtnl.IFA_ADDRESS]
            found.append(
                Held(
                    index=index,
                    address=ip_interface((raw, length)),
                    own=values.get(rtnl.IFA_PROTO) == bytes([rtnl.OWN_PROTOCOL]),
                    flags=rtnl.as_number(values.get(rtnl.IFA_FLAGS), flags),
                )
            )
    return found


def add_addresses(
    kernel: Rtnl, wanted: Iterable[AddressWant], indexes: Mapping[str, int]
) -> list[str]:
    """Sets what is missing; an address that is there already becomes edge64's own."""
    held = {(one.index, one.address): one for one in read_addresses(kernel)}
    requests: list[Request] = []
    changes: list[str] = []
    for want in sorted(wanted, key=str):
        index = indexes[want.device]
        there = held.get((index, want.address))
        if there is not None and there.own:
            continue
        requests.append(_request(rtnl.NEWADDR, index, want.address, f"cannot set {want}"))
        if there is None:
            changes.append(f"{want} set")
    kernel.run(requests)
    return changes


def remove_addresses(
    kernel: Rtnl, wanted: Iterable[AddressWant], indexes: Mapping[str, int]
) -> list[str]:
    """Removes edge64's own addresses that are not ``wanted``."""
    keep = {(indexes[want.device], want.address) for want in wanted}
    names = {index: name for name, index in indexes.items()}
    gone = [
        one for one in read_addresses(kernel) if one.own and (one.index, one.address) not in keep
    ]
    kernel.run(
        [
            _request(rtnl.DELADDR, one.index, one.address, f"cannot remove {one.address}")
            for one in gone
        ],
        ignore=_GONE,
    )
    return [f"address {one.address} on {names.get(one.index, one.index)} removed" for one in gone]


_GONE = (99, 19)  # EADDRNOTAVAIL, ENODEV: somebody else removed it


def _request(kind: int, index: int, address: IPv4Interface | IPv6Interface, what: str) -> Request:
    family = AF_INET if isinstance(address, IPv4Interface) else AF_INET6
    length = address.network.prefixlen
    data = rtnl.ADDR.pack(family, length, 0, 0, index)
    data += rtnl.attribute(rtnl.IFA_LOCAL, address.ip.packed)
    data += rtnl.attribute(rtnl.IFA_ADDRESS, address.ip.packed)
    if isinstance(address, IPv4Interface) and length <= 30:
        data += rtnl.attribute(rtnl.IFA_BROADCAST, address.network.broadcast_address.packed)
    data += rtnl.attribute(rtnl.IFA_PROTO, bytes([rtnl.OWN_PROTOCOL]))
    flags = rtnl.F_CREATE | rtnl.F_REPLACE if kind == rtnl.NEWADDR else 0
    return Request(kind, flags, data, what)


def box_addresses(held: Iterable[Held]) -> tuple[frozenset[IPv4Address], frozenset[IPv6Address]]:
    """What is nobody else's to use: every address but loopback and link-local ones."""
    ipv4: set[IPv4Address] = set()
    ipv6: set[IPv6Address] = set()
    for one in held:
        ip = one.address.ip
        if ip.is_loopback or ip.is_link_local:
            continue
        if isinstance(ip, IPv4Address):
            ipv4.add(ip)
        else:
            ipv6.add(ip)
    return frozenset(ipv4), frozenset(ipv6)
